"""The forms of gates and baselines: margins in points, as people say them."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from app.dashboard.forms import Form
from app.errors import InvalidRequestError, NotFoundError, OutcomesMissingError, StateConflictError
from app.representations.gates import SHORT_METRICS, BaselineRequest, GateRequest
from ensembles.errors import SpecError

#: What a side that cannot be judged is refused with.
_REFUSALS = (InvalidRequestError, SpecError, NotFoundError, StateConflictError, OutcomesMissingError)


class GateForm(Form):
    """Judge a candidate against a baseline."""

    labels: ClassVar[dict[str, str]] = {
        "candidate": "Candidate",
        "baseline": "Baseline",
        "metric": "Metric",
        "margin": "Margin",
        "alpha": "Chance of a wrong verdict",
        "classes": "Classes",
    }

    def request(self) -> GateRequest | None:
        """What was asked for; None, with problems, where it makes no sense."""
        complete = self.require(candidate="who is judged is needed", baseline="what it is judged against is needed")
        metric = self["metric"] or "top1"
        margin, alpha = self._number("margin", "0.5"), self._number("alpha", "5")
        if margin is not None and not 0 <= margin < (100 if metric != "nll" else float("inf")):
            self.add("margin", "from 0 to below 100 points, or nats for the negative log-likelihood")
        if alpha is not None and not 0 < alpha < 50:
            self.add("alpha", "above 0 and below 50 %")
        if not complete or margin is None or alpha is None or self.problems:
            return None
        return self.read(
            GateRequest,
            {
                "baseline": self["baseline"].strip(),
                "candidate": self["candidate"].strip(),
                "metric": SHORT_METRICS.get(metric, metric),
                "margin": margin if metric == "nll" else margin / 100,
                "alpha": alpha / 100,
                "classes": [line.strip() for line in self["classes"].splitlines() if line.strip()] or None,
            },
        )

    def _number(self, name: str, default: str) -> float | None:
        text = (self[name].strip() or default).replace(",", ".")
        try:
            return float(text)
        except ValueError:
            self.add(name, f"a number; got {self[name]!r}")
            return None


class BaselineForm(Form):
    """Let a name stand for an evaluation or one of its members."""

    labels: ClassVar[dict[str, str]] = {"name": "Name", "reference": "Stands for", "note": "Note"}

    def request(self) -> BaselineRequest | None:
        """What was asked for; None, with problems, where a field is missing."""
        if not self.require(name="a name is needed", reference="what it stands for is needed"):
            return None
        if "/" in self["name"] or not self["name"].isprintable() or len(self["name"].strip()) > 200:
            self.add("name", "at most 200 printable characters without a slash")
            return None
        return self.read(BaselineRequest, {"reference": self["reference"].strip(), "note": self["note"].strip()})


def attempt_on(form: Form, sides: tuple[str, ...], action: Callable[[], str | None]) -> str | None:
    """What `action` answers with; None, with the form's problems, where the service refuses the request.

    Args:
        form: what was filled in.
        sides: fields that name an evaluation: an error about one stands beside the field that names it.
        action: calls the service.
    """
    try:
        return action()
    except _REFUSALS as error:
        if hasattr(error, "problems"):
            form.refuse(error)
        else:
            form.add(next((side for side in sides if _about(error, form[side])), sides[0]), str(error))
        return None


def _about(error: Exception, text: str) -> bool:
    """Whether an error is about what a field names: `ID`, `ID:NAME` or a baseline."""
    key, _, member = text.strip().partition(":")
    named = {getattr(error, "key", None), getattr(error, "evaluation_id", None)}
    return bool(named & {key, member or key, text.strip()})
