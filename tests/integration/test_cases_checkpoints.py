"""Cases F35, F37 and F39 through the service: what a bad checkpoint does to its registration and its evaluations."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import safetensors.torch
import torch
from sqlalchemy import select

from app.db.models import PredictionPart
from app.representations.base import ErrorInfo
from app.representations.requests import CheckpointRequest
from ensembles.checkpoints import file_sha256, save_checkpoint
from ensembles.datasets import scan_image_folder
from tests.integration.harness import Deployment, deployment
from tests.tiny_nets import tiny_vgg
from workers import local

ONE_VIEW = {"scales": [40]}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """40 images, a good checkpoint, one that overflows though its weights are finite, and one of nothing but zeros."""
    with deployment(tmp_path_factory.mktemp("filled")) as made:
        made.add_images(count=40)
        made.add_checkpoint("good")
        loud, zero = tiny_vgg(classes=3), tiny_vgg(classes=3)
        for index in (0, 3):
            loud.features[index].weight.mul_(1e30)
        for parameter in zero.parameters():
            parameter.zero_()
        for name, network in (("loud", loud), ("zero", zero)):
            save_checkpoint(made.folder / "checkpoints" / f"{name}.safetensors", network)
            assert registered(made, made.folder / "checkpoints" / f"{name}.safetensors") is None
        yield made


@pytest.fixture
def made(filled: Deployment, tmp_path: Path) -> Iterator[Deployment]:
    with deployment(tmp_path, like=filled) as copied:
        yield copied


def registered(made: Deployment, path: Path, name: str | None = None) -> ErrorInfo | None:
    """The error of a registration, None if there is none."""
    request = CheckpointRequest(path=str(path), name=name or path.stem)
    document = local.register_checkpoint_now(made.runtime, request)
    assert document.state == ("ready" if document.error is None else "failed")
    return document.error


def failure(made: Deployment, evaluation_id: str) -> ErrorInfo:
    document = made.run(evaluation_id)
    assert document.status == "failed"
    assert document.error is not None
    assert made.scores(evaluation_id) == []
    return document.error


def test_f35_a_pickle_that_holds_code_is_unsafe_and_runs_nothing(made: Deployment, tmp_path: Path) -> None:
    canary = tmp_path / "canary"

    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return os.system, (f"touch {canary}",)

    torch.save({"features.0.weight": torch.zeros(2, 3, 3, 3), "evil": Evil()}, tmp_path / "evil.pth")
    error = registered(made, tmp_path / "evil.pth")
    assert error is not None
    assert error.code == "checkpoint_unsafe"
    assert not canary.exists()


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_f37_one_nonfinite_weight_is_found_at_registration_and_named(
    made: Deployment, value: float, tmp_path: Path
) -> None:
    tensors = {name: tensor.clone() for name, tensor in tiny_vgg(classes=3).state_dict().items()}
    tensors["classifier.3.weight"][1, 1] = value
    safetensors.torch.save_file(tensors, tmp_path / "nan.safetensors")
    error = registered(made, tmp_path / "nan.safetensors")
    assert error is not None
    assert error.code == "nonfinite_weights"
    assert "classifier.3.weight" in error.message


def test_f37_class_scores_that_overflow_fail_their_evaluation_and_spare_the_others(made: Deployment) -> None:
    """Both evaluations want the same images, so one pass serves them: what fails is the one checkpoint."""
    both = made.submit(["loud", "good"], protocol=ONE_VIEW)
    alone = made.submit(["good"], protocol=ONE_VIEW)
    error = failure(made, both)
    assert error.code == "nonfinite_output"
    assert "'loud'" in error.message
    assert made.run(alone).status == "succeeded"


def test_f37_the_first_image_on_which_class_scores_overflow_is_named(made: Deployment, filled: Deployment) -> None:
    error = failure(made, made.submit(["loud"], protocol=ONE_VIEW))
    assert repr(scan_image_folder(filled.folder / "data" / "pictures").ids[0]) in error.message


def test_f37_a_network_of_zeros_is_wrong_on_every_image_and_never_of_class_0(made: Deployment) -> None:
    """Its posteriors are all equal, and ties count against the label: a third would be right otherwise."""
    evaluation_id = made.submit(["zero"], protocol=ONE_VIEW)
    assert made.run(evaluation_id).status == "succeeded"
    errors = {score.value for score in made.scores(evaluation_id) if score.metric == "top1_error"}
    assert errors == {1.0}


@pytest.fixture
def file_of_good(filled: Deployment) -> Iterator[Path]:
    """The registered file; what a test makes of it is undone."""
    path = filled.folder / "checkpoints" / "good.safetensors"
    whole = path.read_bytes()
    yield path
    path.write_bytes(whole)


def test_f39_a_checkpoint_file_that_changed_is_refused(made: Deployment, file_of_good: Path) -> None:
    flipped = bytearray(file_of_good.read_bytes())
    flipped[-5] ^= 1
    file_of_good.write_bytes(flipped)
    error = failure(made, made.submit(["good"], protocol=ONE_VIEW))
    assert error.code == "checkpoint_changed"
    # Nobody computed with it, so it can be tried again when the file is back.
    with made.runtime.db.read() as session:
        assert {part.state for part in session.scalars(select(PredictionPart))} == {"failed"}


def test_f39_a_file_replaced_after_submission_is_refused_and_can_be_registered_as_another(
    made: Deployment, file_of_good: Path
) -> None:
    waiting = made.submit(["good"], protocol=ONE_VIEW)
    replacement = file_of_good.with_name("replacement.safetensors")
    save_checkpoint(replacement, tiny_vgg(classes=3, seed=8))
    before, after = file_sha256(file_of_good), file_sha256(replacement)
    replacement.replace(file_of_good)
    error = failure(made, waiting)
    assert error.code == "checkpoint_changed"
    assert before[:12] in error.message
    assert after[:12] in error.message

    assert registered(made, file_of_good, "better") is None
    assert made.run(made.submit(["better"], protocol=ONE_VIEW)).status == "succeeded"
    assert failure(made, made.submit(["good"], protocol=ONE_VIEW, force=True)).code == "checkpoint_changed"
