"""Which images are answered otherwise when the same checkpoint is asked again: posteriors against posteriors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ensembles.errors import Problem, SpecError
from ensembles.predictions import PosteriorParts


@dataclass(frozen=True, eq=False)
class Movement:
    """What moved between two prediction sets of the same images.

    Attributes:
        compared: the first so many images were looked at.
        images: (M,) positions of the images that moved, ascending.
        differences: (M,) float64, the largest absolute difference of a posterior of each; infinite where one of the two
            could be read and the other could not.
        before: (M,) top-1 class in the first set; -1 where the image could not be read.
        now: (M,) in the second.
    """

    compared: int
    images: NDArray[np.int64]
    differences: NDArray[np.float64]
    before: NDArray[np.int64]
    now: NDArray[np.int64]

    @property
    def top1_moved(self) -> NDArray[np.bool_]:
        """(M,), True where the top-1 is another."""
        return np.not_equal(self.before, self.now)


def compare_posteriors(before: PosteriorParts, now: PosteriorParts, images: int, tolerance: float = 0.0) -> Movement:
    """Compare the first images of two prediction sets, however each was cut into parts.

    An image moved where some posterior differs by more than the tolerance, or its top-1 is another; with tolerance 0
    one bit is enough.

    Args:
        before: (N, K) posteriors.
        now: of the same images and classes.
        images: how many are looked at, at least 1.
        tolerance: the largest difference that is none.

    Raises:
        SpecError: other classes, or a set that does not reach so far.
    """
    if before.classes != now.classes:
        raise SpecError([Problem("now", f"{before.classes} classes, as before", now.classes)])
    reached = min(before.stop, now.stop)
    if before.start != 0 or now.start != 0 or not 1 <= images <= reached:
        raise SpecError([Problem("images", f"from 1 to {reached}, counted from the first", images)])
    found: list[tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]] = []
    for (start, old), (_, new) in zip(before.blocks(stop=images), now.blocks(stop=images), strict=True):
        old_readable, new_readable = ~np.isnan(old[:, 0]), ~np.isnan(new[:, 0])
        differences = np.abs(old.astype(np.float64) - new).max(axis=1)
        differences[~old_readable & ~new_readable] = 0.0
        differences[old_readable != new_readable] = np.inf
        old_top, new_top = _top(old, old_readable), _top(new, new_readable)
        rows = np.flatnonzero((differences > tolerance) | (old_top != new_top))
        found.append((rows + start, differences[rows], old_top[rows], new_top[rows]))
    columns = [np.concatenate(column) for column in zip(*found, strict=True)]
    return Movement(images, columns[0], columns[1], columns[2], columns[3])


def _top(probs: NDArray[np.float32], readable: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.where(readable, np.nan_to_num(probs).argmax(axis=1), -1)
