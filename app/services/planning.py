"""Turns an evaluation request into exact work, or into the list of everything that is wrong with it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from app.db.models import Checkpoint, Dataset, Ensemble, RegistrationState
from app.db.queries.lookup import KINDS, find
from app.errors import InvalidRequestError, NotFoundError
from app.representations.ensembles import ChoiceDocument, EvaluatedEnsembleDocument
from app.representations.requests import EvaluationRequest, MemberRequest
from app.services import imports
from app.services.costs import mean_macs
from ensembles.architectures import architecture_from_dict, block_size
from ensembles.class_orders import map_classes
from ensembles.errors import (
    ClassCountMismatchError,
    ClassNamesMismatchError,
    DenseUnsupportedError,
    Problem,
    ScaleTooSmallError,
    SpecError,
    TrainingScaleMissingError,
    UnknownNameError,
)
from ensembles.protocols import IMPORTED, FusionSpec, Protocol
from ensembles.scales import TrainingScale
from ensembles.specs import IMPORTED_VIEW, ViewSpec

Registered = TypeVar("Registered", Checkpoint, Dataset)


@dataclass(frozen=True)
class PlannedView:
    """One view of one member: `stop` is where its images end, rounded up to whole blocks."""

    view: ViewSpec
    block: int
    macs_per_image: float
    stop: int


@dataclass(frozen=True)
class PlannedMember:
    """One checkpoint with its protocol, weight and views."""

    checkpoint: Checkpoint
    protocol: Protocol
    weight: float
    views: tuple[PlannedView, ...]


@dataclass(frozen=True)
class Plan:
    """A valid request: what it means on this data set with these checkpoints."""

    dataset: Dataset
    images: int
    protocol: Protocol
    fusion: FusionSpec
    members: tuple[PlannedMember, ...]
    ensemble: EvaluatedEnsembleDocument | None = None


def plan(session: Session, request: EvaluationRequest) -> Plan:
    """Check a request against the rows it names.

    Raises:
        InvalidRequestError: everything that is wrong with it, at once.
    """
    problems: list[Problem] = []
    dataset = ready(session, Dataset, request.dataset, "dataset", problems)
    protocol = protocol_of(request.protocol, "protocol", problems)
    ensemble = None if request.ensemble is None else _ensemble(session, request, problems)
    asked, fusion = _asked(request, ensemble, problems)
    members: list[PlannedMember] = []
    seen: dict[str, int] = {}
    for position, member in enumerate(asked):
        path = f"checkpoints.{position}" if ensemble is None else "ensemble"
        plain = ensemble is not None or isinstance(request.checkpoints[position], str)
        name_path = path if plain else f"{path}.checkpoint"
        checkpoint = ready(session, Checkpoint, member.checkpoint, name_path, problems)
        own = None if member.protocol is None else protocol_of(member.protocol, f"{path}.protocol", problems)
        if checkpoint is None:
            continue
        if checkpoint.id in seen and ensemble is None:
            rule = f"each checkpoint once; it is also checkpoints.{seen[checkpoint.id]}"
            problems.append(Problem(name_path, rule, member.checkpoint, "duplicate"))
            continue
        seen[checkpoint.id] = position
        if dataset is not None:
            problems += _class_problems(checkpoint, dataset, name_path)
        used = own if member.protocol is not None else protocol
        if used is None:
            continue
        shared = member.protocol is None
        protocol_value = request.protocol if shared else member.protocol
        if imports.is_imported(checkpoint):
            # How its posteriors were made is not ours to say; what is left out of scores is.
            used = replace(IMPORTED, exclude=used.exclude)
            problems += _import_problems(session, checkpoint, dataset, name_path)
            views: tuple[ViewSpec, ...] = (IMPORTED_VIEW,)
        else:
            views = views_of(checkpoint, used, "protocol" if shared else f"{path}.protocol", protocol_value, problems)
        if dataset is not None:
            weight = member.weight if fusion is None or fusion.weights is None else fusion.weights[position]
            members.append(PlannedMember(checkpoint, used, weight, _planned(checkpoint, views, dataset, request.limit)))
    if problems or dataset is None or protocol is None or fusion is None:
        raise InvalidRequestError(problems)
    if ensemble is not None or all(imports.is_imported(member.checkpoint) for member in members):
        protocol = members[0].protocol
    use = None if ensemble is None else _use(ensemble, dataset)
    return Plan(dataset, _scored_images(dataset, request.limit), protocol, fusion, tuple(members), use)


def _ensemble(session: Session, request: EvaluationRequest, problems: list[Problem]) -> Ensemble | None:
    """The saved ensemble that is asked for; it says all about members and fusion, so the request may not."""
    problems += [
        Problem(name, "nothing, where a saved ensemble is evaluated", getattr(request, name))
        for name in ("checkpoints", "protocol", "fusion")
        if name in request.model_fields_set
    ]
    try:
        return find(session, Ensemble, str(request.ensemble))
    except NotFoundError as error:
        near = f"; did you mean {' or '.join(error.near)}?" if error.near else ""
        problems.append(Problem("ensemble", f"the name of a saved ensemble{near}", request.ensemble, "unknown_name"))
        return None


def _asked(
    request: EvaluationRequest, ensemble: Ensemble | None, problems: list[Problem]
) -> tuple[list[MemberRequest], FusionSpec | None]:
    """Members and fusion, of the request or of the ensemble that it names."""
    if ensemble is not None:
        members = [
            MemberRequest(checkpoint=member.checkpoint_id, protocol=member.protocol, weight=member.weight)
            for member in ensemble.members
        ]
        weights = tuple(member.weight for member in members)
        return members, FusionSpec(ensemble.rule, weights, ensemble.temperature)  # type: ignore[arg-type]
    asked = [MemberRequest(checkpoint=one) if isinstance(one, str) else one for one in request.checkpoints]
    if request.ensemble is None and not asked:
        problems.append(Problem("checkpoints", "at least one, or a saved ensemble in their place", []))
        return asked, None
    return asked, _fusion(request, asked, problems)


def _use(ensemble: Ensemble, dataset: Dataset) -> EvaluatedEnsembleDocument:
    """What an evaluation keeps of its ensemble. All score a prefix of one order: the same data set, the same images."""
    chosen = None if ensemble.chosen is None else ChoiceDocument.model_validate(ensemble.chosen)
    return EvaluatedEnsembleDocument(
        id=ensemble.id,
        name=ensemble.name,
        chosen=chosen,
        selection_biased=chosen is not None
        and chosen.candidates_tried != 1
        and chosen.dataset_fingerprint == dataset.fingerprint,
    )


def ready(session: Session, table: type[Registered], key: str, path: str, problems: list[Problem]) -> Registered | None:
    """The ready row of that name; otherwise a problem is added."""
    kind = KINDS[table]
    try:
        row = find(session, table, key)
    except NotFoundError as error:
        near = f"; did you mean {' or '.join(error.near)}?" if error.near else ""
        problems.append(Problem(path, f"the name of a registered {kind}{near}", key, "unknown_name"))
        return None
    if row.state == RegistrationState.READY:
        return row
    why = f", since {row.error_message}" if row.error_message else ""
    problems.append(Problem(path, f"a {kind} that is ready; this one is {row.state}{why}", key, "not_ready"))
    return None


def protocol_of(value: str | Mapping[str, Any], path: str, problems: list[Problem]) -> Protocol | None:
    """The protocol that is meant; otherwise problems are added."""
    try:
        return Protocol.parse(value)
    except SpecError as error:
        problems += [_below(path, problem) for problem in error.problems]
    except UnknownNameError as error:
        near = f"did you mean {' or '.join(error.near)}?" if error.near else f"one of {', '.join(error.known)}"
        problems.append(Problem(path, f"a preset's name, {near}", error.name, error.code))
    return None


def _below(path: str, problem: Problem) -> Problem:
    field = problem.field if problem.field.startswith("protocol") else f"protocol.{problem.field}"
    return Problem(path + field.removeprefix("protocol"), problem.rule, problem.value, problem.code)


def _fusion(request: EvaluationRequest, members: Sequence[MemberRequest], problems: list[Problem]) -> FusionSpec | None:
    weights = request.fusion.weights
    if weights is not None and len(weights) != len(members):
        rule = f"null, or one weight for each of the {len(members)} checkpoints"
        problems.append(Problem("fusion.weights", rule, weights))
    own = [member.weight for member in members]
    for position, weight in enumerate(own):
        path = f"checkpoints.{position}.weight"
        if not (math.isfinite(weight) and weight >= 0):
            problems.append(Problem(path, "a finite number >= 0", weight))
        elif weights is not None and weight != 1.0:
            problems.append(Problem(path, "either here or in fusion.weights, not in both", weight))
    if weights is None and all(weight == 0 for weight in own):
        problems.append(Problem("checkpoints", "at least one weight above 0", own))
    try:
        spec = FusionSpec(
            rule=request.fusion.rule,  # type: ignore[arg-type]
            weights=None if weights is None else tuple(weights),
            temperature=request.fusion.temperature,
        )
    except SpecError as error:
        problems += error.problems
        return None
    return spec if weights is None or len(weights) == len(members) else None


def _class_problems(checkpoint: Checkpoint, dataset: Dataset, path: str) -> list[Problem]:
    names = dataset.classes or []
    if checkpoint.classes != len(names):
        rule = f"a checkpoint with the {len(names)} classes of data set {dataset.name!r}; this one has another number"
        return [Problem(path, rule, checkpoint.classes, ClassCountMismatchError.code)]
    try:
        map_classes(checkpoint.class_names, names)
    except ClassNamesMismatchError as error:
        rule = f"a checkpoint with the classes of data set {dataset.name!r}, in any order; this one lacks "
        return [Problem(path, f"{rule}{error.dataset_class!r}", error.checkpoint_class, error.code)]
    return []


def _import_problems(session: Session, checkpoint: Checkpoint, dataset: Dataset | None, path: str) -> list[Problem]:
    """Imported predictions are of the images of one data set, and say nothing of others."""
    if dataset is None:
        return []
    own = imports.datasets_of(session, checkpoint)
    if dataset.fingerprint in {one.fingerprint for one in own}:
        return []
    of = f"of data set {own[0].name!r}" if own else "of a data set that is gone"
    rule = f"a checkpoint, or predictions of data set {dataset.name!r}; these are {of}"
    return [Problem(path, rule, checkpoint.name)]


def views_of(
    checkpoint: Checkpoint, protocol: Protocol, path: str, value: object, problems: list[Problem]
) -> tuple[ViewSpec, ...]:
    """The views; a problem is put on the scales where the request lists fields, else on the protocol as a whole."""
    architecture = architecture_from_dict(checkpoint.architecture or {})
    field = f"{path}.scales" if isinstance(value, Mapping) else path
    if protocol.modes == IMPORTED.modes:
        rule = "modes that a network can be evaluated with, dense and crops; only predictions are imported"
        problems.append(Problem(f"{path}.modes", rule, list(protocol.modes)))
        return ()
    try:
        views = protocol.views(_training_scale(checkpoint), architecture.crop, checkpoint.name, architecture.recipe)
    except ScaleTooSmallError as error:
        rule = f"test scales Q of at least the crop of checkpoint {checkpoint.name!r}, {error.crop} px"
        if protocol.scales == "multi" and protocol.scale_step > 1:
            rule += f", as a smaller scale_step than {protocol.scale_step} may give"
        problems.append(Problem(field, rule, error.scale, error.code))
    except TrainingScaleMissingError as error:
        rule = f"listed scales, since no training scale is recorded for checkpoint {checkpoint.name!r}"
        problems.append(Problem(field, rule, protocol.scales, error.code))
    else:
        refusal = next(filter(None, map(architecture.view_refusal, views)), None)
        if refusal is None:
            return views
        field = f"{path}.modes" if isinstance(value, Mapping) else path
        rule = f"views that checkpoint {checkpoint.name!r} ({architecture.name}) can be evaluated with; {refusal}"
        problems.append(Problem(field, rule, list(protocol.modes), DenseUnsupportedError.code))
    return ()


def _training_scale(checkpoint: Checkpoint) -> TrainingScale | None:
    if checkpoint.training_scale_min is None or checkpoint.training_scale_max is None:
        return None
    return TrainingScale(checkpoint.training_scale_min, checkpoint.training_scale_max)


def _scored_images(dataset: Dataset, limit: int | None) -> int:
    images = dataset.images or 0
    return images if limit is None else min(limit, images)


def _planned(
    checkpoint: Checkpoint, views: Sequence[ViewSpec], dataset: Dataset, limit: int | None
) -> tuple[PlannedView, ...]:
    images = _scored_images(dataset, limit)
    if imports.is_imported(checkpoint):
        return tuple(PlannedView(view, 1, 0.0, images) for view in views)
    architecture = architecture_from_dict(checkpoint.architecture or {})
    planned = []
    for view in views:
        block = block_size(architecture, view)
        stop = min(-(-images // block) * block, dataset.images or 0)
        planned.append(PlannedView(view, block, mean_macs(architecture, view, dataset.sample_sizes or []), stop))
    return tuple(planned)
