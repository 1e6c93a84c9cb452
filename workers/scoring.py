"""Scores of an evaluation from its posteriors, block by block: never more than a few thousand rows in memory.

Of members and the ensemble the outcome of each image is kept too: a few numbers each, which comparisons read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.fault_points import reach
from app.services.evaluations import NewScore
from ensembles.calibration import expected_calibration_error, reliability_curve
from ensembles.fusion import average_probs, fuse
from ensembles.outcomes import ImageOutcomes, score_images
from ensembles.predictions import PosteriorParts
from ensembles.protocols import FusionSpec
from ensembles.specs import ViewSpec
from ensembles.statistics import wilson_interval

#: Bytes of float64 posteriors that the rows of one block may fill.
_BLOCK_BYTES = 1 << 28

#: The equal or weighted mean of members, at no temperature.
MEAN = FusionSpec()

Block = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class ScoredView:
    """A view of a member, and where its posteriors lie."""

    view: ViewSpec
    posteriors: PosteriorParts


@dataclass(frozen=True)
class ScoredMember:
    """A checkpoint of an ensemble: its views mode by mode, and its weight."""

    checkpoint: str
    weight: float
    views: tuple[ScoredView, ...]

    @property
    def modes(self) -> tuple[str, ...]:
        """Modes in the order of the views."""
        return tuple(dict.fromkeys(scored.view.mode for scored in self.views))

    def scales(self, mode: str) -> list[int]:
        """Test scales Q of one mode, px; none of what was imported."""
        return [scored.view.scale for scored in self.views if scored.view.mode == mode != "imported"]


@dataclass(frozen=True, eq=False)
class SubjectOutcomes:
    """How each image was answered by a member over all its views, or by the ensemble.

    Attributes:
        position: of its row of scores.
        member: its position among the members; None for the ensemble.
        outcomes: of the images that were scored, in canonical order.
    """

    position: int
    member: int | None
    outcomes: ImageOutcomes


@dataclass(frozen=True, eq=False)
class ScoredEvaluation:
    """Every score, and the outcomes of every member and the ensemble."""

    scores: list[NewScore]
    outcomes: list[SubjectOutcomes]


@dataclass
class _Row:
    """One row of the table of scores while its images are being counted: 36 bytes each, 2 MB for 50,000."""

    subject: str
    subject_name: str
    members: list[dict[str, Any]]
    blocks: list[ImageOutcomes] = field(default_factory=list)

    def count(self, probs: Block, labels: NDArray[np.int64], temperature: float | None = None) -> None:
        self.blocks.append(score_images(probs, labels, temperature))

    def scores(self, position: int, n: int, n_unreadable: int) -> Iterator[NewScore]:
        # Means over all images at once: sums of blocks would depend on how they were cut.
        outcomes = ImageOutcomes.concatenate(self.blocks)
        top1_errors, top5_errors = int(outcomes.wrong(1).sum()), int(outcomes.wrong(5).sum())
        curve = reliability_curve(outcomes.confidences, ~outcomes.wrong(1))
        for metric, value, interval in (
            ("top1_error", top1_errors / n, wilson_interval(top1_errors, n)),
            ("top5_error", top5_errors / n, wilson_interval(top5_errors, n)),
            ("nll", float(outcomes.negative_log_likelihoods().mean()), (None, None)),
            ("ece", expected_calibration_error(curve), (None, None)),
            ("brier", float(outcomes.brier_scores.mean()), (None, None)),
        ):
            yield NewScore(
                position=position,
                subject=self.subject,
                subject_name=self.subject_name,
                members=self.members,
                scales=_shared([member["scales"] for member in self.members]) or None,
                mode=_shared([member["mode"] for member in self.members]),
                metric=metric,
                value=value,
                low=interval[0],
                high=interval[1],
                n=n,
                n_unreadable=n_unreadable,
            )


class ScoreTable:
    """Every row of an evaluation's scores: views, then (checkpoint, mode), then checkpoints, then the ensemble.

    A row that would say the same as an earlier one is left out: with one scale, the mode; with one mode, the
    checkpoint; with one checkpoint, the ensemble.
    """

    def __init__(self, members: Sequence[ScoredMember], fusion: FusionSpec) -> None:
        self._members = members
        self._fusion = fusion
        self._views = [
            [_checkpoint_row(member, _scales([scored]), scored.view.mode) for scored in member.views]
            for member in members
        ]
        self._modes = [
            {
                mode: _checkpoint_row(member, member.scales(mode), mode)
                for mode in member.modes
                if len(member.scales(mode)) > 1
            }
            for member in members
        ]
        self._checkpoints = [
            _checkpoint_row(member, sorted({q for mode in member.modes for q in member.scales(mode)}), "both")
            if len(member.modes) > 1
            else None
            for member in members
        ]
        contents = [_content(member) for member in members]
        self._ensemble = _Row("ensemble", "ensemble", contents) if len(members) > 1 else None
        # The row that is about all views of a member: the last that was not left out.
        self._whole = [
            checkpoint or next(iter(modes.values()), views[-1])
            for views, modes, checkpoint in zip(self._views, self._modes, self._checkpoints, strict=True)
        ]

    def count(self, blocks: Sequence[Sequence[Block]], labels: NDArray[np.int64]) -> None:
        """Add images.

        Args:
            blocks: posteriors (n, K) of each view of each member, finite, n >= 1.
            labels: (n,).
        """
        fused = []
        for position, (member, views) in enumerate(zip(self._members, blocks, strict=True)):
            for row, probs in zip(self._views[position], views, strict=True):
                row.count(probs, labels)
            by_mode = []
            for mode in member.modes:
                of_mode = [probs for scored, probs in zip(member.views, views, strict=True) if scored.view.mode == mode]
                by_mode.append(average_probs(of_mode))
                if mode in self._modes[position]:
                    self._modes[position][mode].count(by_mode[-1], labels)
            probs = average_probs(by_mode)
            checkpoint_row = self._checkpoints[position]
            if checkpoint_row is not None:
                checkpoint_row.count(probs, labels)
            fused.append(probs)
        if self._ensemble is not None:
            probs = fuse(self._fusion, fused, [member.weight for member in self._members])
            self._ensemble.count(probs, labels, self._fusion.temperature)

    def scores(self, n: int, n_unreadable: int) -> list[NewScore]:
        """What was counted.

        Args:
            n: images counted, at least 1.
            n_unreadable: images left out because they could not be read.
        """
        return [score for position, row in enumerate(self._rows()) for score in row.scores(position, n, n_unreadable)]

    def outcomes(self) -> list[SubjectOutcomes]:
        """Of each member, and of the ensemble where there is one, on the images that were counted, at least one."""
        position_of = {id(row): position for position, row in enumerate(self._rows())}
        subjects: list[tuple[int | None, _Row]] = list(enumerate(self._whole))
        if self._ensemble is not None:
            subjects.append((None, self._ensemble))
        return [
            SubjectOutcomes(position_of[id(row)], member, ImageOutcomes.concatenate(row.blocks))
            for member, row in subjects
        ]

    def _rows(self) -> list[_Row]:
        """In the order of their positions."""
        rows = [row for views in self._views for row in views]
        rows += [row for modes in self._modes for row in modes.values()]
        return rows + [row for row in (*self._checkpoints, self._ensemble) if row is not None]


def score_members(
    members: Sequence[ScoredMember],
    labels: NDArray[np.int64],
    kept: NDArray[np.bool_],
    n_unreadable: int,
    progress: Callable[[], None],
    fusion: FusionSpec = MEAN,
) -> ScoredEvaluation:
    """Fuse and score the first N images.

    Args:
        members: at least one; their posteriors reach at least to image N.
        labels: (N,).
        kept: (N,), at least one True; False leaves an image out of every row.
        n_unreadable: reported beside every score.
        progress: called after each block.
        fusion: rule and temperature; the weights are the members' own.
    """
    table = ScoreTable(members, fusion)
    views = [scored for member in members for scored in member.views]
    # Each view's block, on the way up one mean for each mode, member and the ensemble, and two copies while scoring.
    row_bytes = 8 * views[0].posteriors.classes * (2 * len(views) + len(members) + 3)
    rows = max(1, min(4096, _BLOCK_BYTES // row_bytes))
    streams = [[scored.posteriors.blocks(rows, len(labels)) for scored in member.views] for member in members]
    for start in range(0, len(labels), rows):
        keep = kept[start : start + rows]
        blocks = [[next(stream)[1][keep] for stream in of_member] for of_member in streams]
        if keep.any():
            table.count(blocks, labels[start : start + rows][keep])
        progress()
        reach("fuse.after_block")
    return ScoredEvaluation(table.scores(int(kept.sum()), n_unreadable), table.outcomes())


def _checkpoint_row(member: ScoredMember, scales: list[int], mode: str) -> _Row:
    content = {"checkpoint": member.checkpoint, "scales": scales, "mode": mode}
    return _Row("checkpoint", member.checkpoint, [content])


def _content(member: ScoredMember) -> dict[str, Any]:
    """What of a member is in the ensemble: all of it."""
    scales = sorted(set(_scales(member.views)))
    mode = member.modes[0] if len(member.modes) == 1 else "both"
    return {"checkpoint": member.checkpoint, "scales": scales, "mode": mode}


def _scales(views: Sequence[ScoredView]) -> list[int]:
    """Test scales Q of views, px; what was imported has none."""
    return [scored.view.scale for scored in views if scored.view.mode != "imported"]


def _shared(values: Sequence[Any]) -> Any:
    """The value that all have in common, or None."""
    return values[0] if all(value == values[0] for value in values) else None
