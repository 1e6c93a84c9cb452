"""Badges: one number as a small SVG that stands alone, for a README or a wiki."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree as ET

BadgeMetric = Literal["top1_error", "top5_error", "nll", "ece", "brier"]
BadgeKind = Literal["result", "pending", "failed"]
LABELS: dict[str, str] = {
    "top1_error": "top-1 error",
    "top5_error": "top-5 error",
    "nll": "NLL",
    "ece": "calibration error",
    "brier": "Brier score",
}

#: White text on each has a contrast of at least 4.5 to 1.
_COLOURS = {"result": "#0f5a8a", "pending": "#5c6370", "failed": "#b42318"}
_LABEL_COLOUR = "#3a3f47"

_HEIGHT, _PADDING, _FONT_PX, _BASELINE = 20, 6, 11, 14
_FONTS = "DejaVu Sans, Verdana, Geneva, sans-serif"
#: Longer names are cut.
_MAX_CHARACTERS = 40

#: Advances of the characters from U+0020 to U+007E in DejaVu Sans, thousandths of the size; a test measures the font.
_ADVANCES = (
    318, 401, 460, 838, 636, 950, 780, 275, 390, 390, 500, 838, 318, 361, 318, 337, 636, 636, 636, 636,
    636, 636, 636, 636, 636, 636, 337, 337, 838, 838, 838, 531, 1000, 684, 686, 698, 770, 632, 575, 775,
    752, 295, 295, 656, 557, 863, 748, 787, 603, 787, 695, 635, 611, 732, 684, 989, 685, 611, 685, 390,
    337, 390, 838, 500, 500, 613, 635, 550, 635, 615, 352, 635, 634, 278, 278, 579, 278, 974, 634, 612,
    635, 635, 411, 521, 392, 634, 592, 818, 592, 592, 525, 636, 337, 636, 838,
)  # fmt: skip
#: Of any other character: as wide as the widest letters, so that text never leaves its box.
_WIDEST = 1000


@dataclass(frozen=True)
class Badge:
    """What a badge says.

    Attributes:
        label: on the left, such as "top-1 error".
        value: on the right, such as "7.25 %".
        title: all of it in a sentence, for screen readers and tooltips.
        kind: of the value.
    """

    label: str
    value: str
    title: str
    kind: BadgeKind


def metric_value(metric: str, value: float, n: int) -> str:
    """Errors and ECE in percent, with one decimal below 1,000 images; the others with four decimals."""
    if metric in ("nll", "brier"):
        return f"{value:.4f}"
    return f"{100 * value:.{1 if n < 1000 else 2}f} %"


def text_width(text: str) -> float:
    """Pixels that a text takes in the badge's first font."""
    first, last = 0x20, 0x20 + len(_ADVANCES)
    advances = (_ADVANCES[ord(c) - first] if first <= ord(c) < last else _WIDEST for c in text)
    return sum(advances) * _FONT_PX / 1000


def to_svg(badge: Badge) -> str:
    """The badge as SVG. Whatever font the viewer has, each text is fitted to its box."""
    texts = [_cut(badge.label), _cut(badge.value)]
    colours = [_LABEL_COLOUR, _COLOURS[badge.kind]]
    widths = [round(text_width(text)) + 2 * _PADDING for text in texts]
    total = sum(widths)
    svg = ET.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "width": str(total),
            "height": str(_HEIGHT),
            "viewBox": f"0 0 {total} {_HEIGHT}",
            "role": "img",
            "aria-label": badge.title,
        },
    )
    ET.SubElement(svg, "title").text = badge.title
    clip = ET.SubElement(svg, "clipPath", {"id": "corners"})
    ET.SubElement(clip, "rect", {"width": str(total), "height": str(_HEIGHT), "rx": "3"})
    boxes = ET.SubElement(svg, "g", {"clip-path": "url(#corners)"})
    words = ET.SubElement(svg, "g", {"fill": "#fff", "font-family": _FONTS, "font-size": str(_FONT_PX)})
    left = 0
    for text, width, colour in zip(texts, widths, colours, strict=True):
        box = {"x": str(left), "width": str(width), "height": str(_HEIGHT), "fill": colour}
        ET.SubElement(boxes, "rect", box)
        place = {"x": str(left + _PADDING), "y": str(_BASELINE), "textLength": str(width - 2 * _PADDING)}
        ET.SubElement(words, "text", {**place, "lengthAdjust": "spacingAndGlyphs"}).text = text
        left += width
    return ET.tostring(svg, encoding="unicode") + "\n"


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_CHARACTERS else f"{text[: _MAX_CHARACTERS - 1]}…"
