"""Checkpoints: recognised, saved, loaded strictly, and known by their bytes."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
import torchvision

from ensembles import checkpoints
from ensembles.checkpoints import (
    Checkpoint,
    CheckpointMetadata,
    file_sha256,
    load_network,
    read_metadata,
    read_tensors,
    recognise,
    save_checkpoint,
)
from ensembles.configurations import CONFIGURATIONS, Architecture
from ensembles.errors import (
    CheckpointChangedError,
    CheckpointCorruptError,
    CheckpointUnrecognisedError,
    SpecError,
)
from ensembles.scales import TrainingScale
from ensembles.specs import PREPROCESSING_PRESETS
from ensembles.vgg import VGG, initialise

METADATA = CheckpointMetadata(TrainingScale(40, 80), PREPROCESSING_PRESETS["vgg-mean"], ("null", "één", "=2"))


def network(configuration: str = "D", batch_norm: bool = False, classes: int = 3) -> VGG:
    return initialise(VGG(Architecture(configuration, batch_norm, 1 / 32, classes, 32)), seed=1).eval()


def registered(path: Path, architecture: Architecture) -> Checkpoint:
    return Checkpoint(path, file_sha256(path), architecture, PREPROCESSING_PRESETS["torchvision"], "d")


def test_file_digest_is_sha256_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc" * 500_000)
    assert file_sha256(tmp_path / "f") == hashlib.sha256(b"abc" * 500_000).hexdigest()


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_saved_network_comes_back_bit_for_bit(configuration: str, batch_norm: bool, tmp_path: Path) -> None:
    saved = network(configuration, batch_norm)
    path = tmp_path / "d.safetensors"
    save_checkpoint(path, saved, METADATA)
    loaded = load_network(registered(path, recognise(read_tensors(path))))
    assert loaded.architecture == saved.architecture
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    image = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(loaded(image), saved(image))


@pytest.mark.parametrize("legacy", [False, True])
def test_a_torch_save_file_loads_like_a_safetensors_one(legacy: bool, tmp_path: Path) -> None:
    saved = network(batch_norm=True)
    path = tmp_path / "d.pth"
    torch.save(saved.state_dict(), path, _use_new_zipfile_serialization=not legacy)
    loaded = load_network(registered(path, saved.architecture))
    assert all(torch.equal(tensor, saved.state_dict()[name]) for name, tensor in loaded.state_dict().items())


def test_torchvision_s_state_dict_is_recognised() -> None:
    # On the meta device, full width costs no memory; recognition needs names and shapes only.
    with torch.device("meta"):
        theirs = torchvision.models.vgg16_bn(num_classes=10).state_dict()
    assert recognise(theirs) == Architecture("D", batch_norm=True, classes=10)


def test_weights_from_before_batch_norm_counted_batches_load(tmp_path: Path) -> None:
    saved = network(batch_norm=True)
    tensors = {n: t for n, t in saved.state_dict().items() if not n.endswith("num_batches_tracked")}
    torch.save(tensors, tmp_path / "d.pth")
    loaded = load_network(registered(tmp_path / "d.pth", saved.architecture))
    assert loaded.features[1].num_batches_tracked == 0
    assert torch.equal(loaded.features[1].running_mean, saved.features[1].running_mean)


def test_half_precision_weights_load_as_float32(tmp_path: Path) -> None:
    saved = network().half()
    save_checkpoint(tmp_path / "d.safetensors", saved)
    loaded = load_network(registered(tmp_path / "d.safetensors", saved.architecture))
    assert all(parameter.dtype == torch.float32 for parameter in loaded.parameters())
    assert torch.equal(loaded.features[0].weight, saved.features[0].weight.float())


@pytest.mark.parametrize("position", [0, 7, 8, 100, 5000, -1])
def test_f39_one_flipped_bit_is_a_changed_checkpoint(position: int, tmp_path: Path) -> None:
    path = tmp_path / "d.safetensors"
    save_checkpoint(path, network())
    checkpoint = registered(path, network().architecture)
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointChangedError) as caught:
        load_network(checkpoint)
    assert caught.value.expected_sha256 == checkpoint.sha256
    assert caught.value.found_sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("how", ["replaced", "written to"])
def test_f39_a_file_that_changes_between_hashing_and_reading_is_refused(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, other = tmp_path / "d.safetensors", tmp_path / "other.safetensors"
    save_checkpoint(path, network())
    save_checkpoint(other, initialise(network(), seed=2))
    checkpoint = registered(path, network().architecture)

    def change_then_read(source: Path) -> dict[str, torch.Tensor]:
        path.write_bytes(other.read_bytes()) if how == "written to" else other.replace(path)
        return read_tensors(source)

    monkeypatch.setattr(checkpoints, "read_tensors", change_then_read)
    with pytest.raises(CheckpointChangedError) as caught:
        load_network(checkpoint)
    assert caught.value.found_sha256 == file_sha256(path) != checkpoint.sha256


def test_f39_a_file_rewritten_after_loading_does_not_reach_the_network(tmp_path: Path) -> None:
    path = tmp_path / "d.safetensors"
    save_checkpoint(path, network())
    loaded = load_network(registered(path, network().architecture))
    before = {name: tensor.clone() for name, tensor in loaded.state_dict().items()}
    with path.open("r+b") as file:
        file.write(b"\xff" * path.stat().st_size)
    assert all(torch.equal(tensor, before[name]) for name, tensor in loaded.state_dict().items())


def test_f38_weights_of_another_architecture_than_registered_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "d.safetensors"
    save_checkpoint(path, network("D"))
    checkpoint = registered(path, network("D").architecture)
    with pytest.raises(CheckpointUnrecognisedError, match="vgg19 as registered"):
        load_network(replace(checkpoint, architecture=network("E").architecture))
    with pytest.raises(CheckpointUnrecognisedError, match=r"classifier\.6\.weight 3×128 instead of 5×128"):
        load_network(replace(checkpoint, architecture=network("D", classes=5).architecture))


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_f38_a_prefix_on_every_name_is_taken_off(prefix: str, tmp_path: Path) -> None:
    saved = network()
    torch.save({prefix + name: tensor for name, tensor in saved.state_dict().items()}, tmp_path / "d.pth")
    assert recognise({prefix + name: tensor for name, tensor in saved.state_dict().items()}) == saved.architecture
    load_network(registered(tmp_path / "d.pth", saved.architecture))


def test_data_parallel_features_of_the_imagenet_example_load(tmp_path: Path) -> None:
    saved = network()
    saved.features = torch.nn.DataParallel(saved.features)
    torch.save({"epoch": 3, "arch": "vgg16", "state_dict": saved.state_dict()}, tmp_path / "d.pth")
    load_network(registered(tmp_path / "d.pth", saved.architecture))


def test_f38_a_prefix_that_one_name_lacks_stays(tmp_path: Path) -> None:
    tensors = {"module." + name: tensor for name, tensor in network().state_dict().items()}
    tensors["classifier.6.bias"] = tensors.pop("module.classifier.6.bias")
    with pytest.raises(CheckpointUnrecognisedError, match=r"module\.features\.0\.weight"):
        recognise(tensors)


@pytest.mark.parametrize("keys", [("state_dict",), ("model",), ("model_state_dict",), ("model", "state_dict")])
def test_a_training_script_s_wrapper_is_taken_off(keys: tuple[str, ...], tmp_path: Path) -> None:
    saved = network()
    optimiser = torch.optim.SGD(saved.parameters(), lr=0.1, momentum=0.9)
    content: object = saved.state_dict()
    for key in reversed(keys):
        content = {"epoch": 4, "optimizer": optimiser.state_dict(), key: content}
    torch.save(content, tmp_path / "d.pth")
    assert recognise(read_tensors(tmp_path / "d.pth")) == saved.architecture


@pytest.mark.parametrize("average", ["state_dict_ema", "model_ema", "ema"])
def test_a_running_average_of_the_weights_goes_before_the_weights(average: str, tmp_path: Path) -> None:
    last = network()
    averaged = torch.optim.swa_utils.AveragedModel(last, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.5))
    before = last.classifier[6].bias.detach().clone()
    averaged.update_parameters(last)
    with torch.no_grad():
        last.classifier[6].bias.add_(1)
    averaged.update_parameters(last)
    torch.save({"model": last.state_dict(), average: averaged.state_dict()}, tmp_path / "d.pth")
    loaded = load_network(registered(tmp_path / "d.pth", last.architecture))
    torch.testing.assert_close(loaded.classifier[6].bias, before + 0.5)


def test_metadata_reads_back_and_is_empty_where_there_is_none(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "with.safetensors", network(), METADATA)
    save_checkpoint(tmp_path / "without.safetensors", network())
    safetensors.torch.save_file({"a": torch.zeros(1)}, tmp_path / "foreign.safetensors", {"format": "pt"})
    torch.save(network().state_dict(), tmp_path / "d.pth")
    assert read_metadata(tmp_path / "with.safetensors") == METADATA
    for name in ("without.safetensors", "foreign.safetensors", "d.pth"):
        assert read_metadata(tmp_path / name) == CheckpointMetadata()


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"classes": "abc"}', '{"training_scale": [0]}', '{"preprocessing": {"mean": 1}}', "[" * 100_000],
)
def test_malformed_metadata_is_a_named_error(text: str, tmp_path: Path) -> None:
    path = tmp_path / "d.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(1)}, path, {"softvote": text})
    with pytest.raises(CheckpointCorruptError, match="metadata is malformed"):
        read_metadata(path)


def test_equal_networks_are_equal_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_checkpoint(tmp_path / f"{name}.safetensors", network(), METADATA)
    assert file_sha256(tmp_path / "a.safetensors") == file_sha256(tmp_path / "b.safetensors")


def test_saving_leaves_one_complete_file_and_nothing_else(tmp_path: Path) -> None:
    for _ in range(2):
        save_checkpoint(tmp_path / "d.safetensors", network(), METADATA)
    assert [path.name for path in tmp_path.iterdir()] == ["d.safetensors"]
    header = (tmp_path / "d.safetensors").read_bytes()[8:]
    assert json.loads(header[: header.index(b"}}") + 2])["__metadata__"].keys() == {"softvote"}


def test_saving_refuses_a_wrong_name_and_a_wrong_number_of_classes(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        save_checkpoint(tmp_path / "d.pth", network(classes=4), METADATA)
    assert [problem.field for problem in caught.value.problems] == ["path", "metadata.classes"]
    assert not list(tmp_path.iterdir())


def test_a_saved_file_may_be_read_by_whomever_the_umask_lets(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        save_checkpoint(tmp_path / "a.safetensors", network())
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.safetensors").stat().st_mode) == 0o644
