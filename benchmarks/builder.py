"""How fast the ensemble builder follows a slider: 7 members, 50,000 images, 1,000 classes, in a real Chromium.

    python -m benchmarks.builder [--images 50000] [--classes 1000] [--members 7] [--moves 60] [--folder DIRECTORY]

Fills a service with one finished evaluation whose posteriors are files of float32 (200 MB each at the default size;
deleted afterwards), serves it, opens its builder in a headless Chromium and moves one slider after the other. A move is
timed in the page: from the input event until the first task after the frame that shows the new error. Also printed: the
size of the table that the browser fetches, plain and as gzip would make it, the time in which the server makes it, and
the time of the page with a stored table.

How the members are made: an image's logits are standard normal numbers that all members share, plus 0.6 of a member's
own, times 2; the label's shared logit leads by so much that a member errs on about a quarter of the images at 1,000
classes. So members agree on most images, and most of their errors are common, as with networks of one family.
"""

from __future__ import annotations

import argparse
import gzip
import platform
import shutil
import statistics
import tempfile
import time
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from playwright.sync_api import Page, sync_playwright
from sqlalchemy import select

from app.config import Settings
from app.db.models import EvaluationSet, PredictionPart
from app.runtime import Runtime, build_runtime
from app.services.searching import contender_tables
from ensembles.configurations import Architecture
from tests.e2e.chromium import DESKTOP, FLAGS, serving
from tests.history import History

ROWS = 2000
#: The lead of the label's logit, in standard deviations of the noise that is shared: top-1 error near 25 %.
LEAD = 4.62
OWN, SHARPNESS = 0.6, 2.0

MOVE = """
async ([unit, value]) => {
  const root = document.getElementById("builder");
  const slider = document.querySelectorAll("[data-slider]")[unit];
  const painted = new Promise((done) => {
    new MutationObserver((_, observer) => {
      observer.disconnect();
      requestAnimationFrame(() => {
        const channel = new MessageChannel();
        channel.port1.onmessage = () => done(performance.now());
        channel.port2.postMessage(null);
      });
    }).observe(root, { attributes: true, attributeFilter: ["data-answered"] });
  });
  slider.value = value;
  const began = performance.now();
  slider.dispatchEvent(new Event("input", { bubbles: true }));
  return (await painted) - began;
}
"""


def main() -> None:
    """Make the posteriors, serve them, move sliders, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--members", type=int, default=7)
    parser.add_argument("--moves", type=int, default=60)
    parser.add_argument("--folder", type=Path, help="where the files lie meanwhile")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as scratch:
        home = Path(scratch) / "home"
        runtime = build_runtime(Settings.from_environment({"SOFTVOTE_HOME": str(home)}), migrate=True)
        evaluation_id = fill(runtime, arguments.images, arguments.classes, arguments.members)
        print(f"{arguments.images:,} images x {arguments.classes:,} classes x {arguments.members} members; {machine()}")
        make_table(runtime, evaluation_id)
        with serving(runtime) as address:
            time_pages(f"{address}/ensembles/new?evaluation={evaluation_id}")
            follow_sliders(f"{address}/ensembles/new?evaluation={evaluation_id}", arguments.moves, arguments.members)
        runtime.db.dispose()


def fill(runtime: Runtime, images: int, classes: int, members: int) -> str:
    """A service with one finished evaluation; its id."""
    history = History(runtime, macs_per_second=1e30)
    history.dataset("images", images=images, classes=[f"class {number:04}" for number in range(classes)])
    names = [f"network-{number}" for number in range(members)]
    for name in names:
        history.checkpoint(name, Architecture("A", width=0.05, classes=classes, crop=32), (32, 32))
    key = history.submit(dataset="images", checkpoints=names, protocol={"scales": [32]})
    history.predict()
    labels = history.index("images").labels
    with runtime.db.read() as session:
        links = select(EvaluationSet.set_id).where(EvaluationSet.evaluation_id == key)
        sets = session.scalars(links.order_by(EvaluationSet.member_position)).all()
        parts = session.scalars(select(PredictionPart).order_by(PredictionPart.start)).all()
        places = [
            (sets.index(part.set_id), part.start, part.stop, runtime.artifacts.path(str(part.artifact)))
            for part in parts
        ]
    for _, start, stop, path in places:
        path.parent.mkdir(parents=True, exist_ok=True)
        open_memmap(path, "w+", np.float32, (stop - start, classes)).flush()
    generator = np.random.default_rng(0)
    for start in range(0, images, ROWS):
        own = labels[start : start + ROWS]
        shared = generator.standard_normal((len(own), classes), dtype=np.float32)
        shared[np.arange(len(own)), own] += LEAD
        for member in range(members):
            logits = SHARPNESS * (shared + OWN * generator.standard_normal(shared.shape, dtype=np.float32))
            probs = np.exp(logits - logits.max(axis=1, keepdims=True))
            probs /= probs.sum(axis=1, keepdims=True)
            for of, first, stop, path in places:
                low, high = max(first, start), min(stop, start + len(own))
                if of == member and low < high:
                    open_memmap(path, "r+")[low - first : high - first] = probs[low - start : high - start]
    # Scores are no part of what is timed.
    history.finish(key, [images // 4] * (members + 1))
    return key


def make_table(runtime: Runtime, evaluation_id: str) -> None:
    """Seconds and size of the table; it is made twice, since the first time reads cold files."""
    searchable = contender_tables.find(runtime.db, runtime.artifacts, evaluation_id)
    for state in ("files as they were written", "files warm"):
        shutil.rmtree(runtime.artifacts.path("contenders"), ignore_errors=True)
        began, processor = time.perf_counter(), time.process_time()
        table = contender_tables.table(runtime.artifacts, searchable)
        took = time.perf_counter() - began
        print(f"table made in {took:.2f} s, {time.process_time() - processor:.2f} s of the processor ({state})")
    packed = len(gzip.compress(table.data, 6))
    print(f"table {len(table.data) / 1e6:.2f} MB, {packed / 1e6:.2f} MB by gzip")
    print(f"{len(table.leaves.images):,} open images, {len(table.leaves.others):,} entries")


def time_pages(address: str) -> None:
    """The page, its numbers made by the server, with the table stored."""
    seconds = []
    server, _, path = address.removeprefix("http://").partition("/")
    for _ in range(5):
        began = time.perf_counter()
        connection = HTTPConnection(server)
        connection.request("GET", f"/{path}")
        connection.getresponse().read()
        connection.close()
        seconds.append(time.perf_counter() - began)
    print(f"page with a stored table: median {statistics.median(seconds):.2f} s of {len(seconds)}")


def follow_sliders(address: str, moves: int, members: int) -> None:
    """Milliseconds from moving a slider to the painted error."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(FLAGS))
        page = browser.new_page(viewport={"width": DESKTOP[0], "height": DESKTOP[1]})
        page.goto(address)
        page.wait_for_selector("#builder[data-state=ready][data-answered]")
        print(f"Chromium {browser.version}, headless; the builder shows {page.inner_text('#top1-error')} % at first")
        random = np.random.default_rng(1)
        times = [move(page, int(random.integers(members)), int(random.integers(1, 100))) for _ in range(moves)]
        browser.close()
    ordered = sorted(times)
    print(
        f"slider to painted error, {moves} moves: median {statistics.median(times):.1f} ms, 95th percentile"
        f" {ordered[int(0.95 * len(ordered))]:.1f} ms, longest {ordered[-1]:.1f} ms"
    )


def move(page: Page, unit: int, value: int) -> float:
    """One move; what is left out one at a time ends before the next."""
    page.wait_for_timeout(400)
    return float(page.evaluate(MOVE, [unit, value]))


def machine() -> str:
    """Processor, its cores, and NumPy's version."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    return f"{len(names)} cores of {names[0] if names else platform.machine()}, NumPy {np.__version__}"


if __name__ == "__main__":
    main()
