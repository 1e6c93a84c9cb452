"""Small copies of a data set's images for pages: named by position, never by a path of the request."""

from __future__ import annotations

import hashlib
import io
import threading
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from app.artifacts import ArtifactStore
from app.db.models import Dataset, RegistrationState
from app.db.queries.lookup import find
from app.db.session import Database
from app.errors import NotFoundError, NotReadyError
from app.services import datasets
from ensembles.datasets import ImageRecord
from ensembles.decoding import MAX_FILE_BYTES, decode_bytes
from ensembles.errors import DatasetChangedError, UnreadableImageError
from ensembles.listings import FileRefusedError, open_listed

#: Longest side, px; smaller images keep their size.
MAX_SIDE = 256
MIMETYPE = "image/jpeg"
_QUALITY = 88

#: Of a process: a file may decode to hundreds of megabytes.
_DECODING = threading.BoundedSemaphore(2)


@dataclass(frozen=True)
class ImageSource:
    """A registered image: the folder of its data set, and what the index says of it."""

    root: Path
    image: ImageRecord


def find_image(db: Database, artifacts: ArtifactStore, key: str, position: int) -> ImageSource:
    """The image at a position of a data set's canonical order.

    Raises:
        NotFoundError: no such data set, or no image there.
        NotReadyError: no worker has read the data set yet.
        ArtifactDamagedError: the stored index is missing or different.
    """
    with db.read() as session:
        row = find(session, Dataset, key)
    if row.state != RegistrationState.READY:
        raise NotReadyError("data set", row.name, row.state)
    images = datasets.load_index(artifacts, row).images
    if not 0 <= position < len(images):
        raise NotFoundError("image", f"{row.name}, position {position}")
    return ImageSource(datasets.root_of(row), images[position])


def render(source: ImageSource) -> bytes:
    """A JPEG of at most `MAX_SIDE` px a side of what networks see: first frame, EXIF orientation ignored.

    Raises:
        DatasetChangedError: the file is missing, or not the registered one.
        UnreadableImageError: it is the registered one, and no image can be decoded from it.
    """
    image = source.image
    with _DECODING:
        pixels = decode_bytes(_registered_bytes(source), image_id=image.id)
        pixels.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    pixels.save(buffer, "JPEG", quality=_QUALITY, subsampling=0)
    return buffer.getvalue()


def _registered_bytes(source: ImageSource) -> bytes:
    image = source.image
    if image.size_bytes > MAX_FILE_BYTES:
        raise UnreadableImageError(image.id, f"a file has at most {MAX_FILE_BYTES:,} bytes; this one has more")
    try:
        with open_listed(source.root, source.root.resolve(), image.file) as file:
            # One byte more than registered tells that the file has grown, without reading all of it.
            data = file.read(image.size_bytes + 1)
    except FileRefusedError as error:
        raise DatasetChangedError(image.id, image.sha256, error.rule) from error
    found = hashlib.sha256(data).hexdigest()
    if found != image.sha256:
        raise DatasetChangedError(image.id, image.sha256, f"sha256 {found[:12]}…")
    return data
