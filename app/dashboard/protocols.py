"""Protocols and provenance as rows of names and values; where members differ, their values stand side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.dashboard.formatting import MISSING

#: Protocol fields in the order of a page, with the page's names. Test scales and modes stand in the members' table.
FIELDS: dict[str, str] = {
    "scales": "test scales Q",
    "scale_step": "scale step, px",
    "modes": "modes",
    "hflip": "horizontal flip",
    "crop_grid": "crops",
    "score_pooling": "score pooling",
    "resize": "resize",
    "antialias": "antialias",
    "long_side": "longer side",
    "pool_rounding": "pool rounding",
    "decoder": "decoder",
    "exif": "EXIF orientation",
    "dtype": "arithmetic",
    "exclude": "excluded images",
}


@dataclass(frozen=True)
class ProtocolRows:
    """Fields with one value for every member, and fields with one value a member."""

    shared: tuple[tuple[str, str], ...]
    own: tuple[tuple[str, tuple[str, ...]], ...]


def describe(protocols: Sequence[Mapping[str, Any]]) -> ProtocolRows:
    """The fields of the members' protocols, in their order; of imported predictions none is known."""
    known = [protocol for protocol in protocols if protocol.get("modes") != ["imported"]] or protocols
    names = [*FIELDS, *sorted({name for protocol in protocols for name in protocol} - set(FIELDS))]
    shared: list[tuple[str, str]] = []
    own: list[tuple[str, tuple[str, ...]]] = []
    for name in names:
        values = tuple(_value(name, protocol.get(name)) for protocol in known if name in protocol)
        label = FIELDS.get(name, name)
        if len(set(values)) == 1 and len(values) == len(known):
            shared.append((label, values[0]))
        elif values:
            texts = (_value(name, one.get(name)) if one in known else MISSING for one in protocols)
            own.append((label, tuple(texts)))
    return ProtocolRows(tuple(shared), tuple(own))


def _value(name: str, value: object) -> str:
    # The blacklist of ImageNet has 1,762 ids.
    if name == "exclude" and isinstance(value, list) and len(value) > 1:
        return f"{len(value):,}, first {value[0]}"
    return text(value)


@dataclass(frozen=True)
class Provenance:
    """Where numbers come from: facts of the whole, and for each member its facts and a row for each of its views."""

    facts: tuple[tuple[str, str], ...]
    members: tuple[MemberProvenance, ...]


@dataclass(frozen=True)
class MemberProvenance:
    """One member; `columns` are the views' fields in their order, a row has one text a column."""

    name: str
    facts: tuple[tuple[str, str], ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def trace(provenance: Mapping[str, Any]) -> Provenance:
    """Lay the stored provenance out; what its writer adds later shows up by itself."""
    whole = {name: value for name, value in provenance.items() if name != "members"}
    return Provenance(tuple(flatten(whole)), tuple(map(_member, provenance.get("members", ()))))


def _member(member: Mapping[str, Any]) -> MemberProvenance:
    views: Sequence[Mapping[str, Any]] = member.get("views", ())
    columns = tuple(dict.fromkeys(name for view in views for name in view))
    facts = {name: value for name, value in member.items() if name not in ("checkpoint", "views")}
    return MemberProvenance(
        name=str(member.get("checkpoint", "")),
        facts=tuple(flatten(facts)),
        columns=columns,
        rows=tuple(tuple(text(view.get(name)) for name in columns) for view in views),
    )


def flatten(value: Any, name: str = "") -> list[tuple[str, str]]:
    """A nested JSON object as (dotted name, text) rows; lists of plain values stay one row."""
    return list(_rows(value, name))


def text(value: object) -> str:
    """A JSON value as a person reads it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(text, value))
    return str(value)


def _rows(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _rows(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and any(isinstance(inner, Mapping | list) for inner in value):
        for position, inner in enumerate(value, start=1):
            yield from _rows(inner, f"{name}.{position}" if len(value) > 1 else name)
    else:
        yield name, text(value)
