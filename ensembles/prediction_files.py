"""Predictions in the files of other frameworks: NumPy archives, plain arrays with a list of ids, CSV, Parquet.

Arrays are (N, K) posteriors or logits; ids name the images of the rows. Nothing here is unpickled.
"""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ensembles.errors import PredictionsFileError

Kind = Literal["probs", "logits"]
FORMATS = (".npz", ".npy", ".csv", ".parquet")
#: How the list of ids beside `NAME.npy` is called, unless it is named.
IDS_SUFFIX = ".ids.txt"


@dataclass(frozen=True, eq=False)
class GivenPredictions:
    """What a file says.

    Attributes:
        ids: of the N rows.
        values: (N, K) of a float type.
        kind: what the values are, where the file itself declares it.
        classes: names of the K columns, where the file has them.
        labels: (N,) true classes, as numbers of `classes`, where the file has them.
    """

    ids: tuple[str, ...]
    values: NDArray[np.floating[Any]]
    kind: Kind | None = None
    classes: tuple[str, ...] | None = None
    labels: NDArray[np.integer[Any]] | None = None


def read_predictions(path: Path, ids: Path | None = None, member: str | None = None) -> GivenPredictions:
    """Read a file in the format that its name ends with.

    Args:
        path: the file.
        ids: for a plain array, the file with one id a line; `NAME.ids.txt` beside `NAME.npy` where it is None.
        member: which checkpoint of an archive with several.

    Raises:
        PredictionsFileError: the file is not what its name says, or lacks what is needed.
        OSError: it cannot be read.
    """
    suffix = path.suffix.lower()
    if ids is not None and suffix != ".npy":
        raise PredictionsFileError(path.name, "a list of ids goes with .npy alone", ids.name)
    if suffix == ".npz":
        return _read_archive(path, member)
    if member is not None:
        raise PredictionsFileError(path.name, "checkpoints are named in .npz alone", member)
    if suffix == ".npy":
        return GivenPredictions(_read_ids(path, ids), _matrix(path, path.name, _load(path)))
    if suffix == ".csv":
        return _read_csv(path)
    if suffix == ".parquet":
        return _read_parquet(path)
    raise PredictionsFileError(path.name, f"a name that ends with {', '.join(FORMATS)}", suffix or path.name)


def view_key(checkpoint: str, mode: str, scale: int | None) -> str:
    """The name of an array in an archive."""
    return f"probs/{checkpoint}/{mode}" if scale is None else f"probs/{checkpoint}/{mode}/{scale}"


def _read_archive(path: Path, member: str | None) -> GivenPredictions:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise PredictionsFileError(path.name, "an .npz archive without pickled objects", str(error)) from error
    if "ids" not in arrays:
        raise PredictionsFileError(path.name, "an array `ids` with the N image ids", sorted(arrays)[:8])
    ids = _texts(path, "ids", arrays["ids"])
    classes = _texts(path, "classes", arrays["classes"]) if "classes" in arrays else None
    labels = arrays.get("labels")
    plain = [name for name in ("probs", "logits") if name in arrays]
    if len(plain) > 1:
        raise PredictionsFileError(path.name, "either `probs` or `logits`", plain)
    kind: Kind
    if plain:
        if member is not None:
            raise PredictionsFileError(path.name, "an archive of several checkpoints, to choose one of", plain)
        kind = "probs" if plain[0] == "probs" else "logits"
        values = _matrix(path, plain[0], arrays[plain[0]])
    else:
        kind = "probs"
        values = _combined(path, _member_views(path, arrays, member))
    return GivenPredictions(ids, values, kind, classes, labels)


def _member_views(
    path: Path, arrays: dict[str, NDArray[Any]], member: str | None
) -> dict[str, list[NDArray[np.floating[Any]]]]:
    """By mode, the arrays of one checkpoint's scales."""
    found: dict[str, dict[str, list[NDArray[np.floating[Any]]]]] = {}
    for name in sorted(arrays):
        parts = name.split("/")
        # A checkpoint's own name may hold slashes.
        if parts[0] == "probs" and len(parts) >= 4 and parts[-1].isdecimal():
            checkpoint, mode = "/".join(parts[1:-2]), parts[-2]
        elif parts[0] == "probs" and len(parts) >= 3:
            checkpoint, mode = "/".join(parts[1:-1]), parts[-1]
        else:
            continue
        found.setdefault(checkpoint, {}).setdefault(mode, []).append(_matrix(path, name, arrays[name]))
    if not found:
        rule = "an array `probs`, `logits` or `probs/CHECKPOINT/MODE/Q`"
        raise PredictionsFileError(path.name, rule, sorted(arrays)[:8])
    if member is None and len(found) > 1:
        raise PredictionsFileError(path.name, "the name of one of its checkpoints to be chosen", sorted(found))
    if member is not None and member not in found:
        raise PredictionsFileError(path.name, f"one of its checkpoints, {', '.join(sorted(found))}", member)
    return found[member] if member is not None else next(iter(found.values()))


def _combined(path: Path, views: dict[str, list[NDArray[np.floating[Any]]]]) -> NDArray[np.floating[Any]]:
    """The mean over the scales of a mode, then over modes, as everywhere; a single array as it is."""
    every = [one for several in views.values() for one in several]
    if len(every) == 1:
        return every[0]
    if len({one.shape for one in every}) > 1:
        rule = "arrays of one shape for all views of a checkpoint"
        raise PredictionsFileError(path.name, rule, sorted({one.shape for one in every}))
    modes = [np.mean([one.astype(np.float64) for one in several], axis=0) for several in views.values()]
    mean: NDArray[np.float64] = np.mean(modes, axis=0)
    return mean


def _load(path: Path) -> NDArray[Any]:
    try:
        # Not np.load: it would also open archives. A map: what is too large is refused by its header.
        return np.lib.format.open_memmap(path, mode="r")
    except (ValueError, EOFError, SyntaxError, TypeError) as error:
        raise PredictionsFileError(path.name, "an .npy array without pickled objects", str(error)) from error


def _matrix(path: Path, name: str, array: NDArray[Any]) -> NDArray[np.floating[Any]]:
    if array.ndim != 2 or 0 in array.shape or not np.issubdtype(array.dtype, np.floating):
        rule = f"{name} of shape (N, K), of a float type"
        raise PredictionsFileError(path.name, rule, f"{array.dtype} {array.shape}")
    return array


def _texts(path: Path, name: str, array: NDArray[Any]) -> tuple[str, ...]:
    if array.ndim != 1 or array.dtype.kind != "U":
        raise PredictionsFileError(path.name, f"{name}: a list of texts", f"{array.dtype} {array.shape}")
    return tuple(map(str, array))


def _read_ids(path: Path, ids: Path | None) -> tuple[str, ...]:
    file = ids or path.with_name(path.stem + IDS_SUFFIX)
    if not file.is_file():
        raise PredictionsFileError(path.name, "a file with one image id a line beside it, or named", file.name)
    # Not splitlines: an id may hold what only some take for the end of a line.
    return tuple(_text(file).removesuffix("\n").replace("\r\n", "\n").split("\n"))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise PredictionsFileError(path.name, "UTF-8 text", str(error)) from error


def _read_csv(path: Path) -> GivenPredictions:
    rows = _csv_rows(path)
    try:
        header = next(rows)
    except StopIteration:
        raise PredictionsFileError(path.name, "a line of column names: id, then the classes", "nothing") from None
    _check_columns(path, header)
    ids: list[str] = []
    values: list[NDArray[np.float64]] = []
    for line, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise PredictionsFileError(path.name, f"{len(header)} values in line {line}", len(row))
        try:
            values.append(np.array(row[1:], dtype=np.float64))
        except ValueError as error:
            raise PredictionsFileError(path.name, f"numbers after the id in line {line}", str(error)) from error
        ids.append(row[0])
    if not values:
        raise PredictionsFileError(path.name, "a line for each image", "none")
    return GivenPredictions(tuple(ids), np.stack(values), classes=tuple(header[1:]))


def _csv_rows(path: Path) -> Iterator[list[str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from csv.reader(file, strict=True)
    except (UnicodeDecodeError, csv.Error) as error:
        raise PredictionsFileError(path.name, "a CSV file in UTF-8", str(error)) from error


def _check_columns(path: Path, header: Sequence[str]) -> None:
    if len(header) < 2 or header[0] != "id":
        raise PredictionsFileError(path.name, "the columns id, then one a class", list(header[:4]))
    if len(set(header)) != len(header):
        repeated = next(name for name in header if list(header).count(name) > 1)
        raise PredictionsFileError(path.name, "each column once", repeated)


def _read_parquet(path: Path) -> GivenPredictions:
    pa, pq = require_pyarrow(path)
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise PredictionsFileError(path.name, "a Parquet file", str(error).partition("\n")[0]) from error
    _check_columns(path, table.column_names)
    ids, *columns = table.columns
    if any(column.null_count for column in table.columns):
        raise PredictionsFileError(path.name, "no null", "nulls")
    if not pa.types.is_string(ids.type) and not pa.types.is_large_string(ids.type):
        raise PredictionsFileError(path.name, "id: a column of texts", str(ids.type))
    odd = next((column.type for column in columns if not pa.types.is_floating(column.type)), None)
    if odd is not None:
        raise PredictionsFileError(path.name, "columns of a float type, one a class", str(odd))
    values = np.column_stack([column.to_numpy() for column in columns])
    return GivenPredictions(
        tuple(ids.to_pylist()), _matrix(path, "the classes", values), classes=tuple(table.column_names[1:])
    )


def require_pyarrow(path: Path) -> tuple[Any, Any]:
    """The package pyarrow, and its Parquet module.

    Raises:
        PredictionsFileError: they are not installed.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra, and slow to import
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as error:
        rule = "another format, since this needs the parquet extra: pip install 'softvote[parquet]'"
        raise PredictionsFileError(path.name, rule, ".parquet") from error
    return pa, pq
