"""Run a leased slice: one pass over its images for all of its (checkpoint, view) pairs, stored and then recorded."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import structlog
import torch
from sqlalchemy import select

from app.db.models import PredictionPart
from app.errors import DatabaseUnavailableError, StorageFullError
from app.services import evaluations, predictions
from app.services.artifact_keys import posteriors_key
from app.services.costs import mean_macs
from app.services.leasing.slices import FinishedPart, LeasedPart, LeasedSlice
from ensembles import engine
from ensembles.architectures import architecture_from_dict, block_size
from ensembles.decoding import decoder_version
from ensembles.errors import NonFiniteOutputError, PredictionStoppedError
from ensembles.jobs import PredictedRange, UnreadableImage
from ensembles.multicrop import crop_batch_size
from ensembles.networks import LoadedNetwork
from ensembles.predictions import check_rows
from ensembles.specs import ViewSpec
from workers.context import WorkerContext
from workers.failures import classify, is_out_of_memory, leave_if_device_is_broken
from workers.heartbeat import HeldLease
from workers.image_data import DatasetImages
from workers.logs import get_logger

log = get_logger(__name__)

#: Threads that read, decode and resize ahead of the networks.
_DECODE_THREADS = 2


def run_slice(context: WorkerContext, slice_: LeasedSlice) -> None:
    """Predict, store and record a slice; what goes wrong is recorded too, and what is not done is handed back.

    Raises:
        StorageFullError: no room for the posteriors; the parts were handed back.
        DatabaseUnavailableError: the database does not answer; the leases will lapse.
    """
    held = [HeldLease("part", part.id, part.token) for part in slice_.parts]
    doing = f"{slice_.dataset_name}: images {slice_.start}-{slice_.stop} under {len(held)} views"
    with (
        structlog.contextvars.bound_contextvars(dataset=slice_.dataset_name, start=slice_.start, stop=slice_.stop),
        context.heartbeat.holding(held, doing),
    ):
        log.info("slice_starts", parts=[part.id for part in slice_.parts])
        run = _SliceRun(context, slice_)
        try:
            run.predict_all()
        finally:
            run.hand_back()
    sets = {part.set_id for part in slice_.parts}
    context.patiently(lambda: evaluations.advance_ready(context.runtime.db, sets))


@dataclass(frozen=True)
class _Prediction:
    """What one pass gave: a range a part, the largest forward pass allowed (None: as planned), and how long it took."""

    ranges: tuple[PredictedRange, ...]
    max_batch: int | None
    seconds: float


class _SliceRun:
    """One slice in the making: which of its parts are still open."""

    def __init__(self, context: WorkerContext, slice_: LeasedSlice) -> None:
        self._context, self._slice = context, slice_
        self._db = context.runtime.db
        self._open = {part.id: part for part in slice_.parts}

    def predict_all(self) -> None:
        """As few passes over the images as memory for networks allows: mostly one."""
        try:
            images = self._context.images.get(self._slice.dataset_root, self._slice.index_key, self._slice.index_sha256)
            images.check_range(self._slice.start, self._slice.stop)
        except Exception as error:
            self._fail(self._slice.parts, error)
            return
        self._set_aside(images)
        for group in self._context.networks.groups(list(self._open.values())):
            self._predict(group, images)

    def hand_back(self) -> None:
        """Return what is neither recorded nor failed; no attempt is burnt."""
        if self._open:
            remaining = replace(self._slice, parts=tuple(self._open.values()))
            self._context.patiently(lambda: predictions.release_slice(self._db, remaining))
            log.info("parts_released", parts=sorted(self._open))

    def _set_aside(self, images: DatasetImages) -> None:
        """Record the image that killed one worker after the other as unreadable, without touching it."""
        deadly = [part for part in self._slice.parts if part.killed]
        if deadly:
            ranges = tuple(_without_a_posterior(part, images, self._slice.start) for part in deadly)
            self._record(deadly, _Prediction(ranges, None, 0.0), images)

    def _predict(self, group: Sequence[LeasedPart], images: DatasetImages) -> None:
        networks = self._load(group)
        while parts := [part for part in group if part.id in self._open and part.checkpoint_id in networks]:
            try:
                self._record(parts, self._run(parts, networks, images), images)
                return
            except PredictionStoppedError:
                return
            except (StorageFullError, DatabaseUnavailableError):
                raise
            except NonFiniteOutputError as error:
                # The other checkpoints of the pass are none the worse for it: once more without this one.
                self._fail([part for part in parts if part.checkpoint_name == error.checkpoint], error)
            except Exception as error:
                self._fail(parts, error)
                return

    def _load(self, group: Sequence[LeasedPart]) -> dict[str, LoadedNetwork]:
        """Networks by checkpoint id; the parts of a checkpoint that cannot be loaded fail, and no others."""
        networks: dict[str, LoadedNetwork] = {}
        refused: set[str] = set()
        for part in group:
            if part.checkpoint_id in networks or part.checkpoint_id in refused:
                continue
            try:
                networks[part.checkpoint_id] = self._context.networks.get(part)
            except Exception as error:
                refused.add(part.checkpoint_id)
                self._fail([other for other in group if other.checkpoint_id == part.checkpoint_id], error)
            self._context.heartbeat.moved()
        return networks

    def _run(
        self, parts: Sequence[LeasedPart], networks: Mapping[str, LoadedNetwork], images: DatasetImages
    ) -> _Prediction:
        """One pass, again with half the batch as long as memory does not suffice."""
        limits = [part.batch_limit for part in parts if part.batch_limit is not None]
        max_batch = min(limits, default=None)
        heartbeat = self._context.heartbeat
        while True:
            began = time.monotonic()
            try:
                ranges = engine.predict(
                    [networks[part.checkpoint_id] for part in parts],
                    images.files,
                    [[ViewSpec.from_dict(part.view)] for part in parts],
                    start=self._slice.start,
                    stop=self._slice.stop,
                    max_batch=max_batch,
                    decode_threads=_DECODE_THREADS,
                    progress=lambda _: heartbeat.moved(),
                    should_stop=heartbeat.should_stop,
                )
                return _Prediction(ranges, max_batch, time.monotonic() - began)
            except Exception as error:
                largest = max(_planned_batch(part) for part in parts) if max_batch is None else max_batch
                if not is_out_of_memory(error) or largest == 1:
                    raise
                max_batch = largest // 2
                log.warning("out_of_memory", reason=str(error), max_batch=max_batch)
            # Only here is the error gone, and with its traceback the tensors of the pass.
            if self._context.device.type == "cuda":
                torch.cuda.empty_cache()

    def _record(self, parts: Sequence[LeasedPart], prediction: _Prediction, images: DatasetImages) -> None:
        """Store the posteriors, then mark their parts done; whatever a newer lease has taken over leaves no trace."""
        records = images.index.images[self._slice.start : self._slice.stop]
        sizes = [(record.width, record.height) for record in records if record.width and record.height]
        macs = [
            len(records) * mean_macs(architecture_from_dict(part.architecture), ViewSpec.from_dict(part.view), sizes)
            for part in parts
        ]
        finished: list[FinishedPart] = []
        try:
            for part, predicted, part_macs in zip(parts, prediction.ranges, macs, strict=True):
                seconds = prediction.seconds * part_macs / sum(macs)
                finished.append(self._store(part, predicted, prediction.max_batch, seconds))
        except StorageFullError:
            self._delete_unreferenced(finished)
            raise
        completed = set(
            self._context.patiently(lambda: predictions.complete(self._db, self._context.worker_id, finished))
        )
        self._delete_unreferenced([done for done in finished if done.part.id not in completed])
        self._close(parts)
        fenced = sorted(part.id for part in parts if part.id not in completed)
        if prediction.seconds:
            self._context.rate.add(len(records) * len(parts), sum(macs), prediction.seconds)
        log.info("parts_done", parts=sorted(completed), fenced=fenced, seconds=round(prediction.seconds, 3))

    def _store(
        self, part: LeasedPart, predicted: PredictedRange, max_batch: int | None, seconds: float
    ) -> FinishedPart:
        # Stored in the data set's order of classes: whoever reads posteriors need not know of the network's.
        probs = predicted.probs if part.class_outputs is None else np.take(predicted.probs, part.class_outputs, axis=1)
        check_rows(probs)
        artifact = self._context.runtime.artifacts.put(posteriors_key(part.set_id, part.id, part.token), probs)
        self._context.heartbeat.moved()
        planned = _planned_batch(part)
        return FinishedPart(
            part=part,
            artifact=artifact,
            unreadable=[asdict(image) for image in predicted.unreadable],
            batch=min(planned, max_batch or planned),
            seconds=seconds,
            environment={**self._context.environment, "decoder": decoder_version(predicted.view.decoder)},
        )

    def _delete_unreferenced(self, parts: Sequence[FinishedPart]) -> None:
        """Remove files of parts that were not completed, unless an answer of the database was lost on the way."""
        with self._db.read() as session:
            ids = [done.part.id for done in parts]
            in_use = set(session.scalars(select(PredictionPart.artifact).where(PredictionPart.id.in_(ids))))
        for done in parts:
            if done.artifact.key not in in_use:
                self._context.runtime.artifacts.delete(done.artifact.key)

    def _fail(self, parts: Sequence[LeasedPart], error: Exception) -> None:
        failure = classify(error)
        log.warning(
            "parts_failed",
            parts=[part.id for part in parts],
            code=failure.code,
            reason=failure.message,
            exc_info=error if failure.code == "internal_error" else None,
        )
        self._context.patiently(
            lambda: predictions.fail_parts(self._db, parts, failure.code, failure.message, retryable=failure.retryable)
        )
        self._close(parts)
        leave_if_device_is_broken(error)

    def _close(self, parts: Sequence[LeasedPart]) -> None:
        """These parts need nothing more, come what may."""
        for part in parts:
            del self._open[part.id]
        self._context.heartbeat.let_go({part.id for part in parts})


def _without_a_posterior(part: LeasedPart, images: DatasetImages, index: int) -> PredictedRange:
    """What is stored for an image that is not to be tried again."""
    probs = np.full((1, architecture_from_dict(part.architecture).classes), np.nan, dtype=np.float32)
    reason = f"{part.killed} workers in a row vanished while they predicted it"
    unreadable = UnreadableImage(index, images.files[index].id, reason)
    view = ViewSpec.from_dict(part.view)
    return PredictedRange(part.checkpoint_name, view, index, index + 1, probs, (unreadable,))


def _planned_batch(part: LeasedPart) -> int:
    """Images of a dense forward pass, or crops of one, where memory suffices."""
    architecture, view = architecture_from_dict(part.architecture), ViewSpec.from_dict(part.view)
    return block_size(architecture, view) if view.mode == "dense" else crop_batch_size(architecture)
