"""What a data set is: its images in canonical order, their labels, and a fingerprint of all that scores depend on."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ensembles.canonical import canonical_json, digest
from ensembles.errors import DatasetFormatError, EmptyDatasetError

#: Pillow's names of the formats that are read; every other plugin stays shut.
IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
#: An image whose header announces more pixels is unreadable by rule.
MAX_IMAGE_PIXELS = 50_000_000

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
    """

    id: str
    label: int
    sha256: str
    width: int
    height: int
    size_bytes: int


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
        if not self.classes or len(set(self.classes)) != len(self.classes):
            raise DatasetFormatError("classes", "one or more names, each once", list(self.classes))
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
                "images": [
                    [image.id, image.label, image.sha256, image.width, image.height, image.size_bytes]
                    for image in self.images
                ],
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
        # File names that are not UTF-8 reach Python as lone surrogates; this gives their own bytes back.
        encoded = image_id.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise DatasetFormatError("images.id", "text with a UTF-8 form", image_id) from None
    return hashlib.sha256(encoded).digest()


def scan_image_folder(root: Path, progress: Callable[[int, int], None] | None = None) -> DatasetIndex:
    """Index `root/<class>/**/<image>`: every visible folder in `root` is a class, also an empty one, sorted by name.

    Images are regular files with a known extension; other files, files beside the class folders and names that begin
    with a dot are no part of the data set. Undecodable images are: they are counted apart when predicted. Links are
    followed while they stay inside `root`: one that leads out could name any file of the host.

    Args:
        root: folder of class folders.
        progress: called with (images done, images in all) after each image.

    Raises:
        DatasetFormatError: `root` is no folder; a link leads out of it, nowhere or in a circle; an image is not a file.
        EmptyDatasetError: no image at all.
        OSError: a file or folder cannot be read.
    """
    if not root.is_dir():
        raise DatasetFormatError("path", "a folder of class folders", str(root))
    boundary = root.resolve()
    classes = [entry.name for entry in _visible_entries(root, boundary) if entry.is_dir()]
    found = [
        (label, image_id)
        for label, name in enumerate(classes)
        for image_id in _image_ids(root, name, boundary, frozenset({boundary}))
    ]
    if not found:
        raise EmptyDatasetError(str(root))
    records = []
    for done, (label, image_id) in enumerate(found, start=1):
        records.append(_read_record(root, image_id, label))
        if progress is not None:
            progress(done, len(found))
    return DatasetIndex("image_folder", tuple(classes), tuple(records))


def _image_ids(root: Path, folder: str, boundary: Path, ancestors: frozenset[Path]) -> Iterator[str]:
    """Ids of the images in and below `root/folder`; `ancestors` are the resolved folders on the way there."""
    real_folder = (root / folder).resolve()
    if real_folder in ancestors:
        raise DatasetFormatError("path", "links that do not lead back to a folder above them", folder)
    for entry in _visible_entries(root / folder, boundary):
        entry_id = f"{folder}/{entry.name}"
        if entry.is_dir():
            yield from _image_ids(root, entry_id, boundary, ancestors | {real_folder})
        elif entry.name.lower().endswith(IMAGE_EXTENSIONS):
            if not stat.S_ISREG(entry.stat().st_mode):
                raise DatasetFormatError("path", "images that are regular files", entry_id)
            yield entry_id


def _visible_entries(folder: Path, boundary: Path) -> list[os.DirEntry[str]]:
    """What is in `folder` and not hidden, sorted by name; refuses links that leave `boundary`."""
    with os.scandir(folder) as entries:
        visible = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    for entry in visible:
        if entry.is_symlink():
            try:
                target = Path(entry.path).resolve(strict=True)
            except (OSError, RuntimeError):  # RuntimeError: a circle of links, before Python 3.13
                raise DatasetFormatError("path", "links that lead to an existing file or folder", entry.path) from None
            if not target.is_relative_to(boundary):
                raise DatasetFormatError("path", "links that stay inside the data set's folder", entry.path)
    return visible


def _read_record(root: Path, image_id: str, label: int) -> ImageRecord:
    with (root / image_id).open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        size_bytes = file.tell()
        width, height = _header_size(file)
    return ImageRecord(image_id, label, sha256, width, height, size_bytes)


def _header_size(file: BinaryIO) -> tuple[int, int]:
    """(width, height) in px from the header, or (0, 0)."""
    try:
        # Pillow warns of damaged metadata and of large images; the limit here does not depend on its global one.
        with warnings.catch_warnings(action="ignore"), Image.open(file, formats=IMAGE_FORMATS) as image:
            width, height = image.size
    except (OSError, ValueError, SyntaxError, OverflowError, Image.DecompressionBombError):
        return 0, 0
    return (width, height) if width * height <= MAX_IMAGE_PIXELS else (0, 0)
