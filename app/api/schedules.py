"""/schedules."""

from __future__ import annotations

from flask import Response
from pydantic import Field

from app.api.blueprints import PREFIX, accepted, answer, blueprint, declares, described, runtime
from app.api.preconditions import EDITED, MatchHeader, expected_versions
from app.api.schemas import KeyPath, PageQuery, Query
from app.db.queries import schedules as queries
from app.errors import NameTakenError, NotFoundError, PreconditionFailedError, StateConflictError
from app.representations.base import Page
from app.representations.gates import Metric
from app.representations.requests import EmptyRequest
from app.representations.schedules import (
    AcknowledgeRequest,
    EnvironmentDiffDocument,
    MovedImagesDocument,
    RunVerdict,
    ScheduleChange,
    ScheduleDocument,
    ScheduleRequest,
    ScheduleRunDocument,
    TrendDocument,
)
from app.services.scheduling import schedules as service

resource = blueprint("schedules", "Evaluations that are made again and again, and what changed between them.")

SHOWN = described(resource, ScheduleDocument, "ETag")
CREATED = described(resource, ScheduleDocument, "Location", "ETag")
STARTED = described(resource, ScheduleRunDocument, "Location", "Retry-After")


class RunQuery(PageQuery):
    """Which runs."""

    verdict: RunVerdict | None = None


class TrendQuery(Query):
    """Of which number."""

    metric: Metric = "top1_error"


class EnvironmentQuery(Query):
    """Compared with which run."""

    base: str = Field(min_length=1, max_length=24, description="id of an earlier run of the schedule")


class RunPath(KeyPath):
    """A path that names a run of a schedule."""

    run: str = Field(min_length=1, max_length=24)


def _shown(key: str, status: int = 200, **headers: str) -> Response:
    """A schedule; its ETag names the edit, since fire times and runs come and go without one."""
    with runtime().db.read() as session:
        document = queries.get(session, key)
    response = answer(document, status, headers)
    response.set_etag(str(document.version))
    return response


@resource.get("/schedules", responses=declares({200: Page[ScheduleDocument]}))
def list_schedules(query: PageQuery) -> Response:
    """List schedules, newest first."""
    with runtime().db.read() as session:
        return answer(queries.list_page(session, cursor=query.cursor, limit=query.limit))


@resource.post("/schedules", responses=declares({201: CREATED}, NameTakenError, unsafe=True))
def create_schedule(body: ScheduleRequest) -> Response:
    """Make a schedule; it fires at its first slot from now on."""
    key = service.create(runtime().db, body)
    return _shown(key, 201, Location=f"{PREFIX}/schedules/{key}")


@resource.get("/schedules/<key>", responses=declares({200: SHOWN}, NotFoundError))
def get_schedule(path: KeyPath) -> Response:
    """Show one schedule, with its next five fire times."""
    return _shown(path.key)


@resource.patch(
    "/schedules/<key>", responses=declares({200: SHOWN}, NotFoundError, NameTakenError, *EDITED, unsafe=True)
)
def change_schedule(path: KeyPath, header: MatchHeader, body: ScheduleChange) -> Response:  # noqa: ARG001 - documents it
    """Edit a schedule; If-Match names the version that was seen."""
    return _shown(service.change(runtime().db, path.key, body, expected_versions(required=True)))


@resource.delete(
    "/schedules/<key>", responses=declares({204: None}, NotFoundError, PreconditionFailedError, unsafe=True)
)
def remove_schedule(path: KeyPath, header: MatchHeader) -> Response:  # noqa: ARG001 - documents it
    """Forget a schedule and its runs; evaluations stay. With If-Match only the version that it names."""
    service.remove(runtime().db, path.key, expected_versions(required=False))
    return Response(status=204)


@resource.post("/schedules/<key>/pause", responses=declares({200: SHOWN}, NotFoundError, unsafe=True))
def pause_schedule(path: KeyPath, body: EmptyRequest) -> Response:  # noqa: ARG001 - documents the body
    """Fire no more until it is resumed; runs under way go on."""
    return _shown(service.pause(runtime().db, path.key))


@resource.post("/schedules/<key>/resume", responses=declares({200: SHOWN}, NotFoundError, unsafe=True))
def resume_schedule(path: KeyPath, body: EmptyRequest) -> Response:  # noqa: ARG001 - documents the body
    """Fire again from the next slot on."""
    return _shown(service.resume(runtime().db, path.key))


@resource.post(
    "/schedules/<key>/run", responses=declares({202: STARTED}, NotFoundError, StateConflictError, unsafe=True)
)
def run_schedule(path: KeyPath, body: EmptyRequest) -> Response:  # noqa: ARG001 - documents the body
    """Begin a run beside the slots."""
    run_id = service.run_now(runtime().db, path.key)
    with runtime().db.read() as session:
        document = queries.get_run(session, path.key, run_id)
    return accepted(document, f"{PREFIX}/schedules/{document.schedule}/runs/{run_id}")


@resource.get("/schedules/<key>/runs", responses=declares({200: Page[ScheduleRunDocument]}, NotFoundError))
def list_schedule_runs(path: KeyPath, query: RunQuery) -> Response:
    """List the runs of a schedule, newest first."""
    with runtime().db.read() as session:
        return answer(
            queries.list_runs(session, path.key, cursor=query.cursor, limit=query.limit, verdict=query.verdict)
        )


@resource.get("/schedules/<key>/runs/<run>", responses=declares({200: ScheduleRunDocument}, NotFoundError))
def get_schedule_run(path: RunPath) -> Response:
    """Show one run."""
    with runtime().db.read() as session:
        return answer(queries.get_run(session, path.key, path.run))


@resource.get("/schedules/<key>/runs/<run>/moved", responses=declares({200: MovedImagesDocument}, NotFoundError))
def get_moved_images(path: RunPath) -> Response:
    """Show the images whose answers moved in a run."""
    with runtime().db.read() as session:
        return answer(queries.moved_images(session, path.key, path.run))


@resource.get(
    "/schedules/<key>/runs/<run>/environment", responses=declares({200: EnvironmentDiffDocument}, NotFoundError)
)
def get_environment_difference(path: RunPath, query: EnvironmentQuery) -> Response:
    """Show what two runs were not computed alike with."""
    with runtime().db.read() as session:
        return answer(queries.environment_diff(session, path.key, query.base, path.run))


@resource.post(
    "/schedules/<key>/runs/<run>/acknowledge",
    responses=declares({200: ScheduleRunDocument}, NotFoundError, StateConflictError, unsafe=True),
)
def acknowledge_schedule_run(path: RunPath, body: AcknowledgeRequest) -> Response:
    """Note that somebody looked at a run; with `accept`, later runs are judged against it."""
    service.acknowledge(runtime().db, path.key, path.run, body)
    with runtime().db.read() as session:
        return answer(queries.get_run(session, path.key, path.run))


@resource.get("/schedules/<key>/trend", responses=declares({200: TrendDocument}, NotFoundError))
def get_trend(path: KeyPath, query: TrendQuery) -> Response:
    """Show an error over the runs of a schedule."""
    with runtime().db.read() as session:
        return answer(queries.trend(session, path.key, query.metric))
