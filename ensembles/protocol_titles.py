"""What a protocol is called: its preset, or the nearest one and what differs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ensembles.protocols import IMPORTED, PRESETS, Protocol


def protocol_title(protocol: Protocol | Mapping[str, Any]) -> str:
    """A preset's name, or the nearest preset's with the differing options: `vgg-multi-scale-both, scale step 4`.

    The nearest differs in the fewest fields; of several, one with one or several test scales as here, then the first.
    What was imported is called so.
    """
    ours = protocol if isinstance(protocol, Protocol) else Protocol.parse(protocol)
    if ours.modes == IMPORTED.modes:
        excluded = ours.exclude
        return "imported" if excluded is None else f"imported, {_words('exclude', excluded)}"
    fields = ours.to_dict()
    differing = {
        name: {field for field, value in preset.to_dict().items() if value != fields[field]}
        for name, preset in PRESETS.items()
    }
    nearest = min(
        PRESETS, key=lambda name: (len(differing[name]), _several_scales(PRESETS[name]) != _several_scales(ours))
    )
    return ", ".join([nearest, *(_words(field, fields[field]) for field in fields if field in differing[nearest])])


def _several_scales(protocol: Protocol) -> bool:
    return len(protocol.scales) > 1 if isinstance(protocol.scales, tuple) else protocol.scales == "multi"


def _words(field: str, value: Any) -> str:
    name = field.replace("_", " ")
    if field == "exclude":
        return "nothing excluded" if value is None else f"{len(value):,} ids excluded"
    if isinstance(value, bool):
        return f"{name} {'on' if value else 'off'}"
    return f"{name} {' '.join(map(str, value)) if isinstance(value, list) else value}"
