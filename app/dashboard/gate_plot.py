"""A gate as SVG: the difference with its interval, held against the margin; the numbers stand beside it in text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from markupsafe import Markup

from app.dashboard.charts import Axis
from app.dashboard.formatting import MINUS
from app.representations.gates import GateDocument

_Place = Callable[[float], float]

#: px of a label's letter, on the safe side; what has no room is left out.
_LETTER = 6.5
_HEIGHT, _TOP, _BOTTOM, _SIDE = 104, 24, 24, 14
_SMALL_WIDTH, _SMALL_HEIGHT = 120, 20


@dataclass(frozen=True)
class GatePlot:
    """One gate on its own axis, which holds no difference, the margin and the interval."""

    gate: GateDocument
    axis: Axis
    scale: float

    @classmethod
    def of(cls, gate: GateDocument) -> GatePlot:
        """The plot of one verdict: points for errors, nats for nll."""
        scale = 1.0 if gate.metric == "nll" else 100.0
        ends = [scale * value for value in (0.0, gate.margin, gate.low, gate.high)]
        # Room on both sides, so that each zone is seen.
        room = 0.12 * (max(ends) - min(ends) or 1.0)
        return cls(gate, Axis.around([min(ends) - room, max(ends) + room], 6), scale)

    def large(self, width: int, words: str) -> Markup:
        """With axis and labels, `width` px wide; `words` tell those who do not see it."""

        def x(value: float) -> float:
            return self.axis.at(value, _SIDE, width - _SIDE)

        margin, bottom = self.scale * self.gate.margin, _HEIGHT - _BOTTOM
        zones = [("worse by the margin or more", x(margin), float(width - _SIDE), "gate-beyond")]
        if margin > 0:
            zones.insert(0, ("within the margin", x(0), x(margin), "gate-within"))
        zones.insert(0, ("better", float(_SIDE), x(0), "gate-better"))
        step = 1 + len(self.axis.ticks) * 44 // width
        offset = min(range(len(self.axis.ticks)), key=lambda i: abs(self.axis.ticks[i])) % step
        parts = [
            Markup('<rect class="{}" x="{:.1f}" y="{}" width="{:.1f}" height="{}"/>').format(
                css_class, left, _TOP, max(0.0, right - left), bottom - _TOP
            )
            + (
                Markup('<text class="zone" x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
                    (left + right) / 2, _TOP - 8, label
                )
                if right - left > _LETTER * len(label)
                else ""
            )
            for label, left, right, css_class in zones
        ]
        parts += [
            Markup('<text class="tick" x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
                x(tick), _HEIGHT - 6, f"{tick:+g}".replace("-", MINUS) if tick else "0"
            )
            for tick in (round(tick, 9) for tick in self.axis.ticks[offset::step])
        ]
        inside = Markup("").join(parts) + self._marks(x, _TOP, bottom, 6.0)
        return Markup(
            '<svg class="gate-plot gate-{}" viewBox="0 0 {} {}" width="{}" height="{}" role="img" aria-label="{}">'
            "{}</svg>"
        ).format(self.gate.verdict, width, _HEIGHT, width, _HEIGHT, words, inside)

    def small(self) -> Markup:
        """For the cell of a table."""

        def x(value: float) -> float:
            return self.axis.at(value, 2, _SMALL_WIDTH - 2)

        margin = x(self.scale * self.gate.margin)
        beyond = Markup('<rect class="gate-beyond" x="{:.1f}" y="0" width="{:.1f}" height="{}"/>').format(
            margin, _SMALL_WIDTH - margin, _SMALL_HEIGHT
        )
        inside = beyond + self._marks(x, 0, _SMALL_HEIGHT, 3.5)
        return Markup(
            '<svg class="gate-plot gate-small gate-{}" viewBox="0 0 {} {}" width="{}" height="{}" aria-hidden="true" '
            'focusable="false">{}</svg>'
        ).format(self.gate.verdict, _SMALL_WIDTH, _SMALL_HEIGHT, _SMALL_WIDTH, _SMALL_HEIGHT, inside)

    def _marks(self, x: _Place, top: int, bottom: int, radius: float) -> Markup:
        """The lines of no difference and of the margin, the interval, the estimate."""
        low, high, difference, margin = (
            x(self.scale * value) for value in (self.gate.low, self.gate.high, self.gate.difference, self.gate.margin)
        )
        middle = (top + bottom) / 2
        return Markup(
            '<line class="gate-none" x1="{none:.1f}" x2="{none:.1f}" y1="{top}" y2="{bottom}"/>'
            '<line class="gate-margin" x1="{margin:.1f}" x2="{margin:.1f}" y1="{top}" y2="{bottom}"/>'
            '<path class="whisker" d="M{low:.1f} {y:g}H{high:.1f}'
            'M{low:.1f} {upper:g}v{tall:g}M{high:.1f} {upper:g}v{tall:g}"/>'
            '<circle class="dot" cx="{difference:.1f}" cy="{y:g}" r="{radius:g}"/>'
        ).format(
            none=x(0.0),
            margin=margin,
            top=top,
            bottom=bottom,
            low=low,
            high=high,
            y=middle,
            upper=middle - radius - 1,
            tall=2 * radius + 2,
            difference=difference,
            radius=radius,
        )
