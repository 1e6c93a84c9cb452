"""Time and memory of comparing stored evaluations as people do: REST, the page, database and files behind both.

    python -m benchmarks.compare_service [--folder DIRECTORY]

Fills one service with 20 evaluations of 50,000 images and 1,000 classes, another with 500 of 1,000 images, each through
the real services with the outcomes of single images that fusing keeps. Then a process of its own, as a web process is,
answers each request once to warm up and five times to be measured; the posteriors play no part.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
from flask.testing import FlaskClient

from app.config import Settings
from app.factory import create_app
from app.runtime import build_runtime
from ensembles.configurations import Architecture
from tests.history import History
from tests.made_outcomes import made_outcomes

#: Evaluations, images, classes of each service.
SERVICES = ((20, 50_000, 1000), (500, 1000, 10))

REPEATS = 5


def main() -> None:
    """Fill both services and let a fresh process answer; or be that process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the files lie meanwhile")
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.answer:
        answer(arguments.answer)
        return
    measure(arguments.folder)


def measure(folder: Path | None) -> None:
    """Fill both services, one after the other, and print what a fresh process takes to answer."""
    print(f"{platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}, SQLite", flush=True)
    for count, images, classes in SERVICES:
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            home = Path(scratch) / "home"
            fill(home, count, images, classes)
            print(f"{count} evaluations of {images:,} images x {classes:,} classes", flush=True)
            for sides in (2, count):
                chosen = (home / "ids").read_text().split()[:sides]
                (home / "chosen").write_text(" ".join(chosen))
                subprocess.run([sys.executable, "-m", "benchmarks.compare_service", "--answer", str(home)], check=True)


def fill(home: Path, count: int, images: int, classes: int) -> None:
    """A service with that many finished evaluations of about 25 % top-1 error, which err mostly on the same images."""
    runtime = build_runtime(Settings.from_environment({"SOFTVOTE_HOME": str(home)}), migrate=True)
    history = History(runtime, macs_per_second=1e30)
    history.dataset("images", images=images, classes=[f"class {number:04}" for number in range(classes)])
    history.checkpoint("network", Architecture("A", width=0.05, classes=classes, crop=32), (32, 32))
    labels = history.index("images").labels
    random = np.random.default_rng(0)
    ids = []
    for number in range(count):
        wrong = int(images * random.uniform(0.24, 0.26))
        ids.append(history.submit(dataset="images", checkpoints=["network"], protocol={"scales": [32]}))
        history.predict()
        found = made_outcomes(labels, classes, wrong, wrong // 4, seed=number)
        history.finish(ids[-1], [wrong], answers={"network": found})
    runtime.db.dispose()
    (home / "ids").write_text(" ".join(ids))


def answer(home: Path) -> None:
    """Answer what compares the evaluations listed in `home / "chosen"`, and print how long it took."""
    base, *candidates = (home / "chosen").read_text().split()
    runtime = build_runtime(Settings.from_environment({"SOFTVOTE_HOME": str(home)}))
    client = create_app(runtime).test_client()
    sides = [("base", base), *(("candidate", candidate) for candidate in candidates)]
    requests = {
        "REST, both errors": f"/api/v1/compare?{urlencode(sides)}",
        "the page": f"/compare?{urlencode(sides)}",
        "REST, negative log-likelihood": f"/api/v1/compare?{urlencode([*sides, ('metric', 'nll')])}",
    }
    for what, address in requests.items():
        seconds = [_seconds(client, address) for _ in range(1 + REPEATS)]
        print(f"  {1 + len(candidates):3} sides, {what:30} {_summary(seconds)}", flush=True)
    print(f"      peak resident memory of the process: {_peak_megabytes():.0f} MB", flush=True)


def _peak_megabytes() -> float:
    """Since this program began; getrusage would answer with the parent's peak where that was higher."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise SystemExit("/proc/self/status names no VmHWM")


def _seconds(client: FlaskClient, address: str) -> float:
    started = time.perf_counter()
    response = client.get(address)
    if response.status_code != HTTPStatus.OK:
        raise SystemExit(response.text)
    return time.perf_counter() - started


def _summary(seconds: Sequence[float]) -> str:
    first, *warm = seconds
    return f"first {first:6.2f} s, then median {statistics.median(warm):6.2f} s of {len(warm)} (max {max(warm):.2f} s)"


if __name__ == "__main__":
    main()
