"""The check before every view. It refuses unless a rule allows: what was forgotten is closed, not open."""

from __future__ import annotations

from flask import current_app, g, request, session

from app.access.rules import PUBLIC, SAFE_METHODS, Need, need_of
from app.errors import ForbiddenError, UnauthenticatedError
from app.representations.access import Scope
from app.runtime import Runtime
from app.services.access import logins, rate_limits, tokens
from app.services.access.identities import ANONYMOUS, LOCAL, Identity

#: In a browser's signed session cookie, the secret of the login.
LOGIN = "login"

_BEARER = "bearer "


def check(runtime: Runtime, pages: str) -> None:
    """Let a request pass, or refuse it.

    Args:
        runtime: of the application.
        pages: name of the blueprint whose visitors are people, known by a session alone.

    Raises:
        UnauthenticatedError: nobody known asks.
        ForbiddenError: who asks may not do this, or nobody has said who may.
        RateLimitedError: too many requests that start something.
    """
    if request.endpoint is None:
        # No such route, or not by this method: the framework says so.
        return
    need = need_of(current_app, request.endpoint, request.method)
    if need is None:
        raise ForbiddenError("the route has no rule that would allow it")
    is_page = request.blueprint == pages
    if runtime.settings.auth == "local":
        g.caller = LOCAL
    elif need != PUBLIC or (is_page and request.endpoint != f"{pages}.static"):
        g.caller = _of_session(runtime) if is_page else _of_program(runtime)
    if need == PUBLIC or need in caller().scopes:
        _limit(runtime, need)
        return
    if caller().kind == "anonymous":
        raise UnauthenticatedError("a login is needed" if is_page else "Authorization: a bearer token is needed")
    has = ", ".join(sorted(caller().scopes)) or "none"
    raise ForbiddenError(f"the scope {need.value!r} is needed; this {caller().kind} has: {has}")


def caller() -> Identity:
    """Who sent this request."""
    found: Identity = g.get("caller", ANONYMOUS)
    return found


def _of_program(runtime: Runtime) -> Identity:
    """By the token; where nothing changes, by a browser's session too, for what pages link to and show."""
    header = request.headers.get("Authorization")
    if header is not None:
        if not header.lower().startswith(_BEARER):
            raise UnauthenticatedError("Authorization: a bearer token is needed, in the form `Bearer sv_…`")
        return tokens.authenticate(runtime.db, header[len(_BEARER) :].strip())
    return _of_session(runtime) if request.method in SAFE_METHODS else ANONYMOUS


def _of_session(runtime: Runtime) -> Identity:
    secret = session.get(LOGIN)
    found = logins.resume(runtime.db, secret) if isinstance(secret, str) else None
    return found or ANONYMOUS


def _limit(runtime: Runtime, need: Need) -> None:
    """Requests that start or change something are counted by token or person; nobody is where nobody logs in."""
    who = caller()
    if request.method == "POST" and need in (Scope.RUN, Scope.ADMIN) and who.kind in ("user", "token"):
        key = who.credential_id if who.kind == "token" else who.user_id
        rate_limits.spend(runtime.db, "requests", f"{who.kind} {key}", rate_limits.REQUESTS_PER_CALLER)
