"""Weights files nobody vouches for, read by a process that is thrown away."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from app.errors import ServiceError
from ensembles.checkpoints import CheckpointMetadata, file_sha256, save_checkpoint
from ensembles.errors import CheckpointCorruptError
from ensembles.scales import TrainingScale
from tests.tiny_nets import tiny_vgg
from workers.inspect_checkpoint import inspect_in_child


def test_a_sound_file_tells_its_architecture_and_metadata(tmp_path: Path) -> None:
    network = tiny_vgg("D", batch_norm=True, classes=4)
    path = tmp_path / "d.safetensors"
    save_checkpoint(path, network, CheckpointMetadata(TrainingScale(32, 64), classes=("p", "q", "r", "s")))
    waited: list[float] = []
    assert inspect_in_child(path, lambda: waited.append(time.monotonic())) == {
        "sha256": file_sha256(path),
        "size_bytes": path.stat().st_size,
        "architecture": network.architecture.to_dict(),
        "metadata": {"training_scale": [32, 64], "preprocessing": None, "classes": ["p", "q", "r", "s"]},
    }
    assert waited


def test_a_file_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, tiny_vgg())
    began = time.monotonic()
    with pytest.raises(CheckpointCorruptError, match="more than 0 s"):
        inspect_in_child(path, time_limit=0.2)
    assert time.monotonic() - began < 20


def test_whoever_stops_waiting_ends_the_other_process(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, tiny_vgg())

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        inspect_in_child(path, stop)
    assert not [line for line in running_commands() if str(path) in line]


def test_the_code_of_what_was_found_survives_the_way_between_processes(tmp_path: Path) -> None:
    path = tmp_path / "empty.pth"
    path.touch()
    with pytest.raises(ServiceError) as caught:
        inspect_in_child(path)
    assert caught.value.code == "checkpoint_corrupt"
    assert "empty" in str(caught.value)


def running_commands() -> list[str]:
    commands = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            commands.append(process.read_text().replace("\0", " "))
        except OSError:
            continue
    return commands
