"""Train the demo's nine recipes with other seeds, and set the shipped checkpoints' errors beside theirs.

    python -m examples.digits.seeds [--seeds 1 2 3] [--dataset FOLDER] [--output FOLDER]

Every seed is a whole chain: its deeper networks begin with its own A. All are evaluated by the service's own code, in a
database of their own under --output, with the protocols of the demo; printed are the tables of README.md. What is there
already is not trained again, and an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from app.cli.backends import Json, LocalBackend, load_runner
from app.config import Settings
from app.representations.requests import CheckpointRequest, DatasetRequest, EvaluationRequest
from app.runtime import build_runtime
from ensembles.scales import TrainingScale
from examples.digits.demo import DATASET, HERE, PLAN
from examples.digits.train import RECIPES, train_all

#: Of demo.json: every network dense at three scales, and the jittered ones dense and by crops.
EVALUATIONS = PLAN["evaluations"][:2]
SHIPPED = "shipped"


def main() -> None:
    """Train what is missing, evaluate all, print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--dataset", type=Path, default=HERE / "train", help="what make_dataset.py --split train wrote")
    parser.add_argument("--output", type=Path, default=HERE / "seeds")
    parser.add_argument(
        "--only-finished", action="store_true", help="train nothing, evaluate the checkpoints there are"
    )
    arguments = parser.parse_args()
    folders = {SHIPPED: HERE / PLAN["checkpoints"]}
    for seed in arguments.seeds:
        folders[f"seed {seed}"] = arguments.output / f"seed-{seed}"
        if not arguments.only_finished:
            train_all(list(RECIPES), arguments.dataset, folders[f"seed {seed}"], seed)
    errors = evaluate(folders, arguments.output / "home")
    print()
    for protocol in dict.fromkeys(protocol for _, protocol in errors[SHIPPED]):
        print(*table(protocol, errors), sep="\n", end="\n\n")


def evaluate(folders: dict[str, Path], home: Path) -> dict[str, dict[tuple[str, str], float]]:
    """Top-1 errors, fractions, by run and by (checkpoint, protocol)."""
    server = LocalBackend(build_runtime(Settings.from_environment({"SOFTVOTE_HOME": str(home)}), migrate=True))
    known = {document["name"] for document in server.datasets() + server.checkpoints()}
    if DATASET not in known:
        server.add_dataset(DatasetRequest(path=str((HERE / PLAN["dataset"]).absolute()), name=DATASET))
    errors: dict[str, dict[tuple[str, str], float]] = {}
    for run, folder in folders.items():
        finished = [name for name in RECIPES if (folder / f"{name}.safetensors").exists()]
        for name in finished:
            if _name(run, name) not in known:
                path = (folder / f"{name}.safetensors").absolute()
                server.add_checkpoint(CheckpointRequest(path=str(path), name=_name(run, name)))
        errors[run] = {}
        for planned in EVALUATIONS:
            members: list[Any] = [_name(run, name) for name in planned["checkpoints"] if name in finished]
            if not members:
                continue
            request = EvaluationRequest(dataset=DATASET, checkpoints=members, protocol=planned["protocol"])
            evaluation = server.submit(request)
            load_runner().run_until_done(server.runtime, evaluation["id"], None)
            if (status := server.evaluation(evaluation["id"])["status"]) != "succeeded":
                raise SystemExit(f"evaluation {evaluation['id']} {status}")
            errors[run] |= dict(top1_errors(server.scores(evaluation["id"])["items"], run))
    return errors


def top1_errors(scores: Sequence[Json], run: str) -> Iterator[tuple[tuple[str, str], float]]:
    """Of each network: at the single scale, and at three by each method."""
    for score in scores:
        if score["metric"] != "top1_error" or score["subject"] != "checkpoint":
            continue
        name = score["subject_name"].removeprefix(_name(run, ""))
        if len(score["scales"]) == 3:
            method = {"dense": "dense", "crops": "multi-crop", "both": "multi-crop & dense"}[score["mode"]]
            yield (name, f"three scales, {method}"), score["value"]
        elif score["mode"] == "dense" and score["scales"] == [TrainingScale.parse(RECIPES[name].scale).single_scale()]:
            yield (name, "single scale, dense"), score["value"]


def _name(run: str, checkpoint: str) -> str:
    return f"{run.replace(' ', '-')}-{checkpoint}"


def table(protocol: str, errors: dict[str, dict[tuple[str, str], float]]) -> Iterator[str]:
    """Lines of Markdown: errors of the shipped checkpoint and of each seed, in percent, and how these spread."""
    runs = [run for run in errors if run != SHIPPED]
    yield f"| {protocol} | {SHIPPED} | {' | '.join(runs)} | mean ± s.d. | {SHIPPED} within the seeds' range |"
    yield "|---" * (4 + len(runs)) + "|"
    for name, own in errors[SHIPPED]:
        if own != protocol:
            continue
        shipped = errors[SHIPPED][name, own]
        others = [errors[run][name, own] for run in runs if (name, own) in errors[run]]
        if not others:
            continue
        spread = f"{mean(others):.1%} ± {stdev(others):.1%}" if len(others) > 1 else ""
        place = "yes" if min(others) <= shipped <= max(others) else "lower" if shipped < min(others) else "higher"
        each = [f"{errors[run][name, own]:.1%}" if (name, own) in errors[run] else "not trained" for run in runs]
        cells = [f"{shipped:.1%}", *each, spread, place]
        yield f"| `{name}` | {' | '.join(cells)} |".replace("%", " %")


if __name__ == "__main__":
    main()
