"""Training crops: S per image, a random crop and a random flip (paper section 3.1), drawn ahead and cut in threads."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ensembles.decoding import decode_bytes, read_image_file
from ensembles.errors import DatasetChangedError
from ensembles.images import ImageFile
from ensembles.preprocessing import resize
from ensembles.scales import TrainingScale, resized_size
from ensembles.specs import ViewSpec
from workers.image_data import DatasetImages

#: (N, crop, crop, 3) uint8 RGB and (N,) int64.
Batch = tuple[NDArray[np.uint8], NDArray[np.int64]]

#: The canonical order is a random one, so that its beginning is a fair sample of the data set's colours.
_COLOUR_SAMPLE = 1000


@dataclass(frozen=True)
class Colours:
    """Statistics of RGB pixels in 0..255.

    Attributes:
        mean: (3,).
        covariance: (3, 3).
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]

    def principal_axes(self) -> NDArray[np.float64]:
        """(3, 3): in row i the i-th principal axis, as long as the standard deviation along it.

        Krizhevsky et al. multiply by the eigenvalue, whose meaning depends on whether pixels end at 1 or at 255; its
        root does not.
        """
        variances, axes = np.linalg.eigh(self.covariance)
        return np.asarray(axes.T * np.sqrt(np.maximum(variances, 0))[:, None])


@dataclass(frozen=True)
class Augmentation:
    """The random choices of one epoch, for each of N images in the order in which they are shown.

    Attributes:
        order: (N,) positions in the data set.
        scales: (N,) S, px.
        places: (N, 2) left and top of the crop as shares of the room there is, 0..1.
        flips: (N,) whether mirrored.
    """

    order: NDArray[np.int64]
    scales: NDArray[np.int64]
    places: NDArray[np.float64]
    flips: NDArray[np.bool_]

    @classmethod
    def draw(cls, rng: np.random.Generator, images: int, scale: TrainingScale, *, hflip: bool) -> Augmentation:
        """Draw an epoch of `images` images."""
        return cls(
            rng.permutation(images),
            rng.integers(scale.smallest, scale.largest + 1, images),
            rng.random((images, 2)),
            (rng.random(images) < 0.5) & hflip,
        )

    def __getitem__(self, part: slice) -> Augmentation:
        return Augmentation(self.order[part], self.scales[part], self.places[part], self.flips[part])


class TrainingImages:
    """The images of a data set, kept decoded in memory where they fit, and at a fixed S resized too.

    Raises:
        UnreadableImageError: an image cannot be decoded; found at once where images are kept in memory.
        DatasetChangedError: a file is not the one in the index.
    """

    def __init__(
        self, dataset: DatasetImages, training_scale: TrainingScale, crop: int, cache_bytes: int = 2 << 30
    ) -> None:
        self._files, self._index, self._scale, self._crop = dataset.files, dataset.index, training_scale, crop
        self._kept: list[Image.Image | NDArray[np.uint8]] | None = None
        if self._bytes_in_memory() <= cache_bytes:
            self._kept = [self._load(position) for position in range(len(dataset.files))]

    def _bytes_in_memory(self) -> int:
        if self._scale.jittered:
            return sum(4 * image.width * image.height for image in self._index.images)  # Pillow pads RGB to 4 bytes
        readable = [(image.width, image.height) for image in self._index.images if image.width]
        sizes = (resized_size(width, height, self._scale.smallest) for width, height in readable)
        return sum(3 * width * height for width, height in sizes)

    def _load(self, position: int) -> Image.Image | NDArray[np.uint8]:
        file = self._files[position]
        image = _decoded(file)
        return image if self._scale.jittered else resize(image, _view(self._scale.smallest), image_id=file.id)

    def _resized(self, position: int, scale: int) -> NDArray[np.uint8]:
        source = self._load(position) if self._kept is None else self._kept[position]
        return source if isinstance(source, np.ndarray) else resize(source, _view(scale))

    def colours(self) -> Colours:
        """Of a sample of the data set, at the smallest training scale."""
        sample = range(min(_COLOUR_SAMPLE, len(self._index.images)))
        total, products, count = np.zeros(3), np.zeros((3, 3)), 0
        for position in sample:
            pixels = self._resized(position, self._scale.smallest).reshape(-1, 3).astype(np.float64)
            total += pixels.sum(0)
            products += pixels.T @ pixels
            count += len(pixels)
        mean = total / count
        return Colours(mean, products / count - np.outer(mean, mean))

    def batches(self, augmentation: Augmentation, size: int, threads: int) -> Iterator[Batch]:
        """Batches of exactly `size` images in the augmentation's order, cut by `threads` threads ahead of use."""
        full = len(augmentation.order) // size * size
        pending: deque[Future[Batch]] = deque()
        with ThreadPoolExecutor(threads, thread_name_prefix="augment") as pool:
            for begin in range(0, full, size):
                pending.append(pool.submit(self._cut, augmentation[begin : begin + size]))
                if len(pending) > threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()

    def _cut(self, part: Augmentation) -> Batch:
        crop = self._crop
        pixels = np.empty((len(part.order), crop, crop, 3), dtype=np.uint8)
        for row, position in enumerate(part.order):
            image = self._resized(int(position), int(part.scales[row]))
            room = np.array([image.shape[1] - crop + 1, image.shape[0] - crop + 1])
            left, top = (part.places[row] * room).astype(np.int64)
            cut = image[top : top + crop, left : left + crop]
            pixels[row] = cut[:, ::-1] if part.flips[row] else cut
        return pixels, self._index.labels[part.order]


def _decoded(file: ImageFile) -> Image.Image:
    data = read_image_file(file.path, file.id)
    if file.sha256 is not None and (found := hashlib.sha256(data).hexdigest()) != file.sha256:
        raise DatasetChangedError(file.id, file.sha256, f"sha256 {found[:12]}…")
    return decode_bytes(data, image_id=file.id)


@cache
def _view(scale: int) -> ViewSpec:
    return ViewSpec("crops", scale)
