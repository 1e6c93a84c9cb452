"""Single images of an evaluation and how each member and the ensemble answered them, as JSON and as a table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from app.representations.answers import AnsweringDocument
from app.representations.base import Document
from app.representations.tabular import Cell

Shown = Literal["all", "wrong", "confident", "rescued", "broken", "disagree"]
CompareCell = Literal["only_base_wrong", "only_candidate_wrong", "both_wrong", "both_right"]
CellMetric = Literal["top1_error", "top5_error"]


class RankedClass(Document):
    """One of the classes of highest posterior."""

    label: int
    class_name: str
    probability: float


class ImageAnswerDocument(Document):
    """One subject's answer; `rank` other classes are at least as likely as the true one.

    `top` has the (up to) five likeliest classes, null where the stored posteriors cannot be read.
    """

    subject: AnsweringDocument
    predicted: int
    predicted_name: str
    confidence: float
    label_probability: float
    rank: int
    top: list[RankedClass] | None


class AnsweredImageDocument(Document):
    """One image: `index` in the canonical order of its data set, its true class, and every answer."""

    index: int
    id: str
    label: int
    class_name: str
    width: int
    height: int
    thumbnail: str
    answers: list[ImageAnswerDocument]


class AnsweredImagesDocument(Document):
    """One page of the images that a filter leaves, and how many it leaves of the n that were scored.

    `problems` says which stored posteriors could not be read.
    """

    subject: AnsweringDocument
    base: AnsweringDocument | None
    candidate: AnsweringDocument | None
    # The member that "rescued" and "broken" are against.
    reference: str | None
    n: int
    found: int
    problems: list[str]
    items: list[AnsweredImageDocument]
    next: str | None


IMAGE_COLUMNS = (
    "index",
    "id",
    "label",
    "class_name",
    "subject",
    "name",
    "predicted",
    "predicted_name",
    "confidence",
    "label_probability",
    "rank",
)


def image_rows(document: AnsweredImagesDocument) -> Iterable[dict[str, Cell]]:
    """One row an image and subject."""
    for item in document.items:
        for answer in item.answers:
            yield {
                **item.model_dump(include={"index", "id", "label", "class_name"}),
                "subject": answer.subject.subject,
                "name": answer.subject.name,
                **answer.model_dump(exclude={"subject", "top"}),
            }
