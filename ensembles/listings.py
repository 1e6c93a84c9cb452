"""From a list of files with labels to an index: what every data set format shares."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from PIL import Image

from ensembles.dataset_index import DatasetIndex, ImageRecord, check_class_names
from ensembles.errors import DatasetProblemsError, EmptyDatasetError, Problem

#: Pillow's names of the formats that are read; every other plugin stays shut.
IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
#: An image whose header announces more pixels is unreadable by rule.
MAX_IMAGE_PIXELS = 50_000_000

#: What `open` reports where the path is to blame; everything else is the machine's fault.
_FAULTS_OF_THE_PATH = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO}
)


@dataclass(frozen=True)
class ListedImage:
    """An image that a data set claims to have.

    Attributes:
        id: names it in results.
        path: under the root, with forward slashes.
        label: position of its class in `Listing.classes`.
        where: what names the entry when its file is at fault, such as "line 7, column path".
    """

    id: str
    path: str
    label: int
    where: str = "path"


@dataclass(frozen=True)
class Listing:
    """What a data set claims to hold; no file was opened yet.

    Attributes:
        format: how it was described.
        root: absolute or relative folder that the paths lie under.
        classes: names, one or more where there are images.
        images: in any order; there may be none.
    """

    format: str
    root: Path
    classes: tuple[str, ...]
    images: tuple[ListedImage, ...]

    def __post_init__(self) -> None:
        if self.images:
            check_class_names(self.classes)


class FileRefusedError(Exception):
    """A listed file that no data set may hold; `rule` is the rule it breaks."""

    def __init__(self, rule: str) -> None:
        self.rule = rule
        super().__init__(rule)


def index_images(listing: Listing, progress: Callable[[int, int], None] | None = None) -> DatasetIndex:
    """Hash every file and read its size in pixels.

    Undecodable images have their place in a data set (they are counted apart when predicted); files that cannot be
    opened have none, since their content is part of the fingerprint.

    Args:
        listing: what to read.
        progress: called with (images done, images in all) after each image.

    Raises:
        EmptyDatasetError: no image at all.
        DatasetProblemsError: files that cannot be read, are not regular, or lie outside the root; all of them.
        DatasetFormatError: an id twice, or one without a UTF-8 form.
        OSError: the machine failed, not a file.
    """
    if not listing.images:
        raise EmptyDatasetError(str(listing.root))
    boundary = listing.root.resolve()
    records, problems = [], []
    for done, image in enumerate(listing.images, start=1):
        try:
            records.append(_read_record(listing.root, boundary, image))
        except FileRefusedError as error:
            problems.append(Problem(image.where, error.rule, image.path))
        if progress is not None:
            progress(done, len(listing.images))
    if problems:
        raise DatasetProblemsError(str(listing.root), problems)
    return DatasetIndex(listing.format, listing.classes, tuple(records))


def open_listed(root: Path, boundary: Path, path: str) -> BufferedReader:
    """Open a file of a data set for reading, links followed while they stay inside.

    Args:
        root: folder that `path` lies under.
        boundary: `root` with every link followed.
        path: relative, with forward slashes.

    Raises:
        FileRefusedError: no such file, no permission, a link that leads out, or not a regular file.
        OSError: the machine failed.
    """
    try:
        real = (root / path).resolve(strict=True)
        if not real.is_relative_to(boundary):
            raise FileRefusedError("links that stay inside the data set's folder")
        # Without O_NONBLOCK, opening a FIFO would wait for a writer that may never come.
        descriptor = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, RuntimeError) as error:  # RuntimeError: a circle of links, before Python 3.13
        if isinstance(error, OSError) and error.errno not in _FAULTS_OF_THE_PATH:
            raise
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "a circle of links"
        raise FileRefusedError(f"files that exist and may be read ({reason})") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileRefusedError("images that are regular files")
    return os.fdopen(descriptor, "rb")


def _read_record(root: Path, boundary: Path, image: ListedImage) -> ImageRecord:
    with open_listed(root, boundary, image.path) as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        size_bytes = file.tell()
        width, height = _header_size(file)
    own_path = None if image.path == image.id else image.path
    return ImageRecord(image.id, image.label, sha256, width, height, size_bytes, own_path)


def _header_size(file: BufferedReader) -> tuple[int, int]:
    """(width, height) in px from the header, or (0, 0)."""
    try:
        # Pillow warns of damaged metadata and of large images; the limit here does not depend on its global one.
        with warnings.catch_warnings(action="ignore"), Image.open(file, formats=IMAGE_FORMATS) as image:
            width, height = image.size
    except MemoryError:
        raise
    except Exception:  # damaged files make the plugins raise nearly anything
        return 0, 0
    return (width, height) if width * height <= MAX_IMAGE_PIXELS else (0, 0)
