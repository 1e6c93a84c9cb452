"""/healthz and /readyz, for whoever starts, watches and balances processes."""

from __future__ import annotations

from flask import Response
from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.tag import Tag

from app.access.rules import needs
from app.api.blueprints import answer, declares, operation_id, runtime
from app.db import migrations
from app.errors import SchemaOutdatedError
from app.representations.health import HealthDocument

resource = APIBlueprint(
    "health",
    __name__,
    abp_tags=[Tag(name="health", description="Is the process alive, and can it serve?")],
    operation_id_callback=operation_id,
)


@resource.get("/healthz", responses=declares({200: HealthDocument}, public=True))
@needs("public")
def get_health() -> Response:
    """Say that the process answers; nothing else is looked at."""
    return answer(HealthDocument(status="ok"))


@resource.get("/readyz", responses=declares({200: HealthDocument}, SchemaOutdatedError, public=True))
@needs("public")
def get_readiness() -> Response:
    """Say whether requests can be served: the database answers and its schema is this release's."""
    migrations.check(runtime().db)
    return answer(HealthDocument(status="ready"))
