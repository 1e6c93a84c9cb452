"""Cases F35, F36 and F38: files nobody vouches for, through the process that reads them, and what that costs.

The whole matrix of formats is in tests/unit/ensembles/test_tensor_files.py; here each kind goes the whole way.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from ensembles.checkpoints import save_checkpoint
from ensembles.errors import CheckpointUnrecognisedError
from tests.tiny_nets import tiny_vgg
from workers.inspect_checkpoint import inspect

CANARY = "canary"


@dataclass(frozen=True)
class Inspected:
    """What the process said of a file, and what it took: CPU seconds, and KiB of memory at the most."""

    answer: dict[str, object]
    seconds: float
    kib: int

    @property
    def code(self) -> str:
        return str(self.answer["error"]["code"])  # type: ignore[index]

    @property
    def message(self) -> str:
        return str(self.answer["error"]["message"])  # type: ignore[index]


#: A small process in between: Linux counts what a process had in memory before it became another program.
LAUNCHER = """
import json, resource, subprocess, sys
command = [sys.executable, "-m", "workers.inspect_checkpoint", sys.argv[1]]
output = subprocess.run(command, stdout=subprocess.PIPE).stdout
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([json.loads(output), usage.ru_utime + usage.ru_stime, usage.ru_maxrss]))
"""


def inspected(path: Path) -> Inspected:
    """Read `path` as a worker does, in the folder where a canary would appear."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-c", LAUNCHER, str(path)]
    result = subprocess.run(command, cwd=path.parent, env=environment, capture_output=True, check=True)
    return Inspected(*json.loads(result.stdout))


class Command:
    """Unpickled by Python's own unpickler, it would create a file."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {CANARY}",)


def evil(path: Path) -> None:
    torch.save({"features.0.weight": torch.zeros(2, 3, 3, 3), "x": Command()}, path)


def evil_legacy(path: Path) -> None:
    content = {"features.0.weight": torch.zeros(2, 3, 3, 3), "x": Command()}
    torch.save(content, path, _use_new_zipfile_serialization=False)


def torchscript(path: Path) -> None:
    torch.jit.script(torch.nn.Linear(2, 2)).save(path)


def exported(path: Path) -> None:
    program = torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),))
    with path.open("wb") as file:
        torch.export.save(program, file)


def random_bytes(path: Path) -> None:
    generator = torch.Generator().manual_seed(3)
    path.write_bytes(torch.randint(0, 256, (5000,), generator=generator, dtype=torch.uint8).numpy().tobytes())


def web_page(path: Path) -> None:
    path.write_text("<!DOCTYPE html><html><head><title>404 Not Found</title></head><body></body></html>")


def truncated(path: Path) -> None:
    torch.save(tiny_vgg().state_dict(), path)
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize(
    ("name", "write", "code", "said"),
    [
        ("new.pth", evil, "checkpoint_unsafe", "system"),
        ("old.pt", evil_legacy, "checkpoint_unsafe", "system"),
        ("script.pt", torchscript, "checkpoint_unsafe", "TorchScript"),
        ("program.pt2", exported, "checkpoint_corrupt", "this one in '.pt2'"),
        ("random.safetensors", random_bytes, "checkpoint_corrupt", "not a complete safetensors file"),
        ("empty.pth", Path.touch, "checkpoint_corrupt", "the file is empty"),
        ("half.pth", truncated, "checkpoint_corrupt", "broken or truncated zip archive"),
        ("page.pth", web_page, "checkpoint_corrupt", "not a complete torch.save file"),
    ],
)
def test_f35_a_file_that_is_no_checkpoint_is_refused_and_nothing_in_it_runs(
    name: str, write: Callable[[Path], None], code: str, said: str, tmp_path: Path
) -> None:
    write(tmp_path / name)
    found = inspected(tmp_path / name)
    assert found.code == code
    assert said in found.message
    assert [path.name for path in tmp_path.iterdir()] == [name]


def bomb(path: Path) -> None:
    """400 MB of zeros in 400 kB."""
    plain = path.with_name("plain.pth")
    torch.save({"features.0.weight": torch.zeros(1)}, plain)
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            with new.open(name, "w", force_zip64=True) as entry:
                if name.endswith("/data/0"):
                    for _ in range(100):
                        entry.write(bytes(4_000_000))
                else:
                    entry.write(old.read(name))
    plain.unlink()


def expanded(path: Path) -> None:
    torch.save({"features.0.weight": torch.zeros(1).expand(50_000, 50_000)}, path)


def million_entries(path: Path) -> None:
    entry = b"PK\x01\x02" + bytes(24) + struct.pack("<HHHHHLL", 1, 0, 0, 0, 0, 0, 0) + b"x"
    directory = entry * 1_000_000
    end = b"PK\x05\x06" + struct.pack("<HHHHLLH", 0, 0, 16960, 16960, len(directory), 4, 0)
    path.write_bytes(b"PK\x03\x04" + directory + end)


def odd_tensor(make: Callable[[], torch.Tensor]) -> Callable[[Path], None]:
    return lambda path: torch.save({"features.0.weight": make()}, path)


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Inspected:
    """What reading a sound file of a few kilobytes takes, most of it importing torch."""
    path = tmp_path_factory.mktemp("usual") / "a.safetensors"
    save_checkpoint(path, tiny_vgg())
    return inspected(path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("name", "write", "said"),
    [
        ("bomb", bomb, "compressed entries"),
        ("strides", expanded, "repeats a storage of 4 bytes"),
        ("entries", million_entries, "zip directory"),
        ("sparse", odd_tensor(lambda: torch.eye(3).to_sparse()), "sparse"),
    ],
)
def test_f36_a_file_that_claims_too_much_is_refused_in_seconds_and_little_memory(
    name: str, write: Callable[[Path], None], said: str, usual: Inspected, tmp_path: Path
) -> None:
    write(tmp_path / f"{name}.pth")
    found = inspected(tmp_path / f"{name}.pth")
    assert found.code == "checkpoint_corrupt"
    assert said in found.message
    assert found.seconds - usual.seconds < 5
    assert found.kib - usual.kib < 100_000


def changed(change: Callable[[dict[str, torch.Tensor]], object], batch_norm: bool = False) -> Callable[[Path], None]:
    """A writer of D's tensors after `change`."""

    def write(path: Path) -> None:
        tensors = {name: tensor.clone() for name, tensor in tiny_vgg("D", batch_norm=batch_norm).state_dict().items()}
        change(tensors)
        torch.save(tensors, path)

    return write


def prefix_all_but_one(tensors: dict[str, torch.Tensor]) -> None:
    for name in list(tensors)[1:]:
        tensors[f"module.{name}"] = tensors.pop(name)


def without_statistics(tensors: dict[str, torch.Tensor]) -> None:
    for name in list(tensors):
        if "running_" in name or "num_batches" in name:
            del tensors[name]


@pytest.mark.parametrize(
    ("name", "write", "said"),
    [
        ("missing", changed(lambda t: t.pop("features.28.bias")), "missing features.28.bias"),
        ("extra", changed(lambda t: t.update(extra=torch.zeros(1))), "unexpected extra"),
        ("prefixed", changed(prefix_all_but_one), "module.features"),
        (
            "variant",
            changed(lambda t: (t.pop("features.28.weight"), t.pop("features.28.bias"))),
            "vgg16 (configuration D): missing features.28.weight, features.28.bias",
        ),
        (
            "unnormalised",
            changed(without_statistics, batch_norm=True),
            "missing features.1.running_mean, features.1.running_var",
        ),
    ],
)
def test_f38_tensors_that_are_nearly_a_network_are_refused_by_their_names(
    name: str, write: Callable[[Path], None], said: str, tmp_path: Path
) -> None:
    write(tmp_path / f"{name}.pth")
    with pytest.raises(CheckpointUnrecognisedError) as caught:
        inspect(tmp_path / f"{name}.pth")
    assert said in str(caught.value)
