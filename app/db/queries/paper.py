"""Scores of evaluations as rows of the paper's tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy.orm import Session

from app.db.models import Checkpoint
from app.db.queries import evaluations
from app.representations.evaluations import ScoreDocument, ScoresDocument
from app.representations.paper import MeasuredCells, PaperDocument, PaperNetwork, PaperRow, PaperTable, PrintedCells
from ensembles import paper
from ensembles.scales import TrainingScale

#: Only on ImageNet-1k, at full width, does a number mean what the printed one does.
PAPER_CLASSES = 1000


def get(session: Session, evaluation_ids: Sequence[str]) -> PaperDocument:
    """Tables 3-7 with the rows of these evaluations beside the printed ones.

    A score takes part if every member is a paper configuration without batch norm and has a training scale. A network
    of reduced width is laid out but never compared.

    Raises:
        NotFoundError: one of the ids is unknown.
    """
    measured: dict[tuple[object, ...], paper.Measurement] = {}
    comparable = True
    for evaluation_id in evaluation_ids:
        document = evaluations.get(session, evaluation_id)
        networks = {
            member.checkpoint: session.get_one(Checkpoint, member.checkpoint_id) for member in document.checkpoints
        }
        comparable &= all(
            row.classes == PAPER_CLASSES and (row.architecture or {}).get("width") == 1 for row in networks.values()
        )
        for measurement in _measurements(evaluations.scores(session, evaluation_id), networks):
            # The same view of the same checkpoint in two evaluations is one measurement.
            measured.setdefault((measurement.name, measurement.members, measurement.method), measurement)
    laid_out = paper.lay_out(measured.values(), comparable=comparable)
    return PaperDocument(
        evaluations=list(evaluation_ids),
        comparable=comparable,
        tables=[
            PaperTable(number=number, title=paper.TITLES[number], rows=[_row(row) for row in rows])
            for number, rows in laid_out.items()
        ],
        reasons=paper.POSSIBLE_REASONS,
    )


def _measurements(scores: ScoresDocument, networks: Mapping[str, Checkpoint]) -> Iterator[paper.Measurement]:
    errors: dict[tuple[object, ...], dict[str, ScoreDocument]] = {}
    for score in scores.items:
        key = (score.subject, score.subject_name, tuple((m.checkpoint, tuple(m.scales), m.mode) for m in score.members))
        errors.setdefault(key, {})[score.metric] = score
    for by_metric in errors.values():
        top1, top5 = by_metric["top1_error"], by_metric["top5_error"]
        members = [_network(networks[member.checkpoint], member.scales) for member in top1.members]
        methods = {member.mode for member in top1.members}
        if len(methods) == 1 and all(members):
            yield paper.Measurement(
                members=tuple(member for member in members if member),
                method=methods.pop(),
                top1_error=top1.value,
                top5_error=top5.value,
                n=top1.n,
                name=" + ".join(member.checkpoint for member in top1.members),
                source=scores.evaluation,
            )


def _network(checkpoint: Checkpoint, scales: Sequence[int]) -> paper.NetworkAtScales | None:
    architecture = checkpoint.architecture or {}
    if architecture.get("configuration") is None or architecture["batch_norm"] or checkpoint.training_scale_min is None:
        return None
    scale = TrainingScale(checkpoint.training_scale_min, checkpoint.training_scale_max or checkpoint.training_scale_min)
    return paper.NetworkAtScales(architecture["configuration"], scale, tuple(scales))


def _row(row: paper.LaidOutRow) -> PaperRow:
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


def _measured(row: paper.Measurement) -> MeasuredCells:
    return MeasuredCells(
        evaluation=row.source, name=row.name, top1_error=row.top1_error, top5_error=row.top5_error, n=row.n
    )
