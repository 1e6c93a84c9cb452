"""/events."""

from __future__ import annotations

from flask import Response
from pydantic import Field

from app.api.blueprints import answer, blueprint, declares, runtime
from app.api.schemas import PageQuery, Text
from app.db.queries import events as queries
from app.representations.base import Page
from app.representations.catalogue import EventDocument

resource = blueprint("events", "What happened, to what, by whom.")


class EventQuery(PageQuery):
    """Which events."""

    evaluation: Text | None = Field(default=None, description="id")
    subject: Text | None = Field(default=None, description="id of a part, item, evaluation, checkpoint or data set")


@resource.get("/events", responses=declares({200: Page[EventDocument]}))
def list_events(query: EventQuery) -> Response:
    """List events, newest first."""
    with runtime().db.read() as session:
        return answer(
            queries.list_page(
                session, cursor=query.cursor, limit=query.limit, evaluation=query.evaluation, subject=query.subject
            )
        )
