"""Searches over posteriors that real workers made, against fusing the stored files, and the ensembles they save."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import select, update

from app.db.models import Dataset, PredictionPart
from app.db.queries import ensembles as queries
from app.errors import ArtifactDamagedError, InvalidRequestError, SearchTooLargeError, StateConflictError
from app.factory import create_app
from app.representations.ensembles import EnsembleRequest, SavedSearchRequest, SearchRequest
from app.representations.requests import EvaluationRequest
from app.representations.searches import SearchDocument
from app.services import datasets, evaluations
from app.services.searching import search_units, searches
from ensembles.fusion import average_probs, combine_views
from ensembles.metrics import top_k_errors
from ensembles.predictions import read_rows
from ensembles.selection import select_half
from tests.integration.harness import Deployment, deployment

IMAGES = 90
CHECKPOINTS = {"a": ("A", 1), "b": ("B", 2), "c": ("A", 3)}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployment(tmp_path_factory.mktemp("searched")) as made:
        made.add_images(count=IMAGES)
        made.add_images("others", count=30)
        for name, (configuration, seed) in CHECKPOINTS.items():
            made.add_checkpoint(name, configuration=configuration, seed=seed)
        yield made


@pytest.fixture(scope="module")
def evaluation_id(made: Deployment) -> str:
    key = made.submit(list(CHECKPOINTS), fusion={"weights": [1.0, 2.0, 1.0]})
    assert made.run(key).status == "succeeded"
    return key


def run(made: Deployment, evaluation_id: str, **fields: Any) -> SearchDocument:
    return searches.run(made.runtime.db, made.runtime.artifacts, evaluation_id, SearchRequest(**fields))


class Stored:
    """What the files hold, fused by the definitions."""

    def __init__(self, made: Deployment, evaluation_id: str, over: str) -> None:
        with made.runtime.db.read() as session:
            found = search_units.read(session, made.runtime.artifacts, evaluation_id, over)
            index = datasets.load_index(made.runtime.artifacts, session.scalars(select(Dataset)).first())
        everyone = np.arange(IMAGES)
        self.labels, self.ids = index.labels, index.ids
        self.units = [
            combine_views(unit.views, [read_rows(leaf.parts, everyone) for leaf in unit.leaves]) for unit in found.units
        ]

    def wrong(self, weights: Any, rows: NDArray[np.bool_], k: int = 1) -> int:
        probs = average_probs(self.units, weights)[rows]
        return int(top_k_errors(probs, self.labels[rows], k).sum())


@pytest.mark.parametrize(("over", "units"), [("checkpoints", 3), ("modes", 6)])
def test_the_exhaustive_search_finds_the_best_subset_of_what_is_stored(
    made: Deployment, evaluation_id: str, over: Any, units: int
) -> None:
    stored = Stored(made, evaluation_id, over)
    assert len(stored.units) == units
    half = select_half(stored.ids, stored.labels)
    found = run(made, evaluation_id, over=over)
    subsets = [bits for bits in product((0.0, 1.0), repeat=units) if any(bits)]
    best = found.best[0]
    assert best.selected_by * half.sum() == pytest.approx(min(stored.wrong(bits, half) for bits in subsets))
    names = [(m.checkpoint, m.mode, tuple(m.scales)) for m in best.members]
    with made.runtime.db.read() as session:
        all_units = search_units.read(session, made.runtime.artifacts, evaluation_id, over).units
    bits = [float((u.member.checkpoint.name, u.mode, tuple(u.scales)) in names) for u in all_units]
    n = int((~half).sum())
    assert best.top1_error == stored.wrong(bits, ~half) / n
    assert best.top5_error == stored.wrong(bits, ~half, 5) / n
    assert (found.candidates_tried, found.n_select, found.n_report) == (len(subsets), IMAGES - n, n)
    assert found.optimism == pytest.approx(best.top1_error - best.selected_by)
    assert not found.selection_biased
    assert {one.selection_biased for one in [*found.best, *found.pareto, *found.fixed]} == {False}
    assert best.seconds is not None
    assert best.gmacs == pytest.approx(sum(u.gmacs for u, bit in zip(all_units, bits, strict=True) if bit))


@pytest.mark.parametrize("over", ["checkpoints", "modes", "views"])
def test_the_evaluations_own_fusion_is_beside_them_with_the_errors_that_it_has(
    made: Deployment, evaluation_id: str, over: Any
) -> None:
    found = run(made, evaluation_id, over=over, guard="none", method="greedy")
    own = {s.metric: s.value for s in made.scores(evaluation_id) if s.subject == "ensemble"}
    assert (found.fixed[0].top1_error, found.fixed[0].top5_error) == (own["top1_error"], own["top5_error"])
    assert found.selection_biased
    assert found.best[0].selection_biased
    assert not found.fixed[0].selection_biased


@pytest.mark.parametrize(
    "fields",
    [
        {"over": "checkpoints", "method": "weights"},
        {"over": "modes", "method": "greedy"},
        {"over": "views", "method": "exhaustive"},
        {"over": "views", "method": "exhaustive", "rule": "geometric"},
    ],
)
def test_a_saved_search_evaluated_on_the_same_images_has_its_errors_and_is_marked(
    made: Deployment, evaluation_id: str, fields: dict[str, Any]
) -> None:
    found = run(made, evaluation_id, guard="none", **fields)
    name = "-".join(fields.values())
    request = EnsembleRequest(
        name=name, search=SavedSearchRequest(evaluation=evaluation_id, guard="none", **fields), notes="found"
    )
    key = searches.save(made.runtime.db, made.runtime.artifacts, request)
    with made.runtime.db.read() as session:
        saved = queries.get(session, key)
    assert [(m.checkpoint, m.scales, m.mode, m.weight) for m in saved.members] == [
        (m.checkpoint, m.scales, m.mode, m.weight) for m in found.best[0].members
    ]
    assert saved.chosen is not None
    assert saved.chosen.candidates_tried == found.candidates_tried
    again = evaluations.submit(made.runtime.db, EvaluationRequest(dataset="pictures", ensemble=name)).id
    document = made.run(again)
    assert document.status == "succeeded"
    assert document.ensemble is not None
    assert document.ensemble.selection_biased
    assert document.provenance["ensemble"]["name"] == name
    subject = "ensemble" if len(saved.members) > 1 else "checkpoint"
    last = [score for score in made.scores(again) if score.subject == subject and score.metric == "top1_error"][-1]
    assert last.value == found.best[0].top1_error


def test_a_saved_search_is_evaluated_on_another_data_set_by_predicting_what_is_missing_and_is_not_marked_there(
    made: Deployment, evaluation_id: str
) -> None:
    request = EnsembleRequest(name="elsewhere", search=SavedSearchRequest(evaluation=evaluation_id))
    searches.save(made.runtime.db, made.runtime.artifacts, request)
    key = evaluations.submit(made.runtime.db, EvaluationRequest(dataset="others", ensemble="elsewhere")).id
    document = made.run(key)
    assert (document.status, document.ensemble is not None) == ("succeeded", True)
    assert document.ensemble is not None
    assert not document.ensemble.selection_biased
    assert document.progress.done == document.progress.total > 0


def test_cross_fitting_says_what_it_estimates(made: Deployment, evaluation_id: str) -> None:
    found = run(made, evaluation_id, guard="crossfit")
    assert found.procedure is not None
    assert found.procedure.n == IMAGES
    assert found.selection_biased
    assert found.optimism == pytest.approx(found.procedure.top1_error - found.best[0].selected_by)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"metric": "nll"}, {"metric"}),
        ({"rule": "geometric", "over": "checkpoints"}, {"over"}),
        ({"rule": "geometric", "over": "views", "metric": "nll", "method": "weights"}, {"metric"}),
    ],
)
def test_what_no_search_can_answer_is_refused_by_the_field(
    made: Deployment, evaluation_id: str, fields: dict[str, Any], named: set[str]
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        run(made, evaluation_id, **fields)
    assert {problem.field for problem in caught.value.problems} == named


def test_a_search_that_is_too_large_for_a_web_process_is_refused_there_alone(
    made: Deployment, evaluation_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("MAX_POSTERIORS", "MAX_SUMS"):
        with monkeypatch.context() as small:
            small.setattr(searches, limit, 10)
            with pytest.raises(SearchTooLargeError):
                run(made, evaluation_id)
            at_the_machine = searches.run(
                made.runtime.db, made.runtime.artifacts, evaluation_id, SearchRequest(), bounded=False
            )
    assert at_the_machine == run(made, evaluation_id)


def test_an_evaluation_that_has_not_succeeded_and_posteriors_that_are_gone_are_refused(
    made: Deployment, evaluation_id: str
) -> None:
    waiting = made.submit(["a"], protocol={"scales": [64]})
    with pytest.raises(StateConflictError):
        run(made, waiting)
    with made.runtime.db.write() as session:
        part = session.scalars(select(PredictionPart).where(PredictionPart.artifact.is_not(None)).limit(1)).one()
        key, part_id = str(part.artifact), part.id
        session.execute(update(PredictionPart).where(PredictionPart.id == part_id).values(artifact="parts/gone.npy"))
    try:
        with pytest.raises(ArtifactDamagedError):
            run(made, evaluation_id)
    finally:
        with made.runtime.db.write() as session:
            session.execute(update(PredictionPart).where(PredictionPart.id == part_id).values(artifact=key))


def test_a_search_is_asked_and_saved_over_rest(made: Deployment, evaluation_id: str) -> None:
    client = create_app(made.runtime).test_client()
    found = client.post(f"/api/v1/evaluations/{evaluation_id}/searches", json={"over": "modes"})
    assert found.status_code == 200
    assert found.json == run(made, evaluation_id, over="modes").model_dump(mode="json")
    body = {"name": "over-rest", "search": {"evaluation": evaluation_id, "over": "modes"}}
    saved = client.post("/api/v1/ensembles", json=body)
    assert saved.status_code == 201
    assert (saved.json["chosen"]["selection"], saved.json["chosen"]["over"]) == ("split", "modes")
    both = client.post("/api/v1/ensembles", json={**body, "name": "b", "members": [{"checkpoint": "a"}]})
    assert [item["pointer"] for item in both.json["errors"]] == ["/members"]
    assert client.post(f"/api/v1/evaluations/{evaluation_id}/searches", json={"within": -1}).status_code == 422
