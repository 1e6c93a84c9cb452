"""Imported predictions as rows: a member at once, shared by content, never predicted, on both databases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, select

from app.db.models import Checkpoint, EvaluationSet, PredictionPart, PredictionSet
from app.db.queries import checkpoints as queries
from app.db.queries import ensembles as ensemble_queries
from app.errors import InUseError, InvalidRequestError, LeaseLostError, NotFoundError, PathForbiddenError
from app.representations.catalogue import CheckpointDocument
from app.representations.ensembles import EnsembleMemberRequest, EnsembleRequest
from app.representations.predictions import PredictionsRequest
from app.representations.requests import EvaluationRequest
from app.services import checkpoints, ensembles, evaluations, imports
from app.services.leasing import leases
from ensembles.errors import PredictionsFileError
from tests.catalogue import Catalogue

IMAGES = 60


def write(catalogue: Catalogue, name: str, seed: int = 0, images: int = IMAGES, **arrays: Any) -> str:
    """A file below the checkpoint roots; its relative path."""
    ids = catalogue.index(images).ids
    probs = np.random.default_rng(seed).dirichlet(np.ones(catalogue.classes), size=images).astype(np.float32)
    np.savez(catalogue.settings.checkpoint_roots[0] / name, **{"ids": np.array(ids), "probs": probs, **arrays})
    return name


def bring(catalogue: Catalogue, name: str, path: str, **fields: Any) -> CheckpointDocument:
    """Import a file, as a worker would."""
    request = PredictionsRequest(**{"path": path, "name": name, "dataset": "digits", **fields})
    key = imports.request_import(catalogue.db, catalogue.settings, request)
    lease = leases.lease_item(catalogue.db, catalogue.worker(), ["fuse"])
    assert lease is not None
    assert (lease.kind, lease.checkpoint_id) == ("import_predictions", key)
    try:
        imports.complete_import(catalogue.db, catalogue.artifacts, lease)
    except PredictionsFileError as error:
        leases.fail_item(catalogue.db, lease, error.code, str(error), retryable=False)
    with catalogue.db.read() as session:
        return queries.get(session, key)


def count(catalogue: Catalogue, table: Any) -> int:
    with catalogue.db.read() as session:
        return session.scalars(select(func.count()).select_from(table)).one()


def test_imported_predictions_are_fused_with_a_checkpoint_under_no_protocol(catalogue: Catalogue) -> None:
    catalogue.dataset(images=IMAGES)
    catalogue.checkpoint("a")
    vit = bring(catalogue, "vit", write(catalogue, "vit.npz"), tags=["jax"])
    assert (vit.state, vit.architecture, vit.classes, vit.tags) == ("ready", "imported", 10, ["jax"])
    assert (vit.configuration, vit.parameters, vit.gmacs, vit.preprocessing) == (None, None, None, None)
    evaluation_id = catalogue.submit("a", "vit", protocol={"scales": [32]})
    waiting = catalogue.get(evaluation_id)
    assert [(view.checkpoint, view.mode, view.scale, view.done) for view in waiting.views] == [
        ("a", "dense", 32, 0),
        ("vit", "imported", None, IMAGES),
    ]
    assert [member.protocol_title for member in waiting.checkpoints][1] == "imported"
    worker = catalogue.worker()
    slices = catalogue.predict_all(worker)
    assert {part.checkpoint_name for leased in slices for part in leased.parts} == {"a"}
    assert catalogue.status(evaluation_id) == "fusing"
    assert catalogue.fuse(worker) == evaluation_id


def test_an_evaluation_of_imports_alone_waits_for_no_prediction(catalogue: Catalogue) -> None:
    catalogue.dataset(images=IMAGES)
    bring(catalogue, "vit", write(catalogue, "vit.npz"))
    bring(catalogue, "mixer", write(catalogue, "mixer.npz", seed=1))
    evaluation_id = catalogue.submit("vit", "mixer")
    document = catalogue.get(evaluation_id)
    assert (document.status, document.protocol_title) == ("fusing", "imported")
    assert document.protocol == {"modes": ["imported"], "exclude": None}
    left_out = catalogue.submit("vit", protocol={"scales": [32], "exclude": ["c1/00001.png"]})
    assert catalogue.get(left_out).protocol == {"modes": ["imported"], "exclude": ["c1/00001.png"]}


def test_the_same_posteriors_share_one_set_whatever_file_they_came_in(catalogue: Catalogue) -> None:
    catalogue.dataset(images=IMAGES)
    path = write(catalogue, "vit.npz")
    first = bring(catalogue, "vit", path)
    with np.load(catalogue.settings.checkpoint_roots[0] / path) as archive:
        order = np.random.default_rng(3).permutation(IMAGES)
        write(catalogue, "shuffled.npz", ids=archive["ids"][order], probs=archive["probs"][order])
    second = bring(catalogue, "again", "shuffled.npz")
    other = bring(catalogue, "other", write(catalogue, "other.npz", seed=9))
    assert first.fingerprint == second.fingerprint != other.fingerprint
    assert first.sha256 != second.sha256
    assert count(catalogue, PredictionSet) == count(catalogue, PredictionPart) == 2


def test_a_forced_evaluation_takes_imported_predictions_as_they_are(catalogue: Catalogue) -> None:
    catalogue.dataset(images=IMAGES)
    catalogue.checkpoint("a")
    bring(catalogue, "vit", write(catalogue, "vit.npz"))
    evaluation_id = catalogue.submit("a", "vit", protocol={"scales": [32]}, force=True)
    assert [view.done for view in catalogue.get(evaluation_id).views] == [0, IMAGES]
    catalogue.predict_all(catalogue.worker())
    again = catalogue.submit("a", "vit", protocol={"scales": [32]}, force=True)
    assert [view.done for view in catalogue.get(again).views] == [0, IMAGES]
    with catalogue.db.read() as session:
        links = select(EvaluationSet.set_id).where(EvaluationSet.member_position == 1)
        assert len(set(session.scalars(links))) == 1


def test_predictions_of_another_data_set_are_refused_by_name(catalogue: Catalogue) -> None:
    catalogue.dataset(images=IMAGES)
    catalogue.dataset("letters", images=IMAGES - 1)
    bring(catalogue, "vit", write(catalogue, "vit.npz"))
    with pytest.raises(InvalidRequestError, match="predictions of data set 'letters'; these are of data set 'digits'"):
        catalogue.submit("vit", dataset="letters")


def test_nobody_can_ask_a_network_for_imported_posteriors(catalogue: Catalogue) -> None:
    catalogue.dataset(images=IMAGES)
    catalogue.checkpoint("a")
    with pytest.raises(InvalidRequestError, match="only predictions are imported"):
        catalogue.submit("a", protocol={"modes": ["imported"]})


def test_what_does_not_fit_fails_the_import_with_the_images_named(catalogue: Catalogue) -> None:
    catalogue.dataset(images=IMAGES)
    short = bring(catalogue, "vit", write(catalogue, "vit.npz", images=IMAGES - 1))
    assert short.state == "failed"
    assert short.error is not None
    assert short.error.code == "predictions_file"
    assert "1 missing (c9/00059.png)" in short.error.message
    assert count(catalogue, PredictionSet) == 0
    mended = bring(catalogue, "vit", "vit.npz", partial=True)
    assert (mended.state, mended.error) == ("ready", None)
    failing = catalogue.submit("vit")
    assert catalogue.status(failing) == "failed"
    skipping = catalogue.submit("vit", unreadable="skip")
    assert catalogue.status(skipping) == "fusing"


def test_an_ensemble_with_imported_predictions_is_saved_and_evaluated_by_its_name(catalogue: Catalogue) -> None:
    catalogue.dataset(images=IMAGES)
    catalogue.checkpoint("a")
    bring(catalogue, "vit", write(catalogue, "vit.npz"))
    members = [EnsembleMemberRequest(checkpoint="a", scales=[32], weight=2.0), EnsembleMemberRequest(checkpoint="vit")]
    ensembles.create(catalogue.db, EnsembleRequest(name="both", members=members))
    with catalogue.db.read() as session:
        saved = ensemble_queries.get(session, "both")
    assert [(one.checkpoint, one.mode, one.scales) for one in saved.members] == [
        ("a", "dense", [32]),
        ("vit", "imported", []),
    ]
    request = EvaluationRequest(dataset="digits", ensemble="both")
    evaluation_id = evaluations.submit(catalogue.db, request).id
    assert [view.mode for view in catalogue.get(evaluation_id).views] == ["dense", "imported"]
    with pytest.raises(InUseError):
        checkpoints.delete(catalogue.db, "vit")


def test_a_lost_lease_leaves_no_rows(catalogue: Catalogue) -> None:
    catalogue.dataset(images=IMAGES)
    request = PredictionsRequest(path=write(catalogue, "vit.npz"), name="vit", dataset="digits")
    imports.request_import(catalogue.db, catalogue.settings, request)
    lease = leases.lease_item(catalogue.db, catalogue.worker(), ["fuse"])
    assert lease is not None
    leases.release_item(catalogue.db, lease)
    with pytest.raises(LeaseLostError):
        imports.complete_import(catalogue.db, catalogue.artifacts, lease)
    assert count(catalogue, PredictionSet) == 0


def test_files_are_named_below_the_roots_and_data_sets_that_exist(catalogue: Catalogue) -> None:
    catalogue.dataset(images=IMAGES)
    write(catalogue, "vit.npz")
    Path(catalogue.home / "outside.npz").write_bytes(b"")
    for fields in ({"path": str(catalogue.home / "outside.npz")}, {"path": "vit.npz", "ids": "../outside.npz"}):
        with pytest.raises(PathForbiddenError):
            bring(catalogue, "vit", **fields)
    with pytest.raises(NotFoundError, match="did you mean digits"):
        bring(catalogue, "vit", "vit.npz", dataset="digit")
    assert count(catalogue, Checkpoint) == 0


def test_imported_predictions_are_forgotten_unless_they_are_used(catalogue: Catalogue) -> None:
    catalogue.dataset(images=IMAGES)
    bring(catalogue, "vit", write(catalogue, "vit.npz"))
    bring(catalogue, "twin", "vit.npz")
    evaluation_id = catalogue.submit("twin")
    checkpoints.delete(catalogue.db, "vit")
    assert count(catalogue, PredictionSet) == 1
    with pytest.raises(InUseError):
        checkpoints.delete(catalogue.db, "twin")
    assert catalogue.fuse(catalogue.worker()) == evaluation_id
    bring(catalogue, "unused", write(catalogue, "other.npz", seed=5))
    checkpoints.delete(catalogue.db, "unused")
    assert count(catalogue, PredictionSet) == count(catalogue, PredictionPart) == 1
    evaluations.advance_ready(catalogue.db)
