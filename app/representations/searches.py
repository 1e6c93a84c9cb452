"""What a search of an ensemble answers."""

from __future__ import annotations

from typing import Literal

from app.representations.base import Document
from app.representations.ensembles import GuardName, MethodName, MetricName, ModeName, OverName


class FusedMemberDocument(Document):
    """A unit of a fusion: views of a checkpoint, and what they weigh together."""

    checkpoint: str
    scales: list[int]
    mode: ModeName | Literal["imported"]
    weight: float


class FusionDocument(Document):
    """A fusion, its errors on the images that report, and what one image costs.

    `low`, `high`: the 95 % interval of the top-1 error. `selected_by`: the metric on the images that chose. `seconds`:
    as measured when the posteriors were made; null where some were not. `selection_biased`: the errors are of images
    that chose it among others.
    """

    members: list[FusedMemberDocument]
    top1_error: float
    top5_error: float
    low: float
    high: float
    selected_by: float
    gmacs: float
    seconds: float | None
    selection_biased: bool


class LeftOutDocument(Document):
    """The chosen ensemble without one unit; `difference` is its top-1 error less that of the whole."""

    without: FusedMemberDocument
    top1_error: float
    top5_error: float
    difference: float


class ProcedureDocument(Document):
    """Cross-fitting: the error, on images that did not choose, of ensembles chosen in this way; not of one ensemble."""

    top1_error: float
    top5_error: float
    low: float
    high: float
    n: int


class SearchDocument(Document):
    """The result of a search.

    The first of `best` is chosen. `selection_biased` is about its errors. `optimism` is the error reported for it (or,
    in cross-fitting, for the procedure) less the error that chose it; null where nothing else than the choosing images
    reports, and for NLL. `fixed` is the evaluation's own fusion. `pareto` and `cheapest` are by the images that chose.
    """

    evaluation: str
    method: MethodName
    over: OverName
    rule: Literal["mean", "geometric"]
    metric: MetricName
    cost: Literal["gmacs", "seconds"]
    within: float
    candidates_tried: int
    selection: GuardName
    selection_biased: bool
    n_select: int
    n_report: int
    optimism: float | None
    procedure: ProcedureDocument | None
    best: list[FusionDocument]
    pareto: list[FusionDocument]
    cheapest: FusionDocument
    leave_one_out: list[LeftOutDocument]
    fixed: list[FusionDocument]
