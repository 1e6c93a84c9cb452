"""Join prediction sets by image id: a comparison reads the images that all of them share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ensembles.errors import Problem, SpecError
from ensembles.outcomes import ImageOutcomes


@dataclass(frozen=True, eq=False)
class SharedImages:
    """Images that S sets have in common.

    Attributes:
        ids: N of them, in the order of the first set.
        positions: for each set, (N,) the row of each shared image in it.
        dropped: for each set, how many of its images another set lacks.
    """

    ids: tuple[str, ...]
    positions: tuple[NDArray[np.int64], ...]
    dropped: tuple[int, ...]


def shared_images(sets: Sequence[Sequence[str]]) -> SharedImages:
    """Join sets by image id.

    Args:
        sets: ids of each set in the order of its rows, no id twice in one set; at least one set.

    Raises:
        SpecError: no set, or an id twice in one.
    """
    if not sets:
        raise SpecError([Problem("sets", "at least one", 0)])
    first = sets[0]
    if all(ids is first or ids == first for ids in sets[1:]) and len(set(first)) == len(first):
        rows = np.arange(len(first))
        return SharedImages(tuple(first), (rows,) * len(sets), (0,) * len(sets))
    row_of = [_rows_by_id(number, ids) for number, ids in enumerate(sets)]
    shared = tuple(image_id for image_id in first if all(image_id in rows_by_id for rows_by_id in row_of))
    return SharedImages(
        shared,
        tuple(np.array([rows_by_id[image_id] for image_id in shared], dtype=np.int64) for rows_by_id in row_of),
        tuple(len(ids) - len(shared) for ids in sets),
    )


def _rows_by_id(number: int, ids: Sequence[str]) -> dict[str, int]:
    rows_by_id = {image_id: row for row, image_id in enumerate(ids)}
    if len(rows_by_id) < len(ids):
        twice = next(image_id for row, image_id in enumerate(ids) if rows_by_id[image_id] != row)
        raise SpecError([Problem(f"sets[{number}]", "every image id once", twice)])
    return rows_by_id


def align(sets: Sequence[tuple[Sequence[str], ImageOutcomes]]) -> tuple[SharedImages, tuple[ImageOutcomes, ...]]:
    """The outcomes of each set on the images that all sets share, row n of each the same image.

    Args:
        sets: (ids, outcomes) of each, row for row; at least one set.

    Raises:
        SpecError: no set, an id twice in one, ids that do not go with the outcomes, or an image whose label is not the
            same everywhere: no comparison of answers to different questions.
    """
    for number, (ids, outcomes) in enumerate(sets):
        if len(ids) != len(outcomes):
            raise SpecError([Problem(f"sets[{number}]", "one id an outcome", (len(ids), len(outcomes)))])
    shared = shared_images([ids for ids, _ in sets])
    taken = tuple(outcomes.take(rows) for (_, outcomes), rows in zip(sets, shared.positions, strict=True))
    for number, outcomes in enumerate(taken):
        differing = np.flatnonzero(outcomes.labels != taken[0].labels)
        if len(differing):
            row = int(differing[0])
            found = (shared.ids[row], int(taken[0].labels[row]), int(outcomes.labels[row]))
            raise SpecError([Problem(f"sets[{number}]", "the same label for an image as sets[0]", found)])
    return shared, taken
