"""Celery's two brokers, unimpressed by what is no message: a doorbell that cannot be read is thrown away.

As they come, one half-written file in the broker's folder, or one word that somebody pushed into a Redis list, ends
the worker that reads it. Any process that reaches the broker could then stop all of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from queue import Empty
from typing import Any

from kombu import transport
from kombu.transport import filesystem, redis

from workers.logs import get_logger

log = get_logger(__name__)


class FolderChannel(filesystem.Channel):
    """Reads message files; those that hold no JSON are skipped."""

    def _get(self, queue: str, timeout: float | None = None) -> Any:  # noqa: ARG002 - as the base class has it
        while True:
            try:
                return super()._get(queue)
            except ValueError as error:  # the file is gone by now
                _note(queue, error)


class FolderTransport(filesystem.Transport):
    """Messages in a folder."""

    Channel = FolderChannel

    def _deliver(self, message: Any, queue: str | None) -> None:
        _deliver_readable(self, super()._deliver, message, queue)


class RedisChannel(redis.Channel):
    """Reads lists; entries that hold no JSON are skipped."""

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]  # not in the stubs
        except ValueError as error:  # the entry was taken off the list
            _note("any", error)
            raise Empty from None


class RedisTransport(redis.Transport):
    """Messages in Redis."""

    Channel = RedisChannel

    def _deliver(self, message: Any, queue: str | None) -> None:
        _deliver_readable(self, super()._deliver, message, queue)


def install() -> None:
    """Let Celery use these in this process."""
    for scheme, cls in (("filesystem", FolderTransport), ("redis", RedisTransport), ("rediss", RedisTransport)):
        transport.TRANSPORT_ALIASES[scheme] = f"{cls.__module__}:{cls.__name__}"


def _deliver_readable(
    transport_: Any, deliver: Callable[[Any, str | None], None], message: Any, queue: str | None
) -> None:
    """JSON that is no message lacks what the delivery looks for, or has something else in its place."""
    try:
        deliver(message, queue)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        _note(queue, error)
        _acknowledge(transport_, message)


def _acknowledge(transport_: Any, message: Any) -> None:
    """A message that was half delivered counts as under way, and a worker takes only one at a time."""
    with contextlib.suppress(LookupError, TypeError):
        tag = message["properties"]["delivery_tag"]
        for channel in transport_.channels:
            channel.basic_ack(tag)


def _note(queue: str | None, error: Exception) -> None:
    log.warning("message_unreadable", queue=queue, reason=f"{type(error).__name__}: {error}")
