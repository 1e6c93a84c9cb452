"""Train the demo's networks: the paper's schedule in small, on the training images that make_dataset.py writes.

    python -m examples.digits.train [NAME ...] [--output FOLDER]

Everything is the paper's times 32/224: crop 32, S = 36 and 54 for 256 and 384, [36;72] for [256;512]. The order is the
paper's too (section 3.1): A from random weights, the deeper networks at S = 36 begun with layers of A, S = 54 begun
with S = 36, the jittered ones fine-tuned from S = 54. A name needs the checkpoint it begins with; without names, all
are trained in turn. An interrupted run goes on where it stopped, and finished checkpoints are left as they are.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from ensembles.scales import TrainingScale
from workers.training.loop import EpochReport, train
from workers.training.plan import TrainingPlan

HERE = Path(__file__).parent
CROP = 32
WIDTH = 3 / 32


@dataclass(frozen=True)
class Recipe:
    """What differs between the networks.

    Attributes:
        scale: S or Smin-Smax, px.
        begins_with: name of the checkpoint whose layers are taken.
        decay_epochs: epochs after which the learning rate falls to a tenth.
    """

    configuration: str
    scale: str
    begins_with: str | None
    epochs: int
    learning_rate: float
    decay_epochs: tuple[int, ...]

    def plan(self, dataset: Path, checkpoints: Path) -> TrainingPlan:
        """The training run; colours are left alone, because no digit's colour means anything."""
        return TrainingPlan(
            dataset=dataset,
            training_scale=TrainingScale.parse(self.scale),
            configuration=self.configuration,
            width=WIDTH,
            crop=CROP,
            epochs=self.epochs,
            batch_size=32,
            learning_rate=self.learning_rate,
            decay_epochs=self.decay_epochs,
            dropout=0.25,
            rgb_shift=0.0,
            init_from=None if self.begins_with is None else checkpoints / f"{self.begins_with}.safetensors",
        )


RECIPES: dict[str, Recipe] = {
    "digits-a": Recipe("A", "36", None, 30, 0.015, (20, 26)),
    "digits-b": Recipe("B", "36", "digits-a", 30, 0.015, (20, 26)),
    "digits-c": Recipe("C", "36", "digits-a", 30, 0.015, (20, 26)),
    "digits-d": Recipe("D", "36", "digits-a", 30, 0.015, (20, 26)),
    "digits-e": Recipe("E", "36", "digits-a", 34, 0.010, (24, 30)),
    "digits-d-54": Recipe("D", "54", "digits-d", 10, 0.005, (6, 9)),
    "digits-e-54": Recipe("E", "54", "digits-e", 10, 0.005, (6, 9)),
    "digits-d-jitter": Recipe("D", "36-72", "digits-d-54", 16, 0.005, (10, 14)),
    "digits-e-jitter": Recipe("E", "36-72", "digits-e-54", 16, 0.005, (10, 14)),
}


def main() -> None:
    """Train the named networks, or all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one or more of {', '.join(RECIPES)}; all by default")
    parser.add_argument("--dataset", type=Path, default=HERE / "train")
    parser.add_argument("--output", type=Path, default=HERE / "checkpoints")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(RECIPES))
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(RECIPES)}")
    # The networks are too narrow for a second thread to help, and the sums it would split come out differently.
    torch.set_num_threads(1)
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or RECIPES:
        target = arguments.output / f"{name}.safetensors"
        if not target.exists():
            train(RECIPES[name].plan(arguments.dataset, arguments.output), target, progress=partial(print_epoch, name))


def print_epoch(name: str, report: EpochReport) -> None:
    """One line: loss and error of the epoch's training crops."""
    print(
        f"{name} {report.epoch:2}/{RECIPES[name].epochs}  loss {report.loss:.3f}  top-1 error {report.top1_error:6.1%} "
        f" learning rate {report.learning_rate:.2g}  {report.images_per_second:.0f} images/s",
        flush=True,
    )


if __name__ == "__main__":
    main()
