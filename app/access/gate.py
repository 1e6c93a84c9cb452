"""The check before every view. It refuses unless a rule allows: what was forgotten is closed, not open."""

from __future__ import annotations

from flask import current_app, g, request

from app.access.rules import PUBLIC, need_of
from app.errors import ForbiddenError
from app.services.identities import ANONYMOUS, LOCAL, Identity


def check() -> None:
    """Let a request pass, or refuse it.

    Raises:
        ForbiddenError: who asks may not do this, or nobody has said who may.
    """
    if request.endpoint is None:
        # No such route, or not by this method: the framework says so.
        return
    g.caller = LOCAL
    need = need_of(current_app, request.endpoint, request.method)
    if need is None:
        raise ForbiddenError("the route has no rule that would allow it")
    if need != PUBLIC and need not in caller().scopes:
        raise ForbiddenError(f"the scope {need.value!r} is needed")


def caller() -> Identity:
    """Who sent this request."""
    found: Identity = g.get("caller", ANONYMOUS)
    return found
