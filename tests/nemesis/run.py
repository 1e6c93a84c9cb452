"""Seeded faults against real processes: `python -m tests.nemesis.run --stack sqlite --faults 1000 --seed 1`.

While the faults go on, a client submits evaluations over REST, repeats what was not answered and cancels some. At the
end everything heals, what was promised is waited for, and the checker compares it with what is there.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.integration.harness import SCALES, Deployment, deployment, processes_of
from tests.nemesis.checker import Report, check
from tests.nemesis.client import Client
from tests.nemesis.faults import Nemesis
from tests.nemesis.history import Reference, read_batches, read_history, read_scores
from tests.nemesis.stack import Stack, running_stack

STACKS = ("sqlite", "services")
IMAGES = 200
CHECKPOINTS = {"a": ("A", 1), "b": ("B", 2)}
_BOTH: Mapping[str, Any] = {"scales": list(SCALES), "modes": ["dense", "crops"], "crop_grid": 4}
#: What the client asks for, by name; all of it on one data set.
REQUESTS: Mapping[str, Mapping[str, Any]] = {
    "ensemble": {"dataset": "pictures", "checkpoints": ["a", "b"], "protocol": _BOTH},
    "single": {"dataset": "pictures", "checkpoints": ["a"], "protocol": {"scales": list(SCALES)}},
    "crops": {"dataset": "pictures", "checkpoints": ["b"], "protocol": {"scales": [40], "modes": ["crops"]}},
    "limited": {"dataset": "pictures", "checkpoints": ["a", "b"], "protocol": {"scales": [34]}, "limit": 150},
}
#: How long everything may take to come to an end after the last fault.
SETTLE_SECONDS = 240.0


@dataclass
class Outcome:
    """What a run showed."""

    report: Report
    stack: str
    seed: int
    seconds: float
    faults: Counter[str]
    answers: Counter[str]
    retries: int
    deaths: Counter[tuple[str, int]]
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return self.report.ok and not self.problems

    def __str__(self) -> str:
        faults = " ".join(f"{name}={count}" for name, count in sorted(self.faults.items()))
        answers = " ".join(f"{name}={count}" for name, count in sorted(self.answers.items()))
        deaths = " ".join(f"{name}({status})={count}" for (name, status), count in sorted(self.deaths.items()))
        lines = [
            f"stack={self.stack} seed={self.seed} faults={self.faults.total()} seconds={self.seconds:.0f}",
            f"faults: {faults}",
            f"answers to the client: {answers}; evaluations retried: {self.retries}",
            f"processes that ended by themselves and were started again: {deaths or 'none'}",
            str(self.report),
            *self.problems,
            "OK" if self.ok else "FAILED",
        ]
        return "\n".join(lines)


def fill(made: Deployment) -> None:
    """Images and checkpoints; nothing predicted."""
    made.add_images(count=IMAGES)
    for name, (configuration, seed) in CHECKPOINTS.items():
        made.add_checkpoint(name, configuration=configuration, seed=seed)


def undisturbed(filled: Deployment, folder: Path) -> Reference:
    """Every request, computed in this process."""
    with deployment(folder, like=filled) as made:
        ids = {name: made.submit(**request) for name, request in REQUESTS.items()}
        for evaluation_id in ids.values():
            assert made.run(evaluation_id).status == "succeeded"
        scores, batches = read_scores(made.runtime.db), read_batches(made.runtime.db)
    return Reference({name: scores[evaluation_id] for name, evaluation_id in ids.items()}, batches)


def run(
    filled: Deployment,
    folder: Path,
    *,
    stack: str,
    faults: int,
    seed: int,
    lease_seconds: float = 1.5,
    minutes: float = float("inf"),
    say: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Do `faults` faults to a stack and check what is left.

    Args:
        filled: see `fill`.
        folder: empty.
        stack: one of `STACKS`.
        faults: how many.
        seed: decides which, and what the client asks for; not when exactly the processes are struck.
        lease_seconds: of the workers.
        minutes: no fault begins later than this, however many are left.
        say: called with a line from time to time.
    """
    reference = undisturbed(filled, folder / "reference")
    began = time.monotonic()
    with running_stack(folder / "stack", filled, services=stack == "services", lease_seconds=lease_seconds) as made:
        nemesis = Nemesis(made, random.Random(seed), lease_seconds)
        client = Client(made.url, REQUESTS, seed)
        client.start()
        done: Counter[str] = Counter()
        for number, name in enumerate(nemesis.schedule(faults), start=1):
            if time.monotonic() - began > 60 * minutes:
                break
            nemesis.strike(name)
            done[name] += 1
            time.sleep(nemesis.random.uniform(0.1, 0.8))
            if number % 20 == 0:
                say(f"{number} faults, {len(client.acknowledged)} acknowledged, {len(client.open())} open")
        made.resume_all()
        client.stop_submitting()
        problems = _settle(client)
        # Once more without a fault, and without `force`: every posterior that is still of use is read and verified.
        client.submit_each_once()
        problems += _settle(client)
        client.close()
        made.close()
        history = read_history(
            made.made.runtime.db,
            made.made.runtime.artifacts,
            list(client.acknowledged.values()),
            reference,
            frozenset(nemesis.flipped),
        )
        problems += client.surprises[:20]
        problems += _integrity(made)
        for name in list(made.made.processes):
            made.made.stop(name)
        problems += [f"process {pid} is left" for pid in processes_of(made.made)]
        problems += _temporary_files(made, sum(count for name, count in done.items() if name.startswith("kill")) * 2)
        return Outcome(
            report=check(history),
            stack=stack,
            seed=seed,
            seconds=time.monotonic() - began,
            faults=done,
            answers=client.answers,
            retries=client.retries,
            deaths=made.deaths,
            problems=problems,
        )


def _settle(client: Client) -> list[str]:
    deadline = time.monotonic() + SETTLE_SECONDS
    while client.open():
        if time.monotonic() > deadline:
            return [f"{len(client.open())} evaluations have not ended {SETTLE_SECONDS:.0f} s after the last fault"]
        time.sleep(0.2)
    return []


def _integrity(stack: Stack) -> list[str]:
    if stack.postgresql is not None:
        return []  # the cluster recovered from its log; its checks of constraints are the checker's
    with closing(sqlite3.connect(stack.made.home / "softvote.db")) as connection:
        answer = connection.execute("PRAGMA integrity_check").fetchone()[0]
        broken = connection.execute("PRAGMA foreign_key_check").fetchall()
    return [f"integrity_check: {answer}"] * (answer != "ok") + [f"foreign_key_check: {row}" for row in broken[:5]]


def _temporary_files(stack: Stack, kills: int) -> list[str]:
    """A process that is killed while it writes may leave one behind; nobody else."""
    found = [str(path) for path in stack.made.runtime.settings.artifacts.rglob("*.tmp")]
    return [f"{len(found)} temporary files, after {kills} kills"] if len(found) > kills else []


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--stack", choices=STACKS, default="sqlite")
    parser.add_argument("--faults", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="do no more faults after this time")
    parser.add_argument("--keep", action="store_true", help="leave the folder of the run behind")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="softvote-torture-"))
    with deployment(folder / "filled") as filled:
        fill(filled)
        outcome = run(
            filled,
            folder / "run",
            stack=options.stack,
            faults=options.faults,
            seed=options.seed,
            minutes=options.minutes,
            say=lambda line: print(line, flush=True),
        )
    print(outcome)
    if outcome.ok and not options.keep:
        shutil.rmtree(folder)
    else:
        print(f"logs: {folder}")
    return 0 if outcome.ok else 1


if __name__ == "__main__":
    sys.exit(main())
