"""The best results of each data set, laid out on one axis a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.dashboard.charts import Axis
from app.representations.overview import BestDocument, BestScore


@dataclass(frozen=True)
class Leaders:
    """One data set: its best single checkpoint and best ensemble by top-1 error, and the axis that both share."""

    best: BestDocument
    axis: Axis

    @property
    def rows(self) -> list[tuple[str, str, BestScore]]:
        """(what it is, kind of row, score), the single checkpoint first."""
        found = (
            ("best single checkpoint", "member", self.best.checkpoint),
            ("best ensemble", "ensemble", self.best.ensemble),
        )
        return [(label, kind, score) for label, kind, score in found if score is not None]

    @property
    def difference(self) -> float | None:
        """Ensemble minus single checkpoint, a fraction; None where one of them is missing."""
        if self.best.checkpoint is None or self.best.ensemble is None:
            return None
        return self.best.ensemble.score.value - self.best.checkpoint.score.value


def lay_out(documents: Sequence[BestDocument]) -> list[Leaders]:
    """Data sets that have a result at all, in their order."""
    return [
        Leaders(document, Axis.around(_ends(document)))
        for document in documents
        if document.checkpoint is not None or document.ensemble is not None
    ]


def _ends(document: BestDocument) -> list[float]:
    scores = [best.score for best in (document.checkpoint, document.ensemble) if best is not None]
    return [end for score in scores for end in (score.value, score.low, score.high) if end is not None]
