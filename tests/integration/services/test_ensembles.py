"""Saved ensembles: made, edited, evaluated, and marked where they were chosen on the images that they are scored on."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from app.db.models import PredictionSet
from app.db.queries import ensembles as queries
from app.db.queries import evaluations as evaluation_queries
from app.errors import InUseError, InvalidRequestError, NameTakenError, NotFoundError, PreconditionFailedError
from app.representations.base import version_of
from app.representations.ensembles import EnsembleChange, EnsembleDocument, EnsembleRequest
from app.representations.requests import EvaluationRequest
from app.services import checkpoints, ensembles, evaluations, planning
from app.services.answering import subjects
from ensembles.canonical import digest
from tests.catalogue import Catalogue

MEMBERS: list[dict[str, Any]] = [
    {"checkpoint": "a", "scales": [64, 32], "mode": "both", "weight": 2.0},
    {"checkpoint": "b", "scales": [48], "mode": "crops"},
    {"checkpoint": "a", "scales": [48], "mode": "dense", "weight": 0.5},
]


@pytest.fixture
def stocked(catalogue: Catalogue) -> Catalogue:
    catalogue.dataset()
    catalogue.checkpoint("a")
    catalogue.checkpoint("b")
    return catalogue


def save(catalogue: Catalogue, name: str = "mix", members: Any = MEMBERS, **fields: Any) -> EnsembleDocument:
    key = ensembles.create(catalogue.db, EnsembleRequest(name=name, members=members, **fields))
    with catalogue.db.read() as session:
        return queries.get(session, key)


def evaluate(catalogue: Catalogue, name: str = "mix", **fields: Any) -> str:
    request = EvaluationRequest(dataset="digits", ensemble=name, **fields)
    return evaluations.submit(catalogue.db, request).id


def succeeded(catalogue: Catalogue, evaluation_id: str) -> str:
    worker = catalogue.worker()
    catalogue.predict_all(worker)
    assert catalogue.fuse(worker) == evaluation_id
    return evaluation_id


def test_a_saved_ensemble_lists_its_members_with_whole_protocols(stocked: Catalogue) -> None:
    document = save(stocked, rule="geometric", temperature=1.5, protocol={"hflip": False}, notes="of two")
    assert [(m.checkpoint, m.scales, m.mode, m.weight) for m in document.members] == [
        ("a", [32, 64], "both", 2.0),
        ("b", [48], "crops", 1.0),
        ("a", [48], "dense", 0.5),
    ]
    assert {m.protocol["hflip"] for m in document.members} == {False}
    assert (document.rule, document.temperature, document.notes, document.chosen) == ("geometric", 1.5, "of two", None)


def test_scales_that_are_not_listed_are_those_of_the_rule_for_each_checkpoint(stocked: Catalogue) -> None:
    stocked.checkpoint("narrow", training_scale=(48, 48))
    document = save(stocked, members=[{"checkpoint": "a"}, {"checkpoint": "narrow"}], protocol={"scale_step": 8})
    assert [member.scales for member in document.members] == [[32, 48, 64], [40, 48, 56]]


def test_an_ensemble_is_evaluated_with_its_members_weights_rule_and_temperature(stocked: Catalogue) -> None:
    save(stocked, rule="vote", temperature=2.0)
    evaluation = stocked.get(evaluate(stocked))
    assert [(m.checkpoint, m.scales, m.protocol["modes"], m.weight) for m in evaluation.checkpoints] == [
        ("a", [32, 64], ["dense", "crops"], 2.0),
        ("b", [48], ["crops"], 1.0),
        ("a", [48], ["dense"], 0.5),
    ]
    assert evaluation.fusion == {"rule": "vote", "weights": [2.0, 1.0, 0.5], "temperature": 2.0}
    assert evaluation.ensemble is not None
    assert (evaluation.ensemble.name, evaluation.ensemble.selection_biased) == ("mix", False)
    assert len(evaluation.views) == 6


def test_posteriors_that_are_known_are_shared_and_the_rest_is_work(stocked: Catalogue) -> None:
    stocked.submit("a", protocol={"scales": [32, 64], "modes": ["dense", "crops"]})
    stocked.predict_all(stocked.worker())
    save(stocked)
    evaluation = stocked.get(evaluate(stocked))
    assert [view.done == view.total for view in evaluation.views] == [True] * 4 + [False] * 2
    with stocked.db.read() as session:
        assert len(session.scalars(select(PredictionSet)).all()) == 6


def test_an_ensemble_chosen_by_hand_on_the_same_data_set_is_marked_and_on_another_is_not(stocked: Catalogue) -> None:
    stocked.dataset("others", images=500)
    looked_at = succeeded(stocked, stocked.submit("a", "b", protocol={"scales": [32]}))
    document = save(stocked, chosen_on=looked_at)
    assert document.chosen is not None
    assert (document.chosen.method, document.chosen.candidates_tried) == ("hand", None)
    same, other = (
        stocked.get(evaluate(stocked)),
        evaluations.submit(stocked.db, EvaluationRequest(dataset="others", ensemble="mix")),
    )
    assert same.ensemble is not None
    assert same.ensemble.selection_biased
    assert same.ensemble.chosen == document.chosen
    elsewhere = stocked.get(other.id).ensemble
    assert elsewhere is not None
    assert not elsewhere.selection_biased


def test_renaming_and_deleting_leave_evaluations_as_they_are(stocked: Catalogue) -> None:
    document = save(stocked)
    evaluation_id = evaluate(stocked)
    version = version_of(document)
    renamed = ensembles.change(stocked.db, "mix", EnsembleChange(name="blend"), {version})
    assert renamed.name == "blend"
    with pytest.raises(PreconditionFailedError):
        ensembles.change(stocked.db, "blend", EnsembleChange(notes="late"), {version})
    with pytest.raises(PreconditionFailedError):
        ensembles.delete(stocked.db, "blend", {version})
    ensembles.delete(stocked.db, "blend", {version_of(renamed)})
    with pytest.raises(NotFoundError), stocked.db.read() as session:
        queries.get(session, "blend")
    kept = stocked.get(evaluation_id)
    assert kept.ensemble is not None
    assert (kept.ensemble.name, len(kept.checkpoints)) == ("mix", 3)


def test_evaluations_of_an_ensemble_are_listed_by_its_id_whatever_it_is_called_now(stocked: Catalogue) -> None:
    one, other = save(stocked), save(stocked, "other")
    first, second = evaluate(stocked), evaluate(stocked, force=True)
    elsewhere = evaluate(stocked, "other")
    stocked.submit("a")
    ensembles.change(stocked.db, one.id, EnsembleChange(name="renamed"))
    with stocked.db.read() as session:
        listed = [
            [row.id for row in evaluation_queries.list_page(session, cursor=None, limit=9, ensemble=key).items]
            for key in (one.id, other.id, "mix")
        ]
    assert listed == [[second, first], [elsewhere], []]


def test_a_name_is_given_once(stocked: Catalogue) -> None:
    save(stocked)
    save(stocked, "other")
    with pytest.raises(NameTakenError):
        save(stocked)
    with pytest.raises(NameTakenError):
        ensembles.change(stocked.db, "other", EnsembleChange(name="mix"))


def test_a_checkpoint_of_a_saved_ensemble_cannot_be_deleted(stocked: Catalogue) -> None:
    save(stocked)
    with pytest.raises(InUseError, match="1 ensemble and"):
        checkpoints.delete(stocked.db, "b")
    ensembles.delete(stocked.db, "mix")
    checkpoints.delete(stocked.db, "b")


def test_everything_that_is_wrong_with_an_ensemble_is_said_at_once(stocked: Catalogue) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        save(
            stocked,
            members=[
                {"checkpoint": "a", "scales": [48], "weight": 0.0},
                {"checkpoint": "a", "scales": [48]},
                {"checkpoint": "missing"},
                {"checkpoint": "b", "scales": [16]},
                {"checkpoint": "b", "scales": [48, 48]},
                {"checkpoint": "b", "protocol": "nothing", "weight": -1.0},
            ],
            temperature=0.0,
            chosen_on="nobody",
        )
    assert {problem.field for problem in caught.value.problems} == {
        "members.1.checkpoint",
        "members.2.checkpoint",
        "members.3.scales",
        "members.4.scales",
        "members.5.protocol",
        "members.5.weight",
        "temperature",
        "chosen_on",
    }


def test_a_request_for_an_ensemble_says_nothing_else_about_members(stocked: Catalogue) -> None:
    save(stocked)
    request = EvaluationRequest(
        dataset="digits", ensemble="mix", checkpoints=["a"], protocol="vgg-single-scale", fusion={"rule": "mean"}
    )
    with pytest.raises(InvalidRequestError) as caught, stocked.db.read() as session:
        planning.plan(session, request)
    assert {problem.field for problem in caught.value.problems} == {"checkpoints", "protocol", "fusion"}
    for missing in (EvaluationRequest(dataset="digits", ensemble="mixx"), EvaluationRequest(dataset="digits")):
        with pytest.raises(InvalidRequestError), stocked.db.read() as session:
            planning.plan(session, missing)


def test_a_request_is_sent_and_stored_without_what_the_ensemble_says() -> None:
    body = EvaluationRequest(dataset="d", ensemble="mix").model_dump(mode="json")
    assert EvaluationRequest.model_validate(body) == EvaluationRequest(dataset="d", ensemble="mix")
    assert not {"checkpoints", "protocol", "fusion"} & set(body)
    plain = EvaluationRequest(dataset="d", checkpoints=["a"]).model_dump(mode="json")
    assert digest(plain) == "4c42a3a78cddde56d2c9ece4d94b112857d80d20e60c252a41ffeab9cb5e1a16"


def test_members_of_one_checkpoint_are_told_apart_by_their_position(stocked: Catalogue) -> None:
    save(stocked)
    evaluation_id = succeeded(stocked, evaluate(stocked))
    with stocked.db.read() as session, pytest.raises(NotFoundError, match="member 'a'"):
        subjects.find(session, f"{evaluation_id}:a")
    for reference in ("a#1", "b", "a#3"):
        # No outcomes are stored by this imagined worker: the member is found, its answers are not.
        with stocked.db.read() as session, pytest.raises(Exception, match="outcomes"):
            subjects.find(session, f"{evaluation_id}:{reference}")
