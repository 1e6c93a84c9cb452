"""What the command line asks about schedules, of a server or of the local database; mixed into the backends."""

from __future__ import annotations

from typing import Any, Protocol
from urllib.parse import quote

from app.db.queries import schedules as queries
from app.representations.schedules import ScheduleRequest
from app.runtime import Runtime
from app.services.scheduling import schedules as service

Json = dict[str, Any]

#: Runs that `schedule show` prints.
SHOWN_RUNS = 10


class ScheduleBackend(Protocol):
    """Questions and requests about schedules; every answer is the JSON that REST gives."""

    def schedules(self) -> list[Json]:
        """All schedules."""

    def schedule(self, key: str) -> Json:
        """One schedule by id or name."""

    def schedule_runs(self, key: str) -> list[Json]:
        """Its newest runs."""

    def add_schedule(self, request: ScheduleRequest) -> Json:
        """Make a schedule."""

    def pause_schedule(self, key: str) -> Json:
        """Fire no more."""

    def resume_schedule(self, key: str) -> Json:
        """Fire again."""

    def run_schedule(self, key: str) -> Json:
        """Begin a run at once."""

    def remove_schedule(self, key: str) -> None:
        """Forget it and its runs."""


class LocalSchedules:
    """From the local database."""

    runtime: Runtime

    def schedules(self) -> list[Json]:
        items: list[Json] = []
        cursor: str | None = None
        with self.runtime.db.read() as session:
            while True:
                page = queries.list_page(session, cursor=cursor, limit=200)
                items += [item.model_dump(mode="json") for item in page.items]
                cursor = page.next
                if cursor is None:
                    return items

    def schedule(self, key: str) -> Json:
        with self.runtime.db.read() as session:
            return queries.get(session, key).model_dump(mode="json")

    def schedule_runs(self, key: str) -> list[Json]:
        with self.runtime.db.read() as session:
            page = queries.list_runs(session, key, cursor=None, limit=SHOWN_RUNS)
            return [item.model_dump(mode="json") for item in page.items]

    def add_schedule(self, request: ScheduleRequest) -> Json:
        return self.schedule(service.create(self.runtime.db, request))

    def pause_schedule(self, key: str) -> Json:
        return self.schedule(service.pause(self.runtime.db, key))

    def resume_schedule(self, key: str) -> Json:
        return self.schedule(service.resume(self.runtime.db, key))

    def run_schedule(self, key: str) -> Json:
        run_id = service.run_now(self.runtime.db, key)
        with self.runtime.db.read() as session:
            return queries.get_run(session, key, run_id).model_dump(mode="json")

    def remove_schedule(self, key: str) -> None:
        service.remove(self.runtime.db, key)


class HttpSchedules:
    """From a server's REST interface."""

    def schedules(self) -> list[Json]:
        return self._list("/schedules")

    def schedule(self, key: str) -> Json:
        return self._call("GET", _path(key))

    def schedule_runs(self, key: str) -> list[Json]:
        found: list[Json] = self._call("GET", f"{_path(key)}/runs", params={"limit": str(SHOWN_RUNS)})["items"]
        return found

    def add_schedule(self, request: ScheduleRequest) -> Json:
        return self._call("POST", "/schedules", request)

    def pause_schedule(self, key: str) -> Json:
        return self._call("POST", f"{_path(key)}/pause")

    def resume_schedule(self, key: str) -> Json:
        return self._call("POST", f"{_path(key)}/resume")

    def run_schedule(self, key: str) -> Json:
        return self._call("POST", f"{_path(key)}/run")

    def remove_schedule(self, key: str) -> None:
        self._call("DELETE", _path(key))

    def _call(self, method: str, path: str, body: Any = None, params: Any = None) -> Json:
        """The backend's."""
        raise NotImplementedError

    def _list(self, path: str, **filters: str) -> list[Json]:
        """The backend's."""
        raise NotImplementedError


def _path(key: str) -> str:
    return f"/schedules/{quote(key, safe='')}"
