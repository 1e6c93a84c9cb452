"""Saved ensembles: made, renamed, deleted."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from sqlalchemy import delete as sql_delete
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.db.base import new_id
from app.db.models import Checkpoint, Ensemble, Evaluation, EvaluationStatus, SavedMember, Score
from app.db.queries import ensembles as queries
from app.db.queries.lookup import find
from app.db.session import Database
from app.db.statements import changed, lock_rows
from app.errors import InvalidRequestError, NameTakenError, NotFoundError
from app.representations.base import version_of
from app.representations.ensembles import (
    ChoiceDocument,
    EnsembleChange,
    EnsembleDocument,
    EnsembleMemberRequest,
    EnsembleRequest,
)
from app.services import events, imports, planning, versions
from ensembles.errors import Problem, SpecError
from ensembles.protocols import IMPORTED, FusionSpec, Protocol
from ensembles.specs import Mode

MODES: dict[str, tuple[Mode, ...]] = {"dense": ("dense",), "crops": ("crops",), "both": ("dense", "crops")}


def create(db: Database, request: EnsembleRequest, chosen: ChoiceDocument | None = None) -> str:
    """Save an ensemble; its id.

    Args:
        db: the database.
        request: name, members and rule.
        chosen: how a search chose it; where the request names an evaluation instead, a hand chose on its images.

    Raises:
        InvalidRequestError: everything that is wrong with the request, at once.
        NameTakenError: another ensemble has the name.
    """
    problems: list[Problem] = []
    if not request.members:
        problems.append(Problem("members", "at least one, or a search in their place", []))
    with db.read() as session:
        members = _members(session, request, problems)
        if request.chosen_on is not None:
            chosen = _chosen_by_hand(session, request.chosen_on, problems)
    try:
        FusionSpec(request.rule, temperature=request.temperature)
    except SpecError as error:
        problems += [replace(one, field=one.field.removeprefix("fusion.")) for one in error.problems]
    if problems:
        raise InvalidRequestError(problems)
    ensemble_id = new_id()
    try:
        with db.write() as session:
            session.add(
                Ensemble(
                    id=ensemble_id,
                    name=request.name,
                    notes=request.notes,
                    rule=request.rule,
                    temperature=request.temperature,
                    chosen=None if chosen is None else chosen.model_dump(mode="json"),
                )
            )
            session.flush()
            for position, (checkpoint, protocol, weight) in enumerate(members):
                session.add(
                    SavedMember(
                        ensemble_id=ensemble_id,
                        position=position,
                        checkpoint_id=checkpoint.id,
                        protocol=protocol.to_dict(),
                        weight=weight,
                    )
                )
            events.record(session, "ensemble_saved", subject_id=ensemble_id, name=request.name)
            session.flush()
    except IntegrityError as error:
        with db.read() as session:
            gone = [c.name for c, *_ in members if session.get(Checkpoint, c.id) is None]
        if gone:
            raise NotFoundError("checkpoint", gone[0]) from error
        raise NameTakenError("ensemble", request.name) from error
    return ensemble_id


def change(
    db: Database, key: str, request: EnsembleChange, expected: Collection[str] | None = None
) -> EnsembleDocument:
    """Edit name or notes; what the request does not set stays. The ensemble as it is then.

    Args:
        db: the database.
        key: id or name.
        request: the edits.
        expected: versions (`version_of` its document) that may be edited; None: whichever it is.

    Raises:
        NotFoundError: no such ensemble.
        PreconditionFailedError: it is another version.
        NameTakenError: another ensemble has the new name.
    """
    edits = {name: value for name, value in request.model_dump(exclude_unset=True).items() if value is not None}
    try:
        with db.write() as session:
            row = _locked(session, key, expected)
            if edits:
                changed(session, update(Ensemble).where(Ensemble.id == row.id).values(**edits))
                events.record(session, "ensemble_changed", subject_id=row.id, fields=sorted(edits))
                session.refresh(row)
            return queries.get(session, row.id)
    except IntegrityError as error:
        raise NameTakenError("ensemble", str(edits.get("name"))) from error


def delete(db: Database, key: str, expected: Collection[str] | None = None) -> None:
    """Forget an ensemble. Evaluations of it stay what they are: they hold their members themselves.

    Raises:
        NotFoundError: no such ensemble.
        PreconditionFailedError: it is another version.
    """
    with db.write() as session:
        row = _locked(session, key, expected)
        name = row.name
        changed(session, sql_delete(SavedMember).where(SavedMember.ensemble_id == row.id))
        changed(session, sql_delete(Ensemble).where(Ensemble.id == row.id))
        events.record(session, "ensemble_deleted", subject_id=row.id, name=name)


def _locked(session: Session, key: str, expected: Collection[str] | None) -> Ensemble:
    row = find(session, Ensemble, key)
    lock_rows(session, Ensemble, [row.id])
    session.refresh(row)
    versions.check("ensemble", row.name, version_of(queries.get(session, row.id)), expected)
    return row


def _members(
    session: Session, request: EnsembleRequest, problems: list[Problem]
) -> list[tuple[Checkpoint, Protocol, float]]:
    shared = planning.protocol_of(request.protocol, "protocol", problems)
    members: list[tuple[Checkpoint, Protocol, float]] = []
    seen: dict[tuple[str, str], int] = {}
    for position, asked in enumerate(request.members):
        path = f"members.{position}"
        if not (math.isfinite(asked.weight) and asked.weight >= 0):
            problems.append(Problem(f"{path}.weight", "a finite number >= 0", asked.weight))
        checkpoint = planning.ready(session, Checkpoint, asked.checkpoint, f"{path}.checkpoint", problems)
        if checkpoint is not None and imports.is_imported(checkpoint):
            # Neither protocol nor scales apply; a search names none either.
            protocol: Protocol | None = IMPORTED
        else:
            protocol = _protocol(asked, shared, path, problems)
        if checkpoint is None or protocol is None:
            continue
        views = (
            () if protocol is IMPORTED else planning.views_of(checkpoint, protocol, path, {"scales": None}, problems)
        )
        scales = tuple(sorted({view.scale for view in views}))
        whole = replace(protocol, scales=scales, name=None) if scales else protocol
        key = (checkpoint.id, whole.digest)
        if key in seen:
            rule = f"each checkpoint once under one protocol; it is also members.{seen[key]}"
            problems.append(Problem(f"{path}.checkpoint", rule, asked.checkpoint, "duplicate"))
        seen.setdefault(key, position)
        members.append((checkpoint, whole, asked.weight))
    weights = [asked.weight for asked in request.members]
    if weights and not any(weights):
        problems.append(Problem("members", "at least one weight above 0", weights))
    if len({checkpoint.classes for checkpoint, *_ in members}) > 1:
        classes = [checkpoint.classes for checkpoint, *_ in members]
        problems.append(Problem("members", "checkpoints with the same number of classes", classes))
    return members


def _protocol(
    asked: EnsembleMemberRequest, shared: Protocol | None, path: str, problems: list[Problem]
) -> Protocol | None:
    own = shared if asked.protocol is None else planning.protocol_of(asked.protocol, f"{path}.protocol", problems)
    if own is None:
        return None
    fields: dict[str, Any] = {}
    if asked.scales is not None:
        fields["scales"] = tuple(asked.scales)
    if asked.mode is not None:
        fields["modes"] = MODES[asked.mode]
    try:
        return replace(own, **fields)
    except SpecError as error:
        problems += [replace(one, field=f"{path}.{one.field}") for one in error.problems]
        return None


def _chosen_by_hand(session: Session, evaluation_id: str, problems: list[Problem]) -> ChoiceDocument | None:
    row = session.get(Evaluation, evaluation_id)
    if row is None or row.status != EvaluationStatus.SUCCEEDED:
        problems.append(Problem("chosen_on", "null, or the id of an evaluation that has succeeded", evaluation_id))
        return None
    scored = session.scalars(select(Score.n).where(Score.evaluation_id == row.id).limit(1)).first() or row.images
    return ChoiceDocument(
        evaluation=row.id,
        dataset=row.dataset.name,
        dataset_fingerprint=str(row.dataset.fingerprint),
        method="hand",
        metric=None,
        over=None,
        selection="none",
        candidates_tried=None,
        n_select=scored,
        n_report=scored,
    )
