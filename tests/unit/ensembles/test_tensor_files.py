"""Files nobody vouches for: nothing in them runs, nothing of theirs is believed, every refusal has a name."""

from __future__ import annotations

import os
import pickle
import resource
import struct
import tarfile
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import safetensors.torch
import torch

from ensembles.configurations import Architecture
from ensembles.errors import (
    CheckpointCorruptError,
    CheckpointUnrecognisedError,
    CheckpointUnsafeError,
    EnsemblesError,
    NonFiniteWeightsError,
)
from ensembles.tensor_files import read_tensors
from ensembles.vgg import VGG, initialise

WEIGHTS = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(4)}


class Command:
    """Unpickled by Python's own unpickler, it would create a file."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.canary}",)


def evil_zip(path: Path, canary: Path) -> None:
    torch.save({**WEIGHTS, "c": Command(canary)}, path)


def evil_legacy(path: Path, canary: Path) -> None:
    torch.save({**WEIGHTS, "c": Command(canary)}, path, _use_new_zipfile_serialization=False)


def evil_pickle(path: Path, canary: Path) -> None:
    path.write_bytes(pickle.dumps(Command(canary)))


def evil_first_protocol(path: Path, canary: Path) -> None:
    path.write_bytes(pickle.dumps(Command(canary), protocol=0))


@pytest.mark.parametrize("write", [evil_zip, evil_legacy, evil_pickle, evil_first_protocol])
@pytest.mark.parametrize("suffix", [".pth", ".pt"])
def test_f35_a_pickle_that_runs_a_command_is_refused_and_nothing_runs(
    write: Callable[[Path, Path], None], suffix: str, tmp_path: Path
) -> None:
    path, canary = tmp_path / f"evil{suffix}", tmp_path / "canary"
    write(path, canary)
    with pytest.raises(CheckpointUnsafeError, match=r"nothing in it was run: it names (posix|nt)\.system"):
        read_tensors(path)
    assert not canary.exists()


def test_f35_the_canary_would_sing_where_a_file_is_unpickled(tmp_path: Path) -> None:
    evil_pickle(tmp_path / "evil.pth", tmp_path / "canary")
    pickle.loads((tmp_path / "evil.pth").read_bytes())  # noqa: S301 - shows that the tests above can fail
    assert (tmp_path / "canary").exists()


def test_f35_a_whole_module_is_more_than_weights(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "m.pth")
    with pytest.raises(CheckpointUnsafeError, match=r"torch\.nn\.modules\.linear\.Linear"):
        read_tensors(tmp_path / "m.pth")


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_f35_a_torchscript_program_is_more_than_weights(tmp_path: Path) -> None:
    torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / "m.pt")
    with pytest.raises(CheckpointUnsafeError, match="TorchScript"):
        read_tensors(tmp_path / "m.pt")


def corrupt(path: Path) -> str:
    with pytest.raises(CheckpointCorruptError) as caught:
        read_tensors(path)
    return caught.value.reason


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0",
        b".",
        b"PK\x03\x04",
        b"PK",
        b"<!DOCTYPE html><html><body>404</body></html>",
        b"version https://git-lfs",
    ],
    ids=["empty", "zero", "stop", "zip magic", "half magic", "HTML", "LFS pointer"],
)
def test_f35_what_is_no_checkpoint_is_corrupt(content: bytes, suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"x{suffix}").write_bytes(content)
    assert corrupt(tmp_path / f"x{suffix}")


@pytest.mark.parametrize(("size", "said"), [(0, "the file is empty"), (8 * 2**30 + 1, "8589934593 bytes, more than")])
def test_f35_an_empty_or_enormous_file_is_refused_unread(size: int, said: str, tmp_path: Path) -> None:
    (tmp_path / "x.pth").touch()
    os.truncate(tmp_path / "x.pth", size)
    assert said in corrupt(tmp_path / "x.pth")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_f35_random_bytes_are_corrupt(suffix: str, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(8)
    for length in (1, 10, 100, 3000):
        noise = torch.randint(0, 256, (length,), generator=generator, dtype=torch.uint8)
        (tmp_path / f"x{suffix}").write_bytes(noise.numpy().tobytes())
        assert corrupt(tmp_path / f"x{suffix}")


def save_safetensors(path: Path) -> None:
    safetensors.torch.save_file({"w": torch.ones(1000)}, path)


def save_zip(path: Path) -> None:
    torch.save({"w": torch.ones(1000)}, path)


def save_legacy(path: Path) -> None:
    torch.save({"w": torch.ones(1000)}, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize(
    ("save", "suffix"), [(save_safetensors, ".safetensors"), (save_zip, ".pth"), (save_legacy, ".pth")]
)
def test_f35_a_truncated_file_is_corrupt_wherever_it_ends(
    save: Callable[[Path], None], suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"x{suffix}"
    save(path)
    data = path.read_bytes()
    assert set(read_tensors(path)) == {"w"}
    for end in [1, 8, len(data) // 4, len(data) // 2, 3 * len(data) // 4, len(data) - 1]:
        path.write_bytes(data[:end])
        assert corrupt(path)


def test_a_safetensors_header_of_a_terabyte_is_corrupt(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", 2**40) + b"{}")
    assert "safetensors" in corrupt(tmp_path / "x.safetensors")


def test_the_old_tar_format_is_corrupt(tmp_path: Path) -> None:
    torch.save(WEIGHTS, tmp_path / "a.pth")
    with tarfile.open(tmp_path / "t.pth", "w") as archive:
        archive.add(tmp_path / "a.pth", "storages")
    assert corrupt(tmp_path / "t.pth")


def test_another_suffix_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    torch.save(WEIGHTS, tmp_path / "x.bin")
    assert corrupt(tmp_path / "x.bin") == "a checkpoint's name ends in .safetensors, .pth, .pt; this one in '.bin'"


def test_a_missing_file_is_the_system_s_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_tensors(tmp_path / "x.pth")


def repacked(source: Path, target: Path, compression: int, extra: int = 0) -> None:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
        for index in range(extra):
            new.writestr(f"archive/extra/{index}", b"")


def test_f36_a_compressed_archive_is_refused_before_it_expands(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(1_000_000)}, tmp_path / "plain.pth")
    repacked(tmp_path / "plain.pth", tmp_path / "bomb.pth", zipfile.ZIP_DEFLATED)
    assert (tmp_path / "bomb.pth").stat().st_size < 10_000
    assert corrupt(tmp_path / "bomb.pth") == "the zip archive has compressed entries"
    repacked(tmp_path / "plain.pth", tmp_path / "stored.pth", zipfile.ZIP_STORED)
    assert set(read_tensors(tmp_path / "stored.pth")) == {"w"}


def test_f36_an_archive_cannot_claim_more_than_it_holds(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(1000)}, tmp_path / "plain.pth")
    repacked(tmp_path / "plain.pth", tmp_path / "x.pth", zipfile.ZIP_STORED)
    data = bytearray((tmp_path / "x.pth").read_bytes())
    header = data.rfind(b"PK\x01\x02", 0, data.rfind(b"/data/0"))
    assert struct.unpack_from("<LL", data, header + 20) == (4000, 4000)
    struct.pack_into("<LL", data, header + 20, 2**30, 2**30)
    (tmp_path / "x.pth").write_bytes(data)
    assert corrupt(tmp_path / "x.pth") == "the zip archive claims more bytes than the file has"


def test_f36_an_archive_of_too_many_entries_is_refused(tmp_path: Path) -> None:
    torch.save(WEIGHTS, tmp_path / "plain.pth")
    repacked(tmp_path / "plain.pth", tmp_path / "many.pth", zipfile.ZIP_STORED, extra=10_001)
    assert "entries, more than 10000" in corrupt(tmp_path / "many.pth")


def test_f36_a_million_entries_are_refused_by_the_size_of_their_directory(tmp_path: Path) -> None:
    entry = b"PK\x01\x02" + bytes(24) + struct.pack("<HHHHHLL", 1, 0, 0, 0, 0, 0, 0) + b"x"
    directory = entry * 1_000_000
    end = b"PK\x05\x06" + struct.pack("<HHHHLLH", 0, 0, 16960, 16960, len(directory), 4, 0)
    (tmp_path / "x.pth").write_bytes(b"PK\x03\x04" + directory + end)
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    assert "zip directory" in corrupt(tmp_path / "x.pth")
    assert time.perf_counter() - started < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def test_a_zip_that_torch_did_not_write_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pth", "w") as archive:
        archive.writestr("readme.txt", b"hello")
    assert "not one that torch.save wrote" in corrupt(tmp_path / "x.pth")


def test_f36_a_small_file_cannot_claim_a_large_tensor_by_its_strides(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(1).expand(50_000, 50_000)}, tmp_path / "x.pth")
    assert (tmp_path / "x.pth").stat().st_size < 2000
    assert "tensor 'w' of shape (50000, 50000) repeats a storage of 4 bytes" in corrupt(tmp_path / "x.pth")


def test_f36_a_file_cannot_claim_memory_by_sharing_one_storage(tmp_path: Path) -> None:
    shared = torch.zeros(10_000)
    torch.save({f"w{index}": shared for index in range(100)}, tmp_path / "x.pth")
    assert "its tensors claim 4000000 bytes" in corrupt(tmp_path / "x.pth")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: torch.eye(3).to_sparse(), "sparse"),
        (lambda: torch.quantize_per_tensor(torch.zeros(3), 1.0, 0, torch.qint8), "quantised"),
        (lambda: torch.zeros(3, device="meta"), "no data of its own"),
        (lambda: torch.zeros(3, dtype=torch.int64), "type torch.int64"),
        (lambda: torch.zeros(3, dtype=torch.bool), "type torch.bool"),
        (lambda: torch.zeros(3, dtype=torch.complex64), "type torch.complex64"),
        (lambda: torch.zeros(3, dtype=torch.float8_e4m3fn), "type torch.float8_e4m3fn"),
    ],
    ids=["sparse", "quantised", "meta", "integers", "booleans", "complex", "float8"],
)
def test_f36_a_tensor_that_is_no_plain_weight_is_refused_by_name(
    make: Callable[[], torch.Tensor], said: str, tmp_path: Path
) -> None:
    torch.save({**WEIGHTS, "odd.weight": make()}, tmp_path / "x.pth")
    reason = corrupt(tmp_path / "x.pth")
    assert reason.startswith("tensor 'odd.weight'")
    assert said in reason


def test_f36_integers_are_refused_in_safetensors_too(tmp_path: Path) -> None:
    safetensors.torch.save_file({"w": torch.zeros(3, dtype=torch.int32)}, tmp_path / "x.safetensors")
    assert "type torch.int32" in corrupt(tmp_path / "x.safetensors")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_f37_nan_and_infinity_are_refused_with_the_tensor_and_the_count(
    value: float, suffix: str, tmp_path: Path
) -> None:
    bad = torch.zeros(4, 5)
    bad[1, 2] = bad[3, 4] = value
    tensors = {**WEIGHTS, "features.0.weight": bad}
    path = tmp_path / f"x{suffix}"
    torch.save(tensors, path) if suffix == ".pth" else safetensors.torch.save_file(tensors, path)
    with pytest.raises(NonFiniteWeightsError) as caught:
        read_tensors(path)
    assert (caught.value.tensor, caught.value.count) == ("features.0.weight", 2)


def test_f37_float64_weights_beyond_float32_are_refused(tmp_path: Path) -> None:
    torch.save({"w": torch.tensor([1e300], dtype=torch.float64)}, tmp_path / "x.pth")
    with pytest.raises(NonFiniteWeightsError):
        read_tensors(tmp_path / "x.pth")


def test_features_only_weights_with_a_nan_classifier_are_refused(tmp_path: Path) -> None:
    network = initialise(VGG(Architecture("D", width=1 / 32, classes=3, crop=32)), seed=0)
    with torch.no_grad():
        for parameter in network.classifier.parameters():
            parameter.fill_(float("nan"))
    torch.save(network.state_dict(), tmp_path / "vgg16_features.pth")
    with pytest.raises(NonFiniteWeightsError, match=r"classifier\.0\.weight"):
        read_tensors(tmp_path / "vgg16_features.pth")


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        ([torch.zeros(1)], "a list"),
        (torch.zeros(1), "a Tensor"),
        ({"epoch": 3, "w": torch.zeros(1)}, "a int under 'epoch'"),
        ({3: torch.zeros(1)}, "a Tensor under '3'"),
        ({"state_dict": [1]}, "a list under 'state_dict'"),
    ],
)
def test_a_file_without_named_tensors_says_what_it_has(content: object, seen: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(CheckpointUnrecognisedError) as caught:
        read_tensors(tmp_path / "x.pth")
    assert caught.value.seen == seen


def test_a_dict_that_contains_itself_ends_in_an_error(tmp_path: Path) -> None:
    content: dict[str, object] = {}
    content["state_dict"] = content
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(CheckpointUnrecognisedError):
        read_tensors(tmp_path / "x.pth")


def test_channels_last_and_parameter_tensors_are_read_as_contiguous_plain_ones(tmp_path: Path) -> None:
    weight = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    stored = {"w": torch.nn.Parameter(weight.to(memory_format=torch.channels_last))}
    torch.save(stored, tmp_path / "x.pth")
    [read] = read_tensors(tmp_path / "x.pth").values()
    assert torch.equal(read, weight)
    assert read.is_contiguous()
    assert type(read) is torch.Tensor
    assert not read.requires_grad


@pytest.mark.parametrize("save", [save_zip, save_legacy])
def test_any_damaged_byte_ends_in_a_named_error_or_in_tensors(save: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    save(path)
    data = path.read_bytes()
    generator = torch.Generator().manual_seed(1)
    positions = torch.randint(0, 700, (150,), generator=generator).tolist()
    for position, value in zip(positions, torch.randint(1, 256, (150,), generator=generator).tolist(), strict=True):
        damaged = bytearray(data)
        damaged[position] ^= value
        path.write_bytes(damaged)
        with suppress(EnsemblesError):
            assert all(tensor.dtype == torch.float32 for tensor in read_tensors(path).values())
