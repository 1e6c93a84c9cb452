"""Checkpoints: registered at once, described when a worker has read the file."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

from sqlalchemy import delete as sql_delete
from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError

from app.config import Settings
from app.db.models import Checkpoint, EvaluationMember, RegistrationState, SavedMember, WorkItem
from app.db.queries import checkpoints as queries
from app.db.queries.lookup import find
from app.db.session import Database
from app.db.statements import changed, lock_rows
from app.errors import InUseError, InvalidRequestError, NameTakenError
from app.representations.base import version_of
from app.representations.catalogue import CheckpointDocument
from app.representations.requests import CheckpointChange, CheckpointRequest
from app.services import events, idempotency, imports, registration, versions
from app.services.leasing import leases
from app.services.leasing.leases import ItemLease
from app.services.paths import allowed_path
from ensembles.architectures import architecture_names
from ensembles.canonical import digest
from ensembles.errors import Problem, SpecError, UnknownNameError
from ensembles.scales import TrainingScale
from ensembles.specs import PREPROCESSING_PRESETS, Preprocessing


@dataclass(frozen=True)
class CheckpointFacts:
    """What a worker found in a weights file, the request's own statements preferred.

    Attributes:
        path: absolute, where workers open it.
        sha256: of the file, 64 hex digits.
        size_bytes: of the file.
        architecture: `Architecture.to_dict()`.
        architecture_name: such as "vgg16".
        classes: K.
        parameters: learned numbers.
        macs: of one image at the training crop.
        training_scale: (Smin, Smax), px, if known.
        preprocessing: `Preprocessing.to_dict()`.
        class_names: K names if the file lists them.
    """

    path: str
    sha256: str
    size_bytes: int
    architecture: dict[str, Any]
    architecture_name: str
    classes: int
    parameters: int
    macs: float
    training_scale: tuple[int, int] | None
    preprocessing: dict[str, Any]
    class_names: list[str] | None

    @property
    def fingerprint(self) -> str:
        """64 hex digits over what posteriors depend on.

        The training scale only chooses test scales, so two S of one file share their sets; class names decide which
        output becomes which column.
        """
        identity = {"sha256": self.sha256, "architecture": self.architecture, "preprocessing": self.preprocessing}
        return digest(identity if self.class_names is None else {**identity, "class_names": self.class_names})


def request_registration(
    db: Database,
    settings: Settings,
    request: CheckpointRequest,
    *,
    trusted: bool = False,
    idempotency_key: str | None = None,
) -> str:
    """Add a checkpoint in state `registering`, for a worker to read; its id.

    The item's payload holds what the request states about the file: `training_scale` as [Smin, Smax] or null,
    `preprocessing` as an object or null, and `architecture`, `crop`, `classes` and `weights` as they were given. It
    goes before what the file says.

    Args:
        db: the database.
        settings: names the folders that the path must lie under.
        request: path, name and what the file does not tell.
        trusted: the operator's own command line, which may name any file.
        idempotency_key: the same key with the same request gets the same id.

    Raises:
        InvalidRequestError: one or more fields break a rule.
        PathForbiddenError: the path is not allowed.
        NameTakenError: another checkpoint has the name.
        IdempotencyConflictError: the key came before with another request.
    """
    with db.read() as session:
        if known := idempotency.earlier(session, "checkpoint", idempotency_key, request):
            return known
    stated = _stated(request)
    roots = settings.checkpoint_roots
    path = allowed_path(request.path, roots, "SOFTVOTE_CHECKPOINT_ROOTS", folder=False, trusted=trusted)
    item = WorkItem(kind="register_checkpoint", queue="predict", payload={"path": str(path), **stated})
    columns = {"source": str(path), "path": str(path), "tags": request.tags, "notes": request.notes}
    with db.write() as session:
        begin = partial(registration.begin, session, Checkpoint, request.name, columns, item)
        return idempotency.once(session, "checkpoint", idempotency_key, request, begin)


def complete_registration(db: Database, lease: ItemLease, facts: CheckpointFacts) -> None:
    """Make the checkpoint ready.

    Raises:
        LeaseLostError: the item is no longer this lease's; nothing changed.
    """
    with leases.finishing(db, lease) as session:
        registration.settle(
            session,
            Checkpoint,
            lease.checkpoint_id,
            RegistrationState.READY,
            **facts_columns(facts),
        )


def facts_columns(facts: CheckpointFacts) -> dict[str, Any]:
    """The columns of a checkpoint that a worker fills."""
    smallest, largest = facts.training_scale or (None, None)
    columns = {one.name: getattr(facts, one.name) for one in fields(facts) if one.name != "training_scale"}
    scale = {"training_scale_min": smallest, "training_scale_max": largest}
    return {**columns, "fingerprint": facts.fingerprint, **scale}


def change(
    db: Database, key: str, request: CheckpointChange, expected: Collection[str] | None = None
) -> CheckpointDocument:
    """Edit name, notes or tags; fields that the request does not set stay. The checkpoint as it is then.

    Args:
        db: the database.
        key: id or name.
        request: the edits.
        expected: versions (`version_of` its document) that may be edited; None: whichever it is.

    Raises:
        NotFoundError: no such checkpoint.
        PreconditionFailedError: it is another version.
        NameTakenError: another checkpoint has the new name.
    """
    edits = {name: value for name, value in request.model_dump(exclude_unset=True).items() if value is not None}
    try:
        with db.write() as session:
            row = find(session, Checkpoint, key)
            lock_rows(session, Checkpoint, [row.id])
            session.refresh(row)
            versions.check("checkpoint", row.name, version_of(queries.get(session, row.id)), expected)
            if edits:
                changed(session, update(Checkpoint).where(Checkpoint.id == row.id).values(**edits))
                events.record(session, "checkpoint_changed", subject_id=row.id, fields=sorted(edits))
                session.refresh(row)
            return queries.get(session, row.id)
    except IntegrityError as error:
        raise NameTakenError("checkpoint", str(edits.get("name"))) from error


def delete(db: Database, key: str) -> None:
    """Forget a checkpoint that no evaluation and no saved ensemble uses; its file stays.

    Raises:
        NotFoundError: no such checkpoint.
        InUseError: evaluations or ensembles use it.
    """
    with db.write() as session:
        row = find(session, Checkpoint, key)
    try:
        with db.write() as session:
            users = select(func.count(EvaluationMember.evaluation_id.distinct()))
            count = session.execute(users.where(EvaluationMember.checkpoint_id == row.id)).scalar_one()
            if count:
                raise InUseError("checkpoint", row.name, count)
            saved = select(func.count(SavedMember.ensemble_id.distinct())).where(SavedMember.checkpoint_id == row.id)
            if count := session.execute(saved).scalar_one():
                raise InUseError("checkpoint", row.name, count, "ensemble")
            imports.forget_set(session, row)
            changed(session, sql_delete(WorkItem).where(WorkItem.checkpoint_id == row.id))
            changed(session, sql_delete(Checkpoint).where(Checkpoint.id == row.id))
            idempotency.forget(session, row.id)
            events.record(session, "checkpoint_deleted", subject_id=row.id, name=row.name)
    except IntegrityError as error:  # an evaluation came between count and deletion
        raise InUseError("checkpoint", row.name, 1) from error


def _stated(request: CheckpointRequest) -> dict[str, Any]:
    problems: list[Problem] = []
    scale: TrainingScale | None = None
    preprocessing: Preprocessing | None = None
    if request.training_scale is not None:
        try:
            scale = TrainingScale.parse(request.training_scale)
        except SpecError as error:
            problems += error.problems
    if request.preprocessing is not None:
        try:
            preprocessing = _parse_preprocessing(request.preprocessing)
        except SpecError as error:
            problems += error.problems
        except UnknownNameError as error:
            problems.append(Problem("preprocessing", f"one of {', '.join(error.known)}", error.name, error.code))
    if request.architecture is not None and request.architecture not in architecture_names():
        near = UnknownNameError("architecture", request.architecture, architecture_names())
        rule = f"the name of a network or configuration; {str(near).partition('; ')[2]}"
        problems.append(Problem("architecture", rule, request.architecture, near.code))
    if request.classes is not None and len(set(request.classes)) != len(request.classes):
        repeated = next(name for name in request.classes if request.classes.count(name) > 1)
        problems.append(Problem("classes", "each class name once", repeated))
    if problems:
        raise InvalidRequestError(problems)
    return {
        "architecture": request.architecture,
        "crop": request.crop,
        "classes": request.classes,
        "weights": request.weights,
        "training_scale": [scale.smallest, scale.largest] if scale else None,
        "preprocessing": preprocessing.to_dict() if preprocessing else None,
    }


def _parse_preprocessing(value: str | Mapping[str, Any]) -> Preprocessing:
    if isinstance(value, str):
        if value not in PREPROCESSING_PRESETS:
            raise UnknownNameError("preprocessing", value, PREPROCESSING_PRESETS)
        return PREPROCESSING_PRESETS[value]
    known = set(Preprocessing().to_dict())
    problems = [
        Problem(
            f"preprocessing.{name}", f"preprocessing has the fields {', '.join(sorted(known))}", given, "unknown_field"
        )
        for name, given in value.items()
        if name not in known
    ]
    problems += [
        Problem(f"preprocessing.{name}", "three numbers, one a channel", value[name])
        for name in ("mean", "std")
        if name in value and not isinstance(value[name], list)
    ]
    if problems:
        raise SpecError(problems)
    given: dict[str, Any] = {name: tuple(item) if isinstance(item, list) else item for name, item in value.items()}
    return Preprocessing(**given)
