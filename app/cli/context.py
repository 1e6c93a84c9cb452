"""Which backend a command speaks to."""

from __future__ import annotations

from app.cli.backends import Backend, LocalBackend
from app.cli.http_backend import HttpBackend
from app.config import Settings


def backend() -> Backend:
    """The server of SOFTVOTE_URL, or the local database without it."""
    settings = Settings.from_environment()
    return HttpBackend(settings.url, settings.token) if settings.url else LocalBackend()
