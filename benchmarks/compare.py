"""Time and memory of comparing evaluations: 50,000 images x 1,000 classes on disk, the file cache warm.

    python -m benchmarks.compare [--evaluations 20] [--images 50000] [--classes 1000] [--folder DIRECTORY]

Makes one file of posteriors an evaluation, reads them all once to warm the cache, then times for 2 evaluations and for
all: each file read in blocks to outcomes, joined by image id, top-1 and top-5 error of each candidate compared with the
first evaluation, and the families adjusted. That is the library alone; then the service, which has kept the outcomes
and reads no posteriors (`benchmarks.compare_service`). The files (200 MB each at the default size) are deleted
afterwards.
"""

from __future__ import annotations

import argparse
import platform
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.lib.format import write_array_header_1_0
from numpy.typing import NDArray

from benchmarks.compare_service import measure
from ensembles.alignment import align
from ensembles.outcomes import ImageOutcomes, score_images
from ensembles.paired import PairedComparison, adjust_family, compare_errors, compare_values
from ensembles.predictions import PosteriorPart, PosteriorParts
from ensembles.wording import describe

ROWS = 1024


def main() -> None:
    """Make the files, time both sizes and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluations", type=int, default=20)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--folder", type=Path, help="where the files lie meanwhile")
    arguments = parser.parse_args()
    labels = np.random.default_rng(0).integers(0, arguments.classes, arguments.images)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as scratch:
        files = [
            make_posteriors(Path(scratch) / f"{number:03}.npy", labels, arguments.classes, number)
            for number in range(arguments.evaluations)
        ]
        machine = f"{platform.machine()}, NumPy {np.__version__}"
        print(f"{arguments.images:,} images x {arguments.classes:,} classes, float32; {machine}")
        for file in files:
            read_outcomes(file, labels)
        for count in sorted({2, len(files)}):
            time_comparison(files[:count], labels)
    measure(arguments.folder)


def time_comparison(files: Sequence[Path], labels: NDArray[np.int64]) -> None:
    """Time and print one comparison of all files with the first."""
    ids = [[f"class{label:04}/{row:06}.jpg" for row, label in enumerate(labels.tolist())] for _ in files]
    watch = Stopwatch()
    outcomes = [read_outcomes(file, labels) for file in files]
    reading = watch.seconds()
    _, aligned = align(list(zip(ids, outcomes, strict=True)))
    comparisons = compare_both_errors(aligned)
    print(f"  {len(files)} evaluations: {watch.seconds()}, of it {reading} reading posteriors")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"    peak resident memory of the process so far: {peak:.0f} MB")
    print(f"    first of {len(comparisons)}: {describe(comparisons[0])}")
    watch = Stopwatch()
    losses = [outcome.negative_log_likelihoods() for outcome in aligned]
    adjust_family(compare_values(losses[0], {str(i): loss for i, loss in enumerate(losses[1:], 1)}, metric="nll"))
    print(f"    besides, negative log-likelihood with 2,000 resamples: {watch.seconds()}")


class Stopwatch:
    """Wall-clock and processor time since it was made; far apart, they say that the machine was busy."""

    def __init__(self) -> None:
        self._wall, self._processor = time.perf_counter(), time.process_time()

    def seconds(self) -> str:
        """Both, in words."""
        wall, processor = time.perf_counter() - self._wall, time.process_time() - self._processor
        return f"{wall:.2f} s ({processor:.2f} s of processor time)"


def compare_both_errors(aligned: Sequence[ImageOutcomes]) -> list[PairedComparison]:
    """Top-1 and top-5 error of every candidate against the first, each metric one family."""
    return [
        comparison
        for k in (1, 5)
        for comparison in compare_errors(
            aligned[0].wrong(k),
            {str(i): outcome.wrong(k) for i, outcome in enumerate(aligned[1:], start=1)},
            metric=f"top{k}_error",
        )
    ]


def read_outcomes(file: Path, labels: NDArray[np.int64]) -> ImageOutcomes:
    """Score one prediction set block by block."""
    parts = PosteriorParts([PosteriorPart(0, len(labels), file)])
    return ImageOutcomes.concatenate(
        [score_images(probs, labels[start : start + len(probs)]) for start, probs in parts.blocks(ROWS)]
    )


def make_posteriors(file: Path, labels: NDArray[np.int64], classes: int, seed: int) -> Path:
    """Random posteriors of about 25 % top-1 error; evaluations err mostly on the same images, as real ones do."""
    random = np.random.default_rng(seed + 1)
    difficulty = np.random.default_rng(0).random(len(labels))
    with file.open("wb") as target:
        header = {"descr": "<f4", "fortran_order": False, "shape": (len(labels), classes)}
        write_array_header_1_0(target, header)
        for start in range(0, len(labels), ROWS):
            rows = slice(start, start + ROWS)
            block = random.standard_exponential((len(labels[rows]), classes), dtype=np.float32)
            strength = np.where(difficulty[rows] + random.normal(0, 0.03, len(block)) < 0.75, 20.0, 2.0)
            block[np.arange(len(block)), labels[rows]] += strength
            (block / block.sum(axis=1, keepdims=True)).tofile(target)
    return file


if __name__ == "__main__":
    main()
