"""The confusion matrix as a picture: legible from three classes to thousands, on a light page and on a dark one."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from app.artifacts import ArtifactStore
from app.db.session import Database
from app.services.answering import answers
from app.services.answering.subjects import Answers

#: Cells along a side at most: of more classes, neighbours share a cell.
MAX_CELLS = 1000
#: Pixels along a side at least, so that few classes have large cells.
_MIN_SIDE = 1000

#: From so many cells on a cell is too small to be seen by itself.
_SPREAD_FROM = 400

#: Hues that stand out from white and from black; how much is opaque tells the share.
_RIGHT, _WRONG = (47, 128, 186), (214, 92, 30)
_SHADES = 127
#: The least share that is there at all can be seen.
_FAINTEST = 0.22


def picture(db: Database, artifacts: ArtifactStore, evaluation_id: str, *, name: str | None = None) -> bytes:
    """A PNG with a row for each true class and a column for each answered one.

    A cell's opacity is the square root of its share of the row's images, so that rare confusions show beside the
    diagonal; empty cells are transparent. Right answers are blue, wrong ones orange. From 400 classes
    on a cell is drawn larger than it is, by one neighbour on each side for every 400.

    Raises:
        NotFoundError: no such evaluation or member.
        StateConflictError: the evaluation has not succeeded.
        OutcomesMissingError: it was fused by a release that kept no outcomes.
        ArtifactDamagedError: stored outcomes, or the data set's index, are missing or different.
    """
    return draw(answers.read(db, artifacts, evaluation_id, name)[1])


def draw(ours: Answers) -> bytes:
    """`picture` of known answers."""
    classes = len(ours.index.classes)
    together = -(-classes // MAX_CELLS)
    cells = -(-classes // together)
    right = ~ours.outcomes.wrong()
    rows, columns = ours.outcomes.labels // together, ours.outcomes.predicted // together
    of_row = np.maximum(np.bincount(rows, minlength=cells), 1)[:, np.newaxis]
    wrong = _shades(_counts(rows[~right], columns[~right], cells) / of_row)
    correct = _shades(_counts(rows[right], columns[right], cells) / of_row)
    # Of a thousand classes a cell is a pixel, which nobody sees: it spreads over its neighbours, on the diagonal less.
    wrong, correct = _spread(wrong, cells // _SPREAD_FROM), _spread(correct, (cells // _SPREAD_FROM) // 2)
    shades = np.where(correct, correct, np.where(wrong, wrong + _SHADES, 0)).astype(np.uint8)
    scale = -(-_MIN_SIDE // cells)
    image = Image.fromarray(shades.repeat(scale, axis=0).repeat(scale, axis=1), mode="P")
    image.putpalette([channel for colour in _palette() for channel in colour])
    buffer = io.BytesIO()
    image.save(buffer, "PNG", transparency=_opacities(), optimize=False)
    return buffer.getvalue()


def _counts(rows: NDArray[np.integer[Any]], columns: NDArray[np.integer[Any]], cells: int) -> NDArray[np.int64]:
    counts = np.bincount(rows.astype(np.int64) * cells + columns, minlength=cells * cells)
    return counts.reshape(cells, cells)


def _shades(shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """0 where there is nothing, else 1 to 127."""
    shades: NDArray[np.int64] = np.ceil(np.sqrt(shares) * _SHADES).astype(np.int64)
    return shades


def _spread(shades: NDArray[np.int64], cells: int) -> NDArray[np.int64]:
    """Each cell as its strongest neighbour at most `cells` away."""
    image = Image.fromarray(shades.astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.MaxFilter(2 * cells + 1))).astype(np.int64)


def _palette() -> list[tuple[int, int, int]]:
    """Entry 0 is nothing, then the shades of right answers, then those of wrong ones."""
    return [(0, 0, 0), *[_RIGHT] * _SHADES, *[_WRONG] * _SHADES]


def _opacities() -> bytes:
    ramp = [round(255 * (_FAINTEST + (1 - _FAINTEST) * step / _SHADES)) for step in range(1, _SHADES + 1)]
    return bytes([0, *ramp, *ramp])
