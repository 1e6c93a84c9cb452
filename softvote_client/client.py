"""One server, and what can be asked of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote

import httpx

from softvote_client.documents import (
    Baseline,
    Checkpoint,
    ComparedMetric,
    Comparison,
    Dataset,
    Evaluation,
    EvaluationRow,
    Gate,
    GateMetric,
    Score,
)
from softvote_client.errors import EvaluationFailedError, RegistrationFailedError, WaitTimeoutError
from softvote_client.transport import Transport

Protocol = str | Mapping[str, Any]
_FIRST_POLL, _LONGEST_POLL = 0.2, 5.0

Registered = TypeVar("Registered", Checkpoint, Dataset)
Answer = TypeVar("Answer")


class Softvote:
    """A client of one server; a context manager that closes its connections.

    Every method raises `UnreachableError` where nothing answers, and an `ApiError` where the server refuses.
    """

    def __init__(self, url: str, token: str | None = None, *, timeout: float = 30.0, retries: int = 4) -> None:
        """Name the server.

        Args:
            url: of the server, such as http://127.0.0.1:8080.
            token: sent as a bearer token.
            timeout: seconds that one request may take.
            retries: further tries of a request that does no harm twice, where nothing answers or the server is busy.
        """
        self.transport = Transport(url, token, timeout=timeout, retries=retries)

    def __enter__(self) -> Softvote:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self.transport.close()

    def submit(
        self,
        dataset: str,
        checkpoints: Sequence[str | Mapping[str, Any]],
        *,
        protocol: Protocol | None = None,
        fusion: Mapping[str, Any] | None = None,
        limit: int | None = None,
        force: bool = False,
        priority: int | None = None,
        unreadable: str | None = None,
    ) -> Evaluation:
        """Start an evaluation; a request that is lost on the way is sent again and starts nothing twice.

        Args:
            dataset: its name.
            checkpoints: names, or `{"checkpoint", "protocol", "weight"}` where members differ.
            protocol: a preset's name, or its fields; the server's default where None.
            fusion: `{"rule", "weights"}`; the mean where None.
            limit: only the first images in canonical order, a fair sample.
            force: predict anew what is known.
            priority: 0 to 9, higher goes first.
            unreadable: "fail" or "skip".
        """
        asked = {
            "dataset": dataset,
            "checkpoints": list(checkpoints),
            "protocol": protocol,
            "fusion": fusion,
            "limit": limit,
            "force": force or None,
            "priority": priority,
            "unreadable": unreadable,
        }
        body = {name: value for name, value in asked.items() if value is not None}
        return Evaluation.model_validate(self.transport.call("POST", "/evaluations", body, idempotent=True))

    def evaluation(self, evaluation_id: str) -> Evaluation:
        """One evaluation as it is now."""
        return Evaluation.model_validate(self.transport.call("GET", f"/evaluations/{_part(evaluation_id)}"))

    def evaluations(self, **filters: str) -> Iterator[EvaluationRow]:
        """Evaluations, newest first; filters are status, dataset, checkpoint and search."""
        return map(EvaluationRow.model_validate, self.transport.pages("/evaluations", **filters))

    def wait(
        self,
        evaluation_id: str,
        timeout: float | None = None,
        on_progress: Callable[[Evaluation], None] | None = None,
    ) -> Evaluation:
        """The evaluation once it has succeeded. While it is unchanged, polling costs the server next to nothing.

        Args:
            evaluation_id: whose end is waited for.
            timeout: seconds; None waits for as long as it takes.
            on_progress: called with the evaluation when it has changed.

        Raises:
            EvaluationFailedError: it failed, or was cancelled.
            WaitTimeoutError: it has not ended in time; it goes on.
        """
        etag: str | None = None

        def ended() -> Evaluation | None:
            nonlocal etag
            response = self.transport.send("GET", f"/evaluations/{_part(evaluation_id)}", etag=etag)
            if response.status_code == httpx.codes.NOT_MODIFIED:
                return None
            etag = response.headers.get("ETag")
            evaluation = Evaluation.model_validate_json(response.content)
            if on_progress is not None:
                on_progress(evaluation)
            return evaluation if evaluation.ended else None

        evaluation = _poll(ended, timeout, f"evaluation {evaluation_id} has not ended")
        if evaluation.status != "succeeded":
            raise EvaluationFailedError(evaluation)
        return evaluation

    def cancel(self, evaluation_id: str) -> Evaluation:
        """Stop it; what was predicted is kept."""
        return Evaluation.model_validate(self.transport.call("POST", f"/evaluations/{_part(evaluation_id)}/cancel"))

    def retry(self, evaluation_id: str) -> Evaluation:
        """Take up a failed or cancelled one again; what was predicted is kept."""
        return Evaluation.model_validate(self.transport.call("POST", f"/evaluations/{_part(evaluation_id)}/retry"))

    def scores(self, evaluation_id: str) -> list[Score]:
        """Every score: views, modes, checkpoints, then the ensemble."""
        found = self.transport.call("GET", f"/evaluations/{_part(evaluation_id)}/scores")
        return [Score.model_validate(item) for item in found["items"]]

    def compare(
        self, base: str, candidates: Sequence[str], metrics: Sequence[ComparedMetric] = ("top1_error", "top5_error")
    ) -> Comparison:
        """Paired tests on shared images; a side is an evaluation's id, or `ID:NAME` for one member."""
        params = {"base": base, "candidate": list(candidates), "metric": list(metrics)}
        return Comparison.model_validate(self.transport.call("GET", "/compare", params=params))

    def gate(
        self,
        baseline: str,
        candidate: str,
        *,
        metric: GateMetric = "top1_error",
        margin: float = 0.005,
        alpha: float = 0.05,
        classes: Sequence[str] | None = None,
    ) -> Gate:
        """Judge a candidate against a baseline.

        Args:
            baseline: an evaluation's id, `ID:NAME`, or a baseline's name.
            candidate: likewise.
            metric: lower is better in all of them.
            margin: how much worse the candidate may be: a fraction (0.005 is half a point), nats for nll.
            alpha: chance of a wrong pass, and of a wrong fail.
            classes: only images of these.
        """
        body = {"baseline": baseline, "candidate": candidate, "metric": metric, "margin": margin, "alpha": alpha}
        if classes is not None:
            body["classes"] = list(classes)
        return Gate.model_validate(self.transport.call("POST", "/gates", body, idempotent=True))

    def gates(self, **filters: str) -> Iterator[Gate]:
        """Verdicts, newest first; filters are candidate and verdict."""
        return map(Gate.model_validate, self.transport.pages("/gates", **filters))

    def junit(self, gate_id: str) -> str:
        """A verdict as JUnit XML."""
        return self.transport.text(f"/gates/{_part(gate_id)}/junit")

    def markdown(self, gate_id: str) -> str:
        """A verdict for a pull request."""
        return self.transport.text(f"/gates/{_part(gate_id)}/markdown")

    def baselines(self) -> list[Baseline]:
        """Every baseline by name."""
        return [Baseline.model_validate(item) for item in self.transport.call("GET", "/baselines")["items"]]

    def promote(self, name: str, reference: str, note: str = "") -> None:
        """Let a name stand for an evaluation or member from now on."""
        self.transport.call("PUT", f"/baselines/{_part(name)}", {"reference": reference, "note": note})

    def forget_baseline(self, name: str) -> None:
        """Remove a baseline's name; evaluations and verdicts stay."""
        self.transport.call("DELETE", f"/baselines/{_part(name)}")

    def checkpoints(self) -> Iterator[Checkpoint]:
        """Every checkpoint, newest first."""
        return map(Checkpoint.model_validate, self.transport.pages("/checkpoints"))

    def checkpoint(self, key: str) -> Checkpoint:
        """One checkpoint by id or name."""
        return Checkpoint.model_validate(self.transport.call("GET", f"/checkpoints/{_part(key)}"))

    def add_checkpoint(self, path: str, name: str, *, wait: float | None = 600.0, **fields: Any) -> Checkpoint:
        """Register a weights file that the server can read.

        Args:
            path: on the server, below one of its checkpoint roots.
            name: unique.
            wait: seconds to wait until a worker has read it; None does not wait.
            fields: further fields of the request, such as training_scale.

        Raises:
            RegistrationFailedError: the file cannot be read.
            WaitTimeoutError: no worker has read it in time.
        """
        body = {"path": path, "name": name, **fields}
        made = Checkpoint.model_validate(self.transport.call("POST", "/checkpoints", body, idempotent=True))
        return made if wait is None else _ready(lambda: self.checkpoint(made.id), wait)

    def datasets(self) -> Iterator[Dataset]:
        """Every data set, newest first."""
        return map(Dataset.model_validate, self.transport.pages("/datasets"))

    def dataset(self, key: str) -> Dataset:
        """One data set by id or name."""
        return Dataset.model_validate(self.transport.call("GET", f"/datasets/{_part(key)}"))

    def add_dataset(self, path: str, name: str, *, wait: float | None = 600.0, **fields: Any) -> Dataset:
        """Register a folder or manifest that the server can read; as `add_checkpoint`."""
        body = {"path": path, "name": name, **fields}
        made = Dataset.model_validate(self.transport.call("POST", "/datasets", body, idempotent=True))
        return made if wait is None else _ready(lambda: self.dataset(made.id), wait)


def _part(text: str) -> str:
    """One segment of a path."""
    return quote(text, safe="")


def _ready(look: Callable[[], Registered], timeout: float) -> Registered:
    def read() -> Registered | None:
        found = look()
        return None if found.state == "registering" else found

    found = _poll(read, timeout, "no worker has read the file")
    if found.state != "ready":
        raise RegistrationFailedError(found)
    return found


def _poll(look: Callable[[], Answer | None], timeout: float | None, late: str) -> Answer:
    """What `look` finds, asked again with growing pauses."""
    end = None if timeout is None else time.monotonic() + timeout
    pause = _FIRST_POLL
    while (found := look()) is None:
        left = pause if end is None else end - time.monotonic()
        if left <= 0:
            raise WaitTimeoutError(f"{late} within {timeout:g} s")
        time.sleep(min(pause, left))
        pause = min(1.5 * pause, _LONGEST_POLL)
    return found
