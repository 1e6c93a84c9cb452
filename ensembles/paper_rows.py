"""Measurements beside the printed rows of the paper's tables, each cell judged, and what could explain the rest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ensembles.configurations import Architecture
from ensembles.paper import IMAGES, TABLES, Method, NetworkAtScales, PrintedRow
from ensembles.protocols import Protocol

Verdict = Literal["equal", "plausible", "different"]

#: Points within which a measurement rounds to the cell, and within which decoder, resize or pooling could explain it.
EQUAL_POINTS, PLAUSIBLE_POINTS = 0.05, 0.15

PAPER_CLASSES, PAPER_CROP = 1000, 224


@dataclass(frozen=True)
class Measurement:
    """One of your numbers.

    Attributes:
        members: the networks whose posteriors were averaged.
        method: how each was evaluated.
        top1_error: a fraction of n images.
        top5_error: the same.
        n: scored images.
        name: whose number it is.
        source: where it comes from, such as an evaluation's id.
        protocol: its protocol's title.
        top1_interval: of 95 %, fractions.
        top5_interval: of 95 %, fractions.
        departures: the paper's rules that it does not keep; with any, it stands beside no printed number.
    """

    members: tuple[NetworkAtScales, ...]
    method: Method
    top1_error: float
    top5_error: float
    n: int
    name: str = ""
    source: str = ""
    protocol: str = ""
    top1_interval: tuple[float, float] | None = None
    top5_interval: tuple[float, float] | None = None
    departures: tuple[str, ...] = ()


@dataclass(frozen=True)
class LaidOutRow:
    """A printed row, your measurement, or both side by side."""

    printed: PrintedRow | None
    measured: Measurement | None

    @property
    def top1_verdict(self) -> Verdict | None:
        """How your top-1 error compares with the printed cell; None where one is missing."""
        if self.printed is None or self.printed.top1_val is None or self.measured is None:
            return None
        return cell_verdict(self.printed.top1_val, self.measured.top1_error)

    @property
    def top5_verdict(self) -> Verdict | None:
        """How your top-5 error compares with the printed cell; None where one is missing."""
        if self.printed is None or self.printed.top5_val is None or self.measured is None:
            return None
        return cell_verdict(self.printed.top5_val, self.measured.top5_error)


def cell_verdict(printed_percent: float, error: float) -> Verdict:
    """Compare a printed cell (percent, one decimal) with a measured error (a fraction)."""
    # A hair of tolerance: 27.05 % against 27.0 is a distance of 0.05 that binary fractions cannot state.
    points = abs(100 * error - printed_percent) - 1e-9
    if points <= EQUAL_POINTS:
        return "equal"
    return "plausible" if points <= PLAUSIBLE_POINTS else "different"


def network_departures(architecture: Architecture) -> tuple[str, ...]:
    """How a network is another one than the paper's of the same configuration."""
    rules = (
        (architecture.classes == PAPER_CLASSES, f"{architecture.classes:,} classes in place of ImageNet's 1,000"),
        (architecture.width == 1, f"width {architecture.width:g} in place of 1"),
        (architecture.crop == PAPER_CROP, f"crop {architecture.crop} px in place of {PAPER_CROP}"),
    )
    return tuple(words for kept, words in rules if not kept)


def protocol_departures(protocol: Protocol, method: Method) -> tuple[str, ...]:
    """How an evaluation breaks what the paper says in words, whatever the test scales; what it leaves open is free."""
    rules = (
        (protocol.hflip, "no horizontal flip; the paper averages over an image and its flip"),
        (method == "dense" or protocol.crop_grid == 5, f"crops {protocol.crop_grid}; the paper has a 5 x 5 grid"),
    )
    return tuple(words for kept, words in rules if not kept)


def tables_of(measurement: Measurement) -> tuple[int, ...]:
    """Which tables a measurement belongs in, by what it is: one network or several, one scale or several, the method.

    Table 3 is for the single test scale that follows from S; table 5 compares techniques at several scales for
    networks trained with scale jittering; table 7 has the combined method. What is printed in a table belongs there.
    """
    printed = {table for table, rows in TABLES.items() if any(_same(row, measurement) for row in rows)}
    return tuple(sorted(printed | _tables_by_kind(measurement)))


def _tables_by_kind(measurement: Measurement) -> set[int]:
    combined = {7} if measurement.method == "both" else set()
    if len(measurement.members) > 1:
        return {6} | combined
    network = measurement.members[0]
    dense = measurement.method == "dense"
    if len(network.scales) == 1:
        return {3} if dense and network.scales == (network.training_scale.single_scale(),) else set()
    return combined | ({4} if dense else set()) | ({5} if network.training_scale.jittered else set())


def lay_out(measurements: Iterable[Measurement]) -> dict[int, list[LaidOutRow]]:
    """Your measurements in the layout of tables 3-7.

    A measurement stands beside the printed row of the same configurations, S, Q and method, which repeats where there
    are several; one that has no counterpart (other scales, other networks) or departs from the paper's rules follows
    below as a row of its own. Printed rows without a measurement stay.

    Returns:
        table number -> rows, the printed order first.
    """
    measured = list(measurements)
    laid_out: dict[int, list[LaidOutRow]] = {}
    for table, printed_rows in TABLES.items():
        here = [m for m in measured if table in tables_of(m)]
        rows: list[LaidOutRow] = []
        for printed in printed_rows:
            beside = [m for m in here if not m.departures and _same(printed, m)]
            rows += [LaidOutRow(printed, m) for m in beside] or [LaidOutRow(printed, None)]
            here = [m for m in here if m not in beside]
        laid_out[table] = rows + [LaidOutRow(None, m) for m in here]
    return laid_out


def _same(printed: PrintedRow, measured: Measurement) -> bool:
    # The order of the members carries no meaning: fusion is a mean.
    return printed.method == measured.method and sorted(map(str, printed.members)) == sorted(map(str, measured.members))


@dataclass(frozen=True)
class OpenChoice:
    """Something that moves a number and that a reader of the paper has to decide.

    Attributes:
        authors: what is known of the authors' own.
        fact: why it matters.
        values: those that agree with it, as the text of a JSON value; empty where nothing is known.
    """

    authors: str
    fact: str
    values: tuple[str, ...] = ()


#: What could explain a cell that differs, in the order in which to look: protocol field or circumstance.
OPEN_CHOICES: dict[str, OpenChoice] = {
    "weights": OpenChoice(
        "D and E with S in [256;512]; no other was released",
        "torchvision's and timm's were trained anew by another recipe: the printed numbers are no target for them",
    ),
    "preprocessing": OpenChoice(
        "BGR, 0 to 255, minus (103.939, 116.779, 123.68)",
        "the released weights expect this; converted files with the first layer turned take RGB and the same mean",
        ("caffe-vgg", "vgg-mean"),
    ),
    "images": OpenChoice(
        "50,000", "a cell is rounded to 0.1 points, which is 50 of the 50,000 images", (f"{IMAGES:,}",)
    ),
    "pool_rounding": OpenChoice(
        "ceil, Caffe's rule",
        "the score maps of 44-78 % of ImageNet's images change their size; the effect on the error is not published",
        ("ceil",),
    ),
    "resize": OpenChoice(
        "not said; bicubic in their demo",
        "other pixels in every image; their evaluation code was never published",
        ("bicubic",),
    ),
    "long_side": OpenChoice(
        "not said; ceil in their demo", "truncating and rounding differ for 23-65 % of the images", ("ceil",)
    ),
    "antialias": OpenChoice(
        "not said; on in their demo", "without it 0.8 points were lost in one published case", ("true",)
    ),
    "score_pooling": OpenChoice(
        "logits, by the paper's words",
        "averaging before or after the soft-max can change the class",
        ("logits",),
    ),
    "exclude": OpenChoice(
        "not said", "the devkit's scoring leaves 1,762 validation images out; the paper's text speaks of 50,000"
    ),
    "decoder": OpenChoice("not said", "JPEG decoders differ in single pixels; expect a few images"),
    "exif": OpenChoice(
        "ignore, as the software of 2013 did", "in a sample of 1,000 images of ImageNet one would turn", ("ignore",)
    ),
    "dtype": OpenChoice("not said", "half precision rounds class scores; nothing is published on what it costs VGG"),
}

#: The same, one sentence each.
POSSIBLE_REASONS: dict[str, str] = {
    name: f"{choice.fact} (the authors: {choice.authors})" for name, choice in OPEN_CHOICES.items()
}
