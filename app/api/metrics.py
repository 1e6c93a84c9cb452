"""/metrics, for Prometheus: read from the database at each scrape, so any web process gives the same answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from typing import cast

from flask import Flask, Response, current_app
from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.tag import Tag
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.access.rules import needs
from app.api.blueprints import SECURITY, declares, operation_id, runtime
from app.db.queries import operations
from app.db.queries.operations import EventTally, Snapshot

resource = APIBlueprint(
    "metrics",
    __name__,
    abp_security=SECURITY,
    abp_tags=[Tag(name="metrics", description="Numbers for Prometheus.")],
    operation_id_callback=operation_id,
)

_TEXT = {"description": "Prometheus text format.", "content": {"text/plain": {"schema": {"type": "string"}}}}
#: Under this name the Flask application keeps its tally.
_EXTENSION = "softvote-events"


@resource.get("/metrics", responses=declares({200: _TEXT}))
@needs("read")
def get_metrics() -> Response:
    """Show how much waits, who works, and what happened how often."""
    with runtime().db.read() as session:
        found = operations.snapshot(session)
        events = _tally(current_app).read(session)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(found, events, runtime().artifacts.free_bytes()))
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _tally(app: Flask) -> EventTally:
    return cast("EventTally", app.extensions.setdefault(_EXTENSION, EventTally()))


class _Collector(Collector):
    """One scrape."""

    def __init__(self, found: Snapshot, events: dict[str, int], free_bytes: int) -> None:
        self._found, self._events, self._free_bytes = found, events, free_bytes

    def collect(self) -> Iterator[Metric]:
        found = self._found
        yield _family("softvote_build", "The release that answers.", ("version",), [((version("softvote"),), 1)])
        yield _family(
            "softvote_evaluations",
            "Evaluations by status.",
            ("status",),
            (((status,), count) for status, count in found.evaluations.items()),
        )
        yield GaugeMetricFamily(
            "softvote_oldest_queued_seconds",
            "Age of the evaluation that was queued first and still is.",
            value=found.oldest_queued_seconds,
        )
        yield _family(
            "softvote_open_parts",
            "Prediction parts that are not done.",
            ("state",),
            (((state,), count) for state, count in found.open_parts.items()),
        )
        yield _family(
            "softvote_open_items",
            "Registrations and fusions that are not done.",
            ("queue", "kind", "state"),
            found.open_items.items(),
        )
        yield from self._workers()
        yield GaugeMetricFamily(
            "softvote_artifacts_free_bytes", "Room left where posteriors are kept.", value=self._free_bytes
        )
        happened = CounterMetricFamily(
            "softvote_events", "What happened, by kind; half a minute behind.", labels=["kind"]
        )
        for kind, count in sorted(self._events.items()):
            happened.add_metric([kind], count)
        yield happened

    def _workers(self) -> Iterator[Metric]:
        labels = ("worker", "host", "device", "state")
        rows = {(row.name, row.host, row.device, row.state): row for row in self._found.workers}
        ages = {row.id: age for row, age in zip(self._found.workers, self._found.worker_ages, strict=True)}
        yield _family("softvote_workers", "Workers that live.", labels, ((key, 1) for key in rows))
        yield _family(
            "softvote_worker_images_per_second",
            "Image-views a second, as measured lately.",
            labels,
            ((key, row.images_per_second) for key, row in rows.items() if row.images_per_second is not None),
        )
        yield _family(
            "softvote_worker_last_seen_seconds",
            "Seconds since the last heartbeat.",
            labels,
            ((key, ages[row.id]) for key, row in rows.items()),
        )


def _family(name: str, text: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], float]]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in values:
        family.add_metric(key, value)
    return family
