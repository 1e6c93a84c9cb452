"""Torchvision's classification networks as data: `torchvision_networks.csv`, measured from the library itself.

The web process knows networks by this table alone. `benchmarks/torchvision_table.py` prints it anew; a test compares it
with the installed torchvision.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

from ensembles.canonical import digest

#: Saved integer tensors that nothing is learned in. Files may lack them: networks compute their own.
INTEGER_BUFFERS = ("num_batches_tracked", "relative_position_index")

#: Number of classes that the table's parameters and multiply-accumulates are for.
TABLE_CLASSES = 1000


@dataclass(frozen=True)
class TorchvisionRow:
    """One network at one crop.

    Attributes:
        network: torchvision's name.
        crop: side of the crop of its first published weights, px. A vision transformer has a row for each crop that
            weights were published for, since its tensors depend on it.
        resize: smaller image side before the centre crop in the recipe of those weights, px.
        interpolation: of that rescaling.
        preprocessing: a key of `PREPROCESSING_PRESETS`.
        min_side: smallest image side that the network can take, px.
        head: module that gives the class scores.
        parameters: learned numbers with 1000 classes; auxiliary heads are not counted.
        parameters_per_class: what each class adds.
        macs: multiply-accumulates of one crop with 1000 classes: convolutions, FC layers and attention.
        macs_per_class: what each class adds.
        tensors_sha256: digest of names and shapes, the number of classes left open.
    """

    network: str
    crop: int
    resize: int
    interpolation: str
    preprocessing: str
    min_side: int
    head: str
    parameters: int
    parameters_per_class: int
    macs: int
    macs_per_class: int
    tensors_sha256: str


@cache
def torchvision_rows() -> Mapping[tuple[str, int], TorchvisionRow]:
    """Every row by (network, crop)."""
    path = Path(__file__).with_name("torchvision_networks.csv")
    whole = {field.name for field in fields(TorchvisionRow) if field.type == "int"}
    with path.open(encoding="utf-8", newline="") as file:
        records = [
            {name: int(value) if name in whole else value for name, value in row.items()}
            for row in csv.DictReader(file)
        ]
    rows = [TorchvisionRow(**record) for record in records]  # type: ignore[arg-type]
    return {(row.network, row.crop): row for row in rows}


@cache
def torchvision_networks() -> tuple[str, ...]:
    """The names, each once."""
    return tuple(dict.fromkeys(network for network, _ in torchvision_rows()))


def default_row(network: str) -> TorchvisionRow:
    """The row of a network's first published weights.

    Raises:
        KeyError: no such network.
    """
    for row in torchvision_rows().values():
        if row.network == network:
            return row
    raise KeyError(network)


def find_row(shapes: Mapping[str, tuple[int, ...]]) -> tuple[TorchvisionRow, int] | None:
    """The network whose state dict has exactly these names and shapes, and its number of classes; None if none has."""
    for head, rows in _rows_by_head().items():
        weight = shapes.get(f"{head}.weight")
        row = rows.get(tensors_sha256(shapes, head)) if weight else None
        if weight and row is not None:
            return row, weight[0]
    return None


def tensors_sha256(shapes: Mapping[str, tuple[int, ...]], head: str) -> str:
    """Digest of names and shapes without the number of classes, 64 hex digits."""
    free = (f"{head}.weight", f"{head}.bias")
    return digest(
        sorted(
            [name, [None if name in free and axis == 0 else size for axis, size in enumerate(shape)]]
            for name, shape in shapes.items()
            if not name.endswith(INTEGER_BUFFERS)
        )
    )


@cache
def _rows_by_head() -> Mapping[str, Mapping[str, TorchvisionRow]]:
    found: dict[str, dict[str, TorchvisionRow]] = {}
    for row in torchvision_rows().values():
        found.setdefault(row.head, {})[row.tensors_sha256] = row
    return found
