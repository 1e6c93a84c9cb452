"""The checker finds what it is there to find: a history with one violation put into it is refused, and says why."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.nemesis.checker import check
from tests.nemesis.history import Acknowledged, EvaluationRow, EventRow, History, PartRow, ScoreRow

SCORES: list[ScoreRow] = [(0, "a", "nll", 2.5, None, None, 8), (0, "a", "top1_error", 0.25, 0.1, 0.4, 8)]

#: One evaluation that ran and one that was cancelled; of the first a part came back from a zombie, and one was damaged.
GOOD = History(
    acknowledged=[Acknowledged("k1", "e1", "single"), Acknowledged("k2", "e2", "single", cancelled=True)],
    events=[
        EventRow(1, "evaluation_submitted", "e1"),
        EventRow(2, "part_leased", "p1", 1),
        EventRow(3, "part_expired", "p1", 1),
        EventRow(4, "part_leased", "p1", 2),
        EventRow(5, "part_leased", "p2", 1),
        EventRow(6, "part_done", "p1", 2),
        EventRow(7, "part_fenced", "p1", 1),
        EventRow(8, "part_fenced", "p2", 0, "io_error"),
        EventRow(9, "part_done", "p2", 1),
        EventRow(10, "part_reopened", "p1"),
        EventRow(11, "part_leased", "p1", 3),
        EventRow(12, "part_done", "p1", 3),
        EventRow(13, "item_leased", "i1", 1),
        EventRow(14, "item_done", "i1", 1),
        EventRow(15, "evaluation_succeeded", "e1"),
    ],
    parts=[PartRow("p1", "s1", 0, 4, "done", "x1", 64), PartRow("p2", "s1", 4, 8, "done", "x2", 64)],
    frontiers={"s1": 8, "s2": 0},
    evaluations=[
        EvaluationRow("e1", "succeeded", "k1", None, {"s1": 8}),
        EvaluationRow("e2", "cancelled", "k2", None, {"s2": 8}),
    ],
    scores={"e1": SCORES},
    reference={"single": SCORES},
    batches={"s1": 64},
)


def test_a_history_in_which_every_promise_was_kept_is_accepted_and_counted() -> None:
    report = check(GOOD)
    assert report.ok, str(report)
    assert (report.acknowledged, report.done_once, report.parts_done) == (2, 2, 4)
    assert (report.refused_zombie_commits, report.leases_taken_back, report.recomputed) == (1, 1, 1)
    assert str(report).startswith("acked=2 done_once=2 lost=0 duplicated=0 wrong=0 refused_zombie_commits=1 ")


def with_event(*events: EventRow) -> History:
    return replace(GOOD, events=[*GOOD.events, *events])


def with_evaluation(**changes: object) -> History:
    return replace(GOOD, evaluations=[replace(GOOD.evaluations[0], **changes), GOOD.evaluations[1]])  # type: ignore[arg-type]


def with_part(**changes: object) -> History:
    return replace(GOOD, parts=[GOOD.parts[0], replace(GOOD.parts[1], **changes)])  # type: ignore[arg-type]


LOST = {
    "no row": replace(GOOD, evaluations=GOOD.evaluations[1:]),
    "it is predicting": with_evaluation(status="predicting"),
    "it is failed (worker_lost)": with_evaluation(status="failed", error_code="worker_lost"),
    "nobody cancelled it": with_evaluation(status="cancelled"),
    "its cancellation was acknowledged": replace(
        GOOD, evaluations=[GOOD.evaluations[0], replace(GOOD.evaluations[1], status="succeeded")]
    ),
    "no part has images 4 to 7": replace(GOOD, parts=GOOD.parts[:1]),
    "no part has images 4 to 4": with_part(start=5),
    "though part p2 is pending": with_part(state="pending"),
    "was handed out only in part": replace(GOOD, frontiers={"s1": 4, "s2": 0}, parts=GOOD.parts[:1]),
}
DUPLICATED = {
    "done twice": with_event(EventRow(20, "part_done", "p2", 1)),
    "leased again after it was done": with_event(EventRow(20, "part_leased", "p2", 2)),
    "token 3 was given out after 3": with_event(
        EventRow(20, "part_reopened", "p1"), EventRow(21, "part_leased", "p1", 3)
    ),
    "done under token 1, the newest was 2": replace(
        GOOD, events=[replace(event, token=1) if event.id == 6 else event for event in GOOD.events]
    ),
    "succeeded twice": with_event(EventRow(20, "evaluation_succeeded", "e1")),
    "image 3 is in two parts": with_part(start=3),
    "2 scores nll": replace(GOOD, scores={"e1": [*SCORES, SCORES[0]]}),
    "were made from it": replace(GOOD, evaluations=[*GOOD.evaluations, EvaluationRow("e3", "cancelled", "k1")]),
    "evaluations e1 and e3": replace(GOOD, acknowledged=[*GOOD.acknowledged, Acknowledged("k1", "e3", "single")]),
}
WRONG = {
    "not those of the undisturbed run": replace(GOOD, scores={"e1": [(0, "a", "nll", 2.5000001, None, None, 8)]}),
    "cancelled, and has scores": replace(GOOD, scores={"e1": SCORES, "e2": SCORES}),
    "artifact x2: not what was stored": replace(GOOD, damaged=frozenset({"x2"})),
}


@pytest.mark.parametrize("why", LOST)
def test_something_lost_is_found(why: str) -> None:
    report = check(LOST[why])
    assert not report.ok
    assert any(why in sentence for sentence in report.lost), str(report)


@pytest.mark.parametrize("why", DUPLICATED)
def test_something_that_took_effect_twice_is_found(why: str) -> None:
    report = check(DUPLICATED[why])
    assert not report.ok
    assert any(why in sentence for sentence in report.duplicated), str(report)


@pytest.mark.parametrize("why", WRONG)
def test_a_wrong_number_or_file_is_found(why: str) -> None:
    report = check(WRONG[why])
    assert not report.ok
    assert any(why in sentence for sentence in report.wrong), str(report)


def test_files_that_the_run_damaged_itself_and_nobody_read_since_are_no_fault() -> None:
    assert check(replace(GOOD, damaged=frozenset({"x2"}), flipped=frozenset({"x2"}))).ok


@pytest.mark.parametrize(("batch", "nll", "top1", "ok"), [
    (32, 2.500004, 0.25, True),
    (32, 2.50004, 0.25, False),
    (32, 2.5, 0.375, False),
    (64, 2.500004, 0.25, False),
])  # fmt: skip
def test_only_a_smaller_batch_excuses_other_last_bits(batch: int, nll: float, top1: float, ok: bool) -> None:
    scores: list[ScoreRow] = [(0, "a", "nll", nll, None, None, 8), (0, "a", "top1_error", top1, 0.1, 0.4, 8)]
    report = check(replace(with_part(batch=batch), scores={"e1": scores}))
    assert report.ok is ok
    assert report.smaller_batch == (batch != 64)
