"""Gates over stored outcomes: kept as they were given, on both databases, and refused where they would mislead."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import select

from app.db.models import Event, WebhookDelivery
from app.db.queries import gates as queries
from app.db.session import Database
from app.errors import InvalidRequestError, NotFoundError, StateConflictError
from app.representations.gates import GateDocument, GateRequest
from app.representations.webhooks import WebhookEvent, WebhookRequest
from app.runtime import Runtime
from app.services.comparing import gates
from app.services.notifications import webhooks
from ensembles.configurations import Architecture
from ensembles.datasets import DatasetIndex, ImageRecord
from ensembles.gates import GateRule, judge_counts
from ensembles.outcomes import ImageOutcomes
from tests.catalogue import Catalogue
from tests.history import History
from tests.made_outcomes import outcomes_of

CLASSES = tuple(f"c{i}" for i in range(10))
IMAGES = 2000


@pytest.fixture
def history(db: Database, catalogue: Catalogue) -> History:
    return History(Runtime(catalogue.settings, db, catalogue.artifacts), macs_per_second=1e18)


def numbered(classes: Sequence[str] = CLASSES, shift: int = 0) -> DatasetIndex:
    """Image i is of class c(i + shift mod 10), however the classes are numbered."""
    records = [
        ImageRecord(f"{i:05d}.png", list(classes).index(f"c{(i + shift) % 10}"), f"{i:064x}", 48, 40, 900)
        for i in range(IMAGES)
    ]
    return DatasetIndex("image_folder", tuple(classes), tuple(records))


def wrong_on(index: DatasetIndex, numbers: Sequence[int]) -> ImageOutcomes:
    """Outcomes that are wrong on exactly these images."""
    ids = {f"{number:05d}.png" for number in numbers}
    nowhere: NDArray[np.bool_] = np.zeros(len(index.ids), dtype=np.bool_)
    return outcomes_of(index.labels, 10, np.array([image_id in ids for image_id in index.ids]), nowhere)


def evaluated(history: History, dataset: str, index: DatasetIndex, name: str, numbers: Sequence[int]) -> str:
    """An evaluation of a new checkpoint that errs on these images; its id."""
    history.checkpoint(name, Architecture("A", width=0.125, classes=10, crop=32), (32, 32))
    key = history.submit(dataset=dataset, checkpoints=[name], protocol={"scales": [32]})
    history.predict()
    # One view is its member, and an evaluation of one member has no ensemble.
    history.finish(key, [len(numbers)], answers={name: wrong_on(index, numbers)})
    return key


@pytest.fixture
def runs(history: History) -> dict[str, str]:
    """A base that errs on 200 images, an equal, a better and a worse one."""
    index = numbered()
    history.indexed_dataset("digits", index)
    wrong = {
        "base": range(200),
        "equal": range(20, 220),
        "better": range(40, 200),
        "worse": range(260),
    }
    return {name: evaluated(history, "digits", index, name, list(numbers)) for name, numbers in wrong.items()}


def judge(history: History, **asked: Any) -> GateDocument:
    db = history.runtime.db
    gate_id = gates.judge(db, history.runtime.artifacts, GateRequest(**asked))
    with db.read() as session:
        return queries.get(session, gate_id)


def test_a_verdict_is_that_of_the_discordant_images(history: History, runs: dict[str, str]) -> None:
    found = judge(history, baseline=runs["base"], candidate=runs["equal"], margin=0.02)
    expected = judge_counts(20, 20, IMAGES, GateRule("top1_error", 0.02))
    assert (found.verdict, found.reason) == ("pass", expected.reason)
    assert (found.low, found.high, found.p_worse) == (expected.low, expected.high, expected.p_worse)
    assert (found.only_base_wrong, found.only_candidate_wrong, found.n_used, found.n_total) == (20, 20, IMAGES, IMAGES)
    assert (found.baseline_value, found.candidate_value, found.difference) == (0.1, 0.1, 0.0)
    assert found.detectable_difference_80 == expected.detectable_difference_80


@pytest.mark.parametrize(
    ("candidate", "margin", "verdict"),
    [("better", 0.0, "pass"), ("worse", 0.005, "fail"), ("equal", 0.001, "inconclusive"), ("worse", 0.2, "pass")],
)
def test_each_verdict_is_given_and_leaves_its_event(
    history: History, runs: dict[str, str], candidate: str, margin: float, verdict: str
) -> None:
    found = judge(history, baseline=runs["base"], candidate=runs[candidate], margin=margin)
    assert found.verdict == verdict
    assert (found.images_to_settle is None) == (verdict != "inconclusive")
    with history.runtime.db.read() as session:
        kinds = session.scalars(select(Event.kind).where(Event.subject_id == found.id)).all()
    assert kinds == [f"gate_{verdict}"]


@pytest.mark.parametrize(("candidate", "verdict"), [("better", "pass"), ("worse", "fail")])
def test_a_webhook_that_asked_for_a_verdict_is_told_it(
    history: History, runs: dict[str, str], candidate: str, verdict: str
) -> None:
    db, settings = history.runtime.db, history.runtime.settings
    url = "https://ci.example.org/softvote"
    listener, _ = webhooks.add(db, settings, WebhookRequest(url=url, events=[WebhookEvent(f"gate.{verdict}")]))
    webhooks.add(db, settings, WebhookRequest(url=url, events=[WebhookEvent.GATE_INCONCLUSIVE]))
    found = judge(history, baseline=runs["base"], candidate=runs[candidate], margin=0.005)
    with db.read() as session:
        (delivery,) = session.scalars(select(WebhookDelivery)).all()
    body = json.loads(delivery.body)
    assert (delivery.webhook_id, delivery.event) == (listener, f"gate.{verdict}")
    assert (body["data"]["id"], body["data"]["verdict"]) == (found.id, verdict)


def test_some_classes_alone_are_judged_when_asked(history: History, runs: dict[str, str]) -> None:
    found = judge(history, baseline=runs["base"], candidate=runs["worse"], classes=["c0", "c1"])
    assert (found.n_used, found.n_total) == (IMAGES // 5, IMAGES)
    assert (found.only_base_wrong, found.only_candidate_wrong) == (0, 12)
    assert found.verdict == "fail"


def test_nll_is_judged_too(history: History, runs: dict[str, str]) -> None:
    found = judge(history, baseline=runs["base"], candidate=runs["worse"], metric="nll", margin=0.001)
    assert (found.verdict, found.only_base_wrong) == ("fail", None)
    assert found.difference == pytest.approx(found.candidate_value - found.baseline_value)


def test_a_baseline_stands_for_what_was_promoted_last_and_verdicts_keep_theirs(
    history: History, runs: dict[str, str]
) -> None:
    db = history.runtime.db
    gates.promote(db, "production", runs["base"], "first")
    first = judge(history, baseline="production", candidate=runs["worse"])
    assert (first.verdict, first.baseline, first.baseline_reference) == ("fail", "production", runs["base"])
    gates.promote(db, "production", f"{runs['worse']}:worse")
    second = judge(history, baseline="production", candidate=runs["base"], margin=0.0)
    assert (second.verdict, second.baseline_reference) == ("pass", f"{runs['worse']}:worse")
    with db.read() as session:
        (baseline,) = queries.baselines(session)
        assert queries.get(session, first.id) == first
    assert (baseline.name, baseline.evaluation, baseline.note) == ("production", runs["worse"], "")
    gates.forget(db, "production")
    with pytest.raises(NotFoundError):
        gates.forget(db, "production")
    with pytest.raises(NotFoundError):
        judge(history, baseline="production", candidate=runs["base"])


def test_images_are_joined_by_id_whatever_the_numbers_of_the_classes(history: History, runs: dict[str, str]) -> None:
    index = numbered(tuple(reversed(CLASSES)))
    history.indexed_dataset("turned", index)
    other = evaluated(history, "turned", index, "turned", list(range(200)))
    found = judge(history, baseline=runs["base"], candidate=other)
    assert (found.only_base_wrong, found.only_candidate_wrong, found.n_used) == (0, 0, IMAGES)


def test_what_would_mislead_is_refused(history: History, runs: dict[str, str]) -> None:
    base = runs["base"]
    index = numbered(shift=1)
    history.indexed_dataset("relabelled", index)
    relabelled = evaluated(history, "relabelled", index, "relabelled", [])
    queued = history.submit(dataset="digits", checkpoints=["base"], protocol={"scales": [40]})
    for candidate, words in (
        (base, "another than the baseline"),
        (f"{base}:base", "another than the baseline"),
        (relabelled, "of each shared image the true class"),
    ):
        with pytest.raises(InvalidRequestError, match=words):
            judge(history, baseline=base, candidate=candidate)
    with pytest.raises(InvalidRequestError, match="names of classes of the baseline's data set"):
        judge(history, baseline=base, candidate=runs["equal"], classes=["c1", "zebra"])
    with pytest.raises(NotFoundError):
        judge(history, baseline=base, candidate=f"{base}:nobody")
    with pytest.raises(StateConflictError):
        judge(history, baseline=base, candidate=queued)
    with pytest.raises(StateConflictError):
        gates.promote(history.runtime.db, "production", queued)
    with history.runtime.db.read() as session:
        assert queries.list_page(session, cursor=None, limit=50).items == []


def test_verdicts_are_listed_newest_first_and_filtered(history: History, runs: dict[str, str]) -> None:
    given = [
        judge(history, baseline=runs["base"], candidate=runs[name], margin=margin)
        for name, margin in (("worse", 0.005), ("better", 0.0), ("worse", 0.2))
    ]
    with history.runtime.db.read() as session:
        everything = queries.list_page(session, cursor=None, limit=50)
        of_one = queries.list_page(session, cursor=None, limit=50, candidate=runs["worse"])
        passed = queries.list_page(session, cursor=None, limit=50, verdict="pass")
    assert everything.items == given[::-1]
    assert of_one.items == [given[2], given[0]]
    assert passed.items == [given[2], given[1]]
