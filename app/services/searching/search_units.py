"""The units that a search fuses: views of an evaluation's members, or means of them, where their posteriors lie."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.artifacts import ArtifactStore
from app.db.models import Evaluation, EvaluationMember, EvaluationSet, PredictionPart
from app.services import datasets, predictions
from app.services.answering import outcomes, subjects
from ensembles.datasets import DatasetIndex
from ensembles.exact_sums import whole_weights
from ensembles.leaves import leaf_weights, view_weights
from ensembles.predictions import PosteriorPart, PosteriorParts
from ensembles.specs import ViewSpec

_GIGA = 1e9


@dataclass(frozen=True)
class Leaf:
    """A prediction set as an evaluation uses it, with what an image of it costs."""

    view: ViewSpec
    parts: tuple[PosteriorPart, ...]
    gmacs: float
    seconds: float | None


@dataclass(frozen=True)
class Unit:
    """Views of one member that stand or fall together.

    Attributes:
        member: whose.
        views: its views.
        shares: of all leaves of the evaluation, in their order; sum 1.
        leaves: what it reads.
    """

    member: EvaluationMember
    views: tuple[ViewSpec, ...]
    shares: tuple[Fraction, ...]
    leaves: tuple[Leaf, ...]

    @property
    def scales(self) -> list[int]:
        """Test scales Q, px, ascending; what was imported has none."""
        return sorted({view.scale for view in self.views if view.mode != "imported"})

    @property
    def mode(self) -> str:
        """One mode, or both."""
        modes = {view.mode for view in self.views}
        return modes.pop() if len(modes) == 1 else "both"

    @property
    def gmacs(self) -> float:
        """An image."""
        return sum(leaf.gmacs for leaf in self.leaves)

    @property
    def seconds(self) -> float | None:
        """An image, as measured; None where some leaf was not."""
        known = [leaf.seconds for leaf in self.leaves if leaf.seconds is not None]
        return sum(known) if len(known) == len(self.leaves) else None


@dataclass(frozen=True, eq=False)
class Searchable:
    """Everything that a search needs of an evaluation.

    Attributes:
        evaluation: that succeeded.
        units: in the order of its members and views.
        leaves: all of its prediction sets.
        index: of the data set.
        scored: (images,) bool: those of the first images that its scores count.
        own: whole weights of the units that give the evaluation's own fusion.
    """

    evaluation: Evaluation
    units: tuple[Unit, ...]
    leaves: tuple[Leaf, ...]
    index: DatasetIndex
    scored: NDArray[np.bool_]
    own: tuple[float, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        """Of the scored images."""
        return tuple(self.index.ids[image] for image in np.flatnonzero(self.scored).tolist())

    @property
    def labels(self) -> NDArray[np.int64]:
        """Of the scored images."""
        return self.index.labels[: len(self.scored)][self.scored]

    def posteriors(self) -> list[PosteriorParts]:
        """Of each leaf, the first images; files are opened here.

        Raises:
            PosteriorsFormatError: a file is not its part's.
            OSError: a file cannot be opened.
        """
        return [PosteriorParts(leaf.parts, len(self.scored)) for leaf in self.leaves]


def read(session: Session, artifacts: ArtifactStore, evaluation_id: str, over: str) -> Searchable:
    """The units of an evaluation.

    Args:
        session: to read with.
        artifacts: where its files lie.
        evaluation_id: of one that succeeded.
        over: "views", "modes" or "checkpoints".

    Raises:
        NotFoundError: no such evaluation.
        StateConflictError: it has not succeeded, or its posteriors are being made anew.
        OutcomesMissingError: it was fused by a release that kept no outcomes.
        ArtifactDamagedError: stored outcomes or the index are missing or different.
    """
    subject = subjects.find_members(session, evaluation_id)[0]
    evaluation = subject.evaluation
    images, _ = outcomes.load(artifacts, subject.stored)
    scored = np.zeros(evaluation.images, dtype=np.bool_)
    scored[images] = True
    found = [(member, [_leaf(session, artifacts, link) for link in member.sets]) for member in evaluation.members]
    leaves = tuple(leaf for _, of_member in found for leaf in of_member)
    weights = leaf_weights(
        [[leaf.view.mode for leaf in of_member] for _, of_member in found],
        [member.weight for member in evaluation.members],
    )
    units = tuple(_units(found, len(leaves), over))
    # What a unit weighs in the evaluation is what its leaves weigh there together.
    own = [sum(w for w, share in zip(weights, unit.shares, strict=True) if share) for unit in units]
    return Searchable(
        evaluation,
        units,
        leaves,
        datasets.load_index(artifacts, evaluation.dataset),
        scored,
        tuple(float(weight) for weight in whole_weights(own, len(own))),
    )


def _units(found: list[tuple[EvaluationMember, list[Leaf]]], total: int, over: str) -> Iterator[Unit]:
    first = 0
    for member, leaves in found:
        for group in _groups(leaves, over):
            shares = [Fraction(0)] * total
            weights = view_weights([leaves[place].view.mode for place in group])
            for place, weight in zip(group, weights, strict=True):
                shares[first + place] = weight
            chosen = tuple(leaves[place] for place in group)
            yield Unit(member, tuple(leaf.view for leaf in chosen), tuple(shares), chosen)
        first += len(leaves)


def _groups(leaves: list[Leaf], over: str) -> list[list[int]]:
    places = range(len(leaves))
    if over == "views":
        return [[place] for place in places]
    if over == "modes":
        modes = dict.fromkeys(leaf.view.mode for leaf in leaves)
        return [[place for place in places if leaves[place].view.mode == mode] for mode in modes]
    return [list(places)]


def _leaf(session: Session, artifacts: ArtifactStore, link: EvaluationSet) -> Leaf:
    files = predictions.part_files(session, link.set_id, link.stop)
    parts = tuple(PosteriorPart(part.start, part.stop, artifacts.path(part.artifact)) for part in files)
    chosen = link.prediction_set
    return Leaf(
        ViewSpec.from_dict(chosen.view), parts, chosen.macs_per_image / _GIGA, _seconds(session, link.set_id, parts)
    )


def _seconds(session: Session, set_id: str, parts: tuple[PosteriorPart, ...]) -> float | None:
    """What an image of the parts took; None where one was not timed."""
    rows = select(PredictionPart.start, PredictionPart.seconds).where(PredictionPart.set_id == set_id)
    timed = dict(session.execute(rows).all())
    seconds = [timed.get(part.start) for part in parts]
    known = [one for one in seconds if one is not None]
    return sum(known) / (parts[-1].stop - parts[0].start) if len(known) == len(seconds) else None
