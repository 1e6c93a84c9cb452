"""What a training run is: every choice that decides its weights, in one frozen value."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from ensembles.canonical import digest
from ensembles.checkpoints import file_sha256
from ensembles.configurations import Architecture
from ensembles.errors import Problem, SpecError
from ensembles.scales import TrainingScale
from ensembles.specs import Preprocessing, is_whole_number
from ensembles.vgg import Initialisation


@dataclass(frozen=True)
class TrainingPlan:
    """One training run. The defaults are the paper's (section 3.1), except for the initialisation.

    Attributes:
        dataset: an image folder, one folder a class.
        training_scale: S, fixed or sampled anew for each image and epoch; at least the crop.
        configuration: a column of table 1.
        width: factor on channels and FC units.
        batch_norm: batch normalisation after each convolution; not in the paper.
        crop: side of the training crop, px, a multiple of 32.
        epochs: passes over the data set.
        batch_size: images of one step; the images of an epoch that fill no batch are left out of it.
        learning_rate: before any decay.
        decay_epochs: after each of these many epochs the learning rate falls to a tenth. The paper did so three times,
            when the validation accuracy stopped improving; it does not say after which epochs.
        momentum: of stochastic gradient descent.
        weight_decay: L2 penalty on every weight and bias.
        dropout: after the first two FC layers.
        hflip: mirror each image with probability 1/2.
        rgb_shift: standard deviation of the random colour shift along the principal axes of the training colours, in
            units of the standard deviation along each axis; 0 for none.
        initialisation: see `vgg.initialise`.
        init_from: a checkpoint to begin with. Of the same configuration, all layers are taken; of another one, the
            first four convolutions and the three FC layers, as the paper did with A.
        preprocessing: None for that of `init_from`, or else the training set's own mean colour.
        seed: of the initial weights, the order of images, their augmentation and dropout.

    Raises:
        SpecError: a field breaks its rule; all of them are listed.
    """

    dataset: Path
    training_scale: TrainingScale
    configuration: str = "A"
    width: float = 1.0
    batch_norm: bool = False
    crop: int = 224
    epochs: int = 74
    batch_size: int = 256
    learning_rate: float = 1e-2
    decay_epochs: tuple[int, ...] = (37, 56, 67)
    momentum: float = 0.9
    weight_decay: float = 5e-4
    dropout: float = 0.5
    hflip: bool = True
    rgb_shift: float = 0.1
    initialisation: Initialisation = "he"
    init_from: Path | None = None
    preprocessing: Preprocessing | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        problems = [
            Problem(name, rule, getattr(self, name)) for name, (kept, rule) in self._rules().items() if not kept
        ]
        try:
            self.architecture(classes=1)
        except SpecError as error:
            problems += error.problems
        if problems:
            raise SpecError(problems)

    def _rules(self) -> dict[str, tuple[bool, str]]:
        decays = self.decay_epochs
        return {
            "training_scale": (self.training_scale.smallest >= self.crop, f"at least the crop, {self.crop} px"),
            "epochs": (is_whole_number(self.epochs) and self.epochs >= 1, "a whole number of at least 1"),
            "batch_size": (is_whole_number(self.batch_size) and self.batch_size >= 1, "a whole number of at least 1"),
            "learning_rate": (0 < self.learning_rate < float("inf"), "a finite number above 0"),
            "decay_epochs": (
                all(is_whole_number(epoch) and epoch >= 1 for epoch in decays) and decays == tuple(sorted(set(decays))),
                "whole numbers of at least 1, ascending, each once",
            ),
            "momentum": (0 <= self.momentum < 1, "a number from 0 to below 1"),
            "weight_decay": (0 <= self.weight_decay < float("inf"), "a finite number of at least 0"),
            "dropout": (0 <= self.dropout < 1, "a number from 0 to below 1"),
            "rgb_shift": (0 <= self.rgb_shift < float("inf"), "a finite number of at least 0"),
            "initialisation": (
                self.initialisation in get_args(Initialisation),
                f"one of {', '.join(get_args(Initialisation))}",
            ),
            "seed": (is_whole_number(self.seed) and self.seed >= 0, "a whole number of at least 0"),
        }

    def architecture(self, classes: int) -> Architecture:
        """The network to train for `classes` classes."""
        return Architecture(self.configuration, self.batch_norm, self.width, classes, self.crop)

    def learning_rate_at(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 0."""
        return float(self.learning_rate * 0.1 ** sum(epoch >= decay for decay in self.decay_epochs))

    def identity(self, dataset_fingerprint: str) -> str:
        """Digest of everything that decides the weights: the fields, with files by content rather than by path."""
        values: dict[str, Any] = asdict(self)
        del values["dataset"]
        values["dataset_fingerprint"] = dataset_fingerprint
        values["init_from"] = None if self.init_from is None else file_sha256(self.init_from)
        return digest(values)
