"""Tables 2-7 of the paper as data.

Simonyan & Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", arXiv 1409.1556v6. Errors
are percent, as printed: one decimal, so a cell stands for a range of 0.1 points (50 of the 50,000 validation images).
Table 1, the layers, is `ensembles.configurations`; `ensembles.paper_rows` lays measurements beside these rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ensembles.scales import TrainingScale

Method = Literal["dense", "crops", "both"]

#: Validation images behind every printed error.
IMAGES = 50_000

#: Table 2: millions of parameters, as printed.
TABLE_2: dict[str, int] = {"A": 133, "A-LRN": 133, "B": 133, "C": 134, "D": 138, "E": 144}


@dataclass(frozen=True)
class NetworkAtScales:
    """One member of a row: configuration, training scale S, and the test scales Q it was evaluated at."""

    configuration: str
    training_scale: TrainingScale
    scales: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.configuration}/{self.training_scale}/{','.join(map(str, self.scales))}"


@dataclass(frozen=True)
class PrintedRow:
    """A row of tables 3-7, errors in percent; None where the paper prints no number.

    Attributes:
        members: the networks whose posteriors were averaged; empty for other groups' results in table 7.
        reproducible: whether the weights of every member are public (the released D and E, S in [256;512]).
        note: what a reader would stumble over.
    """

    table: int
    label: str
    members: tuple[NetworkAtScales, ...]
    method: Method | None
    top1_val: float | None
    top5_val: float | None
    top5_test: float | None = None
    note: str = ""
    reproducible: bool = False


_FIXED_SMALL, _FIXED_LARGE, _JITTERED = TrainingScale(256, 256), TrainingScale(384, 384), TrainingScale(256, 512)


def _network(configuration: str, training_scale: TrainingScale, *, multi: bool) -> NetworkAtScales:
    scales = training_scale.multi_scale() if multi else (training_scale.single_scale(),)
    return NetworkAtScales(configuration, training_scale, scales)


_QUOTED = "widely quoted for this depth, though the weights (fixed S) are not public"
_SINGLE_NOTES = {
    (3, "D", "256"): _QUOTED,
    (3, "E", "256"): f"{_QUOTED}; worse than D at this S, as printed",
    (4, "E", "[256;512]"): "section 4.2 gives 7.3 % top-5 on the test set for it",
}


def _public(members: Sequence[NetworkAtScales]) -> bool:
    return all(m.configuration in ("D", "E") and m.training_scale == _JITTERED for m in members)


def _single(
    table: int, configuration: str, scale: TrainingScale, top1: float, top5: float, *, method: Method = "dense"
) -> PrintedRow:
    network = _network(configuration, scale, multi=table != 3)
    note = _SINGLE_NOTES.get((table, configuration, str(scale)), "")
    return PrintedRow(table, configuration, (network,), method, top1, top5, note=note, reproducible=_public([network]))


def _fusion(
    table: int,
    label: str,
    members: Sequence[NetworkAtScales],
    method: Method,
    errors: tuple[float, float, float | None],
    *,
    note: str = "",
    reproducible: bool | None = None,
) -> PrintedRow:
    public = _public(members) if reproducible is None else reproducible
    return PrintedRow(table, label, tuple(members), method, *errors, note=note, reproducible=public)


def _others(label: str, top1: float | None, top5: float | None, test: float | None, note: str = "") -> PrintedRow:
    return PrintedRow(7, label, (), None, top1, top5, test, note)


TABLE_3: tuple[PrintedRow, ...] = (
    _single(3, "A", _FIXED_SMALL, 29.6, 10.4),
    _single(3, "A-LRN", _FIXED_SMALL, 29.7, 10.5),
    _single(3, "B", _FIXED_SMALL, 28.7, 9.9),
    _single(3, "C", _FIXED_SMALL, 28.1, 9.4),
    _single(3, "C", _FIXED_LARGE, 28.1, 9.3),
    _single(3, "C", _JITTERED, 27.3, 8.8),
    _single(3, "D", _FIXED_SMALL, 27.0, 8.8),
    _single(3, "D", _FIXED_LARGE, 26.8, 8.7),
    _single(3, "D", _JITTERED, 25.6, 8.1),
    _single(3, "E", _FIXED_SMALL, 27.3, 9.0),
    _single(3, "E", _FIXED_LARGE, 26.9, 8.7),
    _single(3, "E", _JITTERED, 25.5, 8.0),
)

TABLE_4: tuple[PrintedRow, ...] = (
    _single(4, "B", _FIXED_SMALL, 28.2, 9.6),
    _single(4, "C", _FIXED_SMALL, 27.7, 9.2),
    _single(4, "C", _FIXED_LARGE, 27.8, 9.2),
    _single(4, "C", _JITTERED, 26.3, 8.2),
    _single(4, "D", _FIXED_SMALL, 26.6, 8.6),
    _single(4, "D", _FIXED_LARGE, 26.5, 8.6),
    _single(4, "D", _JITTERED, 24.8, 7.5),
    _single(4, "E", _FIXED_SMALL, 26.9, 8.7),
    _single(4, "E", _FIXED_LARGE, 26.7, 8.6),
    _single(4, "E", _JITTERED, 24.8, 7.5),
)

TABLE_5: tuple[PrintedRow, ...] = (
    _single(5, "D", _JITTERED, 24.8, 7.5),
    _single(5, "D", _JITTERED, 24.6, 7.5, method="crops"),
    _single(5, "D", _JITTERED, 24.4, 7.2, method="both"),
    _single(5, "E", _JITTERED, 24.8, 7.5),
    _single(5, "E", _JITTERED, 24.6, 7.4, method="crops"),
    _single(5, "E", _JITTERED, 24.4, 7.1, method="both"),
)

_SUBMISSION = tuple(
    _network(configuration, scale, multi=True)
    for configuration, scale in (
        ("D", _FIXED_SMALL),
        ("D", _FIXED_LARGE),
        ("D", _JITTERED),
        ("C", _FIXED_SMALL),
        ("C", _FIXED_LARGE),
        ("E", _FIXED_SMALL),
        ("E", _FIXED_LARGE),
    )
)
_SUBMISSION_NOTE = "none of the seven submitted networks is public; its D/[256;512] had only its FC layers fine-tuned"
_D_AND_E = (_network("D", _JITTERED, multi=True), _network("E", _JITTERED, multi=True))
_ONE_NET_NOTE = "section 4.4 calls this 7.1 % (model E, table 5): that is validation, the printed 7.0 is test"

TABLE_6: tuple[PrintedRow, ...] = (
    _fusion(
        6,
        "ILSVRC submission, 7 nets",
        _SUBMISSION,
        "dense",
        (24.7, 7.5, 7.3),
        note=_SUBMISSION_NOTE,
        reproducible=False,
    ),
    _fusion(6, "D + E", _D_AND_E, "dense", (24.0, 7.1, 7.0)),
    _fusion(
        6, "D + E", _D_AND_E, "crops", (23.9, 7.2, None), note="worse in top-5 than dense, better in top-1, as printed"
    ),
    _fusion(6, "D + E", _D_AND_E, "both", (23.7, 6.8, 6.8)),
)

TABLE_7: tuple[PrintedRow, ...] = (
    _fusion(7, "VGG, 2 nets", _D_AND_E, "both", (23.7, 6.8, 6.8)),
    _fusion(7, "VGG, 1 net", _D_AND_E[1:], "both", (24.4, 7.1, 7.0), note=_ONE_NET_NOTE),
    _fusion(
        7,
        "VGG, ILSVRC submission, 7 nets",
        _SUBMISSION,
        "dense",
        (24.7, 7.5, 7.3),
        note=_SUBMISSION_NOTE,
        reproducible=False,
    ),
    _others("GoogLeNet, 1 net", None, 7.9, 7.9, "one printed cell spans validation and test"),
    _others("GoogLeNet, 7 nets", None, 6.7, 6.7, "one printed cell spans validation and test"),
    _others("MSRA, 11 nets", None, None, 8.1),
    _others("MSRA, 1 net", 27.9, 9.1, 9.1),
    _others("Clarifai, multiple nets", None, None, 11.7),
    _others("Clarifai, 1 net", None, None, 12.5),
    _others("Zeiler & Fergus, 6 nets", 36.0, 14.7, 14.8),
    _others("Zeiler & Fergus, 1 net", 37.5, 16.0, 16.1),
    _others("OverFeat, 7 nets", 34.0, 13.2, 13.6),
    _others("OverFeat, 1 net", 35.7, 14.2, None),
    _others("Krizhevsky et al., 5 nets", 38.1, 16.4, 16.4),
    _others("Krizhevsky et al., 1 net", 40.7, 18.2, None),
)

TABLES: dict[int, tuple[PrintedRow, ...]] = {3: TABLE_3, 4: TABLE_4, 5: TABLE_5, 6: TABLE_6, 7: TABLE_7}

TITLES: dict[int, str] = {
    3: "ConvNet performance at a single test scale",
    4: "ConvNet performance at multiple test scales",
    5: "ConvNet evaluation techniques",
    6: "Multiple ConvNet fusion results",
    7: "Comparison with the state of the art in ILSVRC classification",
}
