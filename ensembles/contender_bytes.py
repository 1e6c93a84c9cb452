"""The contender table as bytes: one versioned, little-endian block that a browser can read as typed arrays.

Layout, version 1; every section begins at a multiple of 8 bytes, zeros between:

    0   4 bytes   b"SVCT"
    4   uint32    version, 1
    8   7 uint32  N images, M members, A open images, E entries, number of ks, two zeros
    40  uint8     number of ks: the k
        uint8     N: `always`
        uint32    A: `images`
        uint32    A + 1: `starts`
        float32   A x M: `own`, image by image
        float32   E x M: `others`, entry by entry
"""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ensembles.contenders import Contenders
from ensembles.errors import PosteriorsFormatError

MAGIC, VERSION = b"SVCT", 1

_HEADER = np.dtype([("magic", "S4"), ("version", "<u4"), ("sizes", "<u4", 7), ("zero", "<u4")])


def to_bytes(table: Contenders) -> bytes:
    """The table in the layout above, with all its numbers as they are."""
    header = np.zeros(1, _HEADER)
    header["magic"], header["version"] = MAGIC, VERSION
    header["sizes"][0, :5] = (len(table), table.members, len(table.images), len(table.others), len(table.ks))
    sections = [
        header,
        np.array(table.ks, "u1"),
        table.always,
        table.images.astype("<u4"),
        table.starts.astype("<u4"),
        table.own.astype("<f4"),
        table.others.astype("<f4"),
    ]
    return b"".join(_padded(section.tobytes()) for section in sections)


def from_bytes(data: bytes) -> Contenders:
    """The inverse of `to_bytes`.

    Raises:
        PosteriorsFormatError: another format or version, a truncated or longer block, or numbers that are no table.
    """
    if len(data) < _HEADER.itemsize or data[:4] != MAGIC:
        raise PosteriorsFormatError("contenders", 'a block that begins with "SVCT"', data[:4])
    header = np.frombuffer(data, _HEADER, 1)[0]
    if header["version"] != VERSION:
        raise PosteriorsFormatError("contenders", f"version {VERSION}", int(header["version"]))
    images, members, opened, entries, ks = (int(size) for size in header["sizes"][:5])
    sizes = [(_HEADER.itemsize, "u1")]
    sizes += [(ks, "u1"), (images, "u1"), (opened, "<u4"), (opened + 1, "<u4")]
    sizes += [(opened * members, "<f4"), (entries * members, "<f4")]
    expected = sum(_rounded(count * np.dtype(kind).itemsize) for count, kind in sizes)
    if len(data) != expected:
        raise PosteriorsFormatError("contenders", f"{expected} bytes, as its header says", len(data))
    sections, offset = [], 0
    for count, kind in sizes:
        sections.append(_section(data, offset, count, kind))
        offset += _rounded(count * np.dtype(kind).itemsize)
    table = Contenders(
        tuple(sections[1].tolist()),
        sections[2].astype(np.uint8),
        sections[3].astype(np.int32),
        sections[4].astype(np.int64),
        sections[5].astype(np.float32).reshape(opened, members),
        sections[6].astype(np.float32).reshape(entries, members),
    )
    _check(table)
    return table


def _check(table: Contenders) -> None:
    rules = {
        "ks ascend from 1": list(table.ks) == sorted(set(table.ks)) and bool(table.ks) and table.ks[0] >= 1,
        "at least one member": table.members > 0,
        "images ascend": bool((np.diff(table.images) > 0).all()),
        "images are among the N": bool(((table.images >= 0) & (table.images < len(table))).all()),
        "every open image has entries": bool((table.lengths > 0).all()),
        "the entries are those of the images": table.starts[0] == 0 and table.starts[-1] == len(table.others),
        "posteriors are finite": bool(np.isfinite(table.own).all() and np.isfinite(table.others).all()),
    }
    broken = [rule for rule, kept in rules.items() if not kept]
    if broken:
        raise PosteriorsFormatError("contenders", "; ".join(rules), f"not so: {'; '.join(broken)}")


def _section(data: bytes, offset: int, count: int, kind: DTypeLike) -> NDArray[np.generic]:
    return np.frombuffer(data, kind, count, offset)


def _rounded(size: int) -> int:
    return -(-size // 8) * 8


def _padded(data: bytes) -> bytes:
    return data + bytes(_rounded(len(data)) - len(data))
