"""Requests to a server: the token, JSON both ways, and another try where a second request does no harm."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import httpx

from softvote_client.errors import UnreachableError, error_of

Json = dict[str, Any]
Params = Mapping[str, str | Sequence[str]]

#: Rows of a page of a list, the most that the server gives.
PAGE = 200
#: Answers of a server, or of a proxy before it, that is busy or being restarted.
_BUSY = frozenset({429, 502, 503, 504})
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 8.0


class Transport:
    """One connection pool to one server.

    A request is tried again, `retries` times at most with growing pauses, where nothing answers or the server is busy.
    One that changes something is, after it may have arrived, only where a repetition does no harm: PUT, DELETE, and a
    POST that has an Idempotency-Key.
    """

    def __init__(self, url: str, token: str | None = None, *, timeout: float = 30.0, retries: int = 4) -> None:
        self.url = url.rstrip("/")
        self.retries = retries
        headers = {"Accept": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
        self._client = httpx.Client(base_url=f"{self.url}/api/v1", headers=headers, timeout=timeout)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        params: Params | None = None,
        idempotent: bool = False,
    ) -> Json:
        """The JSON that is answered; an empty object for 204.

        Args:
            method: of HTTP.
            path: below /api/v1, with a leading slash.
            body: what JSON is made of; a POST without one sends an empty object.
            params: of the query; a sequence repeats its name.
            idempotent: send an Idempotency-Key, the same with every try.

        Raises:
            UnreachableError: nothing answers, or what answers is not a Softvote server.
            ApiError: the server refused.
        """
        response = self.send(method, path, body, params=params, idempotent=idempotent)
        if response.status_code == httpx.codes.NO_CONTENT:
            return {}
        return cast("Json", self._json(response))

    def text(self, path: str) -> str:
        """A document that is no JSON."""
        return self.send("GET", path, accept="*/*").text

    def pages(self, path: str, **filters: str) -> Iterator[Json]:
        """Every row of a list, page after page."""
        cursor: dict[str, str] = {}
        while True:
            page = self.call("GET", path, params={"limit": str(PAGE), **filters, **cursor})
            yield from page["items"]
            if page.get("next") is None:
                return
            cursor = {"cursor": page["next"]}

    def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        params: Params | None = None,
        idempotent: bool = False,
        accept: str | None = None,
        etag: str | None = None,
    ) -> httpx.Response:
        """The answer to a request that was accepted; 304 is one, where an `etag` was sent."""
        headers = {"Accept": accept} if accept else {}
        headers |= {"If-None-Match": etag} if etag else {}
        headers |= {"Idempotency-Key": uuid.uuid4().hex} if idempotent else {}
        repeatable = idempotent or method != "POST"
        if method == "POST" and body is None:
            body = {}
        for attempt in range(self.retries + 1):
            last = attempt == self.retries
            try:
                response = self._client.request(method, path, json=body, headers=headers, params=params)
            except httpx.HTTPError as error:
                # A connection that was refused has carried nothing.
                if last or not (repeatable or isinstance(error, httpx.ConnectError)):
                    raise UnreachableError(f"nothing answers at {self.url}: {error or type(error).__name__}") from error
                time.sleep(_pause(attempt))
                continue
            if response.status_code in _BUSY and not last and (repeatable or response.status_code in (429, 503)):
                time.sleep(_pause(attempt, response.headers.get("Retry-After")))
                continue
            break
        if response.is_error:
            problem = self._json(response)
            raise error_of(response.status_code, problem if isinstance(problem, dict) else {})
        return response

    def _json(self, response: httpx.Response) -> object:
        try:
            return response.json()
        except ValueError:
            raise UnreachableError(
                f"{self.url} answers {response.status_code} {response.reason_phrase}, and no Softvote server does so"
            ) from None


def _pause(attempt: int, wanted: str | None = None) -> float:
    """Seconds to the next try: what the server asks for, within bounds, or twice as long as before."""
    if wanted is not None and wanted.isdigit():
        return min(float(wanted), _LONGEST_PAUSE)
    # Clients that were refused at once do not come back at once.
    return min(_FIRST_PAUSE * 2.0**attempt, _LONGEST_PAUSE) * random.uniform(0.5, 1.0)  # noqa: S311
