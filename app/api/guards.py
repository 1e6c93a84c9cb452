"""What every request must pass before a handler of the API runs. The API knows no cookies; this is for local mode.

Without a login, a page of another site, opened in a browser on this machine, could send requests here. Browsers ask
first (a CORS preflight, which is never granted) when the type is application/json or the method is DELETE or PATCH,
and they say where a request comes from.
"""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Iterator
from typing import Any, NoReturn
from urllib.parse import urlsplit

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge

from app.api.errors import CrossSiteError, JsonRequiredError, MalformedJsonError

UNSAFE_METHODS = frozenset({"POST", "PUT", "PATCH", "DELETE"})

#: Levels of nesting of a body; requests need four.
MAX_DEPTH = 32


def check() -> None:
    """Refuse an unsafe request that comes from another site, or whose body is not JSON.

    Raises:
        CrossSiteError: the browser names another site.
        JsonRequiredError: the Content-Type is not application/json.
        MalformedJsonError: the body cannot be read as JSON.
        RequestEntityTooLarge: the body is longer than MAX_CONTENT_LENGTH.
    """
    if request.method not in UNSAFE_METHODS:
        return
    _check_site()
    if request.method == "DELETE":
        return
    if request.mimetype != "application/json":
        raise JsonRequiredError(request.content_type or "")
    body = request.get_data()
    # A body without a length is not refused at the cap, as others are, but cut there without a word.
    if request.content_length is None and len(body) >= (request.max_content_length or math.inf):
        raise RequestEntityTooLarge
    if body:
        _check_json(body)


def _check_site() -> None:
    site = request.headers.get("Sec-Fetch-Site")
    if site not in (None, "same-origin", "none"):
        raise CrossSiteError("Sec-Fetch-Site", site)
    origin = request.headers.get("Origin")
    # The host alone: behind a proxy that ends TLS the scheme differs.
    if origin is not None and urlsplit(origin).netloc != request.host:
        raise CrossSiteError("Origin", origin)


def _check_json(body: bytes) -> None:
    try:
        value = json.loads(body, parse_constant=_refuse_constant)
    except RecursionError:
        raise MalformedJsonError(f"at most {MAX_DEPTH} levels of nesting are read") from None
    except ValueError as error:
        raise MalformedJsonError(str(error)) from None
    if not isinstance(value, dict):
        raise MalformedJsonError(f"an object is needed; got {reprlib.repr(value)}")
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [child for item in level for child in _children(item)]
    if level:
        raise MalformedJsonError(f"at most {MAX_DEPTH} levels of nesting are read")


def _children(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
