"""Where the command line gets its answers: a server named by SOFTVOTE_URL, or the local database. Both speak JSON."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, cast

import click

from app.cli.access_backends import AccessBackend, LocalAccess
from app.cli.schedule_backends import LocalSchedules, ScheduleBackend
from app.db.queries import checkpoints as checkpoint_queries
from app.db.queries import datasets as dataset_queries
from app.db.queries import ensembles as ensemble_queries
from app.db.queries import evaluations as evaluation_queries
from app.db.queries import gates as gate_queries
from app.db.queries import paper as paper_queries
from app.db.queries import parts as part_queries
from app.db.queries.parts import OPEN
from app.representations.base import Document
from app.representations.catalogue import CheckpointDocument, DatasetDocument
from app.representations.comparisons import ERROR_METRICS, ComparedMetric
from app.representations.ensembles import EnsembleRequest, SearchRequest
from app.representations.gates import BaselineRequest, GateRequest
from app.representations.predictions import PredictionsRequest
from app.representations.requests import CheckpointRequest, DatasetRequest, EvaluationRequest
from app.runtime import Runtime, build_runtime
from app.services import datasets as dataset_service
from app.services import ensembles as ensemble_service
from app.services import estimates as estimate_service
from app.services import evaluations as evaluation_service
from app.services import exports as export_service
from app.services.comparing import comparisons as comparison_service
from app.services.comparing import gates as gate_service
from app.services.searching import searches as search_service

Json = dict[str, Any]


class Runner(Protocol):
    """What needs torch, or files: offered by the worker side through the entry point `softvote.local`."""

    def register_checkpoint_now(self, runtime: Runtime, request: CheckpointRequest) -> CheckpointDocument:
        """Read a weights file and register it, in this process."""

    def register_dataset_now(self, runtime: Runtime, request: DatasetRequest) -> DatasetDocument:
        """Read a data set and register it, in this process."""

    def import_predictions_now(self, runtime: Runtime, request: PredictionsRequest) -> CheckpointDocument:
        """Read a file of predictions and register it as a member, in this process."""

    def run_until_done(self, runtime: Runtime, evaluation_id: str, progress: Callable[[int, int], None] | None) -> None:
        """Predict and fuse one evaluation in this process, without a queue."""

    def find_published_weights(self, name: str) -> Path:
        """The file of weights that torchvision publishes, fetched if need be."""

    def describe_devices(self) -> list[str]:
        """The devices that a worker here could use, one line each."""


class Backend(AccessBackend, ScheduleBackend, Protocol):
    """Questions and requests of the command line; every answer is the JSON that REST gives."""

    def checkpoints(self) -> list[Json]:
        """All checkpoints."""

    def checkpoint(self, key: str) -> Json:
        """One checkpoint by id or name."""

    def layers(self, key: str) -> list[Json]:
        """Its layer table."""

    def add_checkpoint(self, request: CheckpointRequest) -> Json:
        """Register a weights file."""

    def import_predictions(self, request: PredictionsRequest) -> Json:
        """Register predictions that came from elsewhere; the checkpoint that stands for them."""

    def export_predictions(self, evaluation_id: str, path: Path, member: str | None) -> Json:
        """Write the posteriors of a finished evaluation to a file here; what was written."""

    def datasets(self) -> list[Json]:
        """All data sets."""

    def dataset(self, key: str) -> Json:
        """One data set by id or name."""

    def add_dataset(self, request: DatasetRequest) -> Json:
        """Register a data set."""

    def evaluations(self, limit: int, status: str | None) -> list[Json]:
        """The newest evaluations."""

    def evaluation(self, evaluation_id: str) -> Json:
        """One evaluation."""

    def open_parts(self, evaluation_id: str) -> list[Json]:
        """Its prediction parts that are not done."""

    def scores(self, evaluation_id: str) -> Json:
        """Its scores."""

    def paper(self, evaluation_ids: Sequence[str]) -> Json:
        """The paper's tables with the rows of these evaluations."""

    def compare(self, base: str, candidates: Sequence[str], metrics: Sequence[ComparedMetric] = ERROR_METRICS) -> Json:
        """Paired tests of candidates against a base."""

    def judge(self, request: GateRequest) -> Json:
        """Judge a candidate against a baseline."""

    def baselines(self) -> list[Json]:
        """Every baseline."""

    def promote(self, name: str, request: BaselineRequest) -> None:
        """Let a name stand for an evaluation or member."""

    def forget_baseline(self, name: str) -> None:
        """Remove a baseline's name."""

    def search(self, evaluation_id: str, request: SearchRequest) -> Json:
        """Search an ensemble among an evaluation's posteriors."""

    def ensembles(self) -> list[Json]:
        """All saved ensembles."""

    def ensemble(self, key: str) -> Json:
        """One saved ensemble by id or name."""

    def save_ensemble(self, request: EnsembleRequest) -> Json:
        """Save an ensemble."""

    def forget_ensemble(self, key: str) -> None:
        """Forget an ensemble."""

    def estimate(self, request: EvaluationRequest) -> Json:
        """What an evaluation would cost; nothing is started."""

    def submit(self, request: EvaluationRequest) -> Json:
        """Start an evaluation."""

    def act(self, evaluation_id: str, action: str) -> Json:
        """`cancel` or `retry` one."""

    def cancel_all(self) -> Json:
        """Cancel every evaluation that has not ended; how many."""


def load_runner() -> Runner:
    """The worker side of this installation.

    Raises:
        click.UsageError: only the web part is installed.
    """
    missing = click.UsageError("this needs the worker extra: pip install 'softvote[worker]'")
    for entry in importlib.metadata.entry_points(group="softvote.local"):
        try:
            return cast("Runner", entry.load())
        except ModuleNotFoundError as error:
            # The image of the web process has the worker side's files, and not what they import.
            raise missing from error
    raise missing


class LocalBackend(LocalAccess, LocalSchedules):
    """Answers from the local database; registers files in this process."""

    def __init__(self, runtime: Runtime | None = None) -> None:
        self.runtime = runtime or build_runtime(migrate=True)

    def checkpoints(self) -> list[Json]:
        with self.runtime.db.read() as session:
            return _all_pages(lambda cursor: checkpoint_queries.list_page(session, cursor=cursor, limit=200))

    def checkpoint(self, key: str) -> Json:
        with self.runtime.db.read() as session:
            return _json(checkpoint_queries.get(session, key))

    def layers(self, key: str) -> list[Json]:
        with self.runtime.db.read() as session:
            return [_json(layer) for layer in checkpoint_queries.layers(session, key)]

    def add_checkpoint(self, request: CheckpointRequest) -> Json:
        return _json(load_runner().register_checkpoint_now(self.runtime, request))

    def import_predictions(self, request: PredictionsRequest) -> Json:
        return _json(load_runner().import_predictions_now(self.runtime, request))

    def export_predictions(self, evaluation_id: str, path: Path, member: str | None) -> Json:
        return asdict(export_service.export(self.runtime.db, self.runtime.artifacts, evaluation_id, path, member))

    def datasets(self) -> list[Json]:
        with self.runtime.db.read() as session:
            return _all_pages(lambda cursor: dataset_queries.list_page(session, cursor=cursor, limit=200))

    def dataset(self, key: str) -> Json:
        with self.runtime.db.read() as session:
            return _json(dataset_queries.get(session, key))

    def add_dataset(self, request: DatasetRequest) -> Json:
        return _json(load_runner().register_dataset_now(self.runtime, request))

    def verify_dataset(self, key: str, progress: Callable[[int, int], None] | None = None) -> Json:
        """Compare a data set's files, on this machine, with what was registered."""
        return _json(dataset_service.verify(self.runtime.db, self.runtime.artifacts, key, progress))

    def evaluations(self, limit: int, status: str | None) -> list[Json]:
        with self.runtime.db.read() as session:
            page = evaluation_queries.list_page(session, cursor=None, limit=limit, status=status)
            return [_json(item) for item in page.items]

    def evaluation(self, evaluation_id: str) -> Json:
        with self.runtime.db.read() as session:
            return _json(evaluation_queries.get(session, evaluation_id))

    def open_parts(self, evaluation_id: str) -> list[Json]:
        with self.runtime.db.read() as session:
            return _all_pages(
                lambda cursor: part_queries.list_page(session, evaluation_id, cursor=cursor, limit=200, state=OPEN)
            )

    def scores(self, evaluation_id: str) -> Json:
        with self.runtime.db.read() as session:
            return _json(evaluation_queries.scores(session, evaluation_id))

    def paper(self, evaluation_ids: Sequence[str]) -> Json:
        with self.runtime.db.read() as session:
            return _json(paper_queries.get(session, evaluation_ids))

    def compare(self, base: str, candidates: Sequence[str], metrics: Sequence[ComparedMetric] = ERROR_METRICS) -> Json:
        return _json(comparison_service.compare(self.runtime.db, self.runtime.artifacts, base, candidates, metrics))

    def judge(self, request: GateRequest) -> Json:
        gate_id = gate_service.judge(self.runtime.db, self.runtime.artifacts, request)
        with self.runtime.db.read() as session:
            return _json(gate_queries.get(session, gate_id))

    def baselines(self) -> list[Json]:
        with self.runtime.db.read() as session:
            return [_json(one) for one in gate_queries.baselines(session)]

    def promote(self, name: str, request: BaselineRequest) -> None:
        gate_service.promote(self.runtime.db, name, request.reference, request.note)

    def forget_baseline(self, name: str) -> None:
        gate_service.forget(self.runtime.db, name)

    def search(self, evaluation_id: str, request: SearchRequest) -> Json:
        # Nobody else waits for this process, so it may take its time.
        return _json(search_service.run(self.runtime.db, self.runtime.artifacts, evaluation_id, request, bounded=False))

    def ensembles(self) -> list[Json]:
        with self.runtime.db.read() as session:
            return _all_pages(lambda cursor: ensemble_queries.list_page(session, cursor=cursor, limit=200))

    def ensemble(self, key: str) -> Json:
        with self.runtime.db.read() as session:
            return _json(ensemble_queries.get(session, key))

    def save_ensemble(self, request: EnsembleRequest) -> Json:
        return self.ensemble(search_service.save(self.runtime.db, self.runtime.artifacts, request, bounded=False))

    def forget_ensemble(self, key: str) -> None:
        ensemble_service.delete(self.runtime.db, key)

    def estimate(self, request: EvaluationRequest) -> Json:
        with self.runtime.db.read() as session:
            return _json(estimate_service.estimate(session, request))

    def submit(self, request: EvaluationRequest) -> Json:
        return self.evaluation(evaluation_service.submit(self.runtime.db, request).id)

    def act(self, evaluation_id: str, action: str) -> Json:
        {"cancel": evaluation_service.cancel, "retry": evaluation_service.retry}[action](self.runtime.db, evaluation_id)
        return self.evaluation(evaluation_id)

    def cancel_all(self) -> Json:
        return {"cancelled": evaluation_service.cancel_many(self.runtime.db)}


def _json(document: Document) -> Json:
    return document.model_dump(mode="json")


def _all_pages(read: Callable[[str | None], Any]) -> list[Json]:
    items: list[Json] = []
    cursor: str | None = None
    while True:
        page = read(cursor)
        items += [_json(item) for item in page.items]
        cursor = page.next
        if cursor is None:
            return items
