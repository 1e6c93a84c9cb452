"""Bad input and bad luck on the worker's side: a named code or the right numbers, and never a wrong one."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from sqlalchemy import select

from app.config import Settings
from app.db.models import PredictionPart
from app.representations.base import ErrorInfo
from app.representations.requests import DatasetRequest
from ensembles.datasets import scan_image_folder
from tests.builders import mixed_images, write_folder
from tests.integration.harness import SIZES, Deployment, deployment
from workers import drain, local
from workers.context import open_context
from workers.options import WorkerOptions
from workers.predict import run_slice

ONE_VIEW = {"scales": [40]}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """40 images and a good checkpoint."""
    with deployment(tmp_path_factory.mktemp("filled")) as made:
        made.add_images(count=40)
        made.add_checkpoint("good")
        yield made


@pytest.fixture
def made(filled: Deployment, tmp_path: Path) -> Iterator[Deployment]:
    with deployment(tmp_path, like=filled) as copied:
        yield copied


def failure(made: Deployment, evaluation_id: str) -> ErrorInfo:
    document = made.run(evaluation_id)
    assert document.status == "failed"
    assert document.error is not None
    assert made.scores(evaluation_id) == []
    return document.error


def test_a_folder_without_images_is_an_empty_dataset(made: Deployment, tmp_path: Path) -> None:
    (tmp_path / "none" / "class").mkdir(parents=True)
    request = DatasetRequest(path=str(tmp_path / "none"), name="none")
    document = local.register_dataset_now(made.runtime, request)
    assert document.state == "failed"
    assert document.error is not None
    assert document.error.code == "empty_dataset"


def test_an_unreadable_image_fails_by_default_and_is_left_out_everywhere_on_request(
    made: Deployment, tmp_path: Path
) -> None:
    files = mixed_images(12, SIZES)
    names = sorted(files)
    files[names[4]] = files[names[4]][: len(files[names[4]]) // 2]
    made.add_images("damaged", folder=write_folder(tmp_path / "damaged", files))

    error = failure(made, made.submit(["good"], "damaged", protocol=ONE_VIEW))
    assert error.code == "unreadable_image"
    assert names[4] in error.message

    skipping = made.submit(["good"], "damaged", unreadable="skip")
    assert made.run(skipping).status == "succeeded"
    assert {(score.n, score.n_unreadable) for score in made.scores(skipping)} == {(11, 1)}

    other = write_folder(tmp_path / "without", {name: files[name] for name in names if name != names[4]})
    made.add_images("without", folder=other)
    without = made.submit(["good"], "without")
    made.run(without)
    # Batches are formed by position, and positions differ: equal but for rounding.
    for left, right in zip(made.scores(skipping), made.scores(without), strict=True):
        assert left.value == pytest.approx(right.value, rel=1e-5)


def test_excluded_images_are_in_no_score_and_may_be_unreadable(made: Deployment, tmp_path: Path) -> None:
    files = mixed_images(12, SIZES)
    names = sorted(files)
    files[names[4]] = files[names[4]][: len(files[names[4]]) // 2]
    made.add_images("damaged", folder=write_folder(tmp_path / "damaged", files))
    evaluation_id = made.submit(["good"], "damaged", protocol={**ONE_VIEW, "exclude": [names[4], names[7]]})
    assert made.run(evaluation_id).status == "succeeded"
    assert {(score.n, score.n_unreadable) for score in made.scores(evaluation_id)} == {(10, 0)}
    assert made.evaluation(evaluation_id).provenance["n_excluded"] == 2

    everything = {**ONE_VIEW, "exclude": names}
    assert failure(made, made.submit(["good"], "damaged", protocol=everything)).code == "nothing_to_score"


def test_an_image_that_changed_since_it_was_registered_is_no_unreadable_image(made: Deployment, tmp_path: Path) -> None:
    root = write_folder(tmp_path / "moving", mixed_images(6, SIZES))
    made.add_images("moving", folder=root)
    first = root / scan_image_folder(root).ids[0]
    first.write_bytes(first.read_bytes() + b"\0")
    error = failure(made, made.submit(["good"], "moving", protocol=ONE_VIEW, unreadable="skip"))
    assert error.code == "dataset_changed"


@pytest.mark.parametrize("damage", ["flip", "remove"])
def test_f28_f29_damaged_posteriors_are_computed_anew_before_they_become_a_number(
    damage: str, made: Deployment
) -> None:
    first = made.submit(["good"])
    made.run(first)
    with made.runtime.db.read() as session:
        keys = [part.artifact for part in session.scalars(select(PredictionPart)) if part.artifact]
    for key in keys[:2]:
        path = made.runtime.artifacts.path(key)
        if damage == "flip":
            flipped = bytearray(path.read_bytes())
            flipped[-9] ^= 4
            path.write_bytes(flipped)
        else:
            path.unlink()
    second = made.submit(["good"])
    assert made.run(second).status == "succeeded"
    assert made.scores(second) == made.scores(first)
    assert len(made.events("part_reopened")) == 2


def test_f32_too_little_memory_halves_the_batch_until_it_suffices(made: Deployment) -> None:
    """A network that has room for 3 images at once; its blocks have 64."""
    reference = made.submit(["good"], protocol=ONE_VIEW)
    made.run(reference)
    scarce = made.submit(["good"], protocol=ONE_VIEW, force=True)

    def refuse_large(_module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if len(inputs[0]) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")

    context = open_context(made.runtime, WorkerOptions(threads=1), stopping=lambda: False)
    try:
        slice_ = drain.predictions.lease_slice(made.runtime.db, context.worker_id, 1e12)
        assert slice_ is not None
        context.networks.get(slice_.parts[0]).dense().register_forward_pre_hook(refuse_large)
        run_slice(context, slice_)
    finally:
        context.close()
    assert made.run(scarce).status == "succeeded"
    with made.runtime.db.read() as session:
        batches = {part.batch for part in session.scalars(select(PredictionPart)).all()}
    assert batches == {64, 2}
    for left, right in zip(made.scores(scarce), made.scores(reference), strict=True):
        assert left.value == pytest.approx(right.value, abs=1e-5)


def test_f26_a_full_disk_is_waited_for_and_burns_no_attempt(
    filled: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"needs the right to mount a small file system: {mounted.stderr.decode().strip()}")
    monkeypatch.setattr(drain, "_STORAGE_PAUSE", 0.2)
    try:
        with deployment(tmp_path / "deployment", like=filled) as made:
            index = next((made.home / "artifacts" / "datasets").iterdir())
            (small / "datasets").mkdir()
            (small / "datasets" / index.name).write_bytes(index.read_bytes())
            settings = Settings.from_environment({**made.environment, "SOFTVOTE_ARTIFACTS": str(small)})
            made.move_to(settings)
            filler = small / "filler"
            filler.write_bytes(bytes(os.statvfs(small).f_bavail * os.statvfs(small).f_bsize))
            threading.Timer(2, filler.unlink).start()
            evaluation_id = made.submit(["good"], protocol=ONE_VIEW)
            assert made.run(evaluation_id).status == "succeeded"
            assert made.events("part_released")
            with made.runtime.db.read() as session:
                assert {part.attempts for part in session.scalars(select(PredictionPart))} == {0}
    finally:
        subprocess.run(["umount", str(small)], check=True)
