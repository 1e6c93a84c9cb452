"""Whether the confidence of an evaluation's members and ensemble means what it says; from stored outcomes alone."""

from __future__ import annotations

from app.artifacts import ArtifactStore
from app.db.session import Database
from app.representations.answers import CalibratedDocument, CalibrationDocument, ReliabilityDocument
from app.services.answering import answers, subjects
from app.services.answering.class_answers import answering
from app.services.answering.subjects import Subject
from ensembles.calibration import ReliabilityBin, expected_calibration_error, reliability_curve
from ensembles.outcomes import ImageOutcomes


def calibration(db: Database, artifacts: ArtifactStore, evaluation_id: str) -> CalibrationDocument:
    """Calibration of the ensemble, where there is one, and of every member.

    Raises:
        NotFoundError: no such evaluation.
        StateConflictError: it has not succeeded.
        OutcomesMissingError: it was fused by a release that kept no outcomes.
        ArtifactDamagedError: stored outcomes, or the data set's index, are missing or different.
    """
    with db.read() as session:
        sides = subjects.find_members(session, evaluation_id)
        if len(sides) > 1:
            sides.insert(0, answers.find(session, evaluation_id))
    found = subjects.read_answers(artifacts, sides)
    return CalibrationDocument(
        evaluation=evaluation_id,
        items=[_calibrated(side, ours.outcomes) for side, ours in zip(sides, found, strict=True)],
    )


def _calibrated(side: Subject, outcomes: ImageOutcomes) -> CalibratedDocument:
    right = ~outcomes.wrong()
    width = reliability_curve(outcomes.confidences, right)
    mass = reliability_curve(outcomes.confidences, right, binning="mass")
    return CalibratedDocument(
        subject=answering(side),
        n=len(outcomes),
        accuracy=float(right.mean()),
        confidence=float(outcomes.confidences.mean()),
        ece_width=expected_calibration_error(width),
        ece_mass=expected_calibration_error(mass),
        brier=float(outcomes.brier_scores.mean()),
        nll=float(outcomes.negative_log_likelihoods().mean()),
        width=[_bin(one) for one in width],
        mass=[_bin(one) for one in mass],
    )


def _bin(one: ReliabilityBin) -> ReliabilityDocument:
    return ReliabilityDocument(
        low=one.low,
        high=one.high,
        n=one.n,
        confidence=one.confidence,
        accuracy=one.accuracy,
        accuracy_low=one.accuracy_low,
        accuracy_high=one.accuracy_high,
    )
