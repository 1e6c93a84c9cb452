"""Decides from a history whether anything was lost or done twice. Pure functions; the run only gathers."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.nemesis.history import EvaluationRow, EventRow, History, ScoreRow

_LEASED = ("part_leased", "item_leased")
_DONE = ("part_done", "item_done")
_FENCED = ("part_fenced", "item_fenced")
_TAKEN_BACK = ("part_expired", "part_split", "part_set_aside", "item_expired")
#: Metrics that count answers.
_COUNTED = ("top1_error", "top5_error")
#: Of a mean over images of what probabilities give, between forward passes of different batch sizes.
_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Report:
    """What a run amounts to.

    Attributes:
        acknowledged: submissions that were answered with 202.
        done_once: of these, how many ended exactly once, with the scores of the reference or cancelled on request.
        parts_done: parts and items whose work took effect.
        lost: sentences, each about something promised that is not there.
        duplicated: sentences, each about something that took effect twice.
        wrong: sentences, each about a number or file that is not what it must be.
        refused_zombie_commits: results that came under a token that was no longer valid, and changed nothing.
        leases_taken_back: from holders that vanished or stood still.
        recomputed: parts whose stored posteriors were found damaged.
        smaller_batch: evaluations with a part that was predicted in smaller batches, as workers vanished over it.
    """

    acknowledged: int
    done_once: int
    parts_done: int
    lost: tuple[str, ...]
    duplicated: tuple[str, ...]
    wrong: tuple[str, ...]
    refused_zombie_commits: int
    leases_taken_back: int
    recomputed: int
    smaller_batch: int

    @property
    def ok(self) -> bool:
        """Whether every promise was kept."""
        return not (self.lost or self.duplicated or self.wrong) and self.done_once == self.acknowledged

    def __str__(self) -> str:
        line = (
            f"acked={self.acknowledged} done_once={self.done_once} lost={len(self.lost)} "
            f"duplicated={len(self.duplicated)} wrong={len(self.wrong)} "
            f"refused_zombie_commits={self.refused_zombie_commits} parts_done={self.parts_done} "
            f"leases_taken_back={self.leases_taken_back} recomputed={self.recomputed} "
            f"smaller_batch={self.smaller_batch}"
        )
        return "\n".join([line, *(f"  {sentence}" for sentence in (*self.lost, *self.duplicated, *self.wrong)[:40])])


def check(history: History) -> Report:
    """Compare what was promised with what is there."""
    by_subject: dict[str, list[EventRow]] = defaultdict(list)
    for event in history.events:
        by_subject[event.subject].append(event)
    lost = [*_lost_evaluations(history), *_gaps(history)]
    duplicated = [*_doubled_keys(history), *_overlaps(history), *_doubled_scores(history)]
    for subject, events in by_subject.items():
        duplicated += _doubled_effects(subject, events)
    wrong = [*_wrong_scores(history), *_damaged_files(history)]
    kinds = Counter(event.kind for event in history.events)
    rows = {row.id: row for row in history.evaluations}
    bad = " ".join((*lost, *duplicated, *wrong))
    done_once = [
        one
        for one in {one.evaluation_id: one for one in history.acknowledged}.values()
        if one.evaluation_id in rows and one.evaluation_id not in bad
    ]
    return Report(
        acknowledged=len({one.evaluation_id for one in history.acknowledged}),
        done_once=len(done_once),
        parts_done=sum(kinds[kind] for kind in _DONE),
        lost=tuple(lost),
        duplicated=tuple(duplicated),
        wrong=tuple(wrong),
        # A failure that comes too late is fenced as well, and says its code; it is no result.
        refused_zombie_commits=sum(event.kind in _FENCED and event.code is None for event in history.events),
        leases_taken_back=sum(kinds[kind] for kind in _TAKEN_BACK),
        recomputed=kinds["part_reopened"],
        smaller_batch=len(_with_smaller_batch(history)),
    )


def _lost_evaluations(history: History) -> Iterator[str]:
    """Acknowledged ones that are not there, have not ended, or ended otherwise than they must."""
    rows = {row.id: row for row in history.evaluations}
    for one in {one.evaluation_id: one for one in history.acknowledged}.values():
        row = rows.get(one.evaluation_id)
        if row is None:
            yield f"evaluation {one.evaluation_id}: acknowledged, and no row has it"
        elif row.status not in ({"cancelled"} if one.cancelled else {"succeeded"}):
            asked = "its cancellation was acknowledged" if one.cancelled else "nobody cancelled it"
            yield f"evaluation {row.id}: {asked}, and it is {row.status} ({row.error_code})"
        elif row.status == "succeeded":
            yield from _missing_parts(history, row)


def _missing_parts(history: History, row: EvaluationRow) -> Iterator[str]:
    """Images that a score counts must have been predicted; damaged ones may wait to be predicted anew."""
    reopened = {event.subject for event in history.events if event.kind == "part_reopened"}
    for part in history.parts:
        if part.start < row.wants.get(part.set_id, 0) and part.state != "done" and part.id not in reopened:
            yield f"evaluation {row.id}: succeeded though part {part.id} is {part.state}"
    for set_id, stop in row.wants.items():
        if history.frontiers.get(set_id, 0) < stop:
            yield f"evaluation {row.id}: succeeded though set {set_id} was handed out only in part"


def _intervals(history: History) -> Iterator[tuple[str, list[tuple[int, int]]]]:
    """By set its parts' ranges, in order."""
    found: dict[str, list[tuple[int, int]]] = {set_id: [] for set_id in history.frontiers}
    for part in history.parts:
        found[part.set_id].append((part.start, part.stop))
    for set_id, ranges in found.items():
        yield set_id, sorted(ranges)


def _gaps(history: History) -> Iterator[str]:
    """Images that were handed out and that no part has."""
    for set_id, ranges in _intervals(history):
        reached = 0
        for start, stop in ranges:
            if start > reached:
                yield f"set {set_id}: no part has images {reached} to {start - 1}"
            reached = max(reached, stop)
        if reached < history.frontiers[set_id]:
            yield f"set {set_id}: no part has images {reached} to {history.frontiers[set_id] - 1}"


def _overlaps(history: History) -> Iterator[str]:
    for set_id, ranges in _intervals(history):
        for (_, stop), (start, _) in itertools.pairwise(ranges):
            if start < stop:
                yield f"set {set_id}: image {start} is in two parts"


def _doubled_keys(history: History) -> Iterator[str]:
    made = Counter(row.key for row in history.evaluations if row.key is not None)
    told: dict[str, set[str]] = defaultdict(set)
    for one in history.acknowledged:
        told[one.key].add(one.evaluation_id)
    for key in sorted(
        {*(key for key, count in made.items() if count > 1), *(k for k, v in told.items() if len(v) > 1)}
    ):
        yield f"key {key}: evaluations {' and '.join(sorted(told.get(key, ())))} were made from it"


def _doubled_scores(history: History) -> Iterator[str]:
    for evaluation_id, rows in history.scores.items():
        for (position, metric), count in Counter((row[0], row[2]) for row in rows).items():
            if count > 1:
                yield f"evaluation {evaluation_id}: {count} scores {metric} at position {position}"


def _doubled_effects(subject: str, events: Sequence[EventRow]) -> Iterator[str]:
    """A part, item or evaluation whose work took effect twice, or under a token that was not the newest."""
    token, done, succeeded = 0, False, False
    for event in events:
        if event.kind in _LEASED:
            if done:
                yield f"{subject}: leased again after it was done (event {event.id})"
            if event.token is not None and event.token <= token:
                yield f"{subject}: token {event.token} was given out after {token} (event {event.id})"
            token = event.token or token
        elif event.kind in _DONE:
            if done:
                yield f"{subject}: done twice (event {event.id})"
            if event.token != token:
                yield f"{subject}: done under token {event.token}, the newest was {token} (event {event.id})"
            done = True
        elif event.kind == "part_reopened":
            done = False
        elif event.kind == "evaluation_succeeded":
            if succeeded:
                yield f"{subject}: succeeded twice (event {event.id})"
            succeeded = True


def _wrong_scores(history: History) -> Iterator[str]:
    request_of = {one.evaluation_id: one.request for one in history.acknowledged}
    smaller = _with_smaller_batch(history)
    for row in history.evaluations:
        scores = list(history.scores.get(row.id, ()))
        if row.status != "succeeded" and scores:
            yield f"evaluation {row.id}: {row.status}, and has scores"
        expected = history.reference.get(request_of.get(row.id, ""))
        if row.status != "succeeded" or expected is None or scores == list(expected):
            continue
        if row.id not in smaller or not _nearly_equal(scores, expected):
            yield f"evaluation {row.id}: its scores are not those of the undisturbed run of {request_of[row.id]}"


def _with_smaller_batch(history: History) -> set[str]:
    """Evaluations that want a part whose batch was not the full one, as its row says."""
    sets = {part.set_id for part in history.parts if part.batch != history.batches.get(part.set_id, part.batch)}
    return {row.id for row in history.evaluations if row.status == "succeeded" and not sets.isdisjoint(row.wants)}


def _nearly_equal(scores: Sequence[ScoreRow], expected: Sequence[ScoreRow]) -> bool:
    """The same answers for every image; what is computed from probabilities may differ as float32 does by batch."""
    return len(scores) == len(expected) and all(
        found == due
        or (
            (found[:3], found[6]) == (due[:3], due[6])
            and found[2] not in _COUNTED
            and all(_close(one, other) for one, other in zip(found[3:6], due[3:6], strict=True))
        )
        for found, due in zip(scores, expected, strict=True)
    )


def _close(one: float | None, other: float | None) -> bool:
    return one == other if one is None or other is None else abs(one - other) <= _TOLERANCE


def _damaged_files(history: History) -> Iterator[str]:
    for key in sorted(history.damaged - history.flipped):
        yield f"artifact {key}: not what was stored, and this run did not touch it"
