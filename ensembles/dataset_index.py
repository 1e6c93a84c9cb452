"""What a data set is: its images in canonical order, their labels, and a fingerprint of all that scores depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ensembles.canonical import canonical_json, digest
from ensembles.errors import DatasetFormatError

#: Version of the JSON form.
_JSON_VERSION = 1


@dataclass(frozen=True)
class ImageRecord:
    """One image of a data set.

    Attributes:
        id: its path under the root with forward slashes (`airplane/0001.jpg`), or the manifest's own.
        label: position of its class in `DatasetIndex.classes`.
        sha256: of the file, 64 hex digits.
        width: px as stored, before any EXIF rotation; 0 where the header cannot be read.
        height: as `width`.
        size_bytes: of the file.
        path: under the root, where that is not the id.
    """

    id: str
    label: int
    sha256: str
    width: int
    height: int
    size_bytes: int
    path: str | None = None

    @property
    def file(self) -> str:
        """Path under the root with forward slashes."""
        return self.id if self.path is None else self.path


@dataclass(frozen=True)
class DatasetIndex:
    """A data set without its pixels. Images given in any order come out in canonical order.

    Attributes:
        format: how it was described, such as "image_folder".
        classes: names, K >= 1; a label is a position here.
        images: N >= 1 records.
    """

    format: str
    classes: tuple[str, ...]
    images: tuple[ImageRecord, ...]

    def __post_init__(self) -> None:
        check_class_names(self.classes)
        if not self.images:
            raise DatasetFormatError("images", "at least one image", 0)
        seen: set[str] = set()
        for image in self.images:
            if image.id in seen:
                raise DatasetFormatError("images.id", "each id once", image.id)
            if not 0 <= image.label < len(self.classes):
                rule = f"a class number from 0 to {len(self.classes) - 1} (image {image.id!r})"
                raise DatasetFormatError("images.label", rule, image.label)
            seen.add(image.id)
        ordered = sorted(self.images, key=lambda image: canonical_rank(image.id))
        object.__setattr__(self, "images", tuple(ordered))

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """N ids in canonical order."""
        return tuple(image.id for image in self.images)

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """(N,) in canonical order, read-only."""
        labels = np.array([image.label for image in self.images], dtype=np.int64)
        labels.flags.writeable = False
        return labels

    @cached_property
    def fingerprint(self) -> str:
        """64 hex digits over ids, labels, file hashes and class names: equal fingerprints give equal scores."""
        images = [[image.id, image.label, image.sha256] for image in self.images]
        return digest({"classes": list(self.classes), "images": images})

    def to_json(self) -> str:
        """ASCII JSON; equal indexes give equal text."""
        return canonical_json(
            {
                "version": _JSON_VERSION,
                "format": self.format,
                "classes": list(self.classes),
                "images": [_json_row(image) for image in self.images],
            }
        )

    @classmethod
    def from_json(cls, text: str | bytes) -> DatasetIndex:
        """The inverse of `to_json`.

        Raises:
            DatasetFormatError: not the JSON of an index, or an index that breaks a rule.
        """
        try:
            data = json.loads(text)
            version, images = data["version"], tuple(ImageRecord(*row) for row in data["images"])
            index_format, classes = data["format"], tuple(data["classes"])
        except (ValueError, KeyError, TypeError) as error:
            raise DatasetFormatError("index", "the JSON of a data set index", str(error)) from error
        if version != _JSON_VERSION:
            raise DatasetFormatError("index.version", f"version {_JSON_VERSION}", version)
        return cls(index_format, classes, images)


def canonical_rank(image_id: str) -> bytes:
    """The sort key of the canonical order: SHA-256 of the id's UTF-8 bytes.

    Sorted so, the first n images are a fair sample and not the first classes.

    Raises:
        DatasetFormatError: the id has no UTF-8 form.
    """
    try:
        return hashlib.sha256(_file_system_bytes(image_id)).digest()
    except UnicodeEncodeError:
        raise DatasetFormatError("images.id", "text with a UTF-8 form", image_id) from None


def printable_id(image_id: str) -> str:
    r"""The id as text that JSON, databases and terminals take: bytes of a file name that are not UTF-8 read `\xff`."""
    return _file_system_bytes(image_id).decode("utf-8", "backslashreplace")


def check_class_names(classes: Sequence[str]) -> None:
    """Refuse a list of class names that is empty, names one twice, or holds what cannot be shown.

    Raises:
        DatasetFormatError: names the first that breaks a rule.
    """
    if not classes or len(set(classes)) != len(classes):
        raise DatasetFormatError("classes", "one or more names, each once", list(classes))
    for name in classes:
        if not name.strip() or not is_text(name):
            raise DatasetFormatError("classes", "names that are UTF-8 text and not blank", name)


def is_text(name: str) -> bool:
    """Whether it has a UTF-8 form; file names that are not UTF-8 reach Python with lone surrogates."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _file_system_bytes(name: str) -> bytes:
    """The bytes that a file name was read from: lone surrogates stand for bytes that are not UTF-8."""
    return name.encode("utf-8", "surrogateescape")


def _json_row(image: ImageRecord) -> list[str | int]:
    row: list[str | int] = [image.id, image.label, image.sha256, image.width, image.height, image.size_bytes]
    return row if image.path is None else [*row, image.path]
