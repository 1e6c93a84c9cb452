"""Predictions written for other tools: an archive of all views, or one table as .npy with ids, CSV or Parquet."""

from __future__ import annotations

import csv
import secrets
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensembles.errors import PredictionsFileError
from ensembles.prediction_files import FORMATS, IDS_SUFFIX, require_pyarrow


@dataclass(frozen=True)
class ArchivedArray:
    """One (N, K) float32 array of an archive, as blocks of consecutive rows."""

    name: str
    shape: tuple[int, int]
    blocks: Iterable[NDArray[np.float32]]


def check_format(path: Path) -> str:
    """The format that a file's name asks for: its suffix.

    Raises:
        PredictionsFileError: none that can be written.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise PredictionsFileError(path.name, f"a name that ends with {', '.join(FORMATS)}", suffix or path.name)
    return suffix


def write_archive(
    path: Path,
    ids: Sequence[str],
    labels: NDArray[np.integer[Any]],
    classes: Sequence[str],
    arrays: Iterable[ArchivedArray],
) -> None:
    """Write an .npz that NumPy opens without pickles; no array is held in memory as a whole.

    Raises:
        OSError: it cannot be written; nothing is left behind.
    """
    with _whole(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        small = {
            "ids": np.array(ids, dtype=np.str_),
            "labels": np.asarray(labels),
            "classes": np.array(classes, np.str_),
        }
        for name, array in small.items():
            _add(archive, name, array.dtype, array.shape, [np.ascontiguousarray(array)])
        for one in arrays:
            _add(archive, one.name, np.dtype(np.float32), one.shape, one.blocks)


def write_table(path: Path, ids: Sequence[str], classes: Sequence[str], probs: NDArray[np.float32]) -> None:
    """Write one (N, K) table in the format of the file's name; beside an .npy its ids, one a line.

    Raises:
        PredictionsFileError: no such format, or ids or names that it cannot hold.
        OSError: it cannot be written; nothing is left behind.
    """
    suffix = check_format(path)
    if suffix == ".npy":
        broken = next((one for one in ids if "\n" in one or "\r" in one), None)
        if broken is not None:
            raise PredictionsFileError(path.name, "ids without line breaks; .npz and .csv take any", repr(broken))
        with _whole(path) as temporary, temporary.open("wb") as file:
            np.save(file, np.ascontiguousarray(probs), allow_pickle=False)
        with _whole(path.with_name(path.stem + IDS_SUFFIX)) as temporary:
            temporary.write_text("".join(f"{one}\n" for one in ids), encoding="utf-8", newline="\n")
        return
    if "id" in classes:
        raise PredictionsFileError(path.name, "no class with the name of the first column; .npz takes any", "id")
    if suffix == ".csv":
        with _whole(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["id", *classes])
            # Nine digits give every float32 back.
            writer.writerows(
                [one, *(f"{value:.9g}" for value in row)] for one, row in zip(ids, probs.tolist(), strict=True)
            )
        return
    pa, pq = require_pyarrow(path)
    columns = {"id": pa.array(ids, pa.string())}
    columns |= {name: pa.array(np.ascontiguousarray(probs[:, k])) for k, name in enumerate(classes)}
    with _whole(path) as temporary:
        pq.write_table(pa.table(columns), temporary)


def _add(
    archive: zipfile.ZipFile,
    name: str,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    blocks: Iterable[NDArray[Any]],
) -> None:
    # No moment of writing in it: the same numbers are the same bytes.
    entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
    with archive.open(entry, "w", force_zip64=True) as file:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_2_0(file, header)
        for block in blocks:
            file.write(np.ascontiguousarray(block, dtype=dtype).tobytes())


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A file beside `path` that takes its place at the end; a reader sees the whole or the one before."""
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(6)}{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
