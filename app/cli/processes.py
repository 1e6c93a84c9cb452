"""`softvote web` and `softvote migrate`; `worker`, `scheduler` and `up` join from the worker side."""

from __future__ import annotations

import os

import click

from app.cli.output import named_errors
from app.config import Settings
from app.db import migrations


@click.command()
@click.option("--bind", help="HOST:PORT; by default SOFTVOTE_BIND, else 127.0.0.1:8080.")
@click.option("--threads", type=click.IntRange(1, 64), default=8, show_default=True)
@named_errors
def web(bind: str | None, threads: int) -> None:
    """Serve the dashboard and the REST interface (waitress; behind gunicorn, serve app.wsgi:application)."""
    import waitress  # noqa: PLC0415 - other commands need neither the server nor Flask

    from app.access import first_start  # noqa: PLC0415
    from app.factory import create_app  # noqa: PLC0415
    from app.runtime import build_runtime  # noqa: PLC0415

    if bind:
        os.environ["SOFTVOTE_BIND"] = bind
    settings = Settings.from_environment()
    runtime = build_runtime(settings)
    application = create_app(runtime)
    click.echo(f"Softvote listens on http://{settings.bind}", err=True)
    if found := first_start.notice(runtime):
        click.echo(found, err=True)
    waitress.serve(application, listen=settings.bind, threads=threads, ident="softvote")


@click.command()
@named_errors
def migrate() -> None:
    """Bring the database's schema to this release; safe to run twice, or from two places at once."""
    from app.runtime import build_runtime  # noqa: PLC0415

    build_runtime(Settings.from_environment(), migrate=True).db.dispose()
    click.echo(f"database schema at {migrations.head()}")


def register(group: click.Group) -> None:
    """Add these commands."""
    group.add_command(web)
    group.add_command(migrate)
