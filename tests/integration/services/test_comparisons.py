"""Comparisons of stored outcomes: joined by image id, equal on both databases, and refused where they would mislead."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import event, select

from app.db.models import EvaluationOutcomes
from app.db.session import Database
from app.errors import (
    ArtifactDamagedError,
    InvalidRequestError,
    NotFoundError,
    OutcomesMissingError,
    StateConflictError,
)
from app.representations.comparisons import ComparisonDocument
from app.runtime import Runtime
from app.services.answering.subjects import find_all, read_answers
from app.services.comparing import comparisons
from ensembles.calibration import expected_calibration_error, reliability_curve
from ensembles.configurations import Architecture
from ensembles.datasets import DatasetIndex, ImageRecord
from ensembles.mcnemar import mcnemar_exact
from ensembles.multiplicity import holm
from ensembles.outcomes import ImageOutcomes
from ensembles.paired import adjust_family, compare_values
from tests.catalogue import Catalogue
from tests.history import History
from tests.made_outcomes import outcomes_of

CLASSES = tuple(f"c{i}" for i in range(10))

#: Documents of the first database that a test ran on, for the second to repeat.
SEEN: dict[str, str] = {}


@pytest.fixture
def history(db: Database, catalogue: Catalogue) -> History:
    return History(Runtime(catalogue.settings, db, catalogue.artifacts), macs_per_second=1e18)


def index_of(
    numbers: Sequence[int], classes: Sequence[str] = CLASSES, truth: Callable[[int], int] = lambda number: number % 10
) -> DatasetIndex:
    """Images by number, whose class is c0 to c9 whatever the order of `classes`."""
    records = [
        ImageRecord(f"{number:04d}.png", list(classes).index(f"c{truth(number)}"), f"{number:064x}", 48, 40, 900)
        for number in numbers
    ]
    return DatasetIndex("image_folder", tuple(classes), tuple(records))


def add_dataset(history: History, name: str, index: DatasetIndex) -> None:
    history.indexed_dataset(name, index)


def add_checkpoint(history: History, *names: str) -> None:
    for name in names:
        history.checkpoint(name, Architecture("A", width=0.125, classes=10, crop=32), (32, 32))


def wrong_on(index: DatasetIndex, numbers: Sequence[int], at_5: Sequence[int] = ()) -> ImageOutcomes:
    """Outcomes that are wrong on exactly these images."""

    def mask(chosen: Sequence[int]) -> NDArray[np.bool_]:
        ids = {f"{number:04d}.png" for number in chosen}
        return np.array([image_id in ids for image_id in index.ids])

    return outcomes_of(index.labels, len(index.classes), mask(numbers), mask(at_5))


def evaluate(history: History, dataset: str, answers: dict[str, ImageOutcomes], **request: object) -> str:
    """An evaluation that answered so; its id."""
    names = [name for name in answers if name != "ensemble"]
    key = history.submit(dataset=dataset, checkpoints=names, protocol=request.pop("protocol", {"scales": [32]}))
    history.predict()
    history.finish(key, [int(np.count_nonzero(found.wrong(1))) for found in answers.values()], answers=answers)
    return key


def compare(history: History, base: str, *candidates: str) -> ComparisonDocument:
    return comparisons.compare(history.runtime.db, history.runtime.artifacts, base, candidates)


@pytest.fixture
def digits(history: History) -> tuple[History, str]:
    """100 images; a errs on 0-29 (at 5: 0-9), b on 20-39 (at 5: 0-9), both together on 25-34; the evaluation's id."""
    index = index_of(range(100))
    add_dataset(history, "digits", index)
    add_checkpoint(history, "a", "b")
    answers = {
        "a": wrong_on(index, range(30), range(10)),
        "b": wrong_on(index, [*range(10), *range(20, 40)], range(10)),
        "ensemble": wrong_on(index, range(25, 35)),
    }
    return history, evaluate(history, "digits", answers)


def test_counts_tests_and_verdicts_follow_from_the_stored_outcomes(digits: tuple[History, str]) -> None:
    history, key = digits
    document = compare(history, key, f"{key}:a", f"{key}:b")
    assert [(pair.candidate, pair.metric) for pair in document.pairs] == [
        (f"{key}:{name}", metric) for name in "ab" for metric in ("top1_error", "top5_error")
    ]
    a, b = document.pairs[0], document.pairs[2]
    assert (a.n, a.base_value, a.candidate_value) == (100, 0.1, 0.3)
    assert a.difference == pytest.approx(0.2)
    assert (a.only_base_wrong, a.only_candidate_wrong) == (5, 25)
    assert (b.only_base_wrong, b.only_candidate_wrong) == (0, 20)
    p = mcnemar_exact([5, 0], [25, 20])
    assert [a.p_exact, b.p_exact] == pytest.approx(p.tolist())
    assert [a.p_adjusted, b.p_adjusted] == pytest.approx(holm(p).tolist())
    assert (a.verdict, b.verdict) == ("worse", "worse")
    assert a.low < a.difference < a.high
    assert document.pairs[1].only_candidate_wrong == document.pairs[3].only_candidate_wrong == 10
    assert [(s.subject, s.name, s.images, s.left_out) for s in document.subjects] == [
        ("ensemble", "ensemble", 100, 0),
        ("checkpoint", "a", 100, 0),
        ("checkpoint", "b", 100, 0),
    ]


def test_both_databases_give_the_same_document(digits: tuple[History, str]) -> None:
    history, key = digits
    document = compare(history, f"{key}:a", key, f"{key}:b")
    text = json.dumps(document.model_dump(mode="json")).replace(key, "ID")
    assert SEEN.setdefault("digits", text) == text


def test_a_checkpoint_alone_is_what_its_evaluation_stands_for(digits: tuple[History, str]) -> None:
    history, key = digits
    alone = evaluate(history, "digits", {"a": wrong_on(history.index("digits"), range(30), range(10))})
    document = compare(history, f"{key}:a", alone)
    assert [pair.difference for pair in document.pairs] == [0, 0]
    assert (document.subjects[1].subject, document.subjects[1].name) == ("checkpoint", "a")


def test_data_sets_that_number_their_classes_otherwise_are_joined_by_image_id_and_class_name(
    digits: tuple[History, str],
) -> None:
    history, key = digits
    other = index_of(range(50, 130), tuple(reversed(CLASSES)))
    add_dataset(history, "reversed", other)
    candidate = evaluate(history, "reversed", {"b": wrong_on(other, [*range(50, 60), *range(100, 120)])})
    document = compare(history, f"{key}:a", candidate)
    assert {pair.n for pair in document.pairs} == {50}
    assert [(s.images, s.left_out) for s in document.subjects] == [(100, 50), (80, 30)]
    first = document.pairs[0]
    assert (first.only_base_wrong, first.only_candidate_wrong, first.base_value) == (0, 10, 0.0)
    assert first.protocols_differ == []


def test_what_differs_between_the_protocols_is_named(digits: tuple[History, str]) -> None:
    history, key = digits
    found = {"a": wrong_on(history.index("digits"), range(30))}
    other = evaluate(history, "digits", found, protocol={"scales": [40], "hflip": False})
    assert compare(history, f"{key}:a", other).pairs[0].protocols_differ == ["hflip", "scales"]


def test_a_limited_evaluation_is_compared_on_its_own_images(history: History) -> None:
    index = index_of(range(100))
    add_dataset(history, "digits", index)
    add_checkpoint(history, "a", "b")
    whole = evaluate(history, "digits", {"a": wrong_on(index, range(30))})
    limited = history.submit(dataset="digits", checkpoints=["b"], protocol={"scales": [32]}, limit=40)
    history.predict()
    history.finish(limited, [10])
    document = compare(history, whole, limited)
    expected = np.count_nonzero([int(image_id[:4]) < 30 for image_id in index.ids[:40]])
    assert document.pairs[0].n == 40
    assert document.pairs[0].base_value == expected / 40
    assert document.pairs[0].candidate_value == 10 / 40
    assert [s.left_out for s in document.subjects] == [60, 0]


def test_the_same_side_twice_is_refused_however_it_is_named(digits: tuple[History, str]) -> None:
    history, key = digits
    with history.runtime.db.read() as session:
        rows = session.scalars(select(EvaluationOutcomes).where(EvaluationOutcomes.evaluation_id == key)).all()
    assert len(rows) == 3
    for sides in ((key, key), (key, f"{key}:a", f"{key}:a")):
        with pytest.raises(InvalidRequestError) as caught:
            compare(history, *sides)
        assert [(problem.field, problem.code) for problem in caught.value.problems] == [("candidate", "duplicate")]
    alone = evaluate(history, "digits", {"b": wrong_on(history.index("digits"), range(3))})
    with pytest.raises(InvalidRequestError, match="each member or ensemble once"):
        compare(history, alone, f"{alone}:b")


def test_sides_without_a_shared_image_are_refused(digits: tuple[History, str]) -> None:
    history, key = digits
    index = index_of(range(500, 550))
    add_dataset(history, "other", index)
    candidate = evaluate(history, "other", {"b": wrong_on(index, range(500, 510))})
    with pytest.raises(InvalidRequestError, match="images that all sides have scored"):
        compare(history, key, candidate)


def test_an_image_of_another_true_class_is_refused_by_its_id(digits: tuple[History, str]) -> None:
    history, key = digits
    index = index_of(range(90, 100), truth=lambda number: 0 if number == 93 else number % 10)
    add_dataset(history, "relabelled", index)
    candidate = evaluate(history, "relabelled", {"b": wrong_on(index, [95])})
    with pytest.raises(InvalidRequestError, match=r"1 images, such as 0093\.png"):
        compare(history, key, candidate)


def test_what_has_not_succeeded_or_kept_no_outcomes_or_does_not_exist_is_refused(digits: tuple[History, str]) -> None:
    history, key = digits
    without = history.submit(dataset="digits", checkpoints=["a", "b"], protocol={"scales": [40]})
    history.predict()
    history.finish(without, [30, 20, 10], answers={})
    with pytest.raises(OutcomesMissingError):
        compare(history, key, without)
    queued = history.submit(dataset="digits", checkpoints=["a"], protocol={"scales": [44]})
    with pytest.raises(StateConflictError, match="queued"):
        compare(history, key, queued)
    with pytest.raises(StateConflictError):
        compare(history, queued, key)
    with pytest.raises(NotFoundError, match="'c'"):
        compare(history, key, f"{key}:c")
    with pytest.raises(NotFoundError):
        compare(history, key, f"{key}:")
    with pytest.raises(NotFoundError):
        compare(history, key, "0" * 24)


def test_a_damaged_or_lost_file_is_an_error_and_no_number(digits: tuple[History, str]) -> None:
    history, key = digits
    of_a = select(EvaluationOutcomes).where(EvaluationOutcomes.member_position == 0)
    with history.runtime.db.read() as session:
        path = history.runtime.artifacts.path(session.scalars(of_a).one().artifact)
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(ArtifactDamagedError):
        compare(history, key, f"{key}:a")
    assert compare(history, key, f"{key}:b").pairs[0].n == 100
    path.unlink()
    with pytest.raises(ArtifactDamagedError, match="missing"):
        compare(history, f"{key}:a", key)


def test_a_request_without_a_candidate_or_with_too_many_is_refused(digits: tuple[History, str]) -> None:
    history, key = digits
    for many in (0, comparisons.MAX_CANDIDATES + 1):
        with pytest.raises(InvalidRequestError, match=f"got {many}"):
            compare(history, key, *[f"{key}:a"] * many)


def test_other_metrics_are_compared_by_the_paired_bootstrap_on_request(digits: tuple[History, str]) -> None:
    history, key = digits
    runtime, sides = history.runtime, (f"{key}:a", f"{key}:b")
    document = comparisons.compare(runtime.db, runtime.artifacts, key, sides, ["ece", "nll", "brier", "nll"])
    assert document.metrics == ["nll", "brier", "ece"]
    assert [(pair.candidate, pair.metric) for pair in document.pairs] == [
        (side, metric) for side in sides for metric in ("nll", "brier", "ece")
    ]
    assert document.ranks == []
    with runtime.db.read() as session:
        base, a, b = (answers.outcomes for answers in read_answers(runtime.artifacts, find_all(session, [key, *sides])))
    values = {
        "nll": lambda found: float(np.mean(found.negative_log_likelihoods())),
        "brier": lambda found: float(np.mean(found.brier_scores)),
        "ece": lambda found: expected_calibration_error(reliability_curve(found.confidences, ~found.wrong(1))),
    }
    for pair in document.pairs:
        candidate = a if pair.candidate.endswith(":a") else b
        assert pair.base_value == pytest.approx(values[pair.metric](base))
        assert pair.candidate_value == pytest.approx(values[pair.metric](candidate))
        assert pair.low <= pair.difference <= pair.high
        assert (pair.only_base_wrong, pair.both_right, pair.p_exact, pair.p_mid) == (None, None, None, None)
        assert pair.p <= pair.p_adjusted <= 2 * pair.p
    nll = [pair for pair in document.pairs if pair.metric == "nll"]
    (expected, _) = adjust_family(
        compare_values(
            base.negative_log_likelihoods(),
            {name: found.negative_log_likelihoods() for name, found in (("a", a), ("b", b))},
            metric="nll",
        )
    )
    assert (nll[0].low, nll[0].high, nll[0].p_adjusted) == (expected.low, expected.high, expected.p_adjusted)
    assert nll[0].verdict == "worse"


def test_a_metric_that_does_not_exist_is_refused_by_name(digits: tuple[History, str]) -> None:
    history, key = digits
    for metrics in (["accuracy"], []):
        with pytest.raises(InvalidRequestError, match="one or more of top1_error, top5_error, nll, brier, ece"):
            comparisons.compare(history.runtime.db, history.runtime.artifacts, key, [f"{key}:a"], metrics)  # type: ignore[arg-type]


def test_more_numbers_than_fit_are_not_resampled(digits: tuple[History, str], monkeypatch: pytest.MonkeyPatch) -> None:
    history, key = digits
    monkeypatch.setattr(comparisons, "MAX_RESAMPLED", 250)
    with pytest.raises(InvalidRequestError, match="at most 250 numbers of single images") as caught:
        comparisons.compare(history.runtime.db, history.runtime.artifacts, key, [f"{key}:a"], ["nll", "ece"])
    (problem,) = caught.value.problems
    assert problem.rule.startswith("for ece")  # the 200 of nll fit
    assert compare(history, key, f"{key}:a").pairs  # errors are counted


def test_rank_ranges_say_which_order_the_tests_leave_open(digits: tuple[History, str]) -> None:
    history, key = digits
    document = compare(history, f"{key}:a", key, f"{key}:b")
    ranks = {(rank.reference, rank.metric): (rank.best, rank.worst) for rank in document.ranks}
    assert ranks == {
        (f"{key}:a", "top1_error"): (2, 3),
        (key, "top1_error"): (1, 1),
        (f"{key}:b", "top1_error"): (2, 3),
        (f"{key}:a", "top5_error"): (2, 3),
        (key, "top5_error"): (1, 1),
        (f"{key}:b", "top5_error"): (2, 3),
    }


def test_the_four_cells_of_each_pair_hold_every_image_once(digits: tuple[History, str]) -> None:
    history, key = digits
    pair = compare(history, key, f"{key}:a").pairs[0]
    assert (pair.both_wrong, pair.only_base_wrong, pair.only_candidate_wrong, pair.both_right) == (5, 5, 25, 65)


def test_what_the_numbers_of_a_side_depend_on_stands_beside_them(digits: tuple[History, str]) -> None:
    history, key = digits
    ensemble, member = compare(history, key, f"{key}:b").subjects
    assert ensemble.members == ["a", "b"]
    assert ensemble.configuration["checkpoint"] == ["a", "b"]
    assert (ensemble.configuration["fusion"], ensemble.configuration["weight"]) == ("mean", 1.0)
    assert (ensemble.configuration["architecture"], ensemble.configuration["scales"]) == ("vgg11", [32])
    assert member.configuration["checkpoint"] == "b"
    assert "fusion" not in member.configuration
    assert member.configuration["training_scale"] == [32, 32]
    assert member.configuration["dataset"] == "digits"
    assert member.protocol_title == ensemble.protocol_title


def test_finding_hundreds_of_sides_takes_as_many_queries_as_finding_two(digits: tuple[History, str]) -> None:
    history, key = digits
    keys = [evaluate(history, "digits", {"a": wrong_on(history.index("digits"), range(number))}) for number in range(6)]

    def queries(references: list[str]) -> int:
        asked: list[str] = []

        def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
            asked.append(statement)

        event.listen(history.runtime.db.engine, "before_cursor_execute", note)
        with history.runtime.db.read() as session:
            find_all(session, references)
        event.remove(history.runtime.db.engine, "before_cursor_execute", note)
        return sum(statement.startswith("SELECT") for statement in asked)

    assert queries([key, *keys]) == queries([key, keys[0]]) <= 6
