"""What commands that start something share: a protocol as people name it, and waiting for the end."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from app.cli.backends import Backend
from app.cli.output import EXIT_INFRASTRUCTURE, progress_bar

TERMINAL = ("succeeded", "failed", "cancelled")
POLL_SECONDS = 0.5

wait_option = click.option("--wait", is_flag=True, help="Wait until a worker of the server has read it.")


def read_protocol(value: str) -> str | dict[str, Any]:
    """A preset's name, or the object in a JSON file."""
    path = Path(value)
    if path.suffix != ".json":
        return value
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"{value}: {error}", param_hint="--protocol") from error
    if not isinstance(loaded, dict):
        raise click.BadParameter(f"{value}: a JSON object is needed", param_hint="--protocol")
    return loaded


def wait_until_ended(
    source: Backend, evaluation_id: str, as_json: bool, timeout: float | None = None
) -> dict[str, Any]:
    """The evaluation once it has ended; after `timeout` seconds the command ends, and the evaluation goes on."""
    end = None if timeout is None else time.monotonic() + timeout
    with progress_bar(as_json, "image-views") as bar:
        while True:
            evaluation = source.evaluation(evaluation_id)
            if bar is not None:
                progress = evaluation["progress"]
                bar.update(
                    bar.task_ids[0],
                    completed=progress["done"],
                    total=progress["total"],
                    description=evaluation["status"],
                )
            if evaluation["status"] in TERMINAL:
                return evaluation
            if end is not None and time.monotonic() >= end:
                waiting = evaluation["waiting_for"] or evaluation["status"]
                click.echo(f"evaluation {evaluation_id} has not ended within {timeout:g} s: {waiting}", err=True)
                sys.exit(EXIT_INFRASTRUCTURE)
            time.sleep(POLL_SECONDS)


def wait_until_registered(read: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A checkpoint or data set once a worker has read it, whatever came of it."""
    while (document := read())["state"] == "registering":
        time.sleep(POLL_SECONDS)
    return document
