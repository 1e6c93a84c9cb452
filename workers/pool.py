"""The process pool of a worker: Celery's, with one child, that goes on and ends although a child was killed.

With the embedded broker all jobs go through one pipe, and a child waits for the next with the pipe's lock in its hands.
Killed there, it takes the lock along: its successor would hear no job, and the parent would wait for the lock when it
is to end, for ever. With Redis, Celery has pipes for each child, and none of this.
"""

from __future__ import annotations

from typing import Any

from celery.concurrency import prefork

#: Seconds between two looks at whether the child that holds a lock lives.
_LOOK_SECONDS = 0.1


_BlockingPool: Any = prefork.TaskPool.BlockingPool


class OneChildPool(_BlockingPool):  # type: ignore[misc]  # the stubs lack what is overridden
    """A pool in which whoever held a lock is dead once its only child is."""

    def _create_worker_process(self, i: int) -> Any:
        _free(self._inqueue._rlock)
        _free(self._outqueue._wlock)
        return super()._create_worker_process(i)

    @staticmethod
    def _help_stuff_finish(inqueue: Any, task_handler: Any, _pool: Any) -> None:
        """Wait for the lock only while there is a child that may let it go."""
        while any(child.is_alive() for child in _pool):
            if inqueue._rlock.acquire(timeout=_LOOK_SECONDS):
                break
        _free(inqueue._rlock)
        _BlockingPool._help_stuff_finish(inqueue, task_handler, _pool)


class TaskPool(prefork.TaskPool):
    """What Celery makes of a pool."""

    BlockingPool = OneChildPool


def _free(lock: Any) -> None:
    """Release a lock, whether somebody holds it or nobody does."""
    lock.acquire(block=False)
    lock.release()
