"""Lists keep their state in the URL: filters and an opaque cursor."""

from __future__ import annotations

from typing import Any

from flask import request, url_for

PAGE_SIZE = 50


def wanted(name: str) -> str | None:
    """A query parameter; None where it is missing or blank."""
    return request.args.get(name, "").strip() or None


def here(**changes: Any) -> str:
    """The address of this page with some parameters changed; None removes one, and any change of filter the cursor."""
    kept = {name: [value for value in values if value] for name, values in request.args.lists()}
    arguments: dict[str, Any] = {**(request.view_args or {}), **kept, "cursor": None, **changes}
    return url_for(request.endpoint or "", **{name: value for name, value in arguments.items() if value})
