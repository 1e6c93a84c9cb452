"""How single images were answered, on both databases: equal to the library's numbers, and to counting by hand."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from app.db.models import Dataset, PredictionPart
from app.db.queries.lookup import find
from app.db.session import Database
from app.errors import InvalidRequestError, NotFoundError, OutcomesMissingError, StateConflictError
from app.representations.answered_images import AnsweredImagesDocument
from app.representations.answers import ClassesDocument
from app.runtime import Runtime
from app.services import datasets
from app.services.answering import agreements, answered_images, calibrations, class_answers, confusion_pictures
from app.services.answering.answered_images import ImageFilter
from app.services.answering.subjects import Answers
from ensembles.agreement import disagreement, ensemble_effect, error_correlation
from ensembles.calibration import expected_calibration_error, reliability_curve
from ensembles.class_deltas import class_deltas
from ensembles.configurations import Architecture
from ensembles.confusion import class_errors, confusion_counts, most_confused
from ensembles.datasets import DatasetIndex, ImageRecord
from ensembles.outcomes import ImageOutcomes
from ensembles.predictions import save_posteriors
from tests.catalogue import Catalogue
from tests.history import History
from tests.made_outcomes import made_outcomes, outcomes_of

CLASSES = tuple(f"c{i}" for i in range(10))
N = 60


@pytest.fixture
def history(db: Database, catalogue: Catalogue) -> History:
    return History(Runtime(catalogue.settings, db, catalogue.artifacts), macs_per_second=1e18)


def index_of(classes: tuple[str, ...] = CLASSES, images: range = range(N)) -> DatasetIndex:
    records = [
        ImageRecord(f"{number:04d}.png", classes.index(f"c{number % 9}"), f"{number:064x}", 48, 40, 900)
        for number in images
    ]
    return DatasetIndex("image_folder", classes, tuple(records))


def evaluate(history: History, dataset: str, given: dict[str, ImageOutcomes]) -> str:
    """An evaluation that answered so; its id. Checkpoints are registered by their first evaluation."""
    names = [name for name in given if name != "ensemble"]
    key = history.submit(dataset=dataset, checkpoints=names, protocol={"scales": [32]})
    history.predict()
    history.finish(key, [int(np.count_nonzero(found.wrong(1))) for found in given.values()], answers=given)
    return key


@pytest.fixture
def given() -> dict[str, ImageOutcomes]:
    """The ensemble rescues six images of its better member and breaks three."""
    labels = index_of().labels
    wrong = {"a": range(20), "b": range(10, 34), "ensemble": (*range(5, 19), 30, 31, 32)}
    return {
        name: outcomes_of(labels, len(CLASSES), np.isin(np.arange(N), list(rows)), seed=seed)
        for seed, (name, rows) in enumerate(wrong.items())
    }


@pytest.fixture
def evaluation(history: History, given: dict[str, ImageOutcomes]) -> str:
    history.indexed_dataset("set", index_of())
    for name in ("a", "b"):
        history.checkpoint(name, Architecture("A", width=0.125, classes=10, crop=32), (32, 32))
    return evaluate(history, "set", given)


def classes_of(history: History, evaluation: str, **options: object) -> ClassesDocument:
    return class_answers.classes(history.runtime.db, history.runtime.artifacts, evaluation, **options)  # type: ignore[arg-type]


def images_of(
    history: History, evaluation: str, cursor: str | None = None, limit: int = 50, **wanted: object
) -> AnsweredImagesDocument:
    runtime, chosen = history.runtime, ImageFilter(**wanted)  # type: ignore[arg-type]
    return answered_images.list_page(runtime.db, runtime.artifacts, evaluation, chosen, cursor=cursor, limit=limit)


def test_every_class_has_the_librarys_error_and_interval_and_what_it_is_taken_for(
    history: History, evaluation: str, given: dict[str, ImageOutcomes]
) -> None:
    for name in (None, "a"):
        outcomes = given[name or "ensemble"]
        document = classes_of(history, evaluation, name=name, sort="class")
        assert document.subject.name == (name or "ensemble")
        expected = class_errors(outcomes.labels, outcomes.wrong(), 10)
        assert [(i.label, i.n, i.errors, i.value, i.low, i.high) for i in document.items] == [
            (e.label, e.n, e.errors, e.value, e.low, e.high) for e in expected
        ]
        counts = confusion_counts(outcomes.labels, outcomes.predicted, 10)
        for item in document.items:
            mistakes = counts[item.label].copy()
            mistakes[item.label] = 0
            assert (item.most_confused.count if item.most_confused else 0) == mistakes.max()


def test_classes_are_sorted_on_the_server_and_cut_into_pages_with_empty_ones_last(
    history: History, evaluation: str
) -> None:
    whole = classes_of(history, evaluation)
    assert (whole.sort, whole.order) == ("error", "descending")
    values = [item.value for item in whole.items]
    assert values[-1] is None  # c9 has no image
    assert values[:-1] == sorted(values[:-1], reverse=True)  # type: ignore[type-var]
    rising = [item.value for item in classes_of(history, evaluation, order="ascending").items]
    assert rising == [*sorted(values[:-1]), None]  # type: ignore[type-var]
    first = classes_of(history, evaluation, limit=7)
    second = classes_of(history, evaluation, limit=7, cursor=first.next)
    assert [*first.items, *second.items] == whole.items
    assert second.next is None


def test_the_changes_of_classes_are_the_librarys_on_the_images_that_both_scored(
    history: History, evaluation: str, given: dict[str, ImageOutcomes]
) -> None:
    document = classes_of(history, evaluation, base=f"{evaluation}:b")
    expected = class_deltas(given["b"].labels, given["b"].wrong(), given["ensemble"].wrong(), 10)
    assert document.base is not None
    assert (document.base.name, document.left_out, document.sort) == ("b", 0, "p")
    found = {i.label: i.delta.model_dump() for i in document.items if i.delta}
    assert found == {e.label: {name: value for name, value in vars(e).items() if name != "label"} for e in expected}


def test_a_base_on_another_data_set_is_joined_by_image_id_and_class_name(
    history: History, evaluation: str, given: dict[str, ImageOutcomes]
) -> None:
    other = index_of(tuple(reversed(CLASSES)), range(20, 80))
    history.indexed_dataset("other", other)
    base = evaluate(history, "other", {"a": made_outcomes(other.labels, 10, 25, seed=7)})
    document = classes_of(history, evaluation, base=base)
    assert document.left_out == 20
    assert sum(item.delta.n for item in document.items if item.delta) == 40
    mine, theirs = index_of(), other
    wrong = made_outcomes(other.labels, 10, 25, seed=7).wrong()
    theirs_wrong = {image_id for image_id, is_wrong in zip(theirs.ids, wrong, strict=True) if is_wrong}
    ours_wrong = {image_id for image_id, is_wrong in zip(mine.ids, given["ensemble"].wrong(), strict=True) if is_wrong}
    shared = set(mine.ids) & set(theirs.ids)
    sides = {"base": base, "candidate": evaluation}
    for cell, expected in {
        "only_base_wrong": (theirs_wrong - ours_wrong) & shared,
        "only_candidate_wrong": (ours_wrong - theirs_wrong) & shared,
        "both_wrong": ours_wrong & theirs_wrong & shared,
        "both_right": shared - ours_wrong - theirs_wrong,
    }.items():
        for page_of in (evaluation, base):
            page = images_of(history, page_of, cell=cell, limit=200, **sides)
            assert {item.id for item in page.items} == expected
            for item in page.items:
                assert [answer.subject.reference for answer in item.answers] == [base, evaluation]
                right = [answer.rank == 0 for answer in item.answers]
                assert right == [item.id not in theirs_wrong, item.id not in ours_wrong]
                assert item.class_name == f"c{int(item.id[:4]) % 9}"


def test_a_base_that_has_another_truth_is_refused(history: History, evaluation: str) -> None:
    records = [ImageRecord(f"{number:04d}.png", 0, f"{number:064x}", 48, 40, 900) for number in range(N)]
    other = DatasetIndex("image_folder", CLASSES, tuple(records))
    history.indexed_dataset("mislabelled", other)
    base = evaluate(history, "mislabelled", {"a": made_outcomes(other.labels, 10, 5)})
    with pytest.raises(InvalidRequestError, match="base: of each shared image the true class"):
        classes_of(history, evaluation, base=base)


def test_confusions_are_the_matrixs_and_its_picture_has_a_cell_for_each_pair(
    history: History, evaluation: str, given: dict[str, ImageOutcomes]
) -> None:
    runtime, outcomes = history.runtime, given["ensemble"]
    document = class_answers.confusion(runtime.db, runtime.artifacts, evaluation, limit=5)
    counts = confusion_counts(outcomes.labels, outcomes.predicted, 10)
    assert [(i.label, i.predicted, i.count, i.share) for i in document.items] == [
        (p.label, p.predicted, p.count, p.share) for p in most_confused(counts, limit=5)
    ]
    assert (document.errors, document.pairs) == (17, int((counts - np.diag(np.diag(counts)) > 0).sum()))
    png = confusion_pictures.picture(runtime.db, runtime.artifacts, evaluation)
    path = runtime.settings.home / "matrix.png"
    path.write_bytes(png)
    with Image.open(path) as image:
        assert image.size == (1000, 1000)
        pixels = np.asarray(image.convert("RGBA"))[50::100, 50::100]
    np.testing.assert_array_equal(pixels[..., 3] > 0, counts > 0)
    bluer = pixels[..., 2].astype(int) > pixels[..., 0]
    np.testing.assert_array_equal(bluer[counts > 0], np.eye(10, dtype=bool)[counts > 0])


def test_calibration_and_scores_are_the_librarys_for_the_ensemble_and_each_member(
    history: History, evaluation: str, given: dict[str, ImageOutcomes]
) -> None:
    document = calibrations.calibration(history.runtime.db, history.runtime.artifacts, evaluation)
    assert [item.subject.name for item in document.items] == ["ensemble", "a", "b"]
    for item in document.items:
        outcomes = given[item.subject.name]
        right = ~outcomes.wrong()
        for binning, ece, bins in (("width", item.ece_width, item.width), ("mass", item.ece_mass, item.mass)):
            curve = reliability_curve(outcomes.confidences, right, binning=binning)  # type: ignore[arg-type]
            assert ece == expected_calibration_error(curve)
            assert [vars(one) for one in curve] == [one.model_dump() for one in bins]
        assert item.brier == outcomes.brier_scores.mean()
        assert item.nll == outcomes.negative_log_likelihoods().mean()
        assert (item.accuracy, item.confidence) == (right.mean(), outcomes.confidences.mean())


def test_agreement_is_the_librarys_and_its_counts_are_those_of_the_lists_of_images(
    history: History, evaluation: str, given: dict[str, ImageOutcomes]
) -> None:
    document = agreements.agreement(history.runtime.db, history.runtime.artifacts, evaluation)
    wrong = np.stack([given["a"].wrong(), given["b"].wrong()])
    assert document.disagreement == disagreement(np.stack([given["a"].predicted, given["b"].predicted])).tolist()
    assert document.error_correlation == error_correlation(wrong).tolist()
    effect = ensemble_effect(wrong, given["ensemble"].wrong())
    assert (document.reference, document.errors) == ("a", [20, 24])
    counts = {"rescued": document.rescued, "broken": document.broken, "disagree": document.members_disagree}
    assert counts["rescued"] == effect.rescued.sum()
    assert counts["broken"] == effect.broken.sum()
    for shown, count in counts.items():
        page = images_of(history, evaluation, shown=shown)
        assert page.found == count == len(page.items) > 0
        for item in page.items:
            ensemble, a, b = (answer.rank == 0 for answer in item.answers)
            expected = {
                "rescued": ensemble and not a,
                "broken": a and not ensemble,
                "disagree": item.answers[1].predicted != item.answers[2].predicted,
            }
            assert expected[shown], (a, b)


def test_a_member_that_is_never_wrong_correlates_with_nothing(history: History, evaluation: str) -> None:
    labels = index_of().labels
    faultless = {name: made_outcomes(labels, 10, wrong) for name, wrong in {"a": 0, "b": 5, "ensemble": 2}.items()}
    document = agreements.agreement(history.runtime.db, history.runtime.artifacts, evaluate(history, "set", faultless))
    assert document.error_correlation == [[None, None], [None, 1.0]]


def test_confident_errors_come_most_confident_first_and_classes_narrow_any_list(
    history: History, evaluation: str, given: dict[str, ImageOutcomes]
) -> None:
    page = images_of(history, evaluation, shown="confident", name="b")
    confidences = [item.answers[2].confidence for item in page.items]
    assert len(confidences) == page.found == 24
    assert confidences == sorted(confidences, reverse=True)
    outcomes = given["b"]
    label, predicted = next(
        (int(truth), int(answer))
        for truth, answer in zip(outcomes.labels, outcomes.predicted, strict=True)
        if truth != answer
    )
    narrowed = images_of(history, evaluation, shown="wrong", name="b", label=label, predicted=predicted)
    mine = (outcomes.labels == label) & (outcomes.predicted == predicted)
    assert [item.index for item in narrowed.items] == np.flatnonzero(mine).tolist()


def test_pages_of_images_join_to_the_whole_in_canonical_order(history: History, evaluation: str) -> None:
    first = images_of(history, evaluation, limit=40)
    second = images_of(history, evaluation, limit=40, cursor=first.next)
    assert [item.index for item in (*first.items, *second.items)] == list(range(N))
    assert second.next is None
    assert [item.id for item in first.items] == list(index_of().ids[:40])


def test_posteriors_that_are_gone_or_other_are_named_and_no_error(
    history: History, evaluation: str, given: dict[str, ImageOutcomes]
) -> None:
    """`History` stores no posterior files: first none is there, then those of other answers."""
    page = images_of(history, evaluation, limit=3)
    assert [answer.top for item in page.items for answer in item.answers] == [None] * 9
    assert len(page.problems) == 2
    assert "posteriors of a" in page.problems[0]
    with history.runtime.db.read() as session:
        parts = session.query(PredictionPart).all()
    for part in parts:
        path = history.runtime.artifacts.path(str(part.artifact))
        path.parent.mkdir(parents=True, exist_ok=True)
        save_posteriors(path, np.full((part.stop - part.start, 10), 0.1, dtype=np.float32))
    page = images_of(history, evaluation, limit=3)
    assert {problem.rpartition(": ")[2] for problem in page.problems} == {"they are not what was scored"}


def test_what_cannot_be_asked_is_refused_by_name(history: History, evaluation: str) -> None:
    for wanted, message in (
        ({"label": 10}, "label: a class number from 0 to 9; got 10"),
        ({"predicted": -1}, "predicted: a class number from 0 to 9; got -1"),
        ({"cell": "both_wrong"}, "base: base, candidate and cell together"),
        ({"base": evaluation, "candidate": evaluation}, "cell: base, candidate and cell together"),
    ):
        with pytest.raises(InvalidRequestError, match=message):
            images_of(history, evaluation, **wanted)
    with pytest.raises(InvalidRequestError, match="cursor"):
        images_of(history, evaluation, cursor="x")
    with pytest.raises(NotFoundError, match="no member 'c'"):
        classes_of(history, evaluation, name="c")
    other = evaluate(history, "set", {"a": made_outcomes(index_of().labels, 10, 5)})
    with pytest.raises(InvalidRequestError, match="is of evaluation"):
        images_of(history, other, base=evaluation, candidate=f"{evaluation}:a", cell="both_wrong")
    with pytest.raises(InvalidRequestError, match="two checkpoints or more"):
        agreements.agreement(history.runtime.db, history.runtime.artifacts, other)
    assert images_of(history, other, shown="rescued").found == 0


def test_an_evaluation_without_outcomes_or_unfinished_says_so(history: History, evaluation: str) -> None:
    waiting = history.submit(dataset="set", checkpoints=["a"], protocol={"scales": [36]})
    with pytest.raises(StateConflictError):
        classes_of(history, waiting)
    history.predict()
    history.finish(waiting, [3], answers={})
    for ask in (classes_of, images_of):
        with pytest.raises(OutcomesMissingError, match="submit it again"):
            ask(history, waiting)


def test_an_index_is_parsed_once_and_many_large_ones_are_not_all_kept(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "_indexes", kept := datasets.KeptIndexes(max_images=100))
    history.indexed_dataset("one", index_of(images=range(60)))
    history.indexed_dataset("two", index_of(images=range(70)))
    with history.runtime.db.read() as session:
        one, two = (find(session, Dataset, name) for name in ("one", "two"))
    first = datasets.load_index(history.runtime.artifacts, one)
    assert datasets.load_index(history.runtime.artifacts, one) is first
    assert len(datasets.load_index(history.runtime.artifacts, two).images) == 70
    assert kept.get(history.runtime.artifacts.version(str(one.index_key), str(one.index_sha256))) is None
    assert datasets.load_index(history.runtime.artifacts, one) == first


def test_a_confusion_of_a_thousand_classes_is_drawn_large_enough_to_be_seen_and_of_more_they_share_cells() -> None:
    for classes, shape in ((900, (1800, 1800)), (2500, (1668, 1668))):
        labels = np.array([100, 500], dtype=np.int32)
        outcomes = outcomes_of(labels, classes, np.array([False, True]))
        outcomes.predicted[1] = 700
        index = DatasetIndex(
            "image_folder",
            tuple(f"c{i}" for i in range(classes)),
            tuple(ImageRecord(f"{i}.png", int(label), "0" * 64, 9, 9, 9) for i, label in enumerate(labels)),
        )
        png = confusion_pictures.draw(Answers(index, np.arange(2, dtype=np.int32), index.ids, outcomes))
        with Image.open(io.BytesIO(png)) as image:
            assert image.size == shape
            opaque = np.asarray(image.convert("RGBA"))[..., 3] > 0
        pixel = shape[0] / min(classes, -(-classes // -(-classes // 1000)))
        together = -(-classes // 1000)
        assert opaque[int(500 // together * pixel), int(700 // together * pixel)]
        assert opaque[int(100 // together * pixel), int(100 // together * pixel)]
        assert 0 < opaque.sum() < 1000
