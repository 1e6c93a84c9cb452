"""What `softvote evaluate --estimate` prints."""

from __future__ import annotations

from typing import Any

import click

from app.cli.output import print_fields, print_json, print_table


def show(estimate: dict[str, Any], as_json: bool) -> None:
    """The sums first, then view by view what exists already."""
    if as_json:
        print_json(estimate)
        return
    devices = [_device(device) for device in estimate["devices"]]
    print_fields(
        [
            ("data set", f"{estimate['dataset']} ({estimate['images']:,} images)"),
            ("image-views", f"{estimate['image_views']:,}, of which {estimate['image_views_done']:,} are known"),
            ("compute", f"{estimate['gmacs']:,.1f} GMAC of {estimate['gmacs_total']:,.1f}"),
            ("disk", f"{estimate['disk_bytes'] / 1e6:,.1f} MB"),
            ("time", "; ".join(devices) or "no live worker predicts"),
        ]
    )
    click.echo()
    print_table(
        ["checkpoint", "mode", "Q", "known", "needed", "GMAC"],
        [
            (v["checkpoint"], v["mode"], v["scale"], f"{v['done']:,}", f"{v['total']:,}", f"{v['gmacs']:,.1f}")
            for v in estimate["views"]
        ],
        right=("Q", "known", "needed", "GMAC"),
    )


def _device(device: dict[str, Any]) -> str:
    where = f"{device['worker']} ({device['device_name'] or device['device']})"
    return f"{where} {device['seconds']:,.0f} s" if device["seconds"] is not None else f"{where} not measured yet"
