"""Which images may choose an ensemble and which may judge it, decided by their ids alone.

A number chosen on the images that it is reported on is too good on average. Here images are put in the order of (class,
SHA-256 of the id) and dealt out in turn, so that every class is divided evenly, and the same images are divided the
same way by whoever asks, whenever.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ensembles.errors import Problem, SpecError
from ensembles.specs import is_whole_number


def select_half(ids: Sequence[str], labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """The images that choose, (N,), every second one of the order above; the others report.

    Args:
        ids: N image ids, each once, at least 2.
        labels: (N,) class numbers.

    Raises:
        SpecError: too few images, or another number of labels.
    """
    chosen: NDArray[np.bool_] = deal(ids, labels, 2) == 0
    return chosen


def deal(ids: Sequence[str], labels: NDArray[np.integer], hands: int) -> NDArray[np.int64]:
    """The hand, 0 to `hands` - 1, that each image is dealt to, (N,); of every class, hands differ by at most one image.

    Args:
        ids: N image ids, each once, at least one a hand.
        labels: (N,) class numbers.
        hands: at least 2.

    Raises:
        SpecError: too few images, another number of labels, or too few hands.
    """
    problems = []
    if not is_whole_number(hands) or hands < 2:
        problems.append(Problem("hands", "a whole number of at least 2", hands))
    elif len(ids) < hands:
        problems.append(Problem("ids", f"at least {hands} images", len(ids)))
    if labels.shape != (len(ids),):
        problems.append(Problem("labels", f"one of each of {len(ids)} images", labels.shape))
    if problems:
        raise SpecError(problems)
    hashes = np.array([hashlib.sha256(image_id.encode()).digest() for image_id in ids], dtype="S32")
    order = np.lexsort((hashes, labels))
    dealt = np.empty(len(ids), dtype=np.int64)
    dealt[order] = np.arange(len(ids)) % hands
    return dealt
