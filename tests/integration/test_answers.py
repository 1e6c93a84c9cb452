"""From real networks to the pages: scores, calibration and top classes against the stored posteriors themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import select

from app.db.models import EvaluationSet, PredictionPart, PredictionSet
from app.representations.answered_images import AnsweredImagesDocument
from app.services.answering import answered_images, calibrations
from app.services.answering.answered_images import ImageFilter
from tests.integration.harness import Deployment, deployment

IMAGES = 20


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Deployment, str]]:
    """Two members, the second of three times the weight, in two modes at two scales each; parts of few images."""
    with deployment(tmp_path_factory.mktemp("finished")) as made:
        made.add_images(count=IMAGES)
        made.add_checkpoint("a")
        made.add_checkpoint("d", configuration="D", seed=1)
        key = made.submit(["a", "d"], fusion={"rule": "mean", "weights": [1.0, 3.0]})
        assert made.run(key, slice_seconds=0.05).status == "succeeded"
        yield made, key


def stored(made: Deployment, key: str) -> dict[str, NDArray[np.float64]]:
    """(N, K) of each member and the ensemble by the definition, from the part files."""
    by_view: dict[tuple[int, str], list[NDArray[np.float64]]] = {}
    with made.runtime.db.read() as session:
        links = session.execute(
            select(EvaluationSet, PredictionSet.view)
            .join(PredictionSet, PredictionSet.id == EvaluationSet.set_id)
            .where(EvaluationSet.evaluation_id == key)
        ).all()
        for link, view in links:
            rows = select(PredictionPart).where(PredictionPart.set_id == link.set_id).order_by(PredictionPart.start)
            files = [made.runtime.artifacts.path(str(part.artifact)) for part in session.scalars(rows)]
            probs = np.concatenate([np.load(file).astype(np.float64) for file in files])[:IMAGES]
            by_view.setdefault((link.member_position, view["mode"]), []).append(probs)
    members = [
        (np.mean(by_view[position, "dense"], axis=0) + np.mean(by_view[position, "crops"], axis=0)) / 2
        for position in (0, 1)
    ]
    return {"a": members[0], "d": members[1], "ensemble": (members[0] + 3 * members[1]) / 4}


def images_of(made: Deployment, key: str, **wanted: object) -> AnsweredImagesDocument:
    runtime, chosen = made.runtime, ImageFilter(**wanted)  # type: ignore[arg-type]
    return answered_images.list_page(runtime.db, runtime.artifacts, key, chosen, limit=50)


def truth(made: Deployment, key: str) -> NDArray[np.int64]:
    return np.array([item.label for item in images_of(made, key).items])


def test_ece_and_brier_score_are_what_their_definitions_give_on_the_posteriors(
    finished: tuple[Deployment, str],
) -> None:
    made, key = finished
    labels = truth(made, key)
    scores = {(score.subject_name, score.metric): score.value for score in made.scores(key) if score.mode == "both"}
    calibrated = calibrations.calibration(made.runtime.db, made.runtime.artifacts, key)
    for name, probs in stored(made, key).items():
        one_hot = np.eye(probs.shape[1])[labels]
        assert scores[name, "brier"] == pytest.approx(((probs - one_hot) ** 2).sum(axis=1).mean(), rel=1e-9)
        confidence, right = probs.max(axis=1), probs.argmax(axis=1) == labels
        bins = np.ceil(confidence * 15).astype(int)
        gaps = [abs((confidence[bins == b] - right[bins == b]).sum()) for b in range(1, 16)]
        assert scores[name, "ece"] == pytest.approx(sum(gaps) / IMAGES, rel=1e-9)
        item = next(item for item in calibrated.items if item.subject.name == name)
        assert (item.ece_width, item.brier, item.nll) == tuple(scores[name, m] for m in ("ece", "brier", "nll"))


def test_the_likeliest_classes_are_those_of_the_posteriors_fused_as_the_scores_were(
    finished: tuple[Deployment, str],
) -> None:
    made, key = finished
    page = images_of(made, key)
    assert page.problems == []
    assert len(page.items) == IMAGES
    for name, probs in stored(made, key).items():
        for item in page.items:
            (answer,) = (answer for answer in item.answers if answer.subject.name == name)
            row = probs[item.index]
            assert answer.top is not None
            assert [one.label for one in answer.top] == np.argsort(-row, kind="stable").tolist()
            assert [one.probability for one in answer.top] == pytest.approx(np.sort(row)[::-1], rel=1e-9)
            assert answer.top[0].probability == answer.confidence


def test_a_part_that_is_damaged_costs_the_likeliest_classes_of_who_needs_it_alone(
    finished: tuple[Deployment, str], tmp_path: Path
) -> None:
    made, key = finished
    with deployment(tmp_path, like=made) as copied:
        with copied.runtime.db.read() as session:
            parts = session.scalars(
                select(PredictionPart)
                .join(EvaluationSet, EvaluationSet.set_id == PredictionPart.set_id)
                .where(EvaluationSet.evaluation_id == key, EvaluationSet.member_position == 1)
                .order_by(PredictionPart.set_id, PredictionPart.start)
            ).all()
        path = copied.runtime.artifacts.path(str(parts[0].artifact))
        path.write_bytes(path.read_bytes()[:-5])
        page = images_of(copied, key)
        assert len(page.items) == IMAGES
        assert len(page.problems) == 1
        assert "posteriors of d" in page.problems[0]
        assert str(copied.home) not in page.problems[0]
        for item in page.items:
            ensemble, a, d = item.answers
            assert a.top is not None
            assert ensemble.top is None
            assert d.top is None
            assert ensemble.predicted_name in {"class-0", "class-1", "class-2"}
