"""Leases: who works on what, until when, and with which fencing token. One mechanism for parts and items.

A row moves only by an UPDATE that names the state and the token it expects, and only where that UPDATE met one row.
So a worker that was thought dead, and works on after another took over, changes nothing.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import or_, select, tuple_, update
from sqlalchemy.orm import Session

from app.config import DEFAULT_LEASE_SECONDS
from app.db.base import new_id
from app.db.clock import now
from app.db.conditions import is_any, wanted_part
from app.db.models import (
    Checkpoint,
    Dataset,
    Evaluation,
    EvaluationStatus,
    LeaseState,
    PredictionPart,
    RegistrationState,
    Worker,
    WorkItem,
)
from app.db.session import Database
from app.db.statements import changed, lock_rows
from app.errors import LeaseLostError
from app.fault_points import reach
from app.representations.webhooks import WebhookEvent
from app.services import events, registration
from app.services.notifications import notices

LEASE_SECONDS = DEFAULT_LEASE_SECONDS
#: Heartbeats in the time of one lease: a few may fail before it lapses.
BEATS_PER_LEASE = 6
#: A lease that ends in a transient error comes back after 5, 10, 20 and 40 seconds; the fifth error is final.
MAX_ATTEMPTS = 5
BACK_OFF_SECONDS = 5.0
#: So many holders may vanish over a row before it is suspected to be what kills them.
MAX_LOST_LEASES = 3
#: Of one prediction set, so many single images are set aside for killing their workers before the set is given up.
MAX_SET_ASIDE = 3

#: Of a row that is made in a worker's hands.
FIRST_TOKEN = 1

Leasable = type[PredictionPart] | type[WorkItem]


@dataclass(frozen=True)
class ItemLease:
    """A work item in one worker's hands."""

    id: str
    token: int
    kind: str
    payload: dict[str, Any]
    evaluation_id: str | None
    checkpoint_id: str | None
    dataset_id: str | None


@dataclass(frozen=True)
class HeartbeatAnswer:
    """What a worker learns when it renews.

    Attributes:
        lost: ids whose lease is no longer ours: their work must leave no trace.
        unwanted: ids that are still ours but that no live evaluation wants any more: hand them back.
    """

    lost: frozenset[str]
    unwanted: frozenset[str]


@dataclass(frozen=True)
class Hold:
    """Who takes rows, and when."""

    worker_id: str
    at: dt.datetime
    lease_seconds: float = DEFAULT_LEASE_SECONDS

    def columns(self, token: int) -> dict[str, Any]:
        """What a row says that is held under `token`."""
        until = self.at + dt.timedelta(seconds=self.lease_seconds)
        return {"state": LeaseState.LEASED, "worker_id": self.worker_id, "token": token, "lease_until": until}


def take(session: Session, table: Leasable, row_id: str, token: int, hold: Hold) -> bool:
    """Move a pending row into a worker's hands; False when somebody else was faster."""
    pending = (table.id == row_id, table.token == token, table.state == LeaseState.PENDING)
    return changed(session, update(table).where(*pending).values(**hold.columns(token + 1))) == 1


def end(session: Session, table: Leasable, row_id: str, token: int, state: LeaseState, **columns: Any) -> bool:
    """Move a leased row on, if `token` is still the one that holds it."""
    held = (table.id == row_id, table.token == token, table.state == LeaseState.LEASED)
    return changed(session, update(table).where(*held).values(state=state, lease_until=None, **columns)) == 1


def end_in_error(
    session: Session, table: Leasable, row_id: str, token: int, code: str, message: str, *, retryable: bool
) -> LeaseState | None:
    """End a lease with an error: back to pending after a pause, or failed; None when the lease was lost before."""
    attempts = session.scalars(select(table.attempts).where(table.id == row_id, table.token == token)).one_or_none()
    if attempts is None:
        return None
    at = now(session)
    columns: dict[str, Any] = {"error_code": code, "error_message": message, "attempts": attempts + 1}
    state = LeaseState.FAILED
    if retryable and attempts + 1 < MAX_ATTEMPTS:
        # Jitter: what failed together must not come back together.
        pause = BACK_OFF_SECONDS * 2**attempts * random.uniform(0.8, 1.2)  # noqa: S311 - no secret
        state = LeaseState.PENDING
        columns["not_before"] = at + dt.timedelta(seconds=pause)
    else:
        columns["finished_at"] = at
    return state if end(session, table, row_id, token, state, **columns) else None


def cut(session: Session, part: PredictionPart, middle: int) -> None:
    """Shorten a part that nobody holds to [start, middle), and add the rest as a part of its own."""
    rest = PredictionPart(
        id=new_id(),
        set_id=part.set_id,
        start=middle,
        stop=part.stop,
        attempts=part.attempts,
        lost_leases=part.lost_leases,
        batch=part.batch,
    )
    part.stop = middle
    session.add(rest)
    session.flush()


def lease_item(
    db: Database, worker_id: str, queues: Sequence[str], lease_seconds: float = LEASE_SECONDS
) -> ItemLease | None:
    """Take the pending item of these queues that is due, by priority, then age; None when there is none."""
    with db.write() as session:
        at = now(session)
        due = (
            select(WorkItem)
            .where(
                is_any(WorkItem.state, LeaseState.PENDING),
                WorkItem.queue.in_(queues),
                or_(WorkItem.not_before.is_(None), WorkItem.not_before <= at),
            )
            .order_by(WorkItem.priority.desc(), WorkItem.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        item = session.scalars(due).one_or_none()
        if item is None or not take(session, WorkItem, item.id, item.token, Hold(worker_id, at, lease_seconds)):
            return None
        token = item.token + 1
        events.record(
            session,
            "item_leased",
            evaluation_id=item.evaluation_id,
            subject_id=item.id,
            worker_id=worker_id,
            token=token,
            item=item.kind,
        )
        session.flush()
        reach("item_lease.before_commit")
        return ItemLease(
            item.id, token, item.kind, item.payload, item.evaluation_id, item.checkpoint_id, item.dataset_id
        )


def fail_item(db: Database, lease: ItemLease, code: str, message: str, *, retryable: bool) -> None:
    """End an item with an error; one that will not be tried again fails what it was for, with the same error."""
    with db.write() as session:
        state = end_in_error(session, WorkItem, lease.id, lease.token, code, message, retryable=retryable)
        kind = {LeaseState.FAILED: "item_failed", LeaseState.PENDING: "item_backed_off", None: "item_fenced"}[state]
        events.record(
            session,
            kind,
            evaluation_id=lease.evaluation_id,
            subject_id=lease.id,
            token=lease.token,
            item=lease.kind,
            code=code,
        )
        if state == LeaseState.FAILED:
            fail_owner(
                session,
                code,
                message,
                evaluation_id=lease.evaluation_id,
                checkpoint_id=lease.checkpoint_id,
                dataset_id=lease.dataset_id,
            )


def release_item(db: Database, lease: ItemLease) -> None:
    """Hand an item back, as a worker does that ends; no attempt is burnt."""
    with db.write() as session:
        if end(session, WorkItem, lease.id, lease.token, LeaseState.PENDING):
            events.record(session, "item_released", subject_id=lease.id, token=lease.token, item=lease.kind)


@contextmanager
def finishing(db: Database, lease: ItemLease) -> Iterator[Session]:
    """A transaction that ends the item as done together with what its work changed.

    Raises:
        LeaseLostError: the item is no longer this lease's; nothing is changed but the history.
    """
    with db.write() as session:
        held = end(session, WorkItem, lease.id, lease.token, LeaseState.DONE, finished_at=now(session))
        events.record(
            session,
            "item_done" if held else "item_fenced",
            evaluation_id=lease.evaluation_id,
            subject_id=lease.id,
            token=lease.token,
            item=lease.kind,
        )
        if held:
            yield session
            session.flush()
            reach("finish_item.before_commit")
    if not held:
        raise LeaseLostError("item", lease.id, lease.token)
    reach("finish_item.after_commit")


def close_items(session: Session, evaluation_ids: Collection[str], code: str, message: str) -> None:
    """End the open items of evaluations; whoever holds one learns of it at the next heartbeat."""
    open_items = (
        WorkItem.evaluation_id.in_(evaluation_ids),
        WorkItem.state.in_([LeaseState.PENDING, LeaseState.LEASED]),
    )
    ended = {"state": LeaseState.FAILED, "lease_until": None, "error_code": code, "error_message": message}
    changed(session, update(WorkItem).where(*open_items).values(**ended))


def fail_owner(
    session: Session,
    code: str,
    message: str,
    *,
    evaluation_id: str | None = None,
    checkpoint_id: str | None = None,
    dataset_id: str | None = None,
) -> None:
    """Fail the evaluation that waits for a failed item, or the checkpoint or data set that it was to register."""
    error = {"error_code": code, "error_message": message}
    if evaluation_id is not None:
        fusing = (Evaluation.id == evaluation_id, Evaluation.status == EvaluationStatus.FUSING)
        ended = {"status": EvaluationStatus.FAILED, "finished_at": now(session)}
        if changed(session, update(Evaluation).where(*fusing).values(**ended, **error)):
            events.record(session, "evaluation_failed", evaluation_id=evaluation_id, code=code)
            notices.evaluation_ended(session, evaluation_id, WebhookEvent.EVALUATION_FAILED)
    if checkpoint_id is not None:
        registration.settle(session, Checkpoint, checkpoint_id, RegistrationState.FAILED, **error)
    if dataset_id is not None:
        registration.settle(session, Dataset, dataset_id, RegistrationState.FAILED, **error)


def renew(
    db: Database,
    worker_id: str,
    held: Sequence[tuple[str, str, int]],
    doing: str | None,
    images_per_second: float | None,
    macs_per_second: float | None,
    lease_seconds: float = LEASE_SECONDS,
) -> HeartbeatAnswer:
    """Keep a worker's leases for another `lease_seconds`, and note that it lives.

    Args:
        db: the database.
        worker_id: the holder.
        held: (kind, id, token) of each lease, kind "part" or "item".
        doing: a few words for the worker's row.
        images_per_second: image-views a second: an image under two views counts twice.
        macs_per_second: multiply-accumulates a second.
        lease_seconds: from now on.
    """
    kept: set[str] = set()
    with db.write() as session:
        at = now(session)
        tables: dict[str, Leasable] = {"part": PredictionPart, "item": WorkItem}
        for kind, table in tables.items():
            pairs = [(row_id, token) for held_kind, row_id, token in held if held_kind == kind]
            if pairs:
                lock_rows(session, table, [row_id for row_id, _ in pairs])
                ours = (tuple_(table.id, table.token).in_(pairs), table.state == LeaseState.LEASED)
                until = at + dt.timedelta(seconds=lease_seconds)
                renewal = update(table).where(*ours).values(lease_until=until).returning(table.id)
                kept |= set(session.scalars(renewal, execution_options={"synchronize_session": False}))
        unwanted = select(PredictionPart.id).where(PredictionPart.id.in_(kept), ~wanted_part())
        answer = HeartbeatAnswer(
            lost=frozenset(row_id for _, row_id, _ in held if row_id not in kept),
            unwanted=frozenset(session.scalars(unwanted)) if kept else frozenset(),
        )
        seen = {
            "last_seen": at,
            "stopped_at": None,
            "doing": doing,
            "images_per_second": images_per_second,
            "macs_per_second": macs_per_second,
        }
        changed(session, update(Worker).where(Worker.id == worker_id).values(**seen))
        reach("heartbeat.before_commit")
    reach("heartbeat.after_commit")
    return answer
