"""/workers."""

from __future__ import annotations

from flask import Response

from app.api.blueprints import answer, blueprint, declares, runtime
from app.db.queries import workers as queries
from app.representations.base import Page
from app.representations.catalogue import WorkerDocument

resource = blueprint("workers", "Processes that predict and fuse.")


@resource.get("/workers", responses=declares({200: Page[WorkerDocument]}))
def list_workers() -> Response:
    """List workers, live ones first."""
    with runtime().db.read() as session:
        return answer(Page[WorkerDocument](items=queries.list_all(session)))
