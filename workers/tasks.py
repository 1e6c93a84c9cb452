"""The one task. It carries no arguments: what there is to do, the database knows."""

from __future__ import annotations

from collections.abc import Callable

from celery import Celery

from app.messaging import WORK_TASK


def register(app: Celery, drain: Callable[[], None]) -> None:
    """Give `app` the task that answers a doorbell."""

    @app.task(name=WORK_TASK, ignore_result=True)
    def work() -> None:
        drain()
