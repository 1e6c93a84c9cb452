"""A client of the REST interface that never gives up: it submits, asks, cancels and repeats while all falls down."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tests.nemesis.history import Acknowledged

#: Failures that a person would answer with "retry": nothing is wrong with the request.
RETRIED = ("worker_lost", "io_error", "database_unavailable", "artifact_damaged", "storage_full")
_ENDED = ("succeeded", "failed", "cancelled")


class NotAnsweredError(Exception):
    """No answer, or one that says "later": whether the request took effect is not known."""


class Client(threading.Thread):
    """Keeps some evaluations in flight, and remembers what it was promised."""

    def __init__(self, url: str, requests: Mapping[str, Mapping[str, Any]], seed: int, in_flight: int = 5) -> None:
        super().__init__(name="client", daemon=True)
        self._url, self._requests, self._in_flight = url, requests, in_flight
        self._random = random.Random(seed)
        self._submitting = threading.Event()
        self._submitting.set()
        self._closed = threading.Event()
        self._ended: set[str] = set()
        self._keys = 0
        self.acknowledged: dict[str, Acknowledged] = {}
        self.answers: Counter[str] = Counter()
        self.retries = 0
        self.surprises: list[str] = []

    def run(self) -> None:
        while not self._closed.is_set():
            try:
                if self._submitting.is_set() and len(self.open()) < self._in_flight:
                    self._submit(self._random.choice(sorted(self._requests)), force=self._random.random() < 0.6)
                for evaluation_id in self.open():
                    self._look_at(evaluation_id)
            except Exception as error:
                self.surprises.append(f"client: {type(error).__name__}: {error}")
            time.sleep(0.1)

    def open(self) -> list[str]:
        """Ids that were acknowledged and have not been seen to end."""
        return [key for key in list(self.acknowledged) if key not in self._ended]

    def stop_submitting(self) -> None:
        """From now on only what is under way is looked after."""
        self._submitting.clear()

    def submit_each_once(self) -> None:
        """Every request once more, answered from what is known; for when the faults are over."""
        for name in sorted(self._requests):
            self._submit(name, force=False)

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        self.join()

    def _submit(self, name: str, *, force: bool) -> None:
        self._keys += 1
        key = f"key-{self._keys}"
        body = {**self._requests[name], "force": force, "priority": self._random.randrange(10)}
        # The same key until an answer came, and sometimes once more: a client cannot know what took effect.
        again = self._random.random() < 0.2
        while not self._closed.is_set():
            try:
                answer = self._send("POST", "/evaluations", body, {"Idempotency-Key": key})
            except NotAnsweredError:
                time.sleep(0.2)
                continue
            evaluation_id = str(answer["id"])
            for other in self.acknowledged.values():
                if other.key == key and other.evaluation_id != evaluation_id:
                    self.surprises.append(f"{key}: answered {other.evaluation_id}, then {evaluation_id}")
            self.acknowledged[evaluation_id] = Acknowledged(key, evaluation_id, name)
            if not again:
                return
            again = False

    def _look_at(self, evaluation_id: str) -> None:
        try:
            document = self._send("GET", f"/evaluations/{evaluation_id}")
            if document["status"] == "failed" and document["error"]["code"] in RETRIED:
                self._send("POST", f"/evaluations/{evaluation_id}/retry", {})
                self.retries += 1
            elif document["status"] in _ENDED:
                if document["status"] == "cancelled":
                    # Asked for, though the answer to it may have been lost.
                    self._note_cancelled(evaluation_id)
                self._ended.add(evaluation_id)
            elif self._submitting.is_set() and self._random.random() < 0.01:
                self._send("POST", f"/evaluations/{evaluation_id}/cancel", {})
                self._note_cancelled(evaluation_id)
        except NotAnsweredError:
            return

    def _note_cancelled(self, evaluation_id: str) -> None:
        self.acknowledged[evaluation_id] = replace(self.acknowledged[evaluation_id], cancelled=True)

    def _send(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        head = {"Content-Type": "application/json", **(headers or {})}
        request = urllib.request.Request(f"{self._url}/api/v1{path}", data, head, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                self.answers[str(answer.status)] += 1
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            self.answers[str(error.code)] += 1
            text = error.read().decode(errors="replace")
            # 409: it ended before the cancellation came; the next look shows how.
            if error.code not in (409, 503):
                self.surprises.append(f"{method} {path}: {error.code} {text[:400]}")
            raise NotAnsweredError(text) from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            self.answers[type(error).__name__] += 1
            raise NotAnsweredError(str(error)) from error
