"""Builds the web application: the REST interface, the dashboard, and the rules that hold for every request."""

from __future__ import annotations

import contextlib
import os
import secrets
from importlib.metadata import version
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from flask import Response, request
from flask.globals import request_ctx
from flask_openapi.models.info import Info
from flask_openapi.openapi import OpenAPI
from flask_wtf import CSRFProtect
from werkzeug.middleware.proxy_fix import ProxyFix

from app.access import gate
from app.api import (
    answers,
    badges,
    checkpoints,
    comparisons,
    contenders,
    datasets,
    docs,
    ensembles,
    estimates,
    evaluations,
    events,
    gates,
    health,
    metrics,
    protocols,
    schedules,
    searches,
    tokens,
    users,
    webhooks,
    workers,
)
from app.api.blueprints import EXTENSION
from app.api.errors import ForeignHostError, problem_of, problem_response
from app.api.validation import refuse
from app.config import Settings
from app.dashboard.entrance import ask_to_log_in
from app.dashboard.errors import error_page
from app.dashboard.views import blueprint as dashboard
from app.errors import ConfigurationError, ForbiddenError, UnauthenticatedError
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
    ensembles,
    searches,
    contenders,
    schedules,
    webhooks,
    workers,
    events,
    tokens,
    users,
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
        security_schemes={"token": {"type": "http", "scheme": "bearer", "description": "A token, `sv_…`."}},
        doc_ui=False,
        validation_error_model=ProblemDocument,
        validation_error_callback=refuse,
        static_folder=None,
    )
    app.openapi_version = "3.1.0"
    settings = runtime.settings
    is_https = settings.public_url.startswith("https://")
    if settings.proxies:
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=settings.proxies, x_proto=settings.proxies, x_host=0, x_port=0, x_prefix=0
        )
    app.extensions[EXTENSION] = runtime
    app.config.update(
        SECRET_KEY=secret_key(runtime.settings),
        MAX_CONTENT_LENGTH=MAX_BODY_BYTES,
        SESSION_COOKIE_NAME="__Host-softvote_session" if is_https else "softvote_session",
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=is_https,
        # A form may stay open for a day; its token lasts as long as the session that it belongs to.
        WTF_CSRF_TIME_LIMIT=None,
    )
    app.before_request(lambda: check_host(runtime.settings))
    app.before_request(lambda: gate.check(runtime, pages=dashboard.name))
    app.after_request(lambda response: add_headers(response, settings))
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
    """Answer only to the server's own names; where nobody logs in, to this machine alone.

    Raises:
        ForeignHostError: the Host header names another.
        ForbiddenError: nobody logs in, and the request comes from elsewhere.
    """
    try:
        name = urlsplit(f"//{request.host}").hostname
    except ValueError:
        name = None
    if name not in settings.hosts:
        raise ForeignHostError(request.host, settings.hosts)
    if settings.auth == "local" and not _is_this_machine(request.remote_addr):
        # A server that was bound past the setting, as by gunicorn's --bind, opens nothing.
        raise ForbiddenError("SOFTVOTE_AUTH=local answers this machine alone; for others set SOFTVOTE_AUTH=users")


def _is_this_machine(address: str | None) -> bool:
    try:
        found = ip_address(address or "")
    except ValueError:
        return False
    return found.is_loopback or (
        isinstance(found, IPv6Address) and bool(found.ipv4_mapped and found.ipv4_mapped.is_loopback)
    )


def answer_error(error: Exception) -> Response:
    """A failed request's problem document; people who opened a page get it as a page."""
    if isinstance(error, UnauthenticatedError) and is_for_people():
        return ask_to_log_in(error)
    response = problem_response(error)
    # A Host header that is none at all leaves no routes to link to.
    has_links = request_ctx.url_adapter is not None
    if has_links and not request.path.startswith(API_PATHS) and request.accept_mimetypes.accept_html:
        response.set_data(error_page(problem_of(error)))
        response.mimetype = "text/html"
    return response


def is_for_people() -> bool:
    """Whether a browser's visitor opened the address, rather than a program."""
    return not request.path.startswith(API_PATHS) or request.endpoint == "api_docs.show_docs"


def add_headers(response: Response, settings: Settings) -> Response:
    """The headers of every answer; what a view set itself stays."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.path.startswith(API_PATHS) and request.endpoint != "api_docs.static":
        response.headers.setdefault("Cache-Control", "no-store")
    elif settings.auth != "local":
        response.headers.setdefault("Cache-Control", "no-cache, private")
    if settings.public_url.startswith("https://"):
        response.headers.setdefault("Strict-Transport-Security", f"max-age={365 * 86_400}")
    return response
