"""Which networks stay in memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from app.services.leasing.slices import LeasedPart
from ensembles.checkpoints import file_sha256, save_checkpoint
from ensembles.errors import CheckpointChangedError
from ensembles.specs import Preprocessing, ViewSpec
from tests.tiny_nets import tiny_vgg
from workers.networks import NetworkCache, weight_bytes


def part(folder: Path, name: str, number: int = 0) -> LeasedPart:
    network = tiny_vgg(classes=3, seed=ord(name))
    path = folder / f"{name}.safetensors"
    if not path.exists():
        save_checkpoint(path, network)
    return LeasedPart(
        id=f"{name}{number}",
        token=1,
        set_id=f"set-{name}{number}",
        view=ViewSpec("dense", 40).to_dict(),
        checkpoint_id=name,
        checkpoint_name=name,
        checkpoint_path=str(path),
        checkpoint_sha256=file_sha256(path),
        architecture=network.architecture.to_dict(),
        preprocessing=Preprocessing().to_dict(),
        batch_limit=None,
    )


def cache(parts_of_memory: float, some_part: LeasedPart, max_networks: int = 64) -> NetworkCache:
    return NetworkCache(torch.device("cpu"), int(parts_of_memory * weight_bytes(some_part)), max_networks)


def test_a_network_is_loaded_once(tmp_path: Path) -> None:
    a = part(tmp_path, "a")
    networks = cache(2, a)
    assert networks.get(a) is networks.get(part(tmp_path, "a", 1))


def test_the_network_used_longest_ago_makes_room(tmp_path: Path) -> None:
    a, b, c = (part(tmp_path, name) for name in "abc")
    networks = cache(2, a)
    first, second = networks.get(a), networks.get(b)
    networks.get(a)
    networks.get(c)
    assert networks.get(a) is first
    assert networks.get(b) is not second


def test_the_number_of_networks_is_bounded_too(tmp_path: Path) -> None:
    a, b = part(tmp_path, "a"), part(tmp_path, "b")
    networks = cache(100, a, max_networks=1)
    first = networks.get(a)
    networks.get(b)
    assert networks.get(a) is not first


def test_a_file_that_changed_since_it_was_registered_is_refused(tmp_path: Path) -> None:
    a = part(tmp_path, "a")
    save_checkpoint(Path(a.checkpoint_path), tiny_vgg(classes=3, seed=99))
    with pytest.raises(CheckpointChangedError):
        cache(2, a).get(a)


def test_a_slice_is_cut_into_groups_whose_networks_fit_and_no_checkpoint_is_torn(tmp_path: Path) -> None:
    parts = [part(tmp_path, name, number) for number in range(2) for name in "abcde"]
    groups = list(cache(2, parts[0]).groups(parts))
    assert [sorted(each.id for each in group) for group in groups] == [
        ["a0", "a1", "b0", "b1"],
        ["c0", "c1", "d0", "d1"],
        ["e0", "e1"],
    ]


def test_a_network_larger_than_all_memory_for_networks_is_tried_alone(tmp_path: Path) -> None:
    parts = [part(tmp_path, "a"), part(tmp_path, "b")]
    assert [len(group) for group in cache(0.5, parts[0]).groups(parts)] == [1, 1]
    assert cache(0.5, parts[0]).get(parts[0]).architecture.classes == 3
