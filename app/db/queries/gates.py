"""Reads of verdicts and baselines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from app.db.models import Baseline, Evaluation, EvaluationMember, Gate
from app.db.queries.pages import newest_first
from app.errors import NotFoundError
from app.representations.base import Page
from app.representations.gates import BaselineDocument, GateDocument, SideDocument


def get(session: Session, gate_id: str) -> GateDocument:
    """One verdict.

    Raises:
        NotFoundError: there is none.
    """
    row = session.get(Gate, gate_id)
    if row is None:
        raise NotFoundError("gate", gate_id)
    return _document(row)


def list_page(
    session: Session, *, cursor: str | None, limit: int, candidate: str | None = None, verdict: str | None = None
) -> Page[GateDocument]:
    """Verdicts, newest first; on one candidate evaluation, or of one kind, if asked for.

    Raises:
        InvalidRequestError: the cursor is none of ours, or the limit out of range.
    """
    rows = select(Gate)
    if candidate is not None:
        rows = rows.where(Gate.candidate_evaluation_id == candidate)
    if verdict is not None:
        rows = rows.where(Gate.verdict == verdict)
    return newest_first(session, rows, (Gate.created_at, Gate.id), cursor=cursor, limit=limit, render=_documents)


def baselines(session: Session) -> list[BaselineDocument]:
    """Every baseline by name."""
    return [
        BaselineDocument(
            name=row.name,
            reference=row.reference,
            evaluation=row.evaluation_id,
            note=row.note,
            promoted_at=row.promoted_at,
        )
        for row in session.scalars(select(Baseline).order_by(Baseline.name))
    ]


def sides(session: Session, references: Iterable[str]) -> dict[str, SideDocument]:
    """What verdicts and baselines are about: each reference (`ID` or `ID:NAME`) to its checkpoints and data set."""
    wanted = {reference: reference.partition(":")[::2] for reference in references}
    rows = select(Evaluation).where(Evaluation.id.in_({key for key, _ in wanted.values()}))
    members = selectinload(Evaluation.members).selectinload(EvaluationMember.checkpoint)
    found = {row.id: row for row in session.scalars(rows.options(members, selectinload(Evaluation.dataset)))}
    return {
        reference: SideDocument(
            reference=reference,
            evaluation=key,
            # A member may be named by its checkpoint's id too.
            checkpoints=[
                member.checkpoint.name
                for member in found[key].members
                if not named or named in (member.checkpoint.name, member.checkpoint.id)
            ],
            dataset=found[key].dataset.name,
        )
        for reference, (key, named) in wanted.items()
        if key in found
    }


def _documents(rows: Sequence[Gate]) -> list[GateDocument]:
    return [_document(row) for row in rows]


def _document(row: Gate) -> GateDocument:
    url = f"/api/v1/gates/{row.id}"
    return GateDocument(
        id=row.id,
        verdict=row.verdict,
        baseline=row.baseline,
        baseline_reference=row.baseline_reference,
        candidate=row.candidate,
        created_at=row.created_at,
        links={"self": url, "junit": f"{url}/junit", "markdown": f"{url}/markdown"},
        # Rows from before this field judged what they named.
        **{"candidate_reference": row.candidate, **row.result},
    )
