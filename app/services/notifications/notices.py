"""What webhooks are told of evaluations and verdicts, written in the transaction that ends or gives them."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db.models import Checkpoint, Dataset, Evaluation, EvaluationMember, Score
from app.db.queries import gates
from app.db.queries.evaluations import score_document
from app.representations.base import ErrorInfo
from app.representations.webhooks import EndedEvaluationDocument, WebhookEvent
from app.services.notifications import webhooks


def evaluation_ended(session: Session, evaluation_id: str, event: WebhookEvent) -> None:
    """Tell of an evaluation that has just succeeded or failed."""
    if webhooks.is_wanted(session, event):
        session.flush()
        webhooks.enqueue(session, event, _ended(session, evaluation_id))


def verdict_given(session: Session, gate_id: str) -> None:
    """Tell of a gate's verdict."""
    session.flush()
    document = gates.get(session, gate_id)
    webhooks.enqueue(session, f"gate.{document.verdict}", document)


def _ended(session: Session, evaluation_id: str) -> EndedEvaluationDocument:
    # Columns, not the row: the session may hold it as it was before it ended.
    columns = (Evaluation.status, Evaluation.images, Evaluation.error_code, Evaluation.error_message, Dataset.name)
    ended = select(*columns).join(Dataset).where(Evaluation.id == evaluation_id)
    status, images, code, message, dataset = session.execute(ended).one()
    members = (
        select(Checkpoint.name)
        .join(EvaluationMember, EvaluationMember.checkpoint_id == Checkpoint.id)
        .where(EvaluationMember.evaluation_id == evaluation_id)
        .order_by(EvaluationMember.position)
    )
    # The ensemble's row is the last; the checkpoint's is where there is one member.
    own = Score.evaluation_id == evaluation_id
    last = select(func.max(Score.position)).where(own).scalar_subquery()
    scores = select(Score).where(own, Score.position == last).order_by(Score.id)
    url = f"/api/v1/evaluations/{evaluation_id}"
    return EndedEvaluationDocument(
        id=evaluation_id,
        status=status,
        dataset=dataset,
        checkpoints=list(session.scalars(members)),
        images=images,
        error=ErrorInfo.of(code, message),
        scores=[score_document(row) for row in session.scalars(scores)],
        links={"self": url, "scores": f"{url}/scores"},
    )
