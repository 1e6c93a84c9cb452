"""What commands print: tables for people, JSON for programs, errors with their code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Any, NoReturn, ParamSpec, TypeVar

import click
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from app.errors import (
    ConfigurationError,
    DatabaseDamagedError,
    DatabaseUnavailableError,
    InvalidRequestError,
    SchemaOutdatedError,
    ServiceError,
)
from ensembles.errors import EnsemblesError, Problem

P = ParamSpec("P")
R = TypeVar("R")

#: Columns of output that no terminal bounds: rows stay whole, so that grep and diff work on them.
UNBOUNDED_WIDTH = 10_000

EXIT_FAILED, EXIT_USAGE, EXIT_INFRASTRUCTURE = 1, 2, 4

#: From this HTTP status on a server says that it is at fault itself.
_SERVER_FAULT = 500

#: Codes that say the surroundings are at fault, not the request.
_INFRASTRUCTURE = {
    DatabaseDamagedError.code,
    DatabaseUnavailableError.code,
    SchemaOutdatedError.code,
    ConfigurationError.code,
    "broker_unavailable",
    "rate_limited",
    "server_unreachable",
    "storage_full",
}

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")


def print_json(value: Any) -> None:
    """Indented JSON on standard output."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=not sys.stdout.encoding.lower().startswith("utf")))


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, right: Sequence[str] = (), title: str = ""
) -> None:
    """A table as wide as the terminal, or as wide as it needs in a file or pipe; numbers stand right-aligned."""
    table = Table(title=title or None, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    console = Console(highlight=False, markup=False)
    console.width = output_width()
    console.print(table)


def output_width() -> int:
    """Columns that a line may fill: the terminal's, or any number in a file or pipe."""
    console = Console()
    return console.width if console.is_terminal else UNBOUNDED_WIDTH


def print_fields(pairs: Iterable[tuple[str, Any]]) -> None:
    """Name and value, a line each; empty values are left out."""
    shown = [(name, value) for name, value in pairs if value not in (None, "", [])]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        click.echo(f"{name:<{width}}  {value}")


def thousands(number: int | None) -> str:
    """`50,000`; nothing for None."""
    return "" if number is None else f"{number:,}"


def progress_bar(as_json: bool, things: str) -> AbstractContextManager[Progress | None]:
    """A bar that counts `things` on standard error; None where nobody would see it, or JSON was asked for."""
    if as_json or not sys.stderr.isatty():
        return nullcontext()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=Console(stderr=True))
    bar.add_task(things, total=None)
    return bar


def mover(bar: Progress | None) -> Callable[[int, int], None] | None:
    """What moves the bar when called with (done, total)."""
    return None if bar is None else lambda done, total: bar.update(bar.task_ids[0], completed=done, total=total)


def named_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Turn the project's errors into one clear message and an exit code: 2 the request, 4 the surroundings."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except (ServiceError, EnsemblesError) as error:
            _fail(error, as_json=bool(kwargs.get("as_json")))
        except ValidationError as error:
            _fail(InvalidRequestError(_problems(error)), as_json=bool(kwargs.get("as_json")))

    return wrapped


def _problems(error: ValidationError) -> list[Problem]:
    """What pydantic found wrong with a request that was made from options."""
    return [Problem(".".join(map(str, found["loc"])), found["msg"], found["input"]) for found in error.errors()]


def _fail(error: ServiceError | EnsemblesError, *, as_json: bool) -> NoReturn:
    problem: dict[str, Any] = dict(getattr(error, "problem", {}) or {})
    code = str(problem.get("code") or error.code)
    problems: Sequence[Problem] = getattr(error, "problems", ())
    lines = [str(p) for p in problems] or [f"{e['pointer']}: {e['message']}" for e in problem.get("errors", [])]
    if as_json:
        answer = problem or {"code": code, "detail": str(error), "errors": lines}
        click.echo(json.dumps(answer, indent=2, default=str), err=True)
    elif lines:
        click.echo(f"Error [{code}]:", err=True)
        for line in lines:
            click.echo(f"  {line}", err=True)
    else:
        click.echo(f"Error [{code}]: {error}", err=True)
    surroundings = code in _INFRASTRUCTURE or int(problem.get("status") or 0) >= _SERVER_FAULT
    sys.exit(EXIT_INFRASTRUCTURE if surroundings else EXIT_USAGE)
