"""One pass over images for many checkpoints and views: decode once, resize once a test scale, run every network.

Posteriors have the same bits however a range of images is cut, as long as the cuts are multiples of `block_size`: a
dense batch is formed only of equal-sized images of one aligned block in canonical order, a batch of crops only of one
image. What changes the bits is another device or library, and `max_batch`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import islice
from typing import cast

import torch

from ensembles.checkpoints import Checkpoint
from ensembles.errors import DenseUnsupportedError, Problem, ScaleTooSmallError, SpecError
from ensembles.forward import exact_arithmetic
from ensembles.images import ImageFile, image_files, stream_resized
from ensembles.jobs import Job, Passes, PredictedRange, Progress, UnreadableImage
from ensembles.networks import LoadedNetwork, load
from ensembles.specs import ViewSpec

__all__ = [
    "ImageFile",
    "LoadedNetwork",
    "PredictedRange",
    "Progress",
    "UnreadableImage",
    "image_files",
    "load",
    "predict",
]

Views = Sequence[ViewSpec] | Sequence[Sequence[ViewSpec]]


def predict(
    checkpoints: Sequence[Checkpoint | LoadedNetwork],
    images: Sequence[ImageFile],
    views: Views,
    *,
    start: int = 0,
    stop: int | None = None,
    device: str | torch.device = "cpu",
    max_batch: int | None = None,
    decode_threads: int = 2,
    progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> tuple[PredictedRange, ...]:
    """Posteriors of images [start, stop) under every (checkpoint, view), in one pass over the images.

    An unreadable image is no error here: whether it may be left out is for the caller to decide.

    Args:
        checkpoints: loaded networks are used where they are; checkpoints are loaded first, for this call only.
        images: all of a data set, in canonical order (see `image_files`).
        views: one list for every checkpoint, or one list a checkpoint.
        start: a multiple of the largest `block_size`, where bits matter.
        stop: one past the last image, None for all; as `start`, unless it is the end.
        device: where checkpoints are loaded to.
        max_batch: most images or crops of a forward pass, to need less memory; bits may then differ.
        decode_threads: threads that read, decode and resize ahead.
        progress: called after each forward pass and each batch, in the calling thread.
        should_stop: asked before each forward pass.

    Returns:
        One range for each (checkpoint, view), checkpoint by checkpoint.

    Raises:
        SpecError: an argument breaks a rule.
        ScaleTooSmallError: a test scale is smaller than a network's crop.
        DenseUnsupportedError: a network has no dense form, or not the one that a view asks for.
        PredictionStoppedError: `should_stop` answered yes.
        NonFiniteOutputError: a class score is NaN or infinite.
        DatasetChangedError: a file is not the registered one.
        DecoderMissingError: a view asks for a decoder that is not installed.
        CheckpointError: a checkpoint cannot be loaded.
        torch.OutOfMemoryError: the device is too small; try again with a smaller `max_batch`.
    """
    stop = len(images) if stop is None else stop
    lists = _one_list_a_checkpoint(views, len(checkpoints))
    problems = _argument_problems(len(images), start, stop, max_batch, decode_threads)
    if problems:
        raise SpecError(problems)
    passes = Passes((stop - start) * sum(map(len, lists)), progress, should_stop)
    networks = [load(each, device) if isinstance(each, Checkpoint) else each for each in checkpoints]
    jobs = []
    for network, network_views in zip(networks, lists, strict=True):
        for view in network_views:
            if view.scale < network.architecture.crop:
                raise ScaleTooSmallError(view.scale, network.architecture.crop, network.name)
            refusal = network.architecture.view_refusal(view)
            if refusal is not None:
                raise DenseUnsupportedError(network.name, refusal)
            jobs.append(Job(network, view, images, start, stop, max_batch, passes))
    if jobs:
        _run(jobs, images[start:stop], start, decode_threads)
    return tuple(job.result() for job in jobs)


def _run(jobs: Sequence[Job], images: Sequence[ImageFile], start: int, threads: int) -> None:
    stride = max(job.block for job in jobs)  # blocks are powers of two: every smaller one divides it
    position, stop = start, start + len(images)
    stream = stream_resized(images, [job.view for job in jobs], threads=threads, ahead=stride + threads)
    with exact_arithmetic(), closing(stream):
        while position < stop:
            end = min(stop, (position // stride + 1) * stride)
            copies = list(islice(stream, end - position))
            for job in jobs:
                job.predict(position, copies)
            position = end


def _one_list_a_checkpoint(views: Views, checkpoints: int) -> list[Sequence[ViewSpec]]:
    shared = [view for view in views if isinstance(view, ViewSpec)]
    if len(shared) == len(views):
        return [shared] * checkpoints
    if shared or len(views) != checkpoints:
        rule = f"one list of views for every checkpoint, or {checkpoints} lists, one a checkpoint"
        raise SpecError([Problem("views", rule, f"{len(views)} entries, {len(shared)} of them views")])
    return list(cast("Sequence[Sequence[ViewSpec]]", views))


def _argument_problems(images: int, start: int, stop: int, max_batch: int | None, threads: int) -> list[Problem]:
    problems = []
    if not 0 <= start <= stop <= images:
        problems.append(Problem("start, stop", f"0 <= start <= stop <= {images} images", (start, stop)))
    if max_batch is not None and max_batch < 1:
        problems.append(Problem("max_batch", "None or at least 1", max_batch))
    if threads < 1:
        problems.append(Problem("decode_threads", "at least 1", threads))
    return problems
