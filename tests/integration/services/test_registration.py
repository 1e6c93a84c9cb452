"""Checkpoints and data sets: there at once, usable when a worker has read them, gone only when nobody uses them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from app.db.models import Dataset
from app.db.queries import checkpoints as queries
from app.db.queries import datasets as dataset_queries
from app.db.queries.lookup import find
from app.errors import (
    ArtifactDamagedError,
    InUseError,
    InvalidRequestError,
    LeaseLostError,
    NameTakenError,
    NotFoundError,
    NotReadyError,
    PathForbiddenError,
    PreconditionFailedError,
)
from app.representations.base import version_of
from app.representations.catalogue import CheckpointDocument
from app.representations.requests import CheckpointChange, CheckpointRequest, DatasetRequest
from app.services import checkpoints, datasets
from app.services.leasing import leases
from app.services.leasing.leases import ItemLease
from ensembles.configurations import Architecture
from ensembles.datasets import DatasetIndex, ImageRecord
from tests.catalogue import Catalogue
from tests.integration.services.test_carving import in_threads

DENSE = {"scales": [32]}


@pytest.fixture
def weights(catalogue: Catalogue) -> Path:
    path = catalogue.settings.checkpoint_roots[0] / "w.safetensors"
    path.write_bytes(b"weights")
    return path


def request(catalogue: Catalogue, path: Path, name: str = "w", **fields: Any) -> str:
    asked = CheckpointRequest(path=str(path), name=name, **fields)
    return checkpoints.request_registration(catalogue.db, catalogue.settings, asked)


def lease(catalogue: Catalogue, queue: str = "predict") -> ItemLease:
    taken = leases.lease_item(catalogue.db, "w1", [queue])
    assert taken is not None
    return taken


def get(catalogue: Catalogue, key: str) -> CheckpointDocument:
    with catalogue.db.read() as session:
        return queries.get(session, key)


def test_a_checkpoint_appears_at_once_and_becomes_ready(catalogue: Catalogue, weights: Path) -> None:
    checkpoint_id = request(catalogue, weights, tags=["vgg"], notes="from a friend")
    before = get(catalogue, "w")
    assert (before.id, before.state, before.architecture, before.tags) == (checkpoint_id, "registering", None, ["vgg"])
    with catalogue.db.read() as session, pytest.raises(NotReadyError):
        queries.layers(session, "w")

    checkpoints.complete_registration(catalogue.db, lease(catalogue), catalogue.facts(weights, "w"))
    after = get(catalogue, checkpoint_id)
    network = Architecture("D", False, 0.125, 10, 32)
    assert (after.state, after.architecture, after.configuration) == ("ready", "vgg16", "D")
    assert (after.parameters, after.training_scale, after.crop) == (network.parameters, [32, 64], 32)
    assert after.gmacs == network.macs(32, 32) / 1e9
    with catalogue.db.read() as session:
        assert sum(layer.parameters for layer in queries.layers(session, "w")) == network.parameters


def test_what_the_request_states_about_the_file_reaches_the_worker(catalogue: Catalogue, weights: Path) -> None:
    request(catalogue, weights, training_scale="256-512", preprocessing="caffe-vgg")
    payload = lease(catalogue).payload
    assert payload["path"] == str(weights)
    assert payload["training_scale"] == [256, 512]
    assert payload["preprocessing"]["channel_order"] == "bgr"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"training_scale": "S"}, {"training_scale": "invalid_value"}),
        ({"training_scale": [512, 256]}, {"training_scale": "invalid_value"}),
        ({"preprocessing": "caffe"}, {"preprocessing": "unknown_name"}),
        ({"preprocessing": {"std": [1, 0, 1]}}, {"preprocessing.std": "invalid_value"}),
        ({"preprocessing": {"mean": 3}}, {"preprocessing.mean": "invalid_value"}),
        (
            {"training_scale": 0, "preprocessing": {"mean": [0, 0, 0], "range": 1}},
            {"training_scale": "invalid_value", "preprocessing.range": "unknown_field"},
        ),
    ],
)
def test_wrong_fields_are_listed_and_nothing_is_registered(
    catalogue: Catalogue, weights: Path, fields: dict[str, Any], expected: dict[str, str]
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        request(catalogue, weights, **fields)
    assert {problem.field: problem.code for problem in caught.value.problems} == expected
    with catalogue.db.read() as session:
        assert queries.list_page(session, cursor=None, limit=1).items == []


def test_a_path_outside_the_roots_is_forbidden(catalogue: Catalogue, tmp_path: Path) -> None:
    outside = tmp_path / "outside.pth"
    outside.write_bytes(b"weights")
    with pytest.raises(PathForbiddenError, match="SOFTVOTE_CHECKPOINT_ROOTS"):
        request(catalogue, outside)
    asked = CheckpointRequest(path=str(outside), name="w")
    checkpoints.request_registration(catalogue.db, catalogue.settings, asked, trusted=True)
    assert get(catalogue, "w").source == str(outside)


def test_a_name_is_taken_once_even_at_the_same_moment(catalogue: Catalogue, weights: Path) -> None:
    outcomes: list[str] = []

    def register(_: int) -> None:
        try:
            outcomes.append(request(catalogue, weights))
        except NameTakenError:
            outcomes.append("taken")

    in_threads(register)
    assert sorted(outcomes)[-7:] == ["taken"] * 7
    assert len(set(outcomes)) == 2


def test_a_failed_registration_says_why_and_its_name_can_be_used_again(catalogue: Catalogue, weights: Path) -> None:
    checkpoint_id = request(catalogue, weights)
    leases.fail_item(catalogue.db, lease(catalogue), "checkpoint_corrupt", "truncated", retryable=False)
    failed = get(catalogue, "w")
    assert failed.error is not None
    assert (failed.state, failed.error.code, failed.error.message) == ("failed", "checkpoint_corrupt", "truncated")

    better = weights.with_name("better.safetensors")
    better.write_bytes(b"better")
    assert request(catalogue, better) == checkpoint_id
    assert (get(catalogue, "w").state, get(catalogue, "w").error) == ("registering", None)
    checkpoints.complete_registration(catalogue.db, lease(catalogue), catalogue.facts(better, "better"))
    assert (get(catalogue, "w").state, get(catalogue, "w").source) == ("ready", str(better))
    with pytest.raises(NameTakenError):
        request(catalogue, weights)


def test_a_transient_error_leaves_it_registering(catalogue: Catalogue, weights: Path) -> None:
    request(catalogue, weights)
    leases.fail_item(catalogue.db, lease(catalogue), "io_error", "a cable", retryable=True)
    assert get(catalogue, "w").state == "registering"
    assert leases.lease_item(catalogue.db, "w1", ["predict"]) is None


def test_people_edit_what_people_wrote(catalogue: Catalogue) -> None:
    catalogue.checkpoint("a")
    catalogue.checkpoint("b")
    checkpoints.change(catalogue.db, "a", CheckpointChange(name="c", notes="", tags=["x"]))
    changed = get(catalogue, "c")
    assert (changed.notes, changed.tags, changed.state) == ("", ["x"], "ready")
    checkpoints.change(catalogue.db, "c", CheckpointChange(notes="kept"))
    assert (get(catalogue, "c").tags, get(catalogue, "c").notes) == (["x"], "kept")
    checkpoints.change(catalogue.db, "c", CheckpointChange(name="c"))
    with pytest.raises(NameTakenError, match="'b' exists"):
        checkpoints.change(catalogue.db, "c", CheckpointChange(name="b"))
    with pytest.raises(NotFoundError):
        checkpoints.change(catalogue.db, "a", CheckpointChange(notes="x"))


def test_a_checkpoint_in_use_stays(catalogue: Catalogue) -> None:
    catalogue.dataset(images=10)
    catalogue.checkpoint("a")
    catalogue.submit("a", protocol=DENSE)
    catalogue.submit("a", protocol=DENSE)
    with pytest.raises(InUseError, match="used by 2 evaluations"):
        checkpoints.delete(catalogue.db, "a")
    assert get(catalogue, "a").state == "ready"


def test_deleting_while_a_worker_reads_the_file_takes_its_lease_away(catalogue: Catalogue, weights: Path) -> None:
    request(catalogue, weights)
    held = lease(catalogue)
    checkpoints.delete(catalogue.db, "w")
    with pytest.raises(NotFoundError):
        get(catalogue, "w")
    with pytest.raises(LeaseLostError):
        checkpoints.complete_registration(catalogue.db, held, catalogue.facts(weights, "w"))
    request(catalogue, weights)


def test_deleting_and_submitting_at_once_end_in_one_order_or_the_other(catalogue: Catalogue) -> None:
    catalogue.dataset(images=10)
    for attempt in range(5):
        name = f"c{attempt}"
        catalogue.checkpoint(name)
        outcomes: list[str] = []

        def act(number: int, name: str = name, outcomes: list[str] = outcomes) -> None:
            try:
                if number % 2:
                    checkpoints.delete(catalogue.db, name)
                    outcomes.append("deleted")
                else:
                    catalogue.submit(name, protocol=DENSE)
                    outcomes.append("submitted")
            except (InUseError, NotFoundError, InvalidRequestError):
                pass

        in_threads(act)
        assert set(outcomes) in ({"deleted"}, {"submitted"}), outcomes


def test_a_data_set_keeps_its_index_and_a_sample_of_sizes(catalogue: Catalogue) -> None:
    (catalogue.settings.data_roots[0] / "d").mkdir()
    datasets.request_registration(catalogue.db, catalogue.settings, DatasetRequest(path="d", name="d"))
    records = [ImageRecord(f"a/{i}.png", 0, f"{i:064x}", 10 + i, 20, 1) for i in range(400)]
    records[0] = ImageRecord("a/0.png", 0, f"{0:064x}", 0, 0, 1)
    index = DatasetIndex("image_folder", ("a", "b"), tuple(records))
    datasets.complete_registration(catalogue.db, lease(catalogue, "fuse"), catalogue.artifacts, index)
    with catalogue.db.read() as session:
        document = dataset_queries.get(session, "d")
        row = find(session, Dataset, "d")
    assert (document.state, document.images, document.classes, document.class_names) == ("ready", 400, 2, ["a", "b"])
    assert document.fingerprint == index.fingerprint
    readable = [[image.width, image.height] for image in index.images if image.width]
    assert row.sample_sizes == readable[:256]
    assert datasets.load_index(catalogue.artifacts, row) == index
    catalogue.artifacts.delete(str(row.index_key))
    with pytest.raises(ArtifactDamagedError):
        datasets.load_index(catalogue.artifacts, row)


def test_an_unready_data_set_has_no_index(catalogue: Catalogue) -> None:
    (catalogue.settings.data_roots[0] / "d").mkdir()
    datasets.request_registration(catalogue.db, catalogue.settings, DatasetRequest(path="d", name="d"))
    leases.fail_item(catalogue.db, lease(catalogue, "fuse"), "empty_dataset", "no images", retryable=False)
    with catalogue.db.read() as session:
        row = find(session, Dataset, "d")
    assert (row.state, row.error_code) == ("failed", "empty_dataset")
    with pytest.raises(ValueError, match="'d' is failed and has no index"):
        datasets.load_index(catalogue.artifacts, row)


def test_of_many_edits_of_one_version_at_once_one_is_made(catalogue: Catalogue) -> None:
    catalogue.checkpoint("a")
    seen = frozenset([version_of(checkpoints.change(catalogue.db, "a", CheckpointChange(notes="seen")))])
    barrier = threading.Barrier(8)

    def edit(number: int) -> bool:
        barrier.wait()
        try:
            checkpoints.change(catalogue.db, "a", CheckpointChange(notes=f"by {number}"), seen)
        except PreconditionFailedError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(edit, range(8))) == [False] * 7 + [True]
