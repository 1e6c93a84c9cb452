"""Read a weights file in a process of its own: `python -m workers.inspect_checkpoint PATH [STATED]` prints JSON.

Nobody vouches for such a file. The library refuses what it can recognise; a process with limits bounds the rest: a
decompression bomb ends this process, a crashing parser takes no worker with it, and nothing can be written.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE
from typing import Any

import torch

from app.errors import ServiceError
from ensembles.checkpoints import file_sha256, read_metadata, read_tensors, recognise
from ensembles.errors import CheckpointCorruptError, CheckpointMissingError
from workers.failures import classify

#: Seconds; reading and hashing the largest file allowed from a slow disk takes less.
TIME_LIMIT = 180
#: What a tensor may need beside its file: the file's bytes, its float32 form, and the unpickler's own.
_MEMORY_FACTOR = 4
_MEMORY_SLACK = 1 << 30

_PR_SET_NO_NEW_PRIVS = 38


class InspectionError(ServiceError):
    """What the other process found wrong, with the code of the error it met there."""

    def __init__(self, code: str, message: str) -> None:
        # Shadows the class attribute: the code belongs to the error that was met.
        self.code = code  # type: ignore[misc]
        super().__init__(message)


def inspect_in_child(
    path: Path,
    waiting: Callable[[], None] = lambda: None,
    time_limit: float = TIME_LIMIT,
    *,
    architecture: str | None = None,
    crop: int | None = None,
) -> dict[str, Any]:
    """What the file says and holds, found out by a process that is thrown away.

    Args:
        path: of the file.
        waiting: called twice a second meanwhile; what it raises ends the other process and comes out.
        time_limit: seconds.
        architecture: as stated; see `checkpoints.recognise`.
        crop: as stated, px.

    Returns:
        sha256, size_bytes, architecture (JSON form), metadata (JSON form of `CheckpointMetadata`).

    Raises:
        InspectionError: with the code of the library's error, such as checkpoint_corrupt.
        CheckpointCorruptError: reading it took too long, too much memory, or ended the process.
    """
    stated = json.dumps({"stated": architecture, "crop": crop})
    command = [sys.executable, "-m", "workers.inspect_checkpoint", str(path), stated]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=PIPE, stderr=PIPE) as child:
        try:
            output, messages = _output_of(child, waiting, time.monotonic() + time_limit)
        except subprocess.TimeoutExpired:
            raise CheckpointCorruptError(str(path), f"reading it took more than {time_limit:.0f} s") from None
        finally:
            child.kill()
    try:
        answer: dict[str, Any] = json.loads(output)
    except ValueError:
        last = messages.decode(errors="replace").strip().splitlines()[-1:]
        reason = f"the process reading it ended with status {child.returncode} {' '.join(last)}".strip()
        raise CheckpointCorruptError(str(path), reason) from None
    if "error" in answer:
        raise InspectionError(**answer["error"])
    return answer


def _output_of(child: subprocess.Popen[bytes], waiting: Callable[[], None], deadline: float) -> tuple[bytes, bytes]:
    while True:
        try:
            return child.communicate(timeout=0.5)
        except subprocess.TimeoutExpired:
            if time.monotonic() > deadline:
                raise
            waiting()


def inspect(path: Path, stated: str | None = None, crop: int | None = None) -> dict[str, Any]:
    """The same in this process; see `inspect_in_child`.

    Raises:
        CheckpointError: what is wrong with the file.
        SpecError: the network cannot have the stated crop.
        OSError: it cannot be read.
    """
    sha256 = file_sha256(path)
    metadata = read_metadata(path)
    architecture = recognise(read_tensors(path), stated, crop)
    return {
        "sha256": sha256,
        "size_bytes": path.stat().st_size,
        "architecture": architecture.to_dict(),
        "metadata": metadata.to_dict(),
    }


def _limit_resources(file_bytes: int) -> None:
    """From here on: no files written, no privileges gained, memory in proportion to the file."""
    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pages_in_use = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages_in_use * resource.getpagesize() + _MEMORY_FACTOR * file_bytes + _MEMORY_SLACK
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def main() -> None:
    """Inspect the file named on the command line."""
    path, stated = Path(sys.argv[1]), json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    try:
        _limit_resources(path.stat().st_size)
        answer = inspect(path, **stated)
    except MemoryError:
        corrupt = CheckpointCorruptError(str(path), "its tensors need far more memory than the file has bytes")
        answer = {"error": {"code": corrupt.code, "message": str(corrupt)}}
    except Exception as error:
        failure = classify(CheckpointMissingError(str(path)) if isinstance(error, FileNotFoundError) else error)
        answer = {"error": {"code": failure.code, "message": failure.message}}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
