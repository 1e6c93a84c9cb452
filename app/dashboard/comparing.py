"""A comparison as its page shows it: the verdict in words, a row a side, where they were configured otherwise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import urlencode

from app.dashboard.forest import Forest
from app.dashboard.formatting import MINUS, percent, plural
from app.dashboard.protocols import FIELDS, flatten
from app.representations.comparisons import (
    ERROR_METRICS,
    ComparedDocument,
    ComparisonDocument,
    PairDocument,
    RankDocument,
    rank_text,
)
from ensembles.wording import quantity

METRIC_NAMES = {
    "top1_error": "Top-1 error",
    "top5_error": "Top-5 error",
    "nll": "Negative log-likelihood",
    "brier": "Brier score",
    "ece": "Calibration error",
}

#: A class name and a word; "no" is what "no difference detectable" begins with.
VERDICT_MARKS = {"better": "better", "worse": "worse", "no difference detectable": "no difference"}

#: So many tables of four cells stand open; more are folded.
CELLS_SHOWN = 6

#: Members of an ensemble that its name still lists.
_NAMES_LISTED = 3

_DIGEST_SHOWN = 12

#: Fields of a configuration that are no protocol's, by their names on the page.
_OWN_FIELDS = {
    "dataset": "data set",
    "dataset_fingerprint": "data set fingerprint",
    "training_scale": "training scale S",
}


@dataclass(frozen=True)
class Side:
    """One row: a side, its name, and what was found; `pair` is None for the base.

    `label` is the name, and the end of the evaluation's id where another side has the same name: ids begin alike.
    """

    subject: ComparedDocument
    name: str
    label: str
    pair: PairDocument | None
    rank: str


@dataclass(frozen=True)
class Configurations:
    """What differs between sides, and what does not.

    Attributes:
        fields: names of what differs.
        rows: one a side, a text a field.
        shared: (name, text) of what is the same on every side.
    """

    fields: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    shared: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Comparison:
    """Everything that the page shows, by one metric."""

    document: ComparisonDocument
    metric: str
    base: Side
    candidates: tuple[Side, ...]
    forest: Forest
    configurations: Configurations

    @property
    def sides(self) -> tuple[Side, ...]:
        """The base, then the candidates."""
        return (self.base, *self.candidates)

    @cached_property
    def pairs(self) -> list[PairDocument]:
        """Of the candidates."""
        return [side.pair for side in self.candidates if side.pair is not None]

    @cached_property
    def n(self) -> int:
        """Images that all sides share."""
        return self.pairs[0].n

    @property
    def is_error(self) -> bool:
        """Whether images can be counted as right or wrong."""
        return self.metric in ERROR_METRICS

    @property
    def verdicts(self) -> Mapping[str, int]:
        """How many candidates are better, worse, or cannot be told apart."""
        return Counter(pair.verdict for pair in self.pairs)

    @property
    def differing_protocols(self) -> dict[str, list[str]]:
        """Candidates by what differs between their protocols and the base's: fields, comma-separated."""
        found: dict[str, list[str]] = {}
        for side in self.candidates:
            if side.pair is not None and side.pair.protocols_differ:
                fields = ", ".join(FIELDS.get(field, field) for field in side.pair.protocols_differ)
                found.setdefault(fields, []).append(side.label)
        return found

    @property
    def most_left_out(self) -> Side | None:
        """The side that scored the most images which others did not; None where all share all."""
        most = max(self.sides, key=lambda side: side.subject.left_out)
        return most if most.subject.left_out else None

    def value(self, side: Side) -> str:
        """A side's score as text."""
        value = self.pairs[0].base_value if side.pair is None else side.pair.candidate_value
        return f"{percent(value, self.n)}" if self.is_error else f"{value:.4f}"

    def difference(self, value: float) -> str:
        """A difference with its sign: points for errors."""
        digits = f"{abs(100 * value):.{2 if self.n >= 1000 else 1}f}" if self.is_error else f"{abs(value):.4f}"
        if not float(digits):
            return digits
        return f"{MINUS if value < 0 else '+'}{digits}"

    def detectable(self, pair: PairDocument) -> str:
        """The smallest difference that would be found, with its unit."""
        found = pair.detectable_difference_80
        return "none at so few images" if found is None else quantity(found, self.metric)

    def images(self, side: Side, cell: str) -> str:
        """The address of the images behind one cell."""
        query = {
            "base": self.base.subject.reference,
            "candidate": side.subject.reference,
            "cell": cell,
            "metric": self.metric,
        }
        return f"/evaluations/{side.subject.evaluation}/images?{urlencode(query)}"


def summarise(document: ComparisonDocument) -> Comparison:
    """Arrange a comparison by its first metric."""
    metric = document.metrics[0]
    pairs = {pair.candidate: pair for pair in document.pairs if pair.metric == metric}
    ranks = {rank.reference: _rank(rank) for rank in document.ranks if rank.metric == metric}
    names = _names(document.subjects)
    often = Counter(names)
    base, *candidates = (
        Side(
            subject,
            name,
            name if often[name] == 1 else f"{name} {id_end(subject)}",
            pairs.get(subject.reference),
            ranks.get(subject.reference, ""),
        )
        for subject, name in zip(document.subjects, names, strict=True)
    )
    return Comparison(
        document=document,
        metric=metric,
        base=base,
        candidates=tuple(candidates),
        forest=Forest.around(
            [(pair.low, pair.high) for pair in pairs.values()], 100.0 if metric in ERROR_METRICS else 1.0
        ),
        configurations=_configurations(document.subjects),
    )


def id_end(subject: ComparedDocument) -> str:
    """What tells evaluations apart: their ids begin with the time."""
    return f"…{subject.evaluation[-6:]}"


def p_text(p: float) -> str:
    """A p-value with as many digits as it deserves."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _rank(rank: RankDocument) -> str:
    return rank_text(rank).replace("-", "–")


def _names(subjects: Sequence[ComparedDocument]) -> list[str]:
    """Checkpoints, or what an ensemble is made of."""
    return [
        subject.name
        if subject.subject == "checkpoint"
        else " + ".join(subject.members)
        if len(subject.members) <= _NAMES_LISTED
        else f"ensemble of {plural(len(subject.members), 'checkpoint')}"
        for subject in subjects
    ]


def _configurations(subjects: Sequence[ComparedDocument]) -> Configurations:
    tables = [dict(flatten(_shortened(subject.configuration))) for subject in subjects]
    fields = list(dict.fromkeys(field for table in tables for field in table))
    columns = {field: [table.get(field, "–") for table in tables] for field in fields}
    differing = [field for field in fields if len(set(columns[field])) > 1]
    return Configurations(
        fields=tuple(map(_label, differing)),
        rows=tuple(tuple(columns[field][row] for field in differing) for row in range(len(tables))),
        shared=tuple((_label(field), columns[field][0]) for field in fields if field not in differing),
    )


def _shortened(configuration: Mapping[str, object]) -> dict[str, object]:
    """Digests cut to what people compare."""

    def cut(value: object) -> object:
        if isinstance(value, list):
            return [cut(one) for one in value]
        return value[:_DIGEST_SHOWN] if isinstance(value, str) else value

    return {
        name: cut(value) if name in ("sha256", "dataset_fingerprint") else value
        for name, value in configuration.items()
    }


def _label(field: str) -> str:
    head, dot, rest = field.partition(".")
    name = FIELDS.get(head) or _OWN_FIELDS.get(head) or head.replace("_", " ")
    return f"{name}{dot}{rest}".replace("_", " ")
