"""Pictures of how images were answered: the reliability curve and the frame of the confusion matrix, as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from app.dashboard.formatting import count, interval, percent
from app.representations.answers import CalibratedDocument, ReliabilityDocument

_WIDTH, _HEIGHT = 420, 448
_LEFT, _RIGHT, _TOP = 44, 12, 10
_SIDE = _WIDTH - _LEFT - _RIGHT
_BARS_TOP, _BARS_HEIGHT = _TOP + _SIDE + 26, 26
_TICKS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)

_MATRIX = 1000
#: Up to so many classes are named on the axes of the matrix, and up to so many have their counts in it.
MAX_NAMED, MAX_COUNTED = 40, 20
_NAME_LENGTH = 16


def reliability(item: CalibratedDocument, bins: Sequence[ReliabilityDocument]) -> Markup:
    """Accuracy against confidence, a point a bin with its interval, and below how many images each bin has."""
    filled = [one for one in bins if one.n]
    return Markup(
        '<svg class="chart reliability" viewBox="0 0 {} {}" role="img" aria-label="{}">{}'
        '<line class="ideal" x1="{}" y1="{}" x2="{}" y2="{}"/>{}{}</svg>'
    ).format(
        _WIDTH,
        _HEIGHT,
        f"Reliability of {item.subject.name}: accuracy against confidence in {len(filled)} bins that hold images; "
        f"mean confidence {percent(item.confidence, item.n)} %, accuracy {percent(item.accuracy, item.n)} %. "
        "The table below has every bin.",
        _axes(),
        _x(0),
        _y(0),
        _x(1),
        _y(1),
        _bars(filled),
        Markup("").join(_point(one) for one in filled),
    )


def _axes() -> Markup:
    parts = [
        Markup(
            '<line class="grid" x1="{0}" x2="{1}" y1="{2:.1f}" y2="{2:.1f}"/>'
            '<text class="tick" x="{3}" y="{4:.1f}" text-anchor="end">{5:.0f}</text>'
            '<text class="tick" x="{6:.1f}" y="{7}" text-anchor="middle">{5:.0f}</text>'
        ).format(_LEFT, _LEFT + _SIDE, _y(tick), _LEFT - 6, _y(tick) + 3.5, 100 * tick, _x(tick), _TOP + _SIDE + 15)
        for tick in _TICKS
    ]
    parts.append(
        Markup(
            '<text class="axis-title" x="{}" y="{}" text-anchor="middle">confidence, %; below, images a bin</text>'
            '<text class="axis-title" transform="translate(11 {}) rotate(-90)" text-anchor="middle">accuracy, %</text>'
        ).format(_LEFT + _SIDE / 2, _HEIGHT - 2, _TOP + _SIDE / 2)
    )
    return Markup("").join(parts)


def _point(one: ReliabilityDocument) -> Markup:
    confidence, accuracy = one.confidence or 0.0, one.accuracy or 0.0
    return Markup(
        '<g class="reliability-bin"><title>{}</title>'
        '<line class="gap" x1="{x:.1f}" x2="{x:.1f}" y1="{ideal:.1f}" y2="{y:.1f}"/>'
        '<line class="whisker" x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>'
        '<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="4.5"/></g>'
    ).format(
        f"confidence {percent(confidence)} %, accuracy {percent(accuracy)} % "
        f"({interval(one.accuracy_low, one.accuracy_high)}), {count(one.n)} images",
        x=_x(confidence),
        ideal=_y(confidence),
        y=_y(accuracy),
        low=_y(one.accuracy_low or 0.0),
        high=_y(one.accuracy_high or 0.0),
    )


def _bars(bins: Sequence[ReliabilityDocument]) -> Markup:
    most = max((one.n for one in bins), default=1)
    return Markup("").join(
        Markup('<rect class="mass" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
            _x(one.low) + 0.5,
            _BARS_TOP + _BARS_HEIGHT * (1 - one.n / most),
            max(_x(one.high) - _x(one.low) - 1, 1),
            _BARS_HEIGHT * one.n / most,
        )
        for one in bins
    )


def _x(value: float) -> float:
    return _LEFT + value * _SIDE


def _y(value: float) -> float:
    return _TOP + (1 - value) * _SIDE


def matrix(picture: str, names: Sequence[str], counts: Mapping[tuple[int, int], int], description: str) -> Markup:
    """The picture of a confusion matrix with its axes: names of few classes, numbers of many.

    Args:
        picture: address of a square image, true classes downwards, answered ones to the right.
        names: of the K classes.
        counts: images by (true, answered) class, written into the cells where K is at most `MAX_COUNTED`.
        description: for who does not see it.
    """
    classes = len(names)
    cell = _MATRIX / classes
    labelled = classes <= MAX_NAMED
    size = max(11.0, min(34.0, 0.55 * cell)) if labelled else 26.0
    margin = (max(map(len, map(_short, names))) * size * 0.6 + 16) if labelled else 84.0
    marks = range(classes) if labelled else _round_marks(classes)
    parts = []
    for number in marks:
        text = _short(names[number]) if labelled else str(number)
        middle = (number + 0.5) * cell
        parts.append(
            Markup(
                '<text x="{:.1f}" y="{:.1f}" text-anchor="end">{}</text>'
                '<text transform="translate({:.1f} {:.1f}) rotate(-90)" text-anchor="end">{}</text>'
            ).format(
                margin - 8,
                margin + middle + size * 0.35,
                text,
                margin + middle + size * 0.35,
                margin + _MATRIX + 8,
                text,
            )
        )
    if classes <= MAX_COUNTED:
        parts += [
            Markup('<text class="matrix-count" x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>').format(
                margin + (predicted + 0.5) * cell, margin + (label + 0.5) * cell + size * 0.35, count(images)
            )
            for (label, predicted), images in sorted(counts.items())
        ]
    return Markup(
        '<svg class="matrix" viewBox="0 {top:.0f} {wide:.0f} {high:.0f}" role="img" aria-label="{description}" '
        'font-size="{size:.0f}"><rect class="matrix-frame" x="{m:.1f}" y="{m:.1f}" width="{s}" height="{s}"/>'
        '<image href="{picture}" x="{m:.1f}" y="{m:.1f}" width="{s}" height="{s}"/>{parts}'
        '<text class="axis-title" x="{centre:.1f}" y="{above:.1f}" text-anchor="middle">answered</text>'
        '<text class="axis-title" transform="translate({beside:.1f} {centre:.1f}) rotate(90)" text-anchor="middle">'
        "true class</text></svg>"
    ).format(
        top=margin - 48,
        wide=margin + _MATRIX + 48,
        high=48 + _MATRIX + margin,
        description=description,
        size=size,
        m=margin,
        s=_MATRIX,
        picture=picture,
        parts=Markup("").join(parts),
        centre=margin + _MATRIX / 2,
        above=margin - 14,
        beside=margin + _MATRIX + 14,
    )


def _short(name: str) -> str:
    return name if len(name) <= _NAME_LENGTH else f"{name[: _NAME_LENGTH - 1]}…"


def _round_marks(classes: int) -> range:
    step = next(step for step in (10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 10**9) if classes / step <= 11)
    return range(0, classes, step)
