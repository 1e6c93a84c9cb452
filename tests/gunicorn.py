"""The web part as the image runs it: gunicorn, in processes of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.nemesis.servers import free_port

ROOT = Path(__file__).parents[1]


def arguments_of_the_image() -> list[str]:
    """What the Dockerfile gives gunicorn, but for the address."""
    (line,) = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if '"gunicorn"' in line]
    command = json.loads(line.removeprefix("CMD "))
    options = command[command.index("gunicorn") + 1 :]
    address = options.index("--bind")
    return [*options[:address], *options[address + 2 :]]


@contextmanager
def serving(environment: Mapping[str, str], log: Path, options: Sequence[str] | None = None) -> Iterator[str]:
    """The address of a server with these settings; it is stopped afterwards.

    Args:
        environment: settings, beside those of this process.
        log: a file for what it says.
        options: of gunicorn, by default the image's.
    """
    port = free_port()
    given = arguments_of_the_image() if options is None else options
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", *given]
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **environment}, stdout=output, stderr=output, start_new_session=True
        )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(address, process, log)
        yield address
    finally:
        process.terminate()
        process.wait(40)


def _wait(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{address}/readyz", timeout=5).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError(f"no server at {address}: {log.read_text(errors='replace')[-3000:]}")
