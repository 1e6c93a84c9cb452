"""What a run of a schedule found: nothing, environment drift, a model change, a regression; and what it rests on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.artifacts import ArtifactStore
from app.db.models import (
    Dataset,
    Evaluation,
    EvaluationOutcomes,
    EvaluationSet,
    Gate,
    PredictionSet,
    Schedule,
    ScheduleRun,
)
from app.db.queries import schedules as queries
from app.db.session import Database
from app.errors import ArtifactDamagedError
from app.representations.gates import GateRequest
from app.services import datasets, predictions
from app.services.comparing import comparisons, gates
from app.services.scheduling import schedule_runs
from app.services.scheduling.schedule_runs import Judgement
from ensembles.errors import PosteriorsFormatError
from ensembles.movement import compare_posteriors
from ensembles.predictions import PosteriorPart, PosteriorParts

#: Moved images that a run lists; the counts are of all.
MAX_LISTED = 10_000


@dataclass(frozen=True)
class Moved:
    """Images whose answers moved: in some view of some checkpoint."""

    compared: int
    images: int
    top1: int
    largest: float
    #: [id, top-1 before, top-1 now, largest difference], those with another top-1 first, then the largest.
    listed: list[list[Any]]


def judge(
    db: Database, artifacts: ArtifactStore, run_id: str, step: Callable[[], None] = lambda: None
) -> tuple[ScheduleRun, Judgement] | None:
    """Judge a run whose evaluation has succeeded.

    Args:
        db: the database.
        artifacts: hold posteriors and outcomes.
        run_id: whose.
        step: called often meanwhile.

    Returns:
        The run and its judgement; None where it was removed.

    Raises:
        ArtifactDamagedError: stored posteriors are missing or different.
    """
    with db.read() as session:
        found = schedule_runs.find(session, run_id)
        if found is None:
            return None
        run, schedule = found
        before = None if run.previous_run_id is None else session.get(ScheduleRun, run.previous_run_id)
        reference = None if run.reference_run_id is None else session.get(ScheduleRun, run.reference_run_id)
        environment = _environment(session, run)
    judging = _Judging(db, artifacts, schedule, run, environment, step)
    if before is None:
        return run, judging.first(["The first run: later ones are held against it."])
    otherwise = _what_else(before.fingerprints or {}, run.fingerprints or {})
    if otherwise:
        return run, judging.first(otherwise)
    return run, judging.against(before, reference)


class _Judging:
    """One run in the making."""

    def __init__(
        self,
        db: Database,
        artifacts: ArtifactStore,
        schedule: Schedule,
        run: ScheduleRun,
        environment: list[dict[str, Any]],
        step: Callable[[], None],
    ) -> None:
        self._db, self._artifacts, self._schedule, self._run = db, artifacts, schedule, run
        self._environment, self._step = environment, step

    def first(self, findings: list[str]) -> Judgement:
        """Nothing to compare with."""
        return Judgement("first", findings, environment=self._environment)

    def against(self, before: ScheduleRun, reference: ScheduleRun | None) -> Judgement:
        """Compare with the run before; judge against the reference where something changed."""
        findings: list[str] = []
        detail: dict[str, Any] = {}
        verdict = "ok"
        moved: Moved | None = None
        models = _replaced(before.fingerprints or {}, self._run.fingerprints or {})
        if models:
            verdict = "model_change"
            detail["models"] = models
            detail["comparison"] = self._paired(before)
            findings += [f"Another file lies where {one['name']} was: {one['sha256'][:12]}." for one in models]
            findings.append(_paired_words(detail["comparison"]))
        elif (computed := self._run.verification_id or self._run.evaluation_id) != before.evaluation_id:
            # After a sample that moved, every image was computed again.
            again = self._run.evaluation_id if self._run.evaluation_id != before.evaluation_id else computed
            moved = self._moved(str(before.evaluation_id), str(again))
            detail["moved"] = {
                "compared": moved.compared,
                "images": moved.images,
                "top1": moved.top1,
                "largest_difference": moved.largest,
            }
            if moved.images:
                verdict = "drift"
                findings.append(_moved_words(moved))
                findings += _environment_words(before.environment, self._environment)
        if self._environment and not moved_at_all(moved) and not models:
            changed = queries.differences(before.environment, self._environment)
            if before.environment and changed:
                names = ", ".join(one.field for one in changed)
                findings.append(f"The environment is another ({names}), and no answer moved.")
        gate = self._gate(reference) if verdict != "ok" and reference is not None else None
        if gate is not None:
            detail["gate"] = gate
            if gate["verdict"] == "fail":
                verdict = "regression"
                findings.insert(0, f"Regression: {gate['reason']}.")
            else:
                findings.append(f"Gate {gate['verdict']}: {gate['reason']}.")
        return Judgement(
            verdict,
            findings or ["Nothing changed."],
            detail,
            [] if moved is None else moved.listed,
            self._environment or before.environment,
        )

    def _moved(self, before_id: str, now_id: str) -> Moved:
        with self._db.read() as session:
            evaluation = session.get_one(Evaluation, now_id)
            dataset = session.get_one(Dataset, evaluation.dataset_id)
            sides = [_sets(session, one) for one in (before_id, now_id)]
            images = min(evaluation.images, session.get_one(Evaluation, before_id).images)
            files = {
                key: tuple(predictions.part_files(session, side[key], images) for side in sides)
                for key in sides[0].keys() & sides[1].keys()
                if sides[0][key] != sides[1][key]
            }
        index = datasets.load_index(self._artifacts, dataset)
        worst: dict[int, tuple[bool, float, int, int]] = {}
        for key in sorted(files):
            old, new = (self._open(parts) for parts in files[key])
            found = compare_posteriors(old, new, images, self._schedule.tolerance)
            columns = (found.images, found.top1_moved, found.differences, found.before, found.now)
            for image, *rest in zip(*(column.tolist() for column in columns), strict=True):
                if image not in worst or tuple(rest[:2]) > worst[image][:2]:
                    worst[image] = (rest[0], min(rest[1], 1.0), rest[2], rest[3])
            self._step()
        order = sorted(worst, key=lambda image: (not worst[image][0], -worst[image][1], image))

        def class_name(label: int) -> str:
            return index.classes[label] if label >= 0 else "unreadable"

        return Moved(
            compared=images,
            images=len(worst),
            top1=sum(top1 for top1, *_ in worst.values()),
            largest=max((difference for _, difference, *_ in worst.values()), default=0.0),
            listed=[
                [index.ids[image], class_name(worst[image][2]), class_name(worst[image][3]), worst[image][1]]
                for image in order[:MAX_LISTED]
            ],
        )

    def _open(self, files: Sequence[predictions.PartFile]) -> PosteriorParts:
        try:
            return PosteriorParts([self._part(file) for file in files])
        except PosteriorsFormatError as error:
            raise ArtifactDamagedError("posteriors", error.rule) from error

    def _part(self, file: predictions.PartFile) -> PosteriorPart:
        self._step()
        return PosteriorPart(file.start, file.stop, self._artifacts.verified(file.artifact, file.sha256))

    def _paired(self, before: ScheduleRun) -> list[dict[str, Any]]:
        document = comparisons.compare(
            self._db, self._artifacts, str(before.evaluation_id), [str(self._run.evaluation_id)]
        )
        return [pair.model_dump(mode="json") for pair in document.pairs]

    def _gate(self, reference: ScheduleRun) -> dict[str, Any] | None:
        """The verdict against the reference; None where there is nothing to judge."""
        rule = self._schedule.gate
        if rule is None or _what_else(reference.fingerprints or {}, self._run.fingerprints or {}):
            return None
        base, candidate = str(reference.evaluation_id), str(self._run.evaluation_id)
        with self._db.read() as session:
            if base == candidate or _outcomes(session, base) == _outcomes(session, candidate):
                return None
        gate_id = gates.judge(self._db, self._artifacts, GateRequest(baseline=base, candidate=candidate, **rule))
        with self._db.read() as session:
            gate = session.get_one(Gate, gate_id)
            shown = ("reason", "metric", "margin", "difference", "low", "high")
            return {"id": gate_id, "verdict": gate.verdict, **{name: gate.result[name] for name in shown}}


def moved_at_all(moved: Moved | None) -> bool:
    """Whether posteriors were computed again and some are others."""
    return moved is not None and moved.images > 0


def _environment(session: Session, run: ScheduleRun) -> list[dict[str, Any]]:
    """What this run was computed with; of a run that computed nothing, nothing."""
    evaluation = session.get(Evaluation, run.verification_id or run.evaluation_id or "")
    found: list[dict[str, Any]] = [] if evaluation is None else evaluation.provenance.get("made_with", [])
    return found


def _sets(session: Session, evaluation_id: str) -> dict[tuple[str, str], str]:
    """(checkpoint fingerprint, view digest) -> prediction set."""
    rows = (
        select(PredictionSet.checkpoint_fingerprint, PredictionSet.view_digest, PredictionSet.id)
        .join(EvaluationSet, EvaluationSet.set_id == PredictionSet.id)
        .where(EvaluationSet.evaluation_id == evaluation_id)
    )
    return {(fingerprint, view): set_id for fingerprint, view, set_id in session.execute(rows)}


def _outcomes(session: Session, evaluation_id: str) -> list[str]:
    rows = select(EvaluationOutcomes.sha256).where(EvaluationOutcomes.evaluation_id == evaluation_id)
    return list(session.scalars(rows.order_by(EvaluationOutcomes.position)))


def _what_else(before: dict[str, Any], now_: dict[str, Any]) -> list[str]:
    """Why numbers of two runs answer different questions; nothing where they answer the same."""
    findings = []
    old, new = before.get("dataset", {}), now_.get("dataset", {})
    if old.get("fingerprint") != new.get("fingerprint"):
        findings.append(f"The data set is another ({old.get('name')} before): not compared with earlier runs.")
    elif old.get("images") != new.get("images"):
        findings.append("Another number of images is asked for: not compared with earlier runs.")
    if before.get("protocol") != now_.get("protocol") or len(before.get("checkpoints", [])) != len(
        now_.get("checkpoints", [])
    ):
        findings.append("Another protocol, fusion or number of members: not compared with earlier runs.")
    return findings


def _replaced(before: dict[str, Any], now_: dict[str, Any]) -> list[dict[str, Any]]:
    pairs = zip(before.get("checkpoints", []), now_.get("checkpoints", []), strict=True)
    return [
        {"name": old["name"], "now": new["name"], "sha256_before": old["sha256"], "sha256": str(new["sha256"])}
        for old, new in pairs
        if old["fingerprint"] != new["fingerprint"]
    ]


def _moved_words(moved: Moved) -> str:
    images = "1 image is" if moved.images == 1 else f"{moved.images:,} of {moved.compared:,} images are"
    return (
        f"{images} answered otherwise by the same files, {moved.top1:,} with another top-1;"
        f" the largest difference of a posterior is {moved.largest:.2g}."
    )


def _environment_words(before: Sequence[dict[str, Any]], now_: Sequence[dict[str, Any]]) -> list[str]:
    found = queries.differences(before, now_)
    if not found:
        return ["No recorded version differs: something that is not recorded does."]
    return [
        "Environment: "
        + "; ".join(f"{one.field} {', '.join(one.before) or 'none'} → {', '.join(one.now) or 'none'}" for one in found)
        + "."
    ]


def _paired_words(pairs: Sequence[dict[str, Any]]) -> str:
    top1 = next((pair for pair in pairs if pair["metric"] == "top1_error"), pairs[0])
    return (
        f"Paired test: top-1 error {100 * top1['base_value']:.2f} % → {100 * top1['candidate_value']:.2f} %"
        f" ({top1['only_candidate_wrong']} images lost, {top1['only_base_wrong']} won; {top1['verdict']})."
    )
