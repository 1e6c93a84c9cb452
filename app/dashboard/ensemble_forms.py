"""The forms of saved ensembles: what people write about one, and the data set it is evaluated on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from app.dashboard.forms import Form
from app.representations.ensembles import EnsembleChange, EnsembleDocument
from app.representations.requests import EvaluationRequest

METRIC_NAMES = {"top1_error": "top-1 error", "top5_error": "top-5 error", "nll": "negative log-likelihood"}


class EnsembleForm(Form):
    """Name and notes."""

    labels: ClassVar[Mapping[str, str]] = {"name": "Name", "notes": "Notes"}

    def request(self) -> EnsembleChange | None:
        """What was asked for; None, with problems, where a field is missing."""
        if not self.require(name="a name is needed"):
            return None
        return self.read(EnsembleChange, {"name": self["name"].strip(), "notes": self["notes"].strip()})


class EvaluateForm(Form):
    """On which data set."""

    labels: ClassVar[Mapping[str, str]] = {"dataset": "Data set"}

    def request(self, ensemble: str) -> EvaluationRequest | None:
        """What was asked for; None, with problems, where no data set was chosen."""
        if not self.require(dataset="choose a data set"):
            return None
        return self.read(EvaluationRequest, {"dataset": self["dataset"], "ensemble": ensemble})


def shares(ensemble: EnsembleDocument) -> list[float]:
    """What each member weighs in the whole, as a fraction."""
    total = sum(member.weight for member in ensemble.members)
    return [member.weight / total for member in ensemble.members]
