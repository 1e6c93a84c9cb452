"""Given predictions in a data set's order: rows by image id, columns by class name, logits made posteriors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensembles.errors import PredictionsFileError
from ensembles.prediction_files import GivenPredictions, Kind
from ensembles.predictions import SUM_TOLERANCE

_NAMED = 5


def join_predictions(
    name: str,
    given: GivenPredictions,
    ids: Sequence[str],
    classes: Sequence[str],
    labels: NDArray[np.integer[Any]],
    kind: Kind | None,
    *,
    partial: bool = False,
) -> NDArray[np.float32]:
    """Posteriors of a data set's images, in its canonical order and order of classes.

    Args:
        name: of the file, for messages.
        given: what it says.
        ids: of the data set's N images.
        classes: names of its K classes.
        labels: (N,) its true classes.
        kind: what the values are; needed where the file does not declare it.
        partial: images that the file lacks, or has NaN for throughout, count as unreadable.

    Returns:
        (N, K); rows of images that count as unreadable are NaN.

    Raises:
        PredictionsFileError: what does not fit, with the images that it is about.
    """
    declared = _declared(name, given, kind)
    if given.values.shape != (len(given.ids), len(classes)):
        rule = f"one row an id ({len(given.ids)}) and one column a class ({len(classes)})"
        raise PredictionsFileError(name, rule, given.values.shape)
    rows = _rows(name, given.ids, ids, partial=partial)
    columns = _columns(name, given.classes, classes)
    _check_labels(name, given, columns, ids, rows, labels)
    probs = np.full((len(ids), len(classes)), np.nan, dtype=np.float32)
    present = np.flatnonzero(rows >= 0)
    values = given.values[rows[present]][:, columns]
    absent = np.isnan(values).all(axis=1) if partial else np.zeros(len(present), dtype=np.bool_)
    _refuse(name, "finite numbers", ids, present, ~np.isfinite(values).all(axis=1) & ~absent, values)
    present, values = present[~absent], values[~absent]
    if declared == "logits":
        values = _softmax(values.astype(np.float64))
    else:
        in_range = ((values >= 0) & (values <= 1)).all(axis=1)
        sums = np.abs(values.sum(axis=1, dtype=np.float64) - 1) <= SUM_TOLERANCE
        _refuse(
            name,
            "K numbers in [0, 1] with sum 1; logits are declared as such",
            ids,
            present,
            ~(in_range & sums),
            values,
        )
    if not len(present):
        raise PredictionsFileError(name, "at least one image of the data set", "none")
    probs[present] = values
    return probs


def _declared(name: str, given: GivenPredictions, kind: Kind | None) -> Kind:
    if given.kind is not None and kind is not None and given.kind != kind:
        raise PredictionsFileError(name, f"{kind}, as it was said", given.kind)
    declared = kind or given.kind
    if declared is None:
        rule = "to be told whether the values are probs or logits: that is declared, never guessed"
        raise PredictionsFileError(name, rule, "neither")
    return declared


def _rows(name: str, given: Sequence[str], ids: Sequence[str], *, partial: bool) -> NDArray[np.int64]:
    """(N,) the file's row of each image of the data set; -1 where it has none."""
    row_of: dict[str, int] = {}
    repeated = []
    for row, image_id in enumerate(given):
        if row_of.setdefault(image_id, row) != row:
            repeated.append(image_id)
    known = set(ids)
    found = {
        "duplicate": repeated,
        "unknown to the data set": [one for one in given if one not in known],
        "missing": [] if partial else [one for one in ids if one not in row_of],
    }
    said = [f"{len(several):,} {what} ({_list(several)})" for what, several in found.items() if several]
    if said:
        rule = "each image of the data set once" if not partial else "images of the data set, each once"
        raise PredictionsFileError(name, rule, "; ".join(said))
    return np.array([row_of.get(one, -1) for one in ids], dtype=np.int64)


def _columns(name: str, given: Sequence[str] | None, classes: Sequence[str]) -> NDArray[np.int64]:
    """(K,) the file's column of each class of the data set. Numbered columns are in the data set's order."""
    if given is None or list(given) == [str(number) for number in range(len(classes))] != list(classes):
        return np.arange(len(classes))
    column_of = {one: column for column, one in enumerate(given)}
    lacking = [one for one in classes if one not in column_of]
    if lacking or len(column_of) != len(classes):
        rule = "the data set's class names, in any order; or 0, 1, 2… in its order"
        raise PredictionsFileError(name, rule, f"without {_list(lacking)}" if lacking else _list(given))
    return np.array([column_of[one] for one in classes], dtype=np.int64)


def _check_labels(
    name: str,
    given: GivenPredictions,
    columns: NDArray[np.int64],
    ids: Sequence[str],
    rows: NDArray[np.int64],
    labels: NDArray[np.integer[Any]],
) -> None:
    """Other true classes mean other classes behind the columns, or other images behind the ids."""
    if given.labels is None:
        return
    if given.labels.shape != (len(given.ids),) or not np.issubdtype(given.labels.dtype, np.integer):
        raise PredictionsFileError(name, "labels: one whole number an id", f"{given.labels.dtype} {given.labels.shape}")
    number_of = np.argsort(columns)
    present = np.flatnonzero(rows >= 0)
    theirs = given.labels[rows[present]]
    inside = (theirs >= 0) & (theirs < len(columns))
    differing = ~inside
    differing[inside] = number_of[theirs[inside]] != np.asarray(labels)[present][inside]
    if differing.any():
        image = ids[int(present[np.flatnonzero(differing)[0]])]
        rule = "the true classes of the data set in `labels`"
        raise PredictionsFileError(name, rule, f"others for {int(differing.sum()):,} images, first {image}")


def _refuse(
    name: str,
    rule: str,
    ids: Sequence[str],
    present: NDArray[np.int64],
    bad: NDArray[np.bool_],
    values: NDArray[np.floating[Any]],
) -> None:
    places = np.flatnonzero(bad)
    if len(places):
        first = ids[int(present[places[0]])]
        shown = [float(value) for value in values[places[0], :_NAMED]]
        images = f"{len(places):,} image{'s' if len(places) > 1 else ''}, first {first}: {shown}"
        raise PredictionsFileError(name, f"each row {rule}", images)


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers: NDArray[np.float64] = np.exp(logits - logits.max(axis=1, keepdims=True))
    powers /= powers.sum(axis=1, keepdims=True)
    return powers


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
