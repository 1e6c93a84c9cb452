"""What a training run is: every choice that decides its weights, in one frozen value."""

from __future__ import annotations

from collections.abc import Sequence
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

#: How often the paper divided the learning rate by 10.
PLATEAU_DECAYS = 3


@dataclass(frozen=True)
class TrainingPlan:
    """One training run. The defaults are the paper's (section 3.1), except for the initialisation.

    Attributes:
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
        patience: the paper's own rule instead of `decay_epochs`, which must then be empty: whenever the validation
            error has not reached a new minimum for this many epochs, three times at most.
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

    training_scale: TrainingScale
    configuration: str = "A"
    width: float = 1.0
    batch_norm: bool = False
    crop: int = 224
    epochs: int = 74
    batch_size: int = 256
    learning_rate: float = 1e-2
    decay_epochs: tuple[int, ...] = (37, 56, 67)
    patience: int | None = None
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
            "patience": (
                self.patience is None or (is_whole_number(self.patience) and self.patience >= 1 and not decays),
                "a whole number of at least 1, and no decay_epochs beside it",
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

    def to_dict(self) -> dict[str, Any]:
        """JSON form; a checkpoint to begin with by its path."""
        scale = self.training_scale
        return {
            **asdict(self),
            "training_scale": [scale.smallest, scale.largest],
            "decay_epochs": list(self.decay_epochs),
            "init_from": None if self.init_from is None else str(self.init_from),
            "preprocessing": None if self.preprocessing is None else self.preprocessing.to_dict(),
        }

    def architecture(self, classes: int) -> Architecture:
        """The network to train for `classes` classes."""
        return Architecture(self.configuration, self.batch_norm, self.width, classes, self.crop)

    def learning_rate_after(self, validation_errors: Sequence[float | None]) -> float:
        """The learning rate of the epoch that follows epochs with these validation errors (None: not measured)."""
        if self.patience is None:
            decays = sum(len(validation_errors) >= epoch for epoch in self.decay_epochs)
        else:
            decays = min(plateaus(validation_errors, self.patience), PLATEAU_DECAYS)
        return float(self.learning_rate * 0.1**decays)

    def identity(self, dataset_fingerprint: str, validation_fingerprint: str | None = None) -> str:
        """Digest of everything that decides weights and curves: the fields, with files by content instead of path."""
        values: dict[str, Any] = asdict(self)
        values["dataset_fingerprint"] = dataset_fingerprint
        values["validation_fingerprint"] = validation_fingerprint
        values["init_from"] = None if self.init_from is None else file_sha256(self.init_from)
        return digest(values)


def plateaus(errors: Sequence[float | None], patience: int) -> int:
    """How often `patience` epochs in a row brought no new minimum; each time counting begins anew."""
    best, waited, found = float("inf"), 0, 0
    for error in errors:
        if error is not None and error < best:
            best, waited = error, 0
        else:
            waited += 1
        if waited == patience:
            found, waited = found + 1, 0
    return found
