"""A verdict as its page shows it: who was judged, what was found, what would settle it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from app.dashboard.formatting import MINUS, percent, plural
from app.dashboard.gate_plot import GatePlot
from app.dashboard.protocols import FIELDS
from app.representations.gates import GateDocument, SideDocument
from ensembles.wording import p_in_words, quantity

METRIC_NAMES = {"top1_error": "Top-1 error", "top5_error": "Top-5 error", "nll": "Negative log-likelihood"}

#: What follows from each verdict.
MEANINGS = {
    "pass": "The candidate may replace the baseline: it is shown to be worse by less than the margin.",
    "fail": "The candidate must not replace the baseline: it is shown to be worse, and not to be within the margin.",
    "inconclusive": "These images do not tell: the candidate is neither shown to be worse nor to be within the margin.",
}

#: Members of an ensemble that its name still lists.
_NAMES_LISTED = 3


@dataclass(frozen=True)
class Judged:
    """One verdict, and whom it is about."""

    document: GateDocument
    base: SideDocument | None
    candidate: SideDocument | None

    @property
    def plot(self) -> GatePlot:
        """The difference against the margin."""
        return GatePlot.of(self.document)

    @property
    def metric(self) -> str:
        """Its name."""
        return METRIC_NAMES[self.document.metric]

    @property
    def is_error(self) -> bool:
        """Whether images can be counted as right or wrong."""
        return self.document.metric != "nll"

    @property
    def unit(self) -> str:
        """Of a difference."""
        return "points" if self.is_error else "nats"

    @property
    def base_name(self) -> str:
        """What the baseline stood for."""
        return side_name(self.base, self.document.baseline_reference)

    @property
    def candidate_name(self) -> str:
        """What was judged."""
        return side_name(self.candidate, self.document.candidate_reference)

    @property
    def baseline_label(self) -> str:
        """The baseline's own name where it has one, and what it is made of otherwise."""
        gate = self.document
        return self.base_name if gate.baseline == gate.baseline_reference else gate.baseline

    @property
    def confidence(self) -> str:
        """Of the interval."""
        return f"{100 * (1 - 2 * self.document.alpha):g} %"

    @property
    def p(self) -> str:
        """One-sided, of "no worse"."""
        return p_in_words(self.document.p_worse)

    @property
    def detectable(self) -> str:
        """The smallest difference that would be found, with its unit."""
        found = self.document.detectable_difference_80
        return "none at so few images" if found is None else quantity(found, self.document.metric)

    @property
    def differing(self) -> str:
        """What differs between the protocols, comma-separated."""
        return ", ".join(FIELDS.get(field, field) for field in self.document.protocols_differ)

    @property
    def words(self) -> str:
        """The picture in one sentence, for those who do not see it."""
        gate = self.document
        return (
            f"difference {self.difference(gate.difference)} {self.unit}, {self.confidence} interval "
            f"{self.difference(gate.low)} to {self.difference(gate.high)}, margin {self.difference(gate.margin)}"
        )

    def value(self, value: float) -> str:
        """A side's score as text."""
        return percent(value, self.document.n_used) if self.is_error else f"{value:.4f}"

    def difference(self, value: float) -> str:
        """A difference with its sign, in its unit."""
        digits = f"{abs(100 * value):.2f}" if self.is_error else f"{abs(value):.4f}"
        return digits if not float(digits) else f"{MINUS if value < 0 else '+'}{digits}"

    def images(self, cell: str) -> str:
        """The address of the images behind one count."""
        gate = self.document
        query = {
            "base": gate.baseline_reference,
            "candidate": gate.candidate_reference,
            "cell": cell,
            "metric": gate.metric,
        }
        return f"/evaluations/{gate.candidate_reference.partition(':')[0]}/images?{urlencode(query)}"


def judged(gate: GateDocument, sides: Mapping[str, SideDocument]) -> Judged:
    """A verdict with its sides, where they are still known."""
    return Judged(gate, sides.get(gate.baseline_reference), sides.get(gate.candidate_reference))


def side_name(side: SideDocument | None, reference: str) -> str:
    """Checkpoints, or what stands for them."""
    if side is None or not side.checkpoints:
        return reference
    names = side.checkpoints
    return " + ".join(names) if len(names) <= _NAMES_LISTED else f"ensemble of {plural(len(names), 'checkpoint')}"
