"""Names and settings of the doorbell: a message says only that a queue has work, and may be lost, late or doubled."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.config import Settings
from app.errors import ServiceError
from app.fault_points import reach

if TYPE_CHECKING:
    from celery import Celery

#: The one task: lease work from the database until none is left.
WORK_TASK = "softvote.work"
#: "predict" runs networks; "fuse" fuses, scores and reads data sets, and needs no accelerator.
QUEUES = ("predict", "fuse")

#: Seconds between two looks into the broker folder.
_POLLING_SECONDS = 0.25
#: How long a ring may take before the caller gives up; the next round of the dispatcher rings again.
_PUBLISH_OPTIONS = {"socket_timeout": 2, "socket_connect_timeout": 1, "max_retries": 0, "retry_on_timeout": False}


class BrokerUnavailableError(ServiceError):
    """The broker did not take a doorbell; no work is lost, workers only hear of it later."""

    code = "broker_unavailable"

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"the broker does not answer: {reason}")


def celery_settings(settings: Settings) -> dict[str, Any]:
    """Celery's settings for workers and for `Doorbell`."""
    return {
        "broker_url": settings.broker_url,
        "broker_transport_options": _transport_options(settings),
        # Early acknowledgement: a redelivered or lost message changes nothing, the lease in the database decides.
        "task_acks_late": False,
        # A message that waits behind a running task is stranded when the broker restarts, so none is fetched ahead.
        "worker_prefetch_multiplier": 1,
        "worker_disable_prefetch": not settings.embedded_broker,
        # A broker that blinks must not cost hours of a device's work, nor end a worker.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        # The dispatcher rings again anyway.
        "task_publish_retry": False,
        # Results are rows: a result backend would be a second truth.
        "result_backend": None,
        "task_ignore_result": True,
        # Never pickle: who can write to the broker could run code in every worker.
        "task_serializer": "json",
        "accept_content": ["json"],
        "result_accept_content": ["json"],
        "task_queues": {queue: {"exchange": queue, "routing_key": queue} for queue in QUEUES},
        "task_default_queue": "fuse",
        "task_create_missing_queues": False,
        # Against slow leaks of native libraries.
        "worker_max_tasks_per_child": 200,
        # Below the 30 s after which container platforms kill.
        "worker_soft_shutdown_timeout": 20.0,
        "worker_send_task_events": False,
        "worker_hijack_root_logger": False,
        "enable_utc": True,
    }


def _transport_options(settings: Settings) -> dict[str, Any]:
    if settings.embedded_broker:
        messages, control = _broker_folders(settings)
        return {
            "data_folder_in": str(messages),
            "data_folder_out": str(messages),
            "control_folder": str(control),
            "polling_interval": _POLLING_SECONDS,
        }
    return {
        "socket_timeout": 30,
        "socket_connect_timeout": 3,
        "socket_keepalive": True,
        "health_check_interval": 10,
        "global_keyprefix": "softvote:",
        "visibility_timeout": 600,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
    }


def _broker_folders(settings: Settings) -> tuple[Path, Path]:
    return settings.home / "broker" / "messages", settings.home / "broker" / "control"


def prepare_broker(settings: Settings) -> None:
    """Make the folders that the embedded broker reads and writes; nothing to do for a Redis server."""
    if settings.embedded_broker:
        for folder in _broker_folders(settings):
            folder.mkdir(parents=True, exist_ok=True)


class Doorbell:
    """Rings workers. Never on the way of a web request: a frozen broker costs a ring up to some seconds."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._app: Celery | None = None

    def ring(self, queue: str) -> None:
        """Tell one worker of `queue` to look for work.

        Raises:
            BrokerUnavailableError: the broker did not take the message in time.
        """
        try:
            reach("doorbell.before_ring")
            self._publisher().send_task(WORK_TASK, queue=queue, retry=False, ignore_result=True)
            reach("doorbell.after_ring")
        except Exception as error:  # kombu lets errors of redis, sockets and files through, under no common root
            self.close()
            raise BrokerUnavailableError(f"{type(error).__name__}: {error}") from error

    def unanswered(self, queues: Sequence[str]) -> int:
        """How many rings lie in the broker that no worker has taken.

        Raises:
            BrokerUnavailableError: the broker did not answer in time.
        """
        try:
            with self._publisher().connection_for_write() as connection:
                channel: Any = connection.default_channel
                return sum(channel.queue_declare(queue=queue).message_count for queue in queues)
        except Exception as error:  # as above
            self.close()
            raise BrokerUnavailableError(f"{type(error).__name__}: {error}") from error

    def close(self) -> None:
        """Drop the connection; the next ring makes a new one."""
        if self._app is not None:
            self._app.close()
            self._app = None

    def _publisher(self) -> Celery:
        if self._app is None:
            from celery import Celery  # noqa: PLC0415 - the web process imports this module's names without Celery

            prepare_broker(self._settings)
            self._app = Celery("softvote-doorbell", set_as_current=False)
            self._app.conf.update(celery_settings(self._settings))
            self._app.conf.broker_transport_options = {**_transport_options(self._settings), **_PUBLISH_OPTIONS}
        return self._app
