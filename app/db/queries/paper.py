"""Scores of evaluations as rows of the paper's tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from app.db.models import Checkpoint
from app.db.queries import evaluations
from app.representations.evaluations import EvaluationDocument, MemberDocument, ScoreDocument
from app.representations.paper import (
    LeftOut,
    MeasuredCells,
    PaperChoice,
    PaperDocument,
    PaperNetwork,
    PaperRow,
    PaperTable,
    PrintedCells,
)
from ensembles import paper, paper_rows
from ensembles.configurations import Architecture
from ensembles.paper_rows import LaidOutRow, Measurement, OpenChoice
from ensembles.protocols import Protocol
from ensembles.scales import TrainingScale
from ensembles.specs import PREPROCESSING_PRESETS

_UNEQUAL_WEIGHTS = "members weighted unequally; the paper's fusion is a plain mean"


@dataclass(frozen=True)
class _Side:
    """One evaluation with its checkpoints by name."""

    evaluation: EvaluationDocument
    scores: tuple[ScoreDocument, ...]
    checkpoints: Mapping[str, Checkpoint]

    def members(self, name: str) -> list[MemberDocument]:
        return [member for member in self.evaluation.checkpoints if member.checkpoint == name]


def get(session: Session, evaluation_ids: Sequence[str], *, table: int | None = None) -> PaperDocument:
    """Tables 3-7, or the one asked for, with the rows of these evaluations beside the printed ones.

    A score takes part if every member is a paper configuration without batch norm and has a training scale. A network
    of other width, crop or classes, or a protocol that breaks the paper's words, is laid out but never compared.

    Raises:
        NotFoundError: one of the ids is unknown.
    """
    sides = [_side(session, evaluation_id) for evaluation_id in dict.fromkeys(evaluation_ids)]
    measured: dict[tuple[object, ...], Measurement] = {}
    for side in sides:
        for measurement, views in _measurements(side):
            # Two evaluations with the same views of the same checkpoints and images have one measurement.
            key = (measurement.name, measurement.method, views, measurement.top1_error, measurement.top5_error)
            measured.setdefault(key, measurement)
    laid_out = {
        number: rows for number, rows in paper_rows.lay_out(measured.values()).items() if table in (None, number)
    }
    return PaperDocument(
        evaluations=[side.evaluation.id for side in sides],
        comparable=all(not _network_departures(row) for side in sides for row in side.checkpoints.values()),
        matched=len({id(row.measured) for rows in laid_out.values() for row in rows if row.printed and row.measured}),
        left_out=[left_out for side in sides for left_out in _left_out(side)],
        tables=[
            PaperTable(number=number, title=paper.TITLES[number], rows=[_row(row) for row in rows])
            for number, rows in laid_out.items()
        ],
        choices=[_choice(name, choice, sides) for name, choice in paper_rows.OPEN_CHOICES.items()],
        reasons=paper_rows.POSSIBLE_REASONS,
    )


def _side(session: Session, evaluation_id: str) -> _Side:
    document = evaluations.get(session, evaluation_id)
    return _Side(
        document,
        tuple(evaluations.scores(session, evaluation_id).items),
        {member.checkpoint: session.get_one(Checkpoint, member.checkpoint_id) for member in document.checkpoints},
    )


def _measurements(side: _Side) -> Iterator[tuple[Measurement, tuple[str, ...]]]:
    """Each with the digests of its views."""
    errors: dict[tuple[object, ...], dict[str, ScoreDocument]] = {}
    for score in side.scores:
        key = (score.subject, score.subject_name, tuple((m.checkpoint, tuple(m.scales), m.mode) for m in score.members))
        errors.setdefault(key, {})[score.metric] = score
    for by_metric in errors.values():
        top1, top5 = by_metric["top1_error"], by_metric["top5_error"]
        members = [_network(side.checkpoints.get(member.checkpoint), member.scales) for member in top1.members]
        method, *others = {member.mode for member in top1.members}
        # How imported predictions were made, nobody knows.
        if not others and method != "imported" and all(members):
            measurement = Measurement(
                members=tuple(member for member in members if member),
                method=method,
                top1_error=top1.value,
                top5_error=top5.value,
                n=top1.n,
                name=" + ".join(member.checkpoint for member in top1.members),
                source=side.evaluation.id,
                protocol=" / ".join(
                    dict.fromkeys(own.protocol_title for m in top1.members for own in side.members(m.checkpoint))
                ),
                top1_interval=_interval(top1),
                top5_interval=_interval(top5),
                departures=tuple(dict.fromkeys(_departures(side, top1, method))),
            )
            yield measurement, tuple(_view_digests(side, top1))


def _view_digests(side: _Side, score: ScoreDocument) -> Iterator[str]:
    for member in score.members:
        for view in side.evaluation.views:
            in_mode = member.mode in ("both", view.mode)
            if view.checkpoint == member.checkpoint and in_mode and view.scale in member.scales:
                yield view.view_digest


def _departures(side: _Side, score: ScoreDocument, method: paper.Method) -> Iterator[str]:
    for member in score.members:
        yield from _network_departures(side.checkpoints[member.checkpoint])
        for own in side.members(member.checkpoint):
            yield from paper_rows.protocol_departures(Protocol.parse(own.protocol), method)
    if score.subject == "ensemble" and len({member.weight for member in side.evaluation.checkpoints}) > 1:
        yield _UNEQUAL_WEIGHTS


def _interval(score: ScoreDocument) -> tuple[float, float] | None:
    return None if score.low is None or score.high is None else (score.low, score.high)


def _network_departures(checkpoint: Checkpoint) -> tuple[str, ...]:
    architecture = checkpoint.architecture or {}
    if architecture.get("configuration") is None:
        return ("not a network of the paper",)
    return paper_rows.network_departures(Architecture.from_dict(architecture))


def _network(checkpoint: Checkpoint | None, scales: Sequence[int]) -> paper.NetworkAtScales | None:
    if checkpoint is None:  # renamed, and scored by a release that did not note whose scores are whose
        return None
    scale = _training_scale(checkpoint)
    if scale is None or _no_row(checkpoint):
        return None
    return paper.NetworkAtScales((checkpoint.architecture or {})["configuration"], scale, tuple(scales))


def _training_scale(checkpoint: Checkpoint) -> TrainingScale | None:
    smallest, largest = checkpoint.training_scale_min, checkpoint.training_scale_max
    return None if smallest is None else TrainingScale(smallest, largest or smallest)


def _no_row(checkpoint: Checkpoint) -> str | None:
    """Why no row can be made of a checkpoint."""
    architecture = checkpoint.architecture or {}
    if architecture.get("configuration") is None:
        return f"{checkpoint.architecture_name or 'its architecture'} is none of the paper's configurations"
    if architecture["batch_norm"]:
        return "batch normalisation is not in the paper's networks"
    if checkpoint.training_scale_min is None:
        return "no training scale S is recorded with it, and the tables go by S"
    return None


def _left_out(side: _Side) -> Iterator[LeftOut]:
    evaluation = side.evaluation
    if evaluation.status != "succeeded":
        yield LeftOut(
            evaluation=evaluation.id, name=evaluation.id, reason=f"it has no scores; its status is {evaluation.status}"
        )
        return
    for name, checkpoint in side.checkpoints.items():
        if reason := _no_row(checkpoint):
            yield LeftOut(evaluation=evaluation.id, name=name, reason=reason)
    for score in side.scores:
        if score.metric == "top1_error" and len({member.mode for member in score.members}) > 1:
            reason = "its members were evaluated in different modes, which no row of the paper has"
            yield LeftOut(evaluation=evaluation.id, name=score.subject_name, reason=reason)


def _choice(name: str, choice: OpenChoice, sides: Sequence[_Side]) -> PaperChoice:
    values = sorted({value for side in sides for value in _values(name, side)})
    agrees = all(value in choice.values for value in values) if choice.values and values else None
    return PaperChoice(name=name, values=values, authors=choice.authors, agrees=agrees, fact=choice.fact)


def _values(name: str, side: _Side) -> list[str]:
    """What the evaluation has for a choice, as texts."""
    if name == "weights":
        return [f"{key}, sha256 {(row.sha256 or '')[:12]}" for key, row in side.checkpoints.items()]
    if name == "preprocessing":
        return [_preprocessing(row) for row in side.checkpoints.values()]
    if name == "images":
        return [f"{score.n:,}" for score in side.scores[-1:]]
    return [_text(member.protocol.get(name)) for member in side.evaluation.checkpoints]


def _text(value: object) -> str:
    if value is None:
        return "nothing"
    return f"{len(value):,} images" if isinstance(value, list) else str(value).lower()


def _preprocessing(checkpoint: Checkpoint) -> str:
    presets = (name for name, preset in PREPROCESSING_PRESETS.items() if preset.to_dict() == checkpoint.preprocessing)
    return next(presets, "an own one")


def _row(row: LaidOutRow) -> PaperRow:
    source = row.printed or row.measured
    members = source.members if source else ()
    return PaperRow(
        members=[
            PaperNetwork(
                configuration=member.configuration,
                training_scale=[member.training_scale.smallest, member.training_scale.largest],
                scales=list(member.scales),
            )
            for member in members
        ],
        method=source.method if source else None,
        printed=_printed(row.printed) if row.printed else None,
        measured=_measured(row.measured) if row.measured else None,
        top1_verdict=row.top1_verdict,
        top5_verdict=row.top5_verdict,
    )


def _printed(row: paper.PrintedRow) -> PrintedCells:
    return PrintedCells(
        label=row.label,
        top1_val=row.top1_val,
        top5_val=row.top5_val,
        top5_test=row.top5_test,
        reproducible=row.reproducible,
        note=row.note,
    )


def _measured(row: Measurement) -> MeasuredCells:
    top1, top5 = row.top1_interval, row.top5_interval
    return MeasuredCells(
        evaluation=row.source,
        name=row.name,
        protocol=row.protocol,
        top1_error=row.top1_error,
        top1_low=top1 and top1[0],
        top1_high=top1 and top1[1],
        top5_error=row.top5_error,
        top5_low=top5 and top5[0],
        top5_high=top5 and top5[1],
        n=row.n,
        departures=list(row.departures),
    )
