"""Posteriors of a data set, and the `.npy` part files they are kept in.

A file holds (N, K) float32 in C order, N consecutive images of the canonical order. The row of an unreadable image is
NaN throughout; every other row is finite, in [0, 1], and sums to 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensembles.errors import PosteriorsFormatError

#: How far from 1 a row may sum: far above float32 rounding over thousands of classes, far below any real mistake.
SUM_TOLERANCE = 1e-3

_CHECK_ROWS = 4096


@dataclass(frozen=True, eq=False)
class Posteriors:
    """Posteriors of N images.

    Attributes:
        probs: (N, K) float32, possibly a memory map; rows of unreadable images are NaN.
        readable: (N,) bool.
    """

    probs: NDArray[np.float32]
    readable: NDArray[np.bool_]

    def __post_init__(self) -> None:
        _check_layout("probs", self.probs)
        if self.readable.dtype != np.bool_ or self.readable.shape != self.probs.shape[:1]:
            rule = f"bool ({len(self.probs)},), one a row of probs"
            raise PosteriorsFormatError("readable", rule, (str(self.readable.dtype), self.readable.shape))
        disagreeing = np.flatnonzero(readable_rows(self.probs) != self.readable)
        if len(disagreeing):
            raise PosteriorsFormatError("readable", "False exactly where the row of probs is NaN", int(disagreeing[0]))

    @classmethod
    def of(cls, probs: NDArray[np.float32]) -> Posteriors:
        """From `probs` alone: the NaN rows are the unreadable images."""
        _check_layout("probs", probs)
        return cls(probs, readable_rows(probs))


def readable_rows(probs: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """(N,), False where a row is NaN; one column tells, since a row is NaN as a whole or not at all."""
    return ~np.isnan(np.asarray(probs[:, 0]))


def save_posteriors(path: Path, probs: NDArray[np.floating[Any]]) -> None:
    """Write (N, K) posteriors of any float type as a part file; nothing is written unless every row is valid.

    Raises:
        PosteriorsFormatError: wrong shape or type, or a row that is neither a distribution nor wholly NaN.
    """
    _check_shape("probs", probs)
    if not np.issubdtype(probs.dtype, np.floating):
        raise PosteriorsFormatError("probs", "a float type", str(probs.dtype))
    check_rows(probs)
    stored = np.ascontiguousarray(probs, dtype=np.float32)
    with path.open("wb") as file:
        np.save(file, stored, allow_pickle=False)


def load_posteriors(path: Path) -> Posteriors:
    """Map a part file into memory, read-only; pages are read when touched.

    Raises:
        PosteriorsFormatError: not an `.npy` file of (N, K) float32 in C order, or a truncated or longer one.
        OSError: the file cannot be opened.
    """
    return Posteriors.of(_map_file(path))


def check_rows(probs: NDArray[np.floating[Any]]) -> None:
    """Refuse rows of (N, K) that are neither a distribution over K classes nor NaN throughout (logits, for one).

    Raises:
        PosteriorsFormatError: names the first such row.
    """
    for start in range(0, len(probs), _CHECK_ROWS):
        block = np.asarray(probs[start : start + _CHECK_ROWS])
        unreadable = np.isnan(block).all(axis=1)
        in_range = ((block >= 0) & (block <= 1)).all(axis=1)
        with np.errstate(invalid="ignore"):  # inf - inf; out of range anyway
            near_one = np.abs(block.sum(axis=1, dtype=np.float64) - 1) <= SUM_TOLERANCE
        bad_rows = np.flatnonzero(~(unreadable | (in_range & near_one)))
        if len(bad_rows):
            row = int(bad_rows[0])
            rule = f"a row is K numbers in [0, 1] with sum 1, or NaN throughout; row {start + row} is not"
            raise PosteriorsFormatError("probs", rule, block[row, :8].tolist())


@dataclass(frozen=True, order=True)
class PosteriorPart:
    """A part file: images [start, stop) of the canonical order."""

    start: int
    stop: int
    path: Path


class PosteriorParts:
    """Consecutive part files as one (N, K) sequence of row blocks, never held in memory as a whole.

    Attributes:
        parts: ascending, without gap or overlap.
        classes: K.
    """

    def __init__(self, parts: Sequence[PosteriorPart], stop: int | None = None) -> None:
        """Order the parts and read their headers.

        Args:
            parts: of one prediction set.
            stop: the sequence ends before this image, though the last part may reach beyond; None: with the last part.

        Raises:
            PosteriorsFormatError: no part, a gap or overlap, a file whose shape is not its part's, or too few images.
            OSError: a file cannot be opened.
        """
        self.parts = tuple(sorted(parts))
        if not self.parts:
            raise PosteriorsFormatError("parts", "at least one part", 0)
        for before, after in zip(self.parts, self.parts[1:], strict=False):
            if before.stop != after.start:
                rule = f"consecutive; a part that starts at {before.stop}"
                raise PosteriorsFormatError("parts", rule, (after.start, after.stop))
        self.classes = int(_map_file(self.parts[0].path).shape[1])
        for part in self.parts:
            self._open(part)
        self._stop = self.parts[-1].stop if stop is None else stop
        if not self.start <= self._stop <= self.parts[-1].stop:
            raise PosteriorsFormatError("stop", f"from {self.start} to {self.parts[-1].stop}", stop)

    @property
    def start(self) -> int:
        """First image."""
        return self.parts[0].start

    @property
    def stop(self) -> int:
        """One past the last image."""
        return self._stop

    def blocks(self, rows: int = 4096, stop: int | None = None) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Blocks of `rows` consecutive images, the last one shorter, whatever files they come from.

        Blocks of two prediction sets that start at the same image therefore line up, however each was cut into parts.

        Args:
            rows: images a block, at least 1.
            stop: end before this image, for an evaluation of the first images only; the last image when None.

        Yields:
            (first image, probs (n, K) with 1 <= n <= rows); a view of a memory map unless it spans files.

        Raises:
            PosteriorsFormatError: `rows` or `stop` is out of range, or a file changed its shape since.
        """
        end = self.stop if stop is None else stop
        if rows < 1:
            raise PosteriorsFormatError("rows", "at least 1 image a block", rows)
        if not self.start <= end <= self.stop:
            raise PosteriorsFormatError("stop", f"from {self.start} to {self.stop}", end)
        for block_start in range(self.start, end, rows):
            block_stop = min(block_start + rows, end)
            pieces = [
                self._open(part)[max(block_start - part.start, 0) : block_stop - part.start]
                for part in self.parts
                if part.start < block_stop and block_start < part.stop
            ]
            yield block_start, pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def _open(self, part: PosteriorPart) -> NDArray[np.float32]:
        probs = _map_file(part.path)
        if probs.shape != (part.stop - part.start, self.classes):
            rule = f"{part.stop - part.start} rows of {self.classes} classes, images {part.start} to {part.stop}"
            raise PosteriorsFormatError(str(part.path), rule, probs.shape)
        return probs


def read_rows(parts: Sequence[PosteriorPart], images: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
    """The posteriors of some images, wherever in the parts they lie; of a file only the pages that hold them are read.

    Args:
        parts: of one prediction set; they need not be consecutive.
        images: (n,) numbers in the canonical order, in any order.

    Returns:
        (n, K); rows of unreadable images are NaN.

    Raises:
        PosteriorsFormatError: an image that no part holds, a file that is not its part's, or a row that is none.
        OSError: a file cannot be opened.
    """
    rows: list[NDArray[np.float32] | None] = [None] * len(images)
    for part in parts:
        inside = np.flatnonzero((images >= part.start) & (images < part.stop))
        if not len(inside):
            continue
        probs = _map_file(part.path)
        if len(probs) != part.stop - part.start:
            rule = f"{part.stop - part.start} rows, images {part.start} to {part.stop}"
            raise PosteriorsFormatError(str(part.path), rule, probs.shape)
        for position in inside.tolist():
            rows[position] = probs[int(images[position]) - part.start]
    found = [row for row in rows if row is not None]
    if len(found) < len(rows) or not found:
        missing = [int(images[position]) for position, row in enumerate(rows) if row is None]
        raise PosteriorsFormatError("images", "one or more images that the parts hold", missing[:8])
    if len({len(row) for row in found}) > 1:
        raise PosteriorsFormatError("parts", "one number of classes", sorted({len(row) for row in found}))
    gathered = np.stack(found)
    check_rows(gathered)
    return gathered


def _map_file(path: Path) -> NDArray[np.float32]:
    try:
        # Not np.load: it would also open archives.
        probs = np.lib.format.open_memmap(path, mode="r")
    except (ValueError, EOFError, SyntaxError, TypeError) as error:
        raise PosteriorsFormatError(str(path), "a whole .npy file without pickled objects", str(error)) from error
    _check_layout(str(path), probs)
    surplus = path.stat().st_size - probs.offset - probs.nbytes
    if surplus:
        raise PosteriorsFormatError(str(path), "nothing after the array", f"{surplus} bytes more")
    return probs


def _check_shape(field: str, probs: NDArray[Any]) -> None:
    if probs.ndim != 2 or 0 in probs.shape:
        raise PosteriorsFormatError(field, "shape (N, K), N and K at least 1", probs.shape)


def _check_layout(field: str, probs: NDArray[Any]) -> None:
    _check_shape(field, probs)
    if probs.dtype != np.float32 or not probs.flags.c_contiguous:
        order = "C" if probs.flags.c_contiguous else "Fortran or strided"
        raise PosteriorsFormatError(field, "float32 in C order", f"{probs.dtype} in {order} order")
