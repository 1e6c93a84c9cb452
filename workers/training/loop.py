"""Training by the paper's recipe (section 3.1): SGD with momentum, step decay, scale jittering; exactly resumable."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ensembles.checkpoints import CheckpointMetadata, save_checkpoint
from ensembles.errors import EnsemblesError, NonFiniteOutputError, Problem, SpecError
from ensembles.forward import exact_arithmetic
from ensembles.preprocessing import to_network_input
from ensembles.specs import Preprocessing
from ensembles.vgg import VGG
from workers.image_data import DatasetImages
from workers.training.images import Augmentation, Colours, TrainingImages
from workers.training.initial_network import initial_network
from workers.training.plan import TrainingPlan
from workers.training.validation import Validation


class TrainingDivergedError(EnsemblesError):
    """The loss became NaN or infinite."""

    code = "training_diverged"

    def __init__(self, epoch: int, learning_rate: float) -> None:
        self.epoch, self.learning_rate = epoch, learning_rate
        super().__init__(
            f"the loss became NaN or infinite in epoch {epoch} at learning rate {learning_rate:g}; "
            "begin again with a lower one, or from a trained shallower network"
        )


@dataclass(frozen=True)
class EpochReport:
    """How one epoch went.

    Attributes:
        epoch: counted from 1.
        loss: mean cross-entropy of the training crops as they were shown, nats.
        top1_error: share of them that were wrong, 0..1, dropout in force.
        learning_rate: of this epoch.
        images_per_second: of this epoch, validation not counted.
        validation_error: share of the validation images that were wrong after it, 0..1; None without a validation set.
    """

    epoch: int
    loss: float
    top1_error: float
    learning_rate: float
    images_per_second: float
    validation_error: float | None = None


def train(
    plan: TrainingPlan,
    dataset: DatasetImages,
    output: Path,
    *,
    validation: DatasetImages | None = None,
    device: str | torch.device = "cpu",
    threads: int = 2,
    cache_bytes: int = 2 << 30,
    progress: Callable[[EpochReport], None] = lambda _: None,
    advance: Callable[[int, int, int], None] = lambda *_: None,
) -> tuple[EpochReport, ...]:
    """Train a network and save it as a checkpoint.

    After each epoch the state of the run is written to `state_path(output)`; a call with the same plan goes on from
    there, to the same weights as a run without interruption (on the same machine, with as many torch threads). The
    state is removed once the checkpoint is written.

    Args:
        plan: what to train.
        dataset: the training images; K is its number of classes.
        output: the checkpoint, a name ending in .safetensors.
        validation: images of the same classes, on which the error is measured after each epoch.
        device: where to train.
        threads: that decode and cut crops ahead of the network.
        cache_bytes: decoded images are kept in memory if all of them fit in this.
        progress: called after each epoch; with all earlier epochs first where the run goes on.
        advance: called after each step with the epoch from 1, the images it has shown, and the images it will show.

    Returns:
        One report an epoch.

    Raises:
        SpecError: the plan does not fit the data set or `init_from`, `output` exists, or the state is another plan's.
        ClassNamesMismatchError: the classes of `validation` are not those of `dataset`.
        UnreadableImageError: an image cannot be decoded.
        DatasetChangedError: an image is not the one in the index.
        TrainingDivergedError: the loss became NaN or infinite; the state before that epoch is kept.
    """
    index = dataset.index
    _check(plan, dataset, validation, output)
    device, measured = torch.device(device), None
    if validation is not None:
        measured = Validation(validation, index.classes, plan.training_scale, plan.crop, threads)
    images = TrainingImages(dataset, plan.training_scale, plan.crop, cache_bytes)
    identity = plan.identity(index.fingerprint, None if validation is None else validation.index.fingerprint)
    # The global random state is the caller's: torch's layers and dropout draw from it, so it is given back as it was.
    with exact_arithmetic(), torch.random.fork_rng([device] if device.type == "cuda" else []):
        network, inherited = initial_network(plan, plan.architecture(len(index.classes)))
        run = _Run(plan, images, len(index.images), network, inherited, device, threads, measured, advance)
        _run_to_the_end(run, state_path(output), identity, progress)
    save_checkpoint(output, run.network, CheckpointMetadata(plan.training_scale, run.preprocessing, index.classes))
    state_path(output).unlink(missing_ok=True)
    return tuple(run.history)


def _run_to_the_end(run: _Run, state: Path, identity: str, progress: Callable[[EpochReport], None]) -> None:
    if state.exists():
        run.restore(state, identity)
    for past in run.history:
        progress(past)
    while len(run.history) < run.plan.epochs:
        run.history.append(run.epoch())
        run.save(state, identity)
        progress(run.history[-1])


def state_path(output: Path) -> Path:
    """Where the state of an unfinished run is kept, beside its checkpoint."""
    return output.with_suffix(".training")


class _Run:
    """Everything that changes while training, and how it is kept on disk."""

    def __init__(
        self,
        plan: TrainingPlan,
        images: TrainingImages,
        count: int,
        network: VGG,
        inherited: Preprocessing | None,
        device: torch.device,
        threads: int,
        validation: Validation | None,
        advance: Callable[[int, int, int], None],
    ) -> None:
        self.plan, self._images, self._count, self._device, self._threads = plan, images, count, device, threads
        self._validation, self._advance = validation, advance
        colours = images.colours()
        self.preprocessing = plan.preprocessing or inherited or _centred(colours)
        self._axes = colours.principal_axes()
        self.network = network.to(device).to(memory_format=torch.channels_last)
        for module in self.network.modules():
            if isinstance(module, nn.Dropout):
                module.p = plan.dropout
        self._optimizer = torch.optim.SGD(
            self.network.parameters(), plan.learning_rate, plan.momentum, weight_decay=plan.weight_decay
        )
        self.history: list[EpochReport] = []

    def epoch(self) -> EpochReport:
        """Train one more epoch. It depends on the seed, the epochs before it and the weights alone."""
        plan, epoch, began = self.plan, len(self.history), time.monotonic()
        rng = np.random.default_rng([plan.seed, epoch])
        augmentation = Augmentation.draw(rng, self._count, plan.training_scale, hflip=plan.hflip)
        learning_rate = plan.learning_rate_after([report.validation_error for report in self.history])
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        self.network.train()
        total = self._count // plan.batch_size * plan.batch_size
        shown, loss_sum, wrong = 0, 0.0, 0
        torch.manual_seed(int(rng.integers(2**63)))  # dropout draws from the global generator
        for pixels, labels in self._images.batches(augmentation, plan.batch_size, self._threads):
            loss, mistakes = self._step(pixels, labels, rng)
            if not np.isfinite(loss):
                raise TrainingDivergedError(epoch + 1, learning_rate)
            shown, loss_sum, wrong = shown + len(labels), loss_sum + loss * len(labels), wrong + mistakes
            self._advance(epoch + 1, shown, total)
        images_per_second = shown / (time.monotonic() - began)
        try:
            validation_error = self._validation_error()
        except NonFiniteOutputError:
            raise TrainingDivergedError(epoch + 1, learning_rate) from None
        return EpochReport(
            epoch + 1, loss_sum / shown, wrong / shown, learning_rate, images_per_second, validation_error
        )

    def _validation_error(self) -> float | None:
        if self._validation is None:
            return None
        return self._validation.top1_error(self.network, self.preprocessing, self._device)

    def _step(self, pixels: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> tuple[float, int]:
        inputs = to_network_input(pixels, self.preprocessing, self._device)
        if self.plan.rgb_shift:
            shifts = rng.normal(0.0, self.plan.rgb_shift, (len(labels), 3)) @ self._axes
            inputs = inputs + in_network_units(shifts, self.preprocessing).to(self._device)
        targets = torch.from_numpy(labels).to(self._device)
        scores = self.network(inputs)
        loss = F.cross_entropy(scores, targets)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        return float(loss.detach()), int((scores.detach().argmax(1) != targets).sum())

    def save(self, path: Path, identity: str) -> None:
        """Write the state; the file is always complete, the old one or the new one."""
        partial = path.with_name(path.name + ".partial")
        with partial.open("wb") as file:
            torch.save(
                {
                    "identity": identity,
                    "network": self.network.state_dict(),
                    "optimizer": self._optimizer.state_dict(),
                    "history": [asdict(report) for report in self.history],
                },
                file,
            )
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)

    def restore(self, path: Path, identity: str) -> None:
        """Go on from a saved state.

        Raises:
            SpecError: it is another plan's, or no state.
        """
        rule = "the state of a run with the same plan and data sets; remove the file to begin anew"
        other = SpecError([Problem("state", rule, str(path))])
        try:
            saved: dict[str, Any] = torch.load(path, map_location=self._device, weights_only=True)
        except Exception as error:  # a file of another kind makes the unpickler fail in any way
            raise other from error
        if not isinstance(saved, dict) or saved.get("identity") != identity:
            raise other
        self.network.load_state_dict(saved["network"])
        self._optimizer.load_state_dict(saved["optimizer"])
        self.history = [EpochReport(**report) for report in saved["history"]]


def _check(plan: TrainingPlan, dataset: DatasetImages, validation: DatasetImages | None, output: Path) -> None:
    problems = []
    count = len(dataset.index.images)
    if plan.batch_size > count:
        problems.append(Problem("batch_size", f"at most the data set's {count} images", plan.batch_size))
    if plan.patience is not None and validation is None:
        problems.append(Problem("patience", "none without a validation set", plan.patience))
    if output.suffix != ".safetensors":
        problems.append(Problem("output", "a name ending in .safetensors", output.name))
    if not output.parent.is_dir():
        problems.append(Problem("output", "a file in a folder that exists", str(output)))
    elif output.exists() and not state_path(output).exists():
        problems.append(Problem("output", "a file that does not exist yet", str(output)))
    if problems:
        raise SpecError(problems)


def _centred(colours: Colours) -> Preprocessing:
    """Subtract the mean colour, as the paper does; one common divisor besides, which no initialisation can go without.

    He's keeps the variance of the input through all layers, so it must not be that of raw levels in 0..255.
    """
    red, green, blue = (round(float(value) / 255, 4) for value in colours.mean)
    deviation = max(round(float(np.sqrt(np.trace(colours.covariance) / 3)) / 255, 4), 1e-4)
    return Preprocessing("rgb", 1, (red, green, blue), (deviation, deviation, deviation))


def in_network_units(shifts: np.ndarray, preprocessing: Preprocessing) -> torch.Tensor:
    """Shifts of RGB levels in 0..255, (N, 3), as what they add to preprocessed pixels, (N, 3, 1, 1) float32."""
    ordered = shifts[:, ::-1] if preprocessing.channel_order == "bgr" else shifts
    units = ordered / (255 / preprocessing.value_range) / np.array(preprocessing.std)
    return torch.from_numpy(units.astype(np.float32))[:, :, None, None]
