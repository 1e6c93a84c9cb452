"""Time and memory of the errors of all subsets of M members, float32 posteriors on disk, the file cache warm.

    python -m benchmarks.fusion [--images 50000] [--classes 1000] [--members 16] [--folder DIRECTORY] [--table]

Makes one file of posteriors a member (200 MB each at the default size; deleted afterwards), then, each in a process of
its own that reads the files once before the clock starts: the table of contenders is built and the top-1 and top-5
errors of all subsets are counted, for 7 members and for all. With --table also for other N and M. What that is held
against is measured on a slice of the same work: fusing directly, block by block in float32, each subset one member more
or less than the one before (a Gray code), and comparing every class with the label. How many times as long that
takes is said of processor seconds, which other programs on the machine do not change.

How the members are made: an image's logits are standard normal numbers that all members share, plus 0.6 of a member's
own, times 2; the label's shared logit leads by so much that a member errs on about a quarter of the images at 1,000
classes. So members agree on most images, and most of their errors are common, as with networks of one family.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import write_array_header_1_0
from numpy.typing import NDArray

from ensembles.contenders import find_contenders
from ensembles.metrics import others_at_least
from ensembles.predictions import PosteriorPart, PosteriorParts
from ensembles.subsets import subset_error_counts

ROWS = 2000
#: The lead of the label's logit, in standard deviations of the noise that is shared: top-1 error near 25 %.
LEAD = 4.62
OWN, SHARPNESS = 0.6, 2.0
#: Rows and subsets of the slice that is fused directly; a block of float32 sums of it fits into the cache.
SLICE_ROWS, SLICE_SUBSETS = 256, 511


def main() -> None:
    """Make the files, measure in processes of their own, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--members", type=int, default=16)
    parser.add_argument("--folder", type=Path, help="where the files lie meanwhile")
    parser.add_argument("--table", action="store_true", help="also other numbers of images and members")
    parser.add_argument("--measure", nargs=4, metavar=("FOLDER", "IMAGES", "MEMBERS", "DIRECT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure is not None:
        folder, images, members, direct = arguments.measure
        sys.stdout.write(json.dumps(measured(Path(folder), int(images), int(members), direct=direct == "yes")))
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as scratch:
        folder = Path(scratch)
        make_members(folder, arguments.images, arguments.classes, arguments.members)
        print(f"{arguments.images:,} images x {arguments.classes:,} classes, float32; {machine()}")
        print("seconds on the clock (of the processor); direct: processor seconds for top 1 by direct fusion")
        print(f"{'N':>7} {'M':>3} {'subsets':>7} {'build':>15} {'top 1':>15} {'top 5':>15} {'all':>15}", end="")
        print(f" {'entries':>9} {'peak':>7} {'error':>6} {'best':>6} {'direct':>8} {'times':>6}")
        sizes = [(arguments.images, 7), (arguments.images, arguments.members)]
        if arguments.table:
            smaller = [arguments.images // 5, arguments.images // 2, arguments.images]
            sizes = [(n, m) for m in (4, 7, 10, 13, arguments.members) for n in smaller]
        for images, members in sorted({(n, min(m, arguments.members)) for n, m in sizes}, key=lambda size: size[::-1]):
            show(in_process(folder, images, members, direct=images == arguments.images))


def in_process(folder: Path, images: int, members: int, *, direct: bool) -> dict[str, Any]:
    """`measured`, by a process that has done nothing else, so that its peak of memory is that of the work."""
    command = [sys.executable, "-m", "benchmarks.fusion", "--measure", str(folder), str(images), str(members)]
    done = subprocess.run([*command, "yes" if direct else "no"], check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def show(found: dict[str, Any]) -> None:
    """One line of the table."""
    steps = [found["build"], found["top1"], found["top5"]]
    steps.append([sum(step[0] for step in steps), sum(step[1] for step in steps)])
    line = f"{found['images']:>7,} {found['members']:>3} {2 ** found['members'] - 1:>7,} "
    line += " ".join(f"{clock:6.2f} ({processor:6.2f})" for clock, processor in steps)
    line += f" {found['entries']:>9,} {found['peak'] / 1e9:5.2f}GB {100 * found['error']:5.1f}%"
    line += f" {100 * found['best']:5.1f}%"
    if found["direct"] is not None:
        line += f" {found['direct']:8,.0f} {found['direct'] / (steps[0][1] + steps[1][1]):6,.0f}"
    print(line, flush=True)


def measured(folder: Path, images: int, members: int, *, direct: bool) -> dict[str, Any]:
    """Seconds of each step, on the clock and of the processor, and peak memory in bytes."""
    labels = np.load(folder / "labels.npy")[:images]
    sets = [
        PosteriorParts([PosteriorPart(0, rows_of(path), path)], images) for path in sorted(folder.glob("member-*.npy"))
    ][:members]
    for one in sets:
        for _, block in one.blocks(ROWS):
            block.sum()
    times = [_now()]
    table = find_contenders(sets, labels)
    times.append(_now())
    top1 = subset_error_counts(table, 1)
    times.append(_now())
    subset_error_counts(table, 5)
    times.append(_now())
    steps = [[b - a for a, b in zip(before, after, strict=True)] for before, after in pairwise(times)]
    return {
        "images": images,
        "members": members,
        **dict(zip(("build", "top1", "top5"), steps, strict=True)),
        "entries": len(table.others),
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "error": float(top1[1]) / images,
        "best": float(top1[1:].min()) / images,
        "direct": direct_seconds(sets, labels, members) if direct else None,
    }


def _now() -> tuple[float, float]:
    """On the clock and of the processor."""
    return time.perf_counter(), time.process_time()


def direct_seconds(sets: list[PosteriorParts], labels: NDArray[np.int64], members: int) -> float:
    """Processor seconds that direct fusion would take for the top-1 errors of all subsets, from a slice of the work."""
    rows = min(SLICE_ROWS, len(labels))
    probs = [next(one.blocks(rows))[1].copy() for one in sets]
    own_labels = labels[:rows]
    steps = min(SLICE_SUBSETS, 2**members - 1)
    began = time.process_time()
    fused = np.zeros_like(probs[0])
    errors = np.zeros(steps, dtype=np.int64)
    held = 0
    for step in range(1, steps + 1):
        member = (step & -step).bit_length() - 1
        held ^= 1 << member
        if held >> member & 1:
            fused += probs[member]
        else:
            fused -= probs[member]
        errors[step - 1] = np.count_nonzero(others_at_least(fused, fused[np.arange(rows), own_labels]))
    took = time.process_time() - began
    return took / (rows * steps) * len(labels) * (2**members - 1)


def make_members(folder: Path, images: int, classes: int, members: int) -> None:
    """Write one file of posteriors a member, and the labels."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, classes, images)
    np.save(folder / "labels.npy", labels)
    files = []
    for number in range(members):
        file = (folder / f"member-{number:02}.npy").open("wb")
        write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (images, classes)})
        files.append(file)
    for start in range(0, images, ROWS):
        own = labels[start : start + ROWS]
        shared = generator.standard_normal((len(own), classes), dtype=np.float32)
        shared[np.arange(len(own)), own] += LEAD
        for file in files:
            logits = SHARPNESS * (shared + OWN * generator.standard_normal(shared.shape, dtype=np.float32))
            probs = np.exp(logits - logits.max(axis=1, keepdims=True))
            file.write((probs / probs.sum(axis=1, keepdims=True)).astype("<f4").tobytes())
    for file in files:
        file.close()


def rows_of(path: Path) -> int:
    """Rows of a file of posteriors."""
    return int(np.load(path, mmap_mode="r").shape[0])


def machine() -> str:
    """Processor, its cores, and NumPy's version."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    ]
    return f"{len(names)} cores of {names[0] if names else platform.machine()}, NumPy {np.__version__}"


if __name__ == "__main__":
    main()
