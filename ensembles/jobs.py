"""One network under one view over a range of images: how batches are formed, and what comes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from ensembles.architectures import block_size
from ensembles.dense import dense_posteriors
from ensembles.errors import NonFiniteOutputError, PredictionStoppedError, UnreadableImageError
from ensembles.forward import Forward, class_scores
from ensembles.images import ImageFile, ResizedCopies
from ensembles.multicrop import crop_batch_size, cut_crops, multicrop_posteriors
from ensembles.networks import LoadedNetwork
from ensembles.predictions import Posteriors
from ensembles.preprocessing import resize_settings, to_network_input
from ensembles.specs import Dtype, ViewSpec


@dataclass(frozen=True)
class UnreadableImage:
    """An image without a posterior: its position in canonical order, its id, and why."""

    index: int
    image_id: str
    reason: str


@dataclass(frozen=True, eq=False)
class PredictedRange:
    """What one checkpoint says under one view.

    Attributes:
        checkpoint: its name.
        view: the view.
        start: first image, position in canonical order.
        stop: one past the last.
        probs: (stop - start, K) float32; the rows of unreadable images are NaN.
        unreadable: those images, in order.
    """

    checkpoint: str
    view: ViewSpec
    start: int
    stop: int
    probs: NDArray[np.float32]
    unreadable: tuple[UnreadableImage, ...]

    @property
    def posteriors(self) -> Posteriors:
        """`probs` with the mask of readable images."""
        return Posteriors.of(self.probs)


class Progress(NamedTuple):
    """How far a prediction has come.

    Attributes:
        predictions: images settled, each counted once a job: a job is one checkpoint under one view.
        total: images times jobs.
        forward_passes: so far; they move on while one image of many crops is at work.
    """

    predictions: int
    total: int
    forward_passes: int


class Passes:
    """The forward passes of one run: counted, reported, and stopped between any two of them."""

    def __init__(
        self, total: int, progress: Callable[[Progress], None] | None, should_stop: Callable[[], bool] | None
    ) -> None:
        self._total, self._progress, self._should_stop = total, progress, should_stop
        self._predictions = self._forward_passes = 0

    def forward(self, network: nn.Module, dtype: Dtype) -> Forward:
        """`network` as a function whose every call is a pass of this run.

        The function raises PredictionStoppedError when the run is to stop.
        """

        def run(pixels: Tensor) -> Tensor:
            if self._should_stop is not None and self._should_stop():
                raise PredictionStoppedError(self._forward_passes)
            scores = class_scores(network, pixels, dtype)
            self._forward_passes += 1
            self._report()
            return scores

        return run

    def settle(self, predictions: int) -> None:
        """Count images of a job as done."""
        self._predictions += predictions
        self._report()

    def _report(self) -> None:
        if self._progress is not None:
            self._progress(Progress(self._predictions, self._total, self._forward_passes))


class Job:
    """One (checkpoint, view) over images [start, stop)."""

    def __init__(
        self,
        network: LoadedNetwork,
        view: ViewSpec,
        images: Sequence[ImageFile],
        start: int,
        stop: int,
        max_batch: int | None,
        passes: Passes,
    ) -> None:
        self.view = view
        self.block = block_size(network.architecture, view)
        self._network, self._images, self._start, self._stop = network, images, start, stop
        self._max_batch, self._passes = max_batch, passes
        module = network.dense(view.pool_rounding) if view.mode == "dense" else network.network
        self._forward = passes.forward(module, view.dtype)
        self._settings = resize_settings(view)
        self._probs = np.full((stop - start, network.architecture.classes), np.nan, dtype=np.float32)
        self._unreadable: list[UnreadableImage] = []

    def predict(self, position: int, copies: Sequence[ResizedCopies]) -> None:
        """Settle the images from `position` on; the caller hands over whole blocks, or what the range has of them."""
        readable = {}
        for index, copy in enumerate((each[self._settings] for each in copies), start=position):
            if isinstance(copy, UnreadableImageError):
                self._unreadable.append(UnreadableImage(index, copy.image_id, copy.reason))
            else:
                readable[index] = copy
        if len(readable) < len(copies):
            self._passes.settle(len(copies) - len(readable))
        for indices in self._batches(readable):
            pixels = np.stack([readable[index] for index in indices])
            inputs = to_network_input(pixels, self._network.preprocessing, self._network.device)
            self._keep(indices, self._posteriors(inputs).cpu().numpy())

    def result(self) -> PredictedRange:
        """What has been predicted; complete when every image of the range has been handed over."""
        return PredictedRange(
            self._network.name, self.view, self._start, self._stop, self._probs, tuple(self._unreadable)
        )

    def _batches(self, readable: dict[int, NDArray[np.uint8]]) -> Iterator[list[int]]:
        """Images that share a forward pass: of one aligned block and one size, so that no cut of the range matters."""
        groups: dict[tuple[int, tuple[int, ...]], list[int]] = {}
        for index, pixels in readable.items():
            groups.setdefault((index // self.block, pixels.shape), []).append(index)
        for (_, (height, width, _)), indices in groups.items():
            # A block is sized for ordinary photographs. Long strips share a batch only up to the size that one image
            # alone may have, for the sake of memory.
            most = min(self.block, max(1, self.view.max_pixels // (height * width)), self._max_batch or self.block)
            for first in range(0, len(indices), most):
                yield indices[first : first + most]

    def _posteriors(self, inputs: Tensor) -> Tensor:
        """(N, K) of the preprocessed images (N, 3, H, W); in crops mode blocks have one image, so N is 1."""
        view, crop = self.view, self._network.architecture.crop
        if view.mode == "dense":
            return dense_posteriors(self._forward, inputs, hflip=view.hflip, score_pooling=view.score_pooling)
        batch = crop_batch_size(self._network.architecture)
        crops = cut_crops(inputs[0], crop, view.crop_grid, hflip=view.hflip)
        return multicrop_posteriors(self._forward, crops, min(batch, self._max_batch or batch)).unsqueeze(0)

    def _keep(self, indices: list[int], probs: NDArray[np.float32]) -> None:
        bad_rows = np.flatnonzero(~np.isfinite(probs).all(axis=1))
        if len(bad_rows):
            raise NonFiniteOutputError(self._network.name, self._images[indices[bad_rows[0]]].id)
        self._probs[np.array(indices) - self._start] = probs
        self._passes.settle(len(indices))
