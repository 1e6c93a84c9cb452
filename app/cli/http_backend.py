"""The command line's backend that asks a server, through the Python client."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import click

from app.cli.access_backends import HttpAccess
from app.cli.backends import Json
from app.cli.schedule_backends import HttpSchedules
from app.db.queries.parts import OPEN
from app.errors import ServiceError
from app.representations.base import Request
from app.representations.comparisons import ERROR_METRICS, ComparedMetric
from app.representations.ensembles import EnsembleRequest, SearchRequest
from app.representations.gates import BaselineRequest, GateRequest
from app.representations.predictions import PredictionsRequest
from app.representations.requests import CancelRequest, CheckpointRequest, DatasetRequest, EvaluationRequest
from softvote_client.errors import ApiError, UnreachableError
from softvote_client.transport import Transport


class ServerError(ServiceError):
    """The server refused; its problem document is in `problem`."""

    code = "server_error"

    def __init__(self, problem: Mapping[str, Any]) -> None:
        self.problem = problem
        super().__init__(str(problem.get("detail") or problem.get("title") or "the server refused the request"))


class ServerUnreachableError(ServiceError):
    """Nothing answers at SOFTVOTE_URL."""

    code = "server_unreachable"


class HttpBackend(HttpAccess, HttpSchedules):
    """Answers from a server's REST interface; what may be asked twice is, where nothing answers at first."""

    def __init__(self, url: str, token: str | None) -> None:
        self._transport = Transport(url, token, retries=3)

    def close(self) -> None:
        self._transport.close()

    def checkpoints(self) -> list[Json]:
        return self._list("/checkpoints")

    def checkpoint(self, key: str) -> Json:
        return self._call("GET", f"/checkpoints/{key}")

    def layers(self, key: str) -> list[Json]:
        return cast("list[Json]", self._call("GET", f"/checkpoints/{key}/layers")["items"])

    def add_checkpoint(self, request: CheckpointRequest) -> Json:
        return self._call("POST", "/checkpoints", request, idempotent=True)

    def import_predictions(self, request: PredictionsRequest) -> Json:
        return self._call("POST", "/predictions", request, idempotent=True)

    def export_predictions(self, evaluation_id: str, path: Path, member: str | None) -> Json:  # noqa: ARG002
        raise click.UsageError(
            "posteriors are exported where they lie: run this beside the server, without SOFTVOTE_URL"
        )

    def datasets(self) -> list[Json]:
        return self._list("/datasets")

    def dataset(self, key: str) -> Json:
        return self._call("GET", f"/datasets/{key}")

    def add_dataset(self, request: DatasetRequest) -> Json:
        return self._call("POST", "/datasets", request, idempotent=True)

    def evaluations(self, limit: int, status: str | None) -> list[Json]:
        params = {"limit": str(limit), **({"status": status} if status else {})}
        return cast("list[Json]", self._call("GET", "/evaluations", params=params)["items"])

    def evaluation(self, evaluation_id: str) -> Json:
        return self._call("GET", f"/evaluations/{evaluation_id}")

    def open_parts(self, evaluation_id: str) -> list[Json]:
        return self._list(f"/evaluations/{evaluation_id}/parts", state=OPEN)

    def scores(self, evaluation_id: str) -> Json:
        return self._call("GET", f"/evaluations/{evaluation_id}/scores")

    def paper(self, evaluation_ids: Sequence[str]) -> Json:
        first, *others = evaluation_ids
        return self._call("GET", f"/evaluations/{first}/paper", params={"with": ",".join(others)} if others else None)

    def compare(self, base: str, candidates: Sequence[str], metrics: Sequence[ComparedMetric] = ERROR_METRICS) -> Json:
        params: dict[str, str | list[str]] = {"base": base, "candidate": list(candidates), "metric": list(metrics)}
        return self._call("GET", "/compare", params=params)

    def judge(self, request: GateRequest) -> Json:
        return self._call("POST", "/gates", request, idempotent=True)

    def baselines(self) -> list[Json]:
        return cast("list[Json]", self._call("GET", "/baselines")["items"])

    def promote(self, name: str, request: BaselineRequest) -> None:
        self._call("PUT", f"/baselines/{quote(name, safe='')}", request)

    def forget_baseline(self, name: str) -> None:
        self._call("DELETE", f"/baselines/{quote(name, safe='')}")

    def search(self, evaluation_id: str, request: SearchRequest) -> Json:
        return self._call("POST", f"/evaluations/{evaluation_id}/searches", request)

    def ensembles(self) -> list[Json]:
        return self._list("/ensembles")

    def ensemble(self, key: str) -> Json:
        return self._call("GET", f"/ensembles/{quote(key, safe='')}")

    def save_ensemble(self, request: EnsembleRequest) -> Json:
        return self._call("POST", "/ensembles", request)

    def forget_ensemble(self, key: str) -> None:
        self._call("DELETE", f"/ensembles/{quote(key, safe='')}")

    def estimate(self, request: EvaluationRequest) -> Json:
        return self._call("POST", "/estimates", request)

    def submit(self, request: EvaluationRequest) -> Json:
        return self._call("POST", "/evaluations", request, idempotent=True)

    def act(self, evaluation_id: str, action: str) -> Json:
        return self._call("POST", f"/evaluations/{evaluation_id}/{action}")

    def cancel_all(self) -> Json:
        return self._call("POST", "/evaluations/cancel", CancelRequest(ids=None))

    def _list(self, path: str, **filters: str) -> list[Json]:
        with _named():
            return list(self._transport.pages(path, **filters))

    def _call(
        self,
        method: str,
        path: str,
        body: Request | None = None,
        params: Mapping[str, str | list[str]] | None = None,
        idempotent: bool = False,
    ) -> Json:
        content = None if body is None else body.model_dump(mode="json")
        with _named():
            return self._transport.call(method, path, content, params=params, idempotent=idempotent)


@contextmanager
def _named() -> Iterator[None]:
    """The client's errors as the command line tells them."""
    try:
        yield
    except ApiError as error:
        raise ServerError(error.problem) from error
    except UnreachableError as error:
        raise ServerUnreachableError(f"SOFTVOTE_URL: {error}") from error
