"""What a run left behind, in plain values: the rows and events of the service, and what its client was told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select

from app.artifacts import ArtifactStore
from app.db import models
from app.db.session import Database
from app.errors import ArtifactDamagedError

#: (position, subject, metric, value, low, high, n): a row of an evaluation's scores, without its id.
ScoreRow = tuple[int, str, str, float, float | None, float | None, int]


@dataclass(frozen=True)
class Acknowledged:
    """A submission that the service answered with 202.

    Attributes:
        key: its Idempotency-Key.
        evaluation_id: what the answer named.
        request: name of the request, one of the reference's.
        cancelled: whether a later cancellation was answered with 202, too, and no retry after it.
    """

    key: str
    evaluation_id: str
    request: str
    cancelled: bool = False


@dataclass(frozen=True)
class EventRow:
    """One line of the history; `code` and `outcome` are of its detail."""

    id: int
    kind: str
    subject: str
    token: int | None = None
    code: str | None = None


@dataclass(frozen=True)
class PartRow:
    """Images [start, stop) of a set."""

    id: str
    set_id: str
    start: int
    stop: int
    state: str
    artifact: str | None = None
    batch: int | None = None


@dataclass(frozen=True)
class EvaluationRow:
    """An evaluation: how it ended, and how far it wanted each of its sets."""

    id: str
    status: str
    key: str | None
    error_code: str | None = None
    wants: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class History:
    """Everything that the checker looks at.

    Attributes:
        acknowledged: what the client was promised.
        events: in the order of their ids.
        parts: all.
        frontiers: how far each set was handed out.
        evaluations: all.
        scores: by evaluation.
        reference: scores by request, from a run that nothing disturbed.
        batches: by set, images or crops of one forward pass where memory suffices; workers that vanish over a part
            again and again make it smaller, and then the last bits may differ.
        damaged: keys of artifacts that rows point to and that are not what was stored.
        flipped: keys of artifacts that the run itself damaged.
    """

    acknowledged: Sequence[Acknowledged]
    events: Sequence[EventRow]
    parts: Sequence[PartRow]
    frontiers: Mapping[str, int]
    evaluations: Sequence[EvaluationRow]
    scores: Mapping[str, Sequence[ScoreRow]]
    reference: Mapping[str, Sequence[ScoreRow]]
    batches: Mapping[str, int | None] = field(default_factory=dict)
    damaged: frozenset[str] = frozenset()
    flipped: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Reference:
    """A run that nothing disturbed.

    Attributes:
        scores: by request.
        batches: of one forward pass, by checkpoint fingerprint and view digest.
    """

    scores: Mapping[str, Sequence[ScoreRow]]
    batches: Mapping[tuple[str, str], int | None]


def read_batches(db: Database) -> dict[tuple[str, str], int | None]:
    """The batch of each set, which is the same for all of its parts where no worker vanished."""
    with db.read() as session:
        rows = select(
            models.PredictionSet.checkpoint_fingerprint, models.PredictionSet.view_digest, models.PredictionPart.batch
        ).join(models.PredictionPart, models.PredictionPart.set_id == models.PredictionSet.id)
        return {(fingerprint, digest): batch for fingerprint, digest, batch in session.execute(rows)}


def read_history(
    db: Database,
    artifacts: ArtifactStore,
    acknowledged: Sequence[Acknowledged],
    reference: Reference,
    flipped: frozenset[str],
) -> History:
    """Read the tables, and every artifact that they name."""
    with db.read() as session:
        wants: dict[str, dict[str, int]] = {}
        for link in session.scalars(select(models.EvaluationSet)):
            wants.setdefault(link.evaluation_id, {})[link.set_id] = link.stop
        evaluations = [
            EvaluationRow(row.id, row.status, row.idempotency_key, row.error_code, wants.get(row.id, {}))
            for row in session.scalars(select(models.Evaluation))
        ]
        events = [
            EventRow(row.id, row.kind, row.subject_id or row.evaluation_id or "", row.token, row.detail.get("code"))
            for row in session.scalars(select(models.Event).order_by(models.Event.id))
        ]
        parts = list(session.scalars(select(models.PredictionPart)))
        outcomes = list(session.scalars(select(models.EvaluationOutcomes)))
        sets = list(session.scalars(select(models.PredictionSet)))
        scores = read_scores(db)
    files = [(part.artifact, part.sha256) for part in parts if part.artifact and part.sha256]
    files += [(row.artifact, row.sha256) for row in outcomes]
    damaged = set()
    for key, sha256 in files:
        try:
            artifacts.verified(key, sha256)
        except ArtifactDamagedError:
            damaged.add(key)
    return History(
        acknowledged=acknowledged,
        events=events,
        parts=[
            PartRow(part.id, part.set_id, part.start, part.stop, part.state, part.artifact, part.batch)
            for part in parts
        ],
        frontiers={row.id: row.frontier for row in sets},
        batches={row.id: reference.batches[row.checkpoint_fingerprint, row.view_digest] for row in sets},
        evaluations=evaluations,
        scores=scores,
        reference=reference.scores,
        damaged=frozenset(damaged),
        flipped=flipped,
    )


def read_scores(db: Database) -> dict[str, list[ScoreRow]]:
    """Every score by evaluation."""
    found: dict[str, list[ScoreRow]] = {}
    with db.read() as session:
        for row in session.scalars(select(models.Score).order_by(models.Score.position, models.Score.metric)):
            score = (row.position, row.subject_name, row.metric, row.value, row.low, row.high, row.n)
            found.setdefault(row.evaluation_id, []).append(score)
    return found
