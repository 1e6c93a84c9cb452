"""What a schedule evaluates: names, a tag or an ensemble, as the versions of checkpoints that are there now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.models import Checkpoint, CheckpointVersion, RegistrationState
from app.errors import CheckpointReplacedError, InvalidRequestError
from app.representations.requests import EvaluationRequest, MemberRequest
from app.representations.schedules import ScheduleTarget
from app.services import planning
from ensembles.errors import Problem


def problems_of(session: Session, target: ScheduleTarget) -> list[Problem]:
    """What is wrong with a target at present; nothing, where it can be evaluated."""
    given = [name for name in ("checkpoints", "tag", "ensemble") if getattr(target, name, None)]
    if len(given) != 1:
        return [Problem("target.checkpoints", "either checkpoints, a tag, or a saved ensemble", given)]
    if target.force:
        return [Problem("target.force", "false: `verify` says what is computed again", True)]
    if target.tag is not None and not tagged(session, target.tag):
        return [Problem("target.tag", "a tag of a ready checkpoint", target.tag, "unknown_name")]
    try:
        planning.plan(session, to_request(session, target))
    except InvalidRequestError as error:
        return [Problem(f"target.{one.field}", one.rule, one.value, one.code) for one in error.problems]
    return []


def to_request(session: Session, target: ScheduleTarget) -> EvaluationRequest:
    """The evaluation that a target asks for at this moment; a tag stands for whatever has it."""
    given = target.model_dump(mode="json", exclude={"tag"}, exclude_unset=True)
    if target.tag is not None:
        given["checkpoints"] = tagged(session, target.tag)
    return EvaluationRequest.model_validate(given)


def tagged(session: Session, tag: str) -> list[str]:
    """Names of the ready checkpoints with a tag, sorted; later versions of one file stand behind its first."""
    later = select(CheckpointVersion.checkpoint_id)
    rows = select(Checkpoint.name, Checkpoint.tags).where(
        Checkpoint.state == RegistrationState.READY, Checkpoint.id.not_in(later)
    )
    return sorted(name for name, tags in session.execute(rows) if tag in tags)


def versions_of(session: Session, root_id: str) -> list[Checkpoint]:
    """A checkpoint and what was later found in its file, the newest last."""
    later = (
        select(Checkpoint)
        .join(CheckpointVersion, CheckpointVersion.checkpoint_id == Checkpoint.id)
        .where(CheckpointVersion.root_id == root_id)
        .order_by(CheckpointVersion.found_at, Checkpoint.id)
    )
    root = session.get(Checkpoint, root_id)
    return ([] if root is None else [root]) + list(session.scalars(later))


def with_versions(session: Session, request: EvaluationRequest, current: Mapping[str, str]) -> EvaluationRequest:
    """The request with each checkpoint replaced by the version that its file holds now.

    Args:
        session: to read with.
        request: as `to_request` made it.
        current: root checkpoint id -> name of its version; the same name where nothing was overwritten.

    Raises:
        CheckpointReplacedError: a member of a saved ensemble was overwritten: the ensemble is another then.
    """
    plan = planning.plan(session, request)
    replaced = [one.checkpoint.name for one in plan.members if current[one.checkpoint.id] != one.checkpoint.name]
    if not replaced:
        return request
    if not request.checkpoints:
        raise CheckpointReplacedError(replaced[0])
    members: list[str | MemberRequest] = []
    for original, planned in zip(request.checkpoints, plan.members, strict=True):
        name = current[planned.checkpoint.id]
        if isinstance(original, str):
            members.append(name)
        else:
            members.append(original.model_copy(update={"checkpoint": name}))
    written: dict[str, Any] = request.model_dump(mode="json")
    written["checkpoints"] = [one if isinstance(one, str) else one.model_dump(mode="json") for one in members]
    return EvaluationRequest.model_validate(written)
