"""Builds the web application: the REST interface, the dashboard, and the rules that hold for every request."""

from __future__ import annotations

import contextlib
import os
import secrets
from importlib.metadata import version
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from flask import Response, request
from flask_openapi.models.info import Info
from flask_openapi.openapi import OpenAPI
from flask_wtf import CSRFProtect

from app.access import gate
from app.api import (
    answers,
    badges,
    checkpoints,
    comparisons,
    datasets,
    docs,
    estimates,
    evaluations,
    events,
    gates,
    health,
    metrics,
    protocols,
    webhooks,
    workers,
)
from app.api.blueprints import EXTENSION
from app.api.errors import ForeignHostError, problem_of, problem_response
from app.api.validation import refuse
from app.config import LOOPBACK_HOSTS, Settings
from app.dashboard.errors import error_page
from app.dashboard.views import blueprint as dashboard
from app.errors import ConfigurationError
from app.representations.problems import ProblemDocument
from app.runtime import Runtime
from ensembles.errors import Problem

#: Bytes of a request's body; the largest honest one lists 64 checkpoints.
MAX_BODY_BYTES: Final = 1_000_000

SECRET_BYTES: Final = 32

#: What begins so is for programs: errors there are problem documents, and nobody keeps a copy of an answer.
API_PATHS: Final = ("/api/", "/healthz", "/readyz", "/metrics")

API_RESOURCES: Final = (
    checkpoints,
    datasets,
    protocols,
    estimates,
    evaluations,
    answers,
    comparisons,
    badges,
    gates,
    webhooks,
    workers,
    events,
    health,
    metrics,
)

#: Nothing from another host, nothing inline: a name that holds markup stays text, and if it did not, dead.
HEADERS: Final = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",
            "connect-src 'self'",
            "font-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'self'",
        )
    ),
    "X-Content-Type-Options": "nosniff",
    # Not "no-referrer": over TLS the check of form tokens compares the Referer.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def create_app(runtime: Runtime) -> OpenAPI:
    """The WSGI application of one process."""
    app = OpenAPI(
        "app",
        info=Info(
            title="Softvote",
            version=version("softvote"),
            description="Evaluate image classifiers and their ensembles; every number keeps its protocol.",
        ),
        doc_ui=False,
        validation_error_model=ProblemDocument,
        validation_error_callback=refuse,
        static_folder=None,
    )
    app.openapi_version = "3.1.0"
    app.extensions[EXTENSION] = runtime
    app.config.update(
        SECRET_KEY=secret_key(runtime.settings),
        MAX_CONTENT_LENGTH=MAX_BODY_BYTES,
        SESSION_COOKIE_NAME="softvote_session",
        SESSION_COOKIE_SAMESITE="Lax",
        # A form may stay open for a day; its token lasts as long as the session that it belongs to.
        WTF_CSRF_TIME_LIMIT=None,
    )
    app.before_request(lambda: check_host(runtime.settings))
    app.before_request(gate.check)
    app.after_request(add_headers)
    app.register_error_handler(Exception, answer_error)
    forms = CSRFProtect(app)
    for module in API_RESOURCES:
        app.register_api(module.resource)
        # The API knows no cookies, so nobody else's can be used on it.
        forms.exempt(module.resource)
    app.register_blueprint(docs.docs)
    app.register_blueprint(dashboard)
    return app


def secret_key(settings: Settings) -> bytes:
    """What signs sessions and form tokens: the setting, or 32 random bytes kept in a file that only its owner reads.

    Raises:
        ConfigurationError: the file is too short to be a key.
    """
    if settings.secret_key is not None:
        return settings.secret_key.encode()
    path = settings.home / "secret_key"
    if not path.exists():
        _create_secret(path)
    key = path.read_bytes()
    if len(key) < SECRET_BYTES:
        rule = f"a file of at least {SECRET_BYTES} bytes; delete it and a new one is made"
        raise ConfigurationError([Problem(str(path), rule, f"{len(key)} bytes")])
    return key


def _create_secret(path: Path) -> None:
    """Of several processes that start at once, one wins; a reader never sees half a key."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(SECRET_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink()


def check_host(settings: Settings) -> None:
    """In local mode, answer only to this machine's own names: nobody logs in, so the browser must mean this server.

    Raises:
        ForeignHostError: the Host header names another.
    """
    if settings.auth != "local":
        return
    name = urlsplit(f"//{request.host}").hostname
    if name not in LOOPBACK_HOSTS:
        raise ForeignHostError(request.host, LOOPBACK_HOSTS)


def answer_error(error: Exception) -> Response:
    """A failed request's problem document; people who opened a page get it as a page."""
    response = problem_response(error)
    if not request.path.startswith(API_PATHS) and request.accept_mimetypes.accept_html:
        response.set_data(error_page(problem_of(error)))
        response.mimetype = "text/html"
    return response


def add_headers(response: Response) -> Response:
    """The headers of every answer; what a view set itself stays."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.path.startswith(API_PATHS) and request.endpoint != "api_docs.static":
        response.headers.setdefault("Cache-Control", "no-store")
    return response
