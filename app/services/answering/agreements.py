"""How far the members of an evaluation differ, and what their ensemble changes; from stored outcomes alone."""

from __future__ import annotations

import math

import numpy as np

from app.artifacts import ArtifactStore
from app.db.session import Database
from app.errors import InvalidRequestError
from app.representations.answers import AgreementDocument
from app.services.answering import answers, subjects
from ensembles.agreement import disagreement, ensemble_effect, error_correlation, members_disagree
from ensembles.errors import Problem


def agreement(db: Database, artifacts: ArtifactStore, evaluation_id: str) -> AgreementDocument:
    """Disagreement and error correlation of every two members, and how many images the ensemble rescues and breaks.

    Raises:
        InvalidRequestError: the evaluation has one member, which agrees with nobody.
        NotFoundError: no such evaluation.
        StateConflictError: it has not succeeded.
        OutcomesMissingError: it was fused by a release that kept no outcomes.
        ArtifactDamagedError: stored outcomes, or the data set's index, are missing or different.
    """
    with db.read() as session:
        members = subjects.find_members(session, evaluation_id)
        if len(members) < 2:
            raise InvalidRequestError([Problem("id", "an evaluation of two checkpoints or more", evaluation_id)])
        sides = [*members, answers.find(session, evaluation_id)]
    *of_members, of_ensemble = (ours.outcomes for ours in subjects.read_answers(artifacts, sides))
    predicted = np.stack([outcomes.predicted for outcomes in of_members])
    wrong = np.stack([outcomes.wrong() for outcomes in of_members])
    effect = ensemble_effect(wrong, of_ensemble.wrong())
    return AgreementDocument(
        evaluation=evaluation_id,
        n=len(of_ensemble),
        members=[member.name for member in members],
        errors=np.count_nonzero(wrong, axis=1).tolist(),
        ensemble_errors=int(of_ensemble.wrong().sum()),
        disagreement=disagreement(predicted).tolist(),
        error_correlation=[
            [None if math.isnan(value) else value for value in row] for row in error_correlation(wrong).tolist()
        ],
        members_disagree=int(members_disagree(predicted).sum()),
        reference=members[effect.reference].name,
        rescued=int(effect.rescued.sum()),
        broken=int(effect.broken.sum()),
        right_against_all=int(effect.right_against_all.sum()),
        wrong_for_all=int(effect.wrong_for_all.sum()),
    )
