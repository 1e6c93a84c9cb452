"""Prediction sets: found or made for an evaluation, so that what was measured before is used again."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.db.base import new_id
from app.db.conditions import is_open
from app.db.models import Dataset, EvaluationMember, EvaluationSet, LeaseState, PredictionPart, PredictionSet
from app.db.statements import changed, insert_new, lock_rows
from app.services.planning import Plan, PlannedMember, PlannedView
from ensembles.specs import ENGINE_VERSION

#: Checkpoint fingerprint and view digest: within one data set and engine version they name the sets.
Key = tuple[str, str]


def link(session: Session, evaluation_id: str, plan: Plan, *, force: bool) -> None:
    """Add the evaluation's members and the sets they want.

    Args:
        session: of a writing transaction.
        evaluation_id: a row of the same transaction.
        plan: what is wanted.
        force: make a new generation of every set, whatever is known.
    """
    wanted = {key_of(member, view): (member, view) for member in plan.members for view in member.views}
    sets = _find_or_make(session, plan.dataset, wanted, force=force)
    reopen_failed(session, {row.id: wanted[key][1].stop for key, row in sets.items()})
    done = images_done(session, {row.id: plan.images for row in sets.values()})
    for position, member in enumerate(plan.members):
        session.add(
            EvaluationMember(
                evaluation_id=evaluation_id,
                position=position,
                checkpoint_id=member.checkpoint.id,
                protocol=member.protocol.to_dict(),
                protocol_name=member.protocol.name,
                weight=member.weight,
            )
        )
        session.flush()
        session.add_all(
            EvaluationSet(
                evaluation_id=evaluation_id,
                member_position=position,
                view_position=view_position,
                set_id=sets[key_of(member, view)].id,
                stop=view.stop,
                reused=done[sets[key_of(member, view)].id],
            )
            for view_position, view in enumerate(member.views)
        )
    session.flush()


def find(session: Session, plan: Plan) -> dict[Key, PredictionSet]:
    """The sets that `link` would use without `force`; those that it would make are left out."""
    stops = {key_of(member, view): view.stop for member in plan.members for view in member.views}
    known = _known(session, plan.dataset, stops)
    return {key: _furthest(known[key], stop) for key, stop in stops.items() if known[key]}


def images_done(session: Session, images: Mapping[str, int]) -> dict[str, int]:
    """How many of the first `images[set id]` images of each set are done."""
    sets = select(PredictionSet.id, PredictionSet.frontier).where(PredictionSet.id.in_(images))
    done = {set_id: min(frontier, images[set_id]) for set_id, frontier in session.execute(sets)}
    open_parts = select(PredictionPart.set_id, PredictionPart.start, PredictionPart.stop).where(
        PredictionPart.set_id.in_(images), is_open()
    )
    for set_id, start, stop in session.execute(open_parts):
        done[set_id] -= max(0, min(stop, images[set_id]) - start)
    return done


def reopen_failed(session: Session, stops: Mapping[str, int]) -> int:
    """Give the failed parts below each set's `stop` another chance; how many there were."""
    failed = select(PredictionPart.id, PredictionPart.set_id, PredictionPart.start).where(
        PredictionPart.set_id.in_(stops), is_open(), PredictionPart.state == LeaseState.FAILED
    )
    ids = [part_id for part_id, set_id, start in session.execute(failed) if start < stops[set_id]]
    lock_rows(session, PredictionPart, ids)
    still_failed = (PredictionPart.id.in_(ids), PredictionPart.state == LeaseState.FAILED)
    return changed(session, update(PredictionPart).where(*still_failed).values(**fresh_chance())) if ids else 0


def fresh_chance() -> dict[str, Any]:
    """Columns of a part that starts again with nothing held against it."""
    return {
        "state": LeaseState.PENDING,
        "attempts": 0,
        "lost_leases": 0,
        "not_before": None,
        "error_code": None,
        "error_message": None,
        "finished_at": None,
    }


def key_of(member: PlannedMember, view: PlannedView) -> Key:
    """What names the set of one view of one member."""
    return str(member.checkpoint.fingerprint), view.view.digest


def _find_or_make(
    session: Session, dataset: Dataset, wanted: Mapping[Key, tuple[PlannedMember, PlannedView]], *, force: bool
) -> dict[Key, PredictionSet]:
    """For each key the set that is furthest, of equal ones the newest; with `force` one of a new generation."""
    known = _known(session, dataset, wanted)
    made: dict[Key, int] = {}
    # In the order of keys: two submissions that make the same new sets wait for each other in one order only.
    for key in sorted(wanted):
        if (force and _can_be_made(wanted[key])) or not known[key]:
            generation = max((row.generation for row in known[key]), default=-1) + 1
            while not _insert(session, dataset, key, generation, *wanted[key]) and force:
                generation += 1
            made[key] = generation
    if made:
        known = _known(session, dataset, wanted)
    return {
        key: _furthest([row for row in known[key] if not force or row.generation == made.get(key, 0)], view.stop)
        for key, (_, view) in wanted.items()
    }


def _can_be_made(wanted: tuple[PlannedMember, PlannedView]) -> bool:
    """What was imported is there once: no worker could predict it anew."""
    return wanted[1].view.mode != "imported"


def _furthest(rows: Collection[PredictionSet], stop: int) -> PredictionSet:
    return max(rows, key=lambda row: (min(row.frontier, stop), row.generation))


def _known(session: Session, dataset: Dataset, keys: Collection[Key]) -> dict[Key, list[PredictionSet]]:
    rows = select(PredictionSet).where(
        PredictionSet.checkpoint_fingerprint.in_({fingerprint for fingerprint, _ in keys}),
        PredictionSet.dataset_fingerprint == dataset.fingerprint,
        PredictionSet.engine_version == ENGINE_VERSION,
    )
    known: dict[Key, list[PredictionSet]] = {key: [] for key in keys}
    for row in session.scalars(rows, execution_options={"populate_existing": True}):
        if (key := (row.checkpoint_fingerprint, row.view_digest)) in known:
            known[key].append(row)
    return known


def _insert(
    session: Session, dataset: Dataset, key: Key, generation: int, member: PlannedMember, view: PlannedView
) -> bool:
    """Make an empty set; False when one of that generation exists."""
    values = {
        "id": new_id(),
        "checkpoint_fingerprint": key[0],
        "dataset_fingerprint": dataset.fingerprint,
        "view_digest": key[1],
        "engine_version": ENGINE_VERSION,
        "generation": generation,
        "checkpoint_id": member.checkpoint.id,
        "dataset_id": dataset.id,
        "view": view.view.to_dict(),
        "images": dataset.images,
        "classes": member.checkpoint.classes,
        "block": view.block,
        "macs_per_image": view.macs_per_image,
    }
    return insert_new(session, PredictionSet, values)
