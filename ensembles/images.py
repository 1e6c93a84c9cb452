"""Images on their way to the networks: each file is read and decoded once, and resized once a test scale."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ensembles.datasets import DatasetIndex
from ensembles.decoding import decode_bytes, read_image_file
from ensembles.errors import DatasetChangedError, UnreadableImageError
from ensembles.preprocessing import resize, resize_settings
from ensembles.specs import Decoder, Exif, ViewSpec

#: By `resize_settings`: (H, W, 3) uint8 pixels, or why there are none.
ResizedCopies = Mapping[tuple[object, ...], NDArray[np.uint8] | UnreadableImageError]


@dataclass(frozen=True)
class ImageFile:
    """One image to predict.

    Attributes:
        id: names the image in results and errors.
        path: of the file.
        sha256: of the file as registered, 64 hex digits; a file that differs is refused. None: any content will do.
    """

    id: str
    path: Path
    sha256: str | None = None


def image_files(root: Path, index: DatasetIndex) -> tuple[ImageFile, ...]:
    """The files of a data set below `root`, in canonical order, held to their registered content."""
    return tuple(ImageFile(image.id, root / image.file, image.sha256) for image in index.images)


def resized_copies(image: ImageFile, views: Sequence[ViewSpec]) -> ResizedCopies:
    """Read one file, decode it once for each decoder and EXIF rule, and resize it once for each `resize_settings`.

    Raises:
        DatasetChangedError: the file is not the registered one.
        OSError: the machine failed, not the image.
    """
    wanted = {resize_settings(view): view for view in views}
    try:
        data = read_image_file(image.path, image.id)
    except UnreadableImageError as error:
        # A file that could be hashed when it was registered and cannot be opened now is no damaged image.
        if image.sha256 is not None and (isinstance(error.__cause__, OSError) or not _has_hash(image)):
            raise DatasetChangedError(image.id, image.sha256, error.reason) from error
        return dict.fromkeys(wanted, error)
    if image.sha256 is not None and (found := hashlib.sha256(data).hexdigest()) != image.sha256:
        raise DatasetChangedError(image.id, image.sha256, f"sha256 {found[:12]}…")

    decoded: dict[tuple[Decoder, Exif], Image.Image | UnreadableImageError] = {}
    copies: dict[tuple[object, ...], NDArray[np.uint8] | UnreadableImageError] = {}
    for settings, view in wanted.items():
        reading = (view.decoder, view.exif)
        if reading not in decoded:
            decoded[reading] = _decoded(data, view, image.id)
        source = decoded[reading]
        copies[settings] = source if isinstance(source, UnreadableImageError) else _resized(source, view, image.id)
    return copies


def _has_hash(image: ImageFile) -> bool:
    """Whether a file that is not read as a whole, being empty or too large, is the registered one."""
    if not image.path.is_file():
        return False
    with image.path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == image.sha256


def _decoded(data: bytes, view: ViewSpec, image_id: str) -> Image.Image | UnreadableImageError:
    try:
        return decode_bytes(data, view.decoder, view.exif, image_id=image_id)
    except UnreadableImageError as error:
        return error


def _resized(image: Image.Image, view: ViewSpec, image_id: str) -> NDArray[np.uint8] | UnreadableImageError:
    try:
        return resize(image, view, image_id=image_id)
    except UnreadableImageError as error:
        return error


def stream_resized(
    images: Sequence[ImageFile], views: Sequence[ViewSpec], *, threads: int = 2, ahead: int = 8
) -> Generator[ResizedCopies]:
    """`resized_copies` of each image in order, made by a pool of threads while the consumer computes.

    Memory holds at most `threads` decoded originals, and the resized copies of `ahead` images beside the consumer's.
    Close the iterator to end the threads early.
    """
    remaining = iter(images)
    pending: deque[Future[ResizedCopies]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
    try:
        for image in islice(remaining, ahead):
            pending.append(pool.submit(resized_copies, image, views))
        while pending:
            copies = pending.popleft().result()
            pending.extend(pool.submit(resized_copies, image, views) for image in islice(remaining, 1))
            yield copies
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
