"""The sweep: what vanished processes leave behind becomes claimable again. Any process may run it, at any time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from app.db.clock import now
from app.db.conditions import is_any, is_claimable, is_open
from app.db.models import Evaluation, LeaseState, PredictionPart, PredictionSet, Worker, WorkItem
from app.db.queries import workers
from app.db.session import Database
from app.db.statements import changed, lock_rows
from app.fault_points import reach
from app.messaging import QUEUES
from app.services import events
from app.services.evaluations import advance_ready
from app.services.leasing import leases, processes
from app.services.leasing.slicing import split_point
from ensembles.specs import ViewSpec

#: Rows of one transaction: others must not wait long for theirs.
_BATCH = 100
#: The dispatcher needs to know whether there is work for every idle worker, not how much exactly.
_COUNT_UP_TO = 100
#: What fails when its holders vanish again and again.
WORKER_LOST = "worker_lost"


@dataclass(frozen=True)
class SweepReport:
    """What one sweep changed.

    Attributes:
        vanished: ids of workers whose process is gone.
        expired: ids of parts and items whose lease lapsed, whatever became of them.
        advanced: ids of evaluations that moved on.
    """

    vanished: tuple[str, ...]
    expired: tuple[str, ...]
    advanced: tuple[str, ...]


def sweep(db: Database) -> SweepReport:
    """Take back the leases of who vanished, and move evaluations on that nobody else moved."""
    vanished = _note_vanished(db)
    expired = [*_expire_parts(db), *_expire_items(db)]
    return SweepReport(tuple(vanished), tuple(expired), tuple(advance_ready(db)))


def claimable(db: Database) -> dict[str, int]:
    """By queue, how many leases could be had now: exact while small, and at least what it says."""
    with db.read() as session:
        at = now(session)
        due = (
            select(WorkItem.queue, func.count())
            .where(
                is_any(WorkItem.state, LeaseState.PENDING),
                or_(WorkItem.not_before.is_(None), WorkItem.not_before <= at),
            )
            .group_by(WorkItem.queue)
        )
        counts = {**dict.fromkeys(QUEUES, 0), **dict(session.execute(due).all())}
        some = select(Evaluation.id).where(is_claimable(at)).limit(_COUNT_UP_TO).subquery()
        counts["predict"] += session.scalars(select(func.count()).select_from(some)).one()
    return counts


def idle_workers(db: Database) -> dict[str, int]:
    """By queue, how many live workers serve it and have nothing to do."""
    counts = dict.fromkeys(QUEUES, 0)
    with db.read() as session:
        for worker in workers.alive(session):
            if worker.state == "idle":
                for queue in worker.queues:
                    counts[queue] += 1
    return counts


def _note_vanished(db: Database) -> list[str]:
    """Workers of this host whose process is gone lose their leases at once, not only when these lapse."""
    here = processes.boot_id()
    if not here:
        return []
    with db.read() as session:
        mine = (Worker.host == processes.host(), Worker.boot_id == here, Worker.stopped_at.is_(None))
        known = session.scalars(select(Worker).where(*mine)).all()
    gone = [row.id for row in known if processes.start_ticks(row.pid) != row.pid_started]
    for worker_id in gone:
        with db.write() as session:
            at = now(session)
            tables: tuple[leases.Leasable, ...] = (PredictionPart, WorkItem)
            for table in tables:
                held = (table.worker_id == worker_id, table.state == LeaseState.LEASED)
                lock_rows(session, table, session.scalars(select(table.id).where(*held)).all())
                changed(session, update(table).where(*held).values(lease_until=at))
            ended = {"state": "vanished", "doing": None, "stopped_at": at}
            running = (Worker.id == worker_id, Worker.stopped_at.is_(None))
            if changed(session, update(Worker).where(*running).values(**ended)):
                events.record(session, "worker_vanished", subject_id=worker_id, worker_id=worker_id)
            reach("sweep.before_vanished_commit")
    return gone


def _expire_parts(db: Database) -> list[str]:
    expired: list[str] = []
    while True:
        with db.write() as session:
            at = now(session)
            rows = session.scalars(
                select(PredictionPart)
                .where(
                    is_open(),
                    is_any(PredictionPart.state, LeaseState.LEASED),
                    PredictionPart.lease_until <= at,
                )
                .order_by(PredictionPart.id)
                .limit(_BATCH)
                .with_for_update(skip_locked=True, key_share=True)
            ).all()
            for row in rows:
                _expire_part(session, row)
            expired += [row.id for row in rows]
            if rows:
                reach("sweep.before_expire_commit")
        if rows:
            reach("sweep.after_expire_commit")
        if len(rows) < _BATCH:
            return expired


def _expire_part(session: Session, row: PredictionPart) -> None:
    """Back to pending; too often lost, in two halves; an image that is left alone, set aside; too many such, failed."""
    lost = row.lost_leases + 1
    prediction_set = session.get_one(PredictionSet, row.set_id)
    row.lease_until = None
    row.lost_leases = lost
    # The kernel kills for want of memory without a word: from the second loss on, each try asks for half as much. Not
    # from the first: a killed process is mostly just that, and another batch may change the last bits.
    if lost > 1:
        row.batch = max(1, (row.batch or _full_batch(prediction_set)) // 2)
    row.state = LeaseState.PENDING
    outcome = "part_expired"
    if lost >= leases.MAX_LOST_LEASES:
        images = row.stop - row.start
        middle = split_point(row.start, row.stop, prediction_set.block, images // 2)
        if middle < row.stop:
            outcome = "part_split"
            row.lost_leases = 0
            leases.cut(session, row, middle)
        elif _others_set_aside(session, row) >= leases.MAX_SET_ASIDE:
            # Then it is not the images: a network that breaks its process would have all of them set aside.
            outcome = "part_failed"
            row.state = LeaseState.FAILED
            row.finished_at = now(session)
            row.error_code = WORKER_LOST
            view = f"{prediction_set.view['mode']} {prediction_set.view['scale']}"
            which, them = f"images {row.start} to {row.stop - 1}", "them"
            if images == 1:
                which, them = f"image {row.start}", "it"
            row.error_message = (
                f"{which} of view {view}: {lost} workers in a row vanished while they predicted {them}, "
                f"and over {leases.MAX_SET_ASIDE} other images before"
            )
        elif images > 1:
            # Under suspicion by now: one more loss has each half halved again, and only a single image gets three.
            outcome = "part_split"
            row.lost_leases = leases.MAX_LOST_LEASES - 1 if images > 3 else 0
            leases.cut(session, row, row.start + images // 2)
        else:
            outcome = "part_set_aside"
    events.record(
        session, outcome, subject_id=row.id, worker_id=row.worker_id, token=row.token, start=row.start, stop=row.stop
    )
    session.flush()


def _others_set_aside(session: Session, row: PredictionPart) -> int:
    """How many other images of the same set were set aside."""
    others = (PredictionPart.set_id == row.set_id, PredictionPart.id != row.id)
    alone = PredictionPart.stop == PredictionPart.start + 1
    deadly = (alone, PredictionPart.lost_leases >= leases.MAX_LOST_LEASES)
    return session.scalars(select(func.count()).where(*others, *deadly)).one()


def _full_batch(prediction_set: PredictionSet) -> int:
    """Images (dense) or crops that a worker puts into one forward pass at most."""
    view = ViewSpec.from_dict(prediction_set.view)
    return prediction_set.block if view.mode == "dense" else view.crops_per_image


def _expire_items(db: Database) -> list[str]:
    with db.write() as session:
        at = now(session)
        rows: Sequence[WorkItem] = session.scalars(
            select(WorkItem)
            .where(is_any(WorkItem.state, LeaseState.LEASED), WorkItem.lease_until <= at)
            .order_by(WorkItem.id)
            .with_for_update(skip_locked=True, key_share=True)
        ).all()
        for row in rows:
            row.lease_until = None
            row.lost_leases += 1
            given_up = row.lost_leases >= leases.MAX_LOST_LEASES
            row.state = LeaseState.FAILED if given_up else LeaseState.PENDING
            events.record(
                session,
                "item_failed" if given_up else "item_expired",
                evaluation_id=row.evaluation_id,
                subject_id=row.id,
                worker_id=row.worker_id,
                token=row.token,
                item=row.kind,
            )
            if given_up:
                row.finished_at = at
                row.error_code = WORKER_LOST
                row.error_message = f"{row.lost_leases} workers in a row vanished while they did this ({row.kind})"
                session.flush()
                leases.fail_owner(
                    session,
                    row.error_code,
                    row.error_message,
                    evaluation_id=row.evaluation_id,
                    checkpoint_id=row.checkpoint_id,
                    dataset_id=row.dataset_id,
                )
        return [row.id for row in rows]
