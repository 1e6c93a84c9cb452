"""Pydantic's complaints as the project's own: one `Problem` for each place, however many types were tried there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

from flask import request
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from app.api.errors import MalformedJsonError
from app.errors import InvalidRequestError
from ensembles.errors import Problem

#: Pydantic's error types that have a code of their own; any other is "invalid_value".
CODES = {"missing": "missing_field", "extra_forbidden": "unknown_field"}

#: What a client of the API calls an instance of a class or a dict.
RULES = {"model_type": "an object", "dict_type": "an object", "model_attributes_type": "an object"}

#: Characters of a refused value that a message repeats.
MAX_SHOWN = 200

Place = tuple[str | int, ...]


class Shown(str):
    """Text that stands for a value in a message, without quotes around it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def refuse(error: ValidationError) -> NoReturn:
    """Name everything in which a body, query, path or header does not fit its schema.

    Raises:
        InvalidRequestError: always, but for an empty body.
        MalformedJsonError: the body is empty.
    """
    errors = error.errors(include_url=False)
    if any(not complaint["loc"] for complaint in errors):
        raise MalformedJsonError("an object is needed; got an empty body")
    raise InvalidRequestError(problems_of(errors, request.get_json(silent=True)))


def problems_of(errors: Iterable[ErrorDetails], body: Any) -> list[Problem]:
    """One problem a place.

    A field that may have several types complains once for each type. A complaint about something inside the value
    tells more than one about the value itself, so the latter are dropped where there is both.

    Args:
        errors: as `ValidationError.errors()` gives them.
        body: the parsed JSON, to tell keys and indexes in an error's location from the names of types tried.
    """
    found: dict[Place, list[ErrorDetails]] = {}
    for error in errors:
        found.setdefault(_place(error, body), []).append(error)
    return [
        _problem(place, complaints)
        for place, complaints in found.items()
        if not any(len(other) > len(place) and other[: len(place)] == place for other in found)
    ]


def _place(error: ErrorDetails, body: Any) -> Place:
    place: list[str | int] = []
    value = body
    for depth, step in enumerate(error["loc"]):
        inside = _child(value, step)
        last_step_is_a_name = error["type"] in CODES and depth == len(error["loc"]) - 1
        if inside is not _NOTHING:
            value = inside
        elif depth and not last_step_is_a_name:
            continue
        place.append(step)
    return tuple(place)


_NOTHING = object()


def _child(value: Any, step: str | int) -> Any:
    if isinstance(step, str) and isinstance(value, Mapping):
        return value.get(step, _NOTHING)
    if isinstance(step, int) and isinstance(value, Sequence) and step < len(value):
        return value[step]
    return _NOTHING


def _problem(place: Place, complaints: Sequence[ErrorDetails]) -> Problem:
    kind = complaints[0]["type"]
    field = ".".join(map(str, place))
    code = CODES.get(kind, "invalid_value")
    if code == "missing_field":
        return Problem(field, "this field is required", Shown("nothing"), code)
    if code == "unknown_field":
        return Problem(field, "no such field", _shown(complaints[0]["input"]), code)
    rules = list(dict.fromkeys(map(_rule, complaints)))
    return Problem(field, " or ".join(rules), _shown(complaints[0]["input"]), code)


def _rule(complaint: ErrorDetails) -> str:
    message = complaint["msg"]
    lowered = message[:1].lower() + message[1:]
    return RULES.get(complaint["type"], lowered.removeprefix("input should be "))


def _shown(value: object) -> Shown:
    text = repr(value)
    return Shown(text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…")
