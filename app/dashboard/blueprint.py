"""The blueprint of the pages: assets, and what every template and view works with."""

from __future__ import annotations

import datetime as dt
import hashlib
from functools import lru_cache
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path
from typing import cast

from flask import Blueprint, Response, abort, current_app, request, url_for
from flask.blueprints import BlueprintSetupState

from app.access import gate, rules
from app.dashboard import charts, formatting
from app.dashboard.paging import here
from app.runtime import Runtime

#: Under this name the Flask application carries its Runtime.
EXTENSION = "softvote"

#: Seconds that browsers keep an asset; its address changes with its content.
ASSET_SECONDS = 365 * 86_400

blueprint = rules.by_method(
    Blueprint("dashboard", __name__, template_folder="templates", static_folder="static", static_url_path="/assets")
)


def runtime() -> Runtime:
    """The runtime of the application that serves this request."""
    return cast("Runtime", current_app.extensions[EXTENSION])


def asset(name: str) -> str:
    """Address of a file below static/, with a part that changes with its content."""
    return url_for("dashboard.static", filename=name, v=_fingerprint(name))


def conditional(version_tag: str, body: str) -> Response:
    """A fragment with a weak ETag, or 304 where the browser has this version."""
    response = Response(body, mimetype="text/html")
    response.set_etag(version_tag, weak=True)
    response.headers["Cache-Control"] = "no-cache, private"
    return cast("Response", response.make_conditional(request))


@lru_cache(maxsize=256)
def _fingerprint(name: str) -> str:
    path = Path(str(blueprint.static_folder)) / name
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


@blueprint.before_request
def _refuse_nul() -> None:
    """PostgreSQL stores no NUL, so no name, id or cursor holds one."""
    if any("\x00" in text for text in (request.path, *request.args.keys(), *request.args.values())):
        abort(HTTPStatus.BAD_REQUEST, "the address holds a NUL character")


@blueprint.after_request
def _keep_assets(response: Response) -> Response:
    if request.endpoint == "dashboard.static" and "v" in request.args:
        response.headers["Cache-Control"] = f"public, max-age={ASSET_SECONDS}, immutable"
    return response


@blueprint.record_once
def _add_globals(state: BlueprintSetupState) -> None:
    """Template globals, so that imported macros have them too."""
    state.app.jinja_env.globals.update(
        asset=asset,
        me=gate.caller,
        charts=charts,
        fmt=formatting,
        here=here,
        may=lambda scope: scope in gate.caller().scopes,
        now=lambda: dt.datetime.now(dt.UTC),
        release=version("softvote"),
    )
