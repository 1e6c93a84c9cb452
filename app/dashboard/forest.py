"""Forest plots as SVG, a row at a time for the cells of a table: differences, their intervals, and the line of none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup

from app.dashboard.charts import Axis

#: The line of no difference reaches beyond its row, whose cell cuts it off: rows of any height make one line.
_WIDTH, _HEIGHT, _MARGIN, _REACH = 260, 24, 16, 200


@dataclass(frozen=True)
class Forest:
    """Rows on a shared axis that holds 0 and every interval.

    Attributes:
        axis: of differences in the metric's own unit.
        scale: what a difference is multiplied by to be read: 100 for errors, whose unit is the point.
    """

    axis: Axis
    scale: float

    @classmethod
    def around(cls, intervals: Iterable[tuple[float, float]], scale: float) -> Forest:
        """The plot that has room for (low, high) of every row."""
        return cls(Axis.around([0.0, *(scale * end for ends in intervals for end in ends)]), scale)

    def row(self, difference: float, low: float, high: float, verdict: str) -> Markup:
        """One difference with its interval; the numbers stand beside it in text."""
        middle = _HEIGHT / 2
        x, left, right = (self._at(value) for value in (difference, low, high))
        return self._drawing(
            f"forest forest-{verdict.partition(' ')[0]}",
            Markup(
                '<line class="forest-none" x1="{none:.1f}" x2="{none:.1f}" y1="{above}" y2="{below}"/>'
                '<path class="whisker" d="M{left:.1f} {y:g}H{right:.1f}M{left:.1f} {top:g}v8M{right:.1f} {top:g}v8"/>'
                '<rect class="dot" x="{dot:.1f}" y="{dot_top:g}" width="9" height="9"/>'
            ).format(
                none=self._at(0.0),
                above=-_REACH,
                below=_HEIGHT + _REACH,
                left=left,
                right=right,
                y=middle,
                top=middle - 4,
                dot=x - 4.5,
                dot_top=middle - 4.5,
            ),
        )

    def base(self) -> Markup:
        """The row of the base, which differs from itself by nothing."""
        none, middle = self._at(0.0), _HEIGHT / 2
        return self._drawing(
            "forest",
            Markup(
                '<line class="forest-none" x1="{none:.1f}" x2="{none:.1f}" y1="{middle:g}" y2="{below}"/>'
                '<circle class="forest-base" cx="{none:.1f}" cy="{middle:g}" r="4"/>'
            ).format(none=none, middle=middle, below=_HEIGHT + _REACH),
        )

    def head(self) -> Markup:
        """The axis, for the column's head: as many ticks as fit."""
        step = 1 + len(self.axis.ticks) * 40 // _WIDTH
        # 0 keeps its label whichever others fit.
        offset = min(range(len(self.axis.ticks)), key=lambda i: abs(self.axis.ticks[i])) % step
        labels = [
            Markup('<text class="tick" x="{:.1f}" y="16" text-anchor="middle">{}</text>').format(
                self.axis.at(tick, _MARGIN, _WIDTH - _MARGIN), f"{tick:+g}".replace("-", "−") if tick else "0"
            )
            for tick in (round(tick, 9) for tick in self.axis.ticks[offset::step])
        ]
        return self._drawing("forest forest-axis", Markup("").join(labels))

    def _at(self, difference: float) -> float:
        return self.axis.at(self.scale * difference, _MARGIN, _WIDTH - _MARGIN)

    def _drawing(self, css_class: str, inside: Markup) -> Markup:
        return Markup(
            '<svg class="{}" viewBox="0 0 {} {}" width="{}" height="{}" aria-hidden="true" focusable="false">{}</svg>'
        ).format(css_class, _WIDTH, _HEIGHT, _WIDTH, _HEIGHT, inside)
