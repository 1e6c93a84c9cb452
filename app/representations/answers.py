"""How the images of an evaluation were answered, as JSON and as tables: by class, confusion, calibration, agreement.

Errors, shares and differences are fractions; classes are numbered as in the data set.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from app.representations.base import Document
from app.representations.tabular import Cell

ClassSort = Literal["class", "images", "errors", "error", "difference", "p"]
Order = Literal["ascending", "descending"]


class AnsweringDocument(Document):
    """Whose answers: `reference` as comparisons name it, and what it stands for."""

    reference: str
    evaluation: str
    subject: Literal["ensemble", "checkpoint"]
    name: str
    dataset: str


class ConfusedDocument(Document):
    """Images of one class that were taken for class `predicted`; `share` of that class's images."""

    label: int
    class_name: str
    predicted: int
    predicted_name: str
    count: int
    share: float


class ClassDeltaDocument(Document):
    """A class's change from the base, on the n images of it that both scored.

    `low`, `high` are Tango's interval of this class by itself; `p_adjusted` is by Benjamini and Hochberg over all
    classes, and the verdict follows from it.
    """

    n: int
    only_base_wrong: int
    only_candidate_wrong: int
    difference: float
    low: float
    high: float
    p_exact: float
    p_adjusted: float
    verdict: Literal["better", "worse", "no difference detectable"]


class ClassDocument(Document):
    """The top-1 error of one class with its Wilson interval, null for a class without images."""

    label: int
    class_name: str
    n: int
    errors: int
    value: float | None
    low: float | None
    high: float | None
    most_confused: ConfusedDocument | None
    delta: ClassDeltaDocument | None


class ClassesDocument(Document):
    """The classes of an evaluation, sorted, one page of them; those without a value to sort by come last."""

    subject: AnsweringDocument
    base: AnsweringDocument | None
    # Images scored; with a base, those of them that it did not score, which take no part in the deltas.
    n: int
    left_out: int
    classes: int
    confidence: float
    sort: ClassSort
    order: Order
    items: list[ClassDocument]
    next: str | None


class ConfusionDocument(Document):
    """The most frequent confusions; `pairs` in all, `errors` images answered wrongly of `n`."""

    subject: AnsweringDocument
    n: int
    errors: int
    classes: int
    pairs: int
    items: list[ConfusedDocument]


class ReliabilityDocument(Document):
    """Images whose confidence is above `low` and at most `high`; null where there is none."""

    low: float
    high: float
    n: int
    confidence: float | None
    accuracy: float | None
    accuracy_low: float | None
    accuracy_high: float | None


class CalibratedDocument(Document):
    """How far one subject's confidence can be trusted; ECE over 15 bins of equal width, and of equal mass."""

    subject: AnsweringDocument
    n: int
    accuracy: float
    confidence: float
    ece_width: float
    ece_mass: float
    brier: float
    nll: float
    width: list[ReliabilityDocument]
    mass: list[ReliabilityDocument]


class CalibrationDocument(Document):
    """The ensemble, where there is one, then every member."""

    evaluation: str
    items: list[CalibratedDocument]


class AgreementDocument(Document):
    """How far the members differ, and what the ensemble changes against `reference`, its member of fewest errors.

    `disagreement` is the share of images that two members answer with different classes; `error_correlation` the phi
    coefficient of being wrong, null where a member is never or always wrong. Counts are images.
    """

    evaluation: str
    n: int
    members: list[str]
    errors: list[int]
    ensemble_errors: int
    disagreement: list[list[float]]
    error_correlation: list[list[float | None]]
    members_disagree: int
    reference: str
    rescued: int
    broken: int
    right_against_all: int
    wrong_for_all: int


CLASS_COLUMNS = (
    "label",
    "class_name",
    "n",
    "errors",
    "value",
    "low",
    "high",
    "most_confused",
    "most_confused_count",
)
DELTA_COLUMNS = tuple(f"delta_{field}" for field in ClassDeltaDocument.model_fields)
CONFUSION_COLUMNS = tuple(ConfusedDocument.model_fields)
CALIBRATION_COLUMNS = ("subject", "name", "binning", *ReliabilityDocument.model_fields)
AGREEMENT_COLUMNS = ("member", "other", "disagreement", "error_correlation")


def class_columns(document: ClassesDocument) -> list[str]:
    """The columns of `class_rows`."""
    return [*CLASS_COLUMNS, *(DELTA_COLUMNS if document.base else ())]


def class_rows(document: ClassesDocument) -> Iterable[dict[str, Cell]]:
    """One row a class, numbers unrounded."""
    for item in document.items:
        confused = item.most_confused
        yield {
            **item.model_dump(exclude={"most_confused", "delta"}),
            "most_confused": None if confused is None else confused.predicted_name,
            "most_confused_count": None if confused is None else confused.count,
            **({f"delta_{field}": value for field, value in item.delta.model_dump().items()} if item.delta else {}),
        }


def calibration_rows(document: CalibrationDocument) -> Iterable[dict[str, Cell]]:
    """One row a subject, binning and bin."""
    for item in document.items:
        for binning, bins in (("width", item.width), ("mass", item.mass)):
            for one in bins:
                yield {
                    "subject": item.subject.subject,
                    "name": item.subject.name,
                    "binning": binning,
                    **one.model_dump(),
                }


def agreement_rows(document: AgreementDocument) -> Iterable[dict[str, Cell]]:
    """One row a pair of members."""
    for i, name in enumerate(document.members):
        for j in range(i + 1, len(document.members)):
            yield {
                "member": name,
                "other": document.members[j],
                "disagreement": document.disagreement[i][j],
                "error_correlation": document.error_correlation[i][j],
            }
