"""The form of a search, whose state is its address: margins in points, as people say them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from app.dashboard.forms import Form
from app.representations.ensembles import EnsembleRequest, SavedSearchRequest, SearchRequest

#: Field -> its values, and how the page calls them; the first is the default.
CHOICES: dict[str, tuple[tuple[str, str], ...]] = {
    "over": (("checkpoints", "checkpoints"), ("modes", "modes of checkpoints"), ("views", "single views")),
    "method": (("exhaustive", "every subset"), ("greedy", "greedy picks"), ("weights", "any weights")),
    "guard": (("split", "one half"), ("crossfit", "all, cross-fitted"), ("none", "all, no guard")),
    "metric": (
        ("top1_error", "top-1 error"),
        ("top5_error", "top-5 error"),
        ("nll", "negative log-likelihood"),
    ),
    "rule": (("mean", "mean"), ("geometric", "normalised geometric mean")),
    "cost": (("gmacs", "multiply-accumulates"), ("seconds", "measured seconds")),
}


class SearchForm(Form):
    """What is searched, and how."""

    labels: ClassVar[Mapping[str, str]] = {
        "over": "Fuse",
        "method": "Look at",
        "metric": "Make small",
        "guard": "Images that choose",
        "rule": "Fusion",
        "cost": "Cost",
        "within": "Good enough within",
        "name": "Name",
        "notes": "Notes",
    }

    @property
    def sent(self) -> bool:
        """Whether it was sent, not only opened."""
        return bool(self["method"])

    def chosen(self, name: str) -> str:
        """The value of a field, or its default."""
        return self[name] or CHOICES[name][0][0]

    @property
    def within(self) -> str:
        """The margin as it was typed: points of error, or nats."""
        return self["within"].strip() or ("0.002" if self.chosen("metric") == "nll" else "0.2")

    def request(self) -> SearchRequest | None:
        """What was asked for; None, with problems, where it makes no sense."""
        fields = self._fields()
        return None if fields is None else self.read(SearchRequest, fields)

    def saving(self, evaluation_id: str) -> EnsembleRequest | None:
        """The request that saves what the search chooses; None, with problems."""
        named = self.require(name="a name is needed")
        fields = self._fields()
        search = None if fields is None else self.read(SavedSearchRequest, {**fields, "evaluation": evaluation_id})
        if not named or search is None:
            return None
        return self.read(
            EnsembleRequest, {"name": self["name"].strip(), "notes": self["notes"].strip(), "search": search}
        )

    def _fields(self) -> dict[str, Any] | None:
        try:
            within = float(self.within.replace(",", "."))
        except ValueError:
            self.add("within", f"a number of at least 0; got {self.within!r}")
            return None
        if not 0 <= within <= 100:
            self.add("within", f"from 0 to 100; got {self.within!r}")
            return None
        fields: dict[str, Any] = {name: self.chosen(name) for name in CHOICES}
        fields["within"] = within if fields["metric"] == "nll" else within / 100
        return fields
