"""The first page as JSON."""

from __future__ import annotations

from app.representations.base import Document
from app.representations.evaluations import ScoreDocument


class BestScore(Document):
    """A top-1 error and the evaluation that measured it."""

    evaluation: str
    score: ScoreDocument


class BestDocument(Document):
    """The best numbers on one data set, over all its images; null where there is none yet."""

    dataset: str
    images: int
    checkpoint: BestScore | None
    ensemble: BestScore | None
