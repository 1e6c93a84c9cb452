"""Train the demo's networks: the paper's schedule in small, on the training images that make_dataset.py writes.

    python -m examples.digits.train [NAME ...] [--output FOLDER] [--seed N] [--print]

Each is one `softvote train` command; --print shows them and runs nothing. Everything is the paper's times 32/224: crop
32, S = 36 and 54 for 256 and 384, [36;72] for [256;512]. The order is the paper's too (section 3.1): A from random
weights, the deeper networks at S = 36 begun with layers of A, S = 54 begun with S = 36, the jittered ones fine-tuned
from S = 54. A name needs the checkpoint it begins with; without names, all are trained in turn. An interrupted run
goes on where it stopped, and finished checkpoints are left as they are.
"""

from __future__ import annotations

import argparse
import shlex
from dataclasses import dataclass
from pathlib import Path

from workers.training.command import train

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

    def options(self, dataset: Path, checkpoints: Path, name: str, seed: int = 0) -> list[str]:
        """Of `softvote train`. Colours are left alone, because no digit's colour means anything.

        One thread: the networks are too narrow for a second one to help, and the sums it would split come out
        differently.
        """
        begin = "he" if self.begins_with is None else str(checkpoints / f"{self.begins_with}.safetensors")
        options = {
            "config": self.configuration,
            "width": WIDTH,
            "crop": CROP,
            "train-scale": self.scale,
            "dataset": dataset,
            "output": checkpoints / f"{name}.safetensors",
            "init": begin,
            "epochs": self.epochs,
            "batch-size": 32,
            "learning-rate": self.learning_rate,
            "decay-epochs": ",".join(map(str, self.decay_epochs)),
            "dropout": 0.25,
            "rgb-shift": 0,
            "seed": seed,
            "threads": 1,
        }
        return [word for option, value in options.items() for word in (f"--{option}", str(value))]


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
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--print", action="store_true", help="show the commands and run nothing")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(RECIPES))
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(RECIPES)}")
    names = arguments.names or list(RECIPES)
    if arguments.print:
        for name in names:
            options = RECIPES[name].options(arguments.dataset, arguments.output, name, arguments.seed)
            print("softvote train", shlex.join(options))
    else:
        train_all(names, arguments.dataset, arguments.output, arguments.seed)


def train_all(names: list[str], dataset: Path, output: Path, seed: int) -> None:
    """Train each network in turn, unless its checkpoint is there."""
    output.mkdir(parents=True, exist_ok=True)
    for name in names:
        if not (output / f"{name}.safetensors").exists():
            options = RECIPES[name].options(dataset, output, name, seed)
            print(f"\n$ softvote train {shlex.join(options)}", flush=True)
            train.main(options, "softvote train", standalone_mode=False)


if __name__ == "__main__":
    main()
