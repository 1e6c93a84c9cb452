"""Cases F41 to F44 through a worker: registered, predicted, scored; unreadable images named, never predictions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import select

from app.config import Settings
from app.db.models import PredictionPart
from app.db.queries import evaluations as queries
from app.factory import create_app
from app.representations.evaluations import EvaluationDocument, ScoreDocument
from app.representations.requests import CheckpointRequest, DatasetRequest, EvaluationRequest
from app.runtime import Runtime, build_runtime
from app.services import evaluations
from ensembles.checkpoints import save_checkpoint
from tests.builders import encoded, photo, write_folder
from tests.odd_images import bombs, odd_images
from tests.odd_names import STRANGE_NAMES
from tests.tiny_nets import tiny_network
from workers import local

READABLE = [name for name, odd in odd_images().items() if odd.pixels is not None]
#: A file of 50 MB is read often enough elsewhere.
ODD = [name for name in odd_images() if name != "file-over-50-mb"]


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    """A service with odd images in one class, strangely named ones in another, and a network for two classes."""
    home = tmp_path_factory.mktemp("home")
    runtime = build_runtime(Settings.from_environment({"SOFTVOTE_HOME": str(home)}), migrate=True)
    files = {f"odd/{name}/{odd_images()[name].name}": odd_images()[name].data for name in ODD}
    files |= {f"strange/{name}": encoded(photo(40, 36, n)) for n, name in enumerate(STRANGE_NAMES.values())}
    document = local.register_dataset_now(
        runtime, DatasetRequest(path=str(write_folder(home / "odd", files)), name="odd")
    )
    assert document.state == "ready", document.error
    save_checkpoint(home / "tiny.safetensors", tiny_network(classes=2).network)
    request = CheckpointRequest(path=str(home / "tiny.safetensors"), name="tiny")
    assert local.register_checkpoint_now(runtime, request).state == "ready"
    yield runtime
    runtime.db.dispose()


def evaluate(runtime: Runtime, unreadable: str) -> tuple[EvaluationDocument, list[ScoreDocument]]:
    request = EvaluationRequest(dataset="odd", checkpoints=["tiny"], protocol={"scales": [34]}, unreadable=unreadable)
    key = evaluations.submit(runtime.db, request).id
    local.run_until_done(runtime, key)
    with runtime.db.read() as session:
        return queries.get(session, key), queries.scores(session, key).items


def test_f41_unreadable_images_are_left_out_and_counted_when_asked(runtime: Runtime) -> None:
    document, scores = evaluate(runtime, "skip")
    assert document.status == "succeeded", document.error
    expected = len(ODD) - len(READABLE)
    assert {(score.n, score.n_unreadable) for score in scores} == {(len(READABLE) + len(STRANGE_NAMES), expected)}
    with runtime.db.read() as session:
        found = [image for part in session.scalars(select(PredictionPart)) for image in part.unreadable]
    assert {image["image_id"].split("/")[1] for image in found} == set(ODD) - set(READABLE)
    assert set(bombs()) - {"file-over-50-mb", "png-with-two-billion-frames"} <= set(ODD) - set(READABLE)


def test_f41_an_unreadable_image_fails_the_evaluation_by_default_and_is_named(runtime: Runtime) -> None:
    document, scores = evaluate(runtime, "fail")
    assert (document.status, scores) == ("failed", [])
    assert document.error is not None
    assert document.error.code == "unreadable_image"
    assert document.error.message.startswith(f"{len(ODD) - len(READABLE)} images could not be read, first 'odd/")


def test_f44_strange_names_are_shown_over_rest(runtime: Runtime) -> None:
    client = create_app(runtime).test_client()
    items, cursor = [], ""
    while cursor is not None:
        page = client.get(f"/api/v1/datasets/odd/images?limit=50{cursor and f'&cursor={cursor}'}")
        assert page.status_code == 200
        items += page.json["items"]
        cursor = page.json["next"]
    ids = {item["id"].removeprefix("strange/") for item in items if item["class_name"] == "strange"}
    assert ids - set(STRANGE_NAMES.values()) == {r"caf\xe9\xff.jpg"}
    assert len(ids) == len(STRANGE_NAMES)
