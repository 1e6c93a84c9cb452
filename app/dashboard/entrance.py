"""The way to the login page and back to where somebody wanted to go, on this site alone."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import urlsplit

from flask import Response, request, url_for

from app.errors import UnauthenticatedError


def ask_to_log_in(error: UnauthenticatedError) -> Response:
    """Lead to the login page; a fragment that htmx asked for leads its whole page there."""
    if request.headers.get("HX-Request") == "true":
        wanted = urlsplit(request.headers.get("HX-Current-URL", ""))
        address = _login(f"{wanted.path}?{wanted.query}" if wanted.query else wanted.path)
        return Response(str(error), HTTPStatus.UNAUTHORIZED, {"HX-Redirect": address}, mimetype="text/plain")
    opened = request.full_path.removesuffix("?") if request.method in ("GET", "HEAD") else ""
    return Response(status=HTTPStatus.SEE_OTHER, headers={"Location": _login(opened)})


def next_address(text: str | None) -> str:
    """Where to go after the login: a path of this site, or else the first page.

    Browsers read `//host`, and with backslashes or line breaks much else, as another host's address.
    """
    overview = url_for("dashboard.overview")
    if not text or not text.startswith("/") or text.startswith("//") or "\\" in text or not text.isprintable():
        return overview
    try:
        parts = urlsplit(text)
    except ValueError:
        return overview
    return overview if parts.scheme or parts.netloc else text


def _login(wanted: str) -> str:
    safe = next_address(wanted)
    return url_for("dashboard.login", next=None if safe == url_for("dashboard.overview") else safe)
