"""The command `softvote`. Commands that need torch join through the entry point group `softvote.commands`."""

from __future__ import annotations

import importlib.metadata

import click

from app.cli import (
    access,
    catalogue,
    compare,
    datasets,
    doctor,
    ensembles,
    evaluations,
    gates,
    paper,
    predictions,
    processes,
    schedules,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="softvote")
def main() -> None:
    """Evaluate image classifiers at several scales and crops, fuse them, and ask everything later.

    Commands talk to the server named by SOFTVOTE_URL, or else to the local database in SOFTVOTE_HOME.
    """


for _module in (
    processes,
    doctor,
    catalogue,
    datasets,
    evaluations,
    ensembles,
    compare,
    gates,
    paper,
    predictions,
    schedules,
    access,
):
    _module.register(main)
for _entry in importlib.metadata.entry_points(group="softvote.commands"):
    _entry.load()(main)
