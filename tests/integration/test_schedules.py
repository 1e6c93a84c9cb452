"""Scheduled runs with real networks and images: what moved, what was overwritten, and that nothing else is reported."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from sqlalchemy import select, update

from app.db.models import (
    Checkpoint,
    Dataset,
    EvaluationSet,
    Event,
    PredictionPart,
    Schedule,
    ScheduleRun,
    Webhook,
    WebhookDelivery,
)
from app.db.queries import schedules as queries
from app.representations.ensembles import EnsembleRequest
from app.representations.schedules import AcknowledgeRequest, ScheduleChange, ScheduleRequest, ScheduleRunDocument
from app.services import datasets, ensembles
from app.services.leasing import recovery
from app.services.scheduling import schedule_runs, schedules
from ensembles import images
from ensembles.checkpoints import CheckpointMetadata, save_checkpoint
from ensembles.scales import TrainingScale
from tests.integration.harness import Deployment, deployment
from tests.tiny_nets import tiny_network
from workers import local
from workers.drain import work_once
from workers.options import WorkerOptions

TARGET = {"dataset": "pictures", "checkpoints": ["a", "b"], "protocol": {"scales": [34, 40]}}
IMAGES = 40


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployment(tmp_path_factory.mktemp("filled")) as made:
        made.add_images(count=IMAGES)
        made.add_checkpoint("a", seed=1)
        made.add_checkpoint("b", seed=2)
        yield made


@pytest.fixture
def made(filled: Deployment, tmp_path: Path) -> Iterator[Deployment]:
    with deployment(tmp_path, like=filled) as copied:
        yield copied


class Nightly:
    """One schedule, and a worker in this process that does all that its runs need."""

    def __init__(self, made: Deployment, **fields: Any) -> None:
        self.made = made
        request = {"name": "nightly", "cron": "0 3 * * *", "target": TARGET, "verify": "full", **fields}
        self.key = schedules.create(made.runtime.db, ScheduleRequest.model_validate(request))

    def run(self, count: int = 1) -> ScheduleRunDocument:
        """Fire by hand so many times, one after the other; the last run."""
        db = self.made.runtime.db
        with local._context(self.made.runtime, WorkerOptions(name="local", threads=1)) as context:
            for _ in range(count):
                run_id = schedules.run_now(db, self.key)
                while self.of(run_id).finished_at is None:
                    if not work_once(context) and not schedule_runs.advance(db):
                        recovery.sweep(db)
        return self.of(run_id)

    def of(self, run_id: str) -> ScheduleRunDocument:
        with self.made.runtime.db.read() as session:
            return queries.get_run(session, self.key, run_id)

    def moved(self, run_id: str) -> dict[str, tuple[str, str, float]]:
        with self.made.runtime.db.read() as session:
            found = queries.moved_images(session, self.key, run_id)
        return {one.image: (one.top1_before, one.top1_now, one.largest_difference) for one in found.items}

    def posteriors(self, evaluation_id: str) -> list[NDArray[np.float32]]:
        """Of each view, read without the code under test."""
        with self.made.runtime.db.read() as session:
            links = select(EvaluationSet).where(EvaluationSet.evaluation_id == evaluation_id)
            order = (EvaluationSet.member_position, EvaluationSet.view_position)
            found = []
            for link in session.scalars(links.order_by(*order)):
                parts = select(PredictionPart.artifact).where(PredictionPart.set_id == link.set_id)
                keys = session.scalars(parts.order_by(PredictionPart.start)).all()
                found.append(np.concatenate([np.load(self.made.runtime.artifacts.path(str(key))) for key in keys]))
        return found


def image_ids(made: Deployment) -> list[str]:
    with made.runtime.db.read() as session:
        return list(datasets.load_index(made.runtime.artifacts, session.scalars(select(Dataset)).one()).ids)


def overwrite(made: Deployment, name: str, seed: int) -> None:
    with made.runtime.db.read() as session:
        path = Path(str(session.scalars(select(Checkpoint.path).where(Checkpoint.name == name)).one()))
    network = tiny_network(name, configuration="A", classes=3, seed=seed).network
    save_checkpoint(path, network, CheckpointMetadata(TrainingScale(34, 40)))


@pytest.fixture
def weights(made: Deployment) -> Iterator[None]:
    """Files of the shared deployment, put back afterwards."""
    with made.runtime.db.read() as session:
        paths = [Path(str(path)) for path in session.scalars(select(Checkpoint.path))]
    kept = {path: path.read_bytes() for path in paths}
    yield
    for path, content in kept.items():
        path.write_bytes(content)


class OtherKernel:
    """Another resize kernel for some images, as another release of the decoder might bring."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, touched: set[str]) -> None:
        decode = images._decoded

        def decoded(data: bytes, view: Any, image_id: str) -> Any:
            pixels = decode(data, view, image_id)
            if image_id not in touched:
                return pixels
            return pixels.filter(ImageFilter.GaussianBlur(3))

        monkeypatch.setattr(images, "_decoded", decoded)


def test_an_unchanged_world_reports_nothing_over_50_runs(made: Deployment) -> None:
    nightly = Nightly(made, target={**TARGET, "checkpoints": ["a"], "protocol": {"scales": [34]}, "limit": 10})
    assert nightly.run().verdict == "first"
    nightly.run(50)
    with made.runtime.db.read() as session:
        runs = queries.list_runs(session, nightly.key, cursor=None, limit=200).items
        assert queries.alarms(session) == []
        told = session.scalars(select(Event.kind).where(Event.kind.like("schedule_run_%"))).all()
    assert [run.verdict for run in runs] == ["ok"] * 50 + ["first"]
    assert {tuple(run.findings) for run in runs[:-1]} == {("Nothing changed.",)}
    assert set(told) == {"schedule_run_first", "schedule_run_ok"}
    # Posteriors were computed again each time.
    assert len({run.evaluation for run in runs}) == 51


def test_another_resize_kernel_is_drift_with_exactly_the_images_it_moved(
    made: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    nightly = Nightly(made)
    before = nightly.run()
    ids = image_ids(made)
    touched = set(ids[::5])
    OtherKernel(monkeypatch, touched)
    run = nightly.run()
    assert run.verdict in ("drift", "regression")
    old, new = nightly.posteriors(str(before.evaluation)), nightly.posteriors(str(run.evaluation))
    differing = {ids[row] for a, b in zip(old, new, strict=True) for row in np.flatnonzero((a != b).any(axis=1))}
    assert differing == touched
    moved = nightly.moved(run.id)
    assert set(moved) == touched
    top1 = {ids[row] for a, b in zip(old, new, strict=True) for row in np.flatnonzero(a.argmax(1) != b.argmax(1))}
    assert {image for image, (was, is_now, _) in moved.items() if was != is_now} == top1
    assert run.detail["moved"]["images"] == len(touched)
    assert run.detail["moved"]["top1"] == len(top1)
    assert f"{len(touched)} of {IMAGES} images" in " ".join(run.findings)
    largest = max(float(np.abs(a - b).max()) for a, b in zip(old, new, strict=True))
    assert run.detail["moved"]["largest_difference"] == pytest.approx(largest, rel=1e-6)
    # The next run is held against this one: what moved once is told once.
    assert nightly.run().verdict == "ok"


def test_a_sample_that_moved_is_widened_to_every_image(made: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    nightly = Nightly(made, verify="sample", sample_images=8)
    first = nightly.run()
    calm = nightly.run()
    assert (calm.verdict, calm.evaluation) == ("ok", first.evaluation)
    assert calm.detail["moved"]["compared"] == 8
    ids = image_ids(made)
    touched = {ids[3], ids[20], ids[39]}
    OtherKernel(monkeypatch, touched)
    run = nightly.run()
    assert set(nightly.moved(run.id)) == touched
    assert run.detail["moved"]["compared"] == IMAGES
    assert run.evaluation not in (first.evaluation, run.verification)


def test_a_changed_environment_in_which_nothing_moved_is_said_and_is_no_alarm(made: Deployment) -> None:
    nightly = Nightly(made)
    first = nightly.run()
    older = [{**one, "pillow": "12.0.0"} for one in first.environment]
    with made.runtime.db.write() as session:
        session.execute(update(ScheduleRun).where(ScheduleRun.id == first.id).values(environment=older))
    run = nightly.run()
    assert (run.verdict, run.findings) == ("ok", ["The environment is another (pillow), and no answer moved."])
    with made.runtime.db.read() as session:
        (difference,) = queries.environment_diff(session, nightly.key, first.id, run.id).differences
    assert (difference.field, difference.before) == ("pillow", ["12.0.0"])


@pytest.mark.usefixtures("weights")
def test_f39_an_overwritten_checkpoint_is_a_model_change_with_a_paired_test(made: Deployment) -> None:
    nightly = Nightly(made, gate=None)
    first = nightly.run()
    overwrite(made, "b", seed=77)
    run = nightly.run()
    assert run.verdict == "model_change"
    (model,) = run.detail["models"]
    assert model["name"] == "b"
    assert model["now"] == f"b@{model['sha256'][:12]}"
    assert model["sha256"] != model["sha256_before"]
    pair = next(one for one in run.detail["comparison"] if one["metric"] == "top1_error")
    assert pair["n"] == IMAGES
    assert "moved" not in run.detail
    with made.runtime.db.read() as session:
        versions = session.scalars(select(Checkpoint.name).order_by(Checkpoint.id)).all()
    assert versions == ["a", "b", model["now"]]
    # What "b" meant when it was measured is untouched, and the new file is held against itself from now on.
    assert first.request is not None
    assert first.request["checkpoints"] == ["a", "b"]
    assert nightly.run().verdict == "ok"


@pytest.mark.usefixtures("weights")
def test_a_file_that_is_put_back_is_the_old_checkpoint_again(made: Deployment) -> None:
    nightly = Nightly(made)
    first = nightly.run()
    with made.runtime.db.read() as session:
        path = Path(str(session.scalars(select(Checkpoint.path).where(Checkpoint.name == "a")).one()))
    kept = path.read_bytes()
    overwrite(made, "a", seed=99)
    nightly.run()
    path.write_bytes(kept)
    run = nightly.run()
    assert run.fingerprints == first.fingerprints
    assert run.detail["models"][0]["now"] == "a"


@pytest.mark.usefixtures("weights")
def test_a_worse_model_is_a_regression_until_it_is_accepted(made: Deployment) -> None:
    right = {"dataset": "pictures", "checkpoints": ["a"], "protocol": {"scales": [34]}}
    nightly = Nightly(made, target=right, gate={"metric": "nll", "margin": 0.0, "alpha": 0.4})
    first = nightly.run()
    verdicts = []
    for seed in range(50, 56):
        overwrite(made, "a", seed=seed)
        run = nightly.run()
        verdicts.append(run.verdict)
        assert run.reference_run == first.id
        if run.verdict == "regression":
            assert run.findings[0].startswith("Regression: worse by")
            assert run.detail["gate"]["verdict"] == "fail"
            break
    assert verdicts[-1] == "regression"
    schedules.acknowledge(
        made.runtime.db, nightly.key, run.id, AcknowledgeRequest(note="smaller, as planned", accept=True)
    )
    with made.runtime.db.read() as session:
        assert session.get_one(Schedule, nightly.key).reference_run_id == run.id
        assert queries.get_run(session, nightly.key, run.id).note == "smaller, as planned"
        assert run.id not in [one.id for one in queries.alarms(session)]


def test_changed_images_are_said_and_nothing_is_compared(made: Deployment, tmp_path: Path) -> None:
    root = made.add_images("own", count=12, folder=None)
    nightly = Nightly(made, target={**TARGET, "dataset": "own"})
    nightly.run()
    victim, gone, *_ = sorted(path for path in root.rglob("*") if path.is_file())
    Image.new("RGB", (48, 40), "red").save(victim)
    gone.unlink()
    run = nightly.run()
    assert (run.verdict, run.evaluation) == ("dataset_changed", None)
    assert run.detail["dataset"]["counts"] == {"changed": 1, "missing": 1, "new": 0, "relabelled": 0}
    assert run.detail["dataset"]["images"]["missing"] == [gone.relative_to(root).as_posix()]
    assert "1 changed, 1 missing" in run.findings[0]


def test_another_target_is_not_compared_with_what_was_before(made: Deployment) -> None:
    nightly = Nightly(made)
    nightly.run()
    other = {**TARGET, "protocol": {"scales": [40]}}
    schedules.change(made.runtime.db, nightly.key, ScheduleChange.model_validate({"target": other}))
    run = nightly.run()
    assert run.verdict == "first"
    assert run.findings == ["Another protocol, fusion or number of members: not compared with earlier runs."]
    with made.runtime.db.read() as session:
        assert session.get_one(Schedule, nightly.key).reference_run_id == run.id
        found = queries.trend(session, nightly.key)
    assert found.breaks == [run.id]
    assert [point.verdict for point in found.points] == ["first", "first"]


@pytest.mark.usefixtures("weights")
def test_a_weights_file_that_is_gone_fails_the_run_with_its_code(made: Deployment) -> None:
    nightly = Nightly(made)
    with made.runtime.db.read() as session:
        path = Path(str(session.scalars(select(Checkpoint.path).where(Checkpoint.name == "a")).one()))
    path.unlink()
    run = nightly.run()
    assert (run.state, run.verdict) == ("failed", "failed")
    assert run.error is not None
    assert run.error.code == "checkpoint_missing"


def test_a_tag_stands_for_whatever_has_it_and_a_new_member_is_another_target(made: Deployment) -> None:
    db = made.runtime.db
    with db.write() as session:
        session.execute(update(Checkpoint).where(Checkpoint.name == "a").values(tags=["nightly"]))
    target = {"dataset": "pictures", "tag": "nightly", "protocol": {"scales": [34]}}
    nightly = Nightly(made, target=target)
    first = nightly.run()
    assert first.request is not None
    assert first.request["checkpoints"] == ["a"]
    with db.write() as session:
        session.execute(update(Checkpoint).where(Checkpoint.name == "b").values(tags=["nightly"]))
    assert nightly.run().verdict == "first"


def test_a_scheduler_and_a_worker_take_a_slot_to_its_verdict_by_themselves(made: Deployment) -> None:
    nightly = Nightly(made, target={**TARGET, "checkpoints": ["a"], "protocol": {"scales": [34]}})
    db = made.runtime.db
    with db.write() as session:
        past = {"next_fire_at": dt.datetime.now(dt.UTC) - dt.timedelta(seconds=1)}
        session.execute(update(Schedule).where(Schedule.id == nightly.key).values(**past))
    made.start("scheduler", "scheduler")
    made.start_worker()

    def ended() -> bool:
        with db.read() as session:
            found = queries.list_runs(session, nightly.key, cursor=None, limit=10).items
        return [run.verdict for run in found] == ["first"]

    made.wait(ended, "a run that is over")
    with db.read() as session:
        following = session.get_one(Schedule, nightly.key).next_fire_at
    assert following is not None
    assert following > dt.datetime.now(dt.UTC)


@pytest.mark.usefixtures("weights")
def test_whoever_asked_to_be_told_of_a_verdict_is_told_and_of_others_not(made: Deployment) -> None:
    with made.runtime.db.write() as session:
        told = ["schedule.model_change", "schedule.failed"]
        session.add(Webhook(url="https://ci.example.org/hook", events=told, secret="s", note=""))
    nightly = Nightly(made, gate=None, target={**TARGET, "checkpoints": ["a"], "protocol": {"scales": [34]}})
    nightly.run()
    overwrite(made, "a", seed=31)
    run = nightly.run()
    with made.runtime.db.read() as session:
        (delivery,) = session.scalars(select(WebhookDelivery))
    assert delivery.event == "schedule.model_change"
    assert json.loads(delivery.body)["data"]["id"] == run.id
    schedules.change(made.runtime.db, nightly.key, ScheduleChange(notify=["failed"]))
    overwrite(made, "a", seed=32)
    assert nightly.run().verdict == "model_change"
    with made.runtime.db.read() as session:
        assert len(session.scalars(select(WebhookDelivery)).all()) == 1


@pytest.mark.usefixtures("weights")
def test_a_saved_ensemble_runs_until_the_file_of_a_member_is_overwritten(made: Deployment) -> None:
    members = [{"checkpoint": name, "scales": [34], "mode": "dense", "weight": 0.5} for name in ("a", "b")]
    request = EnsembleRequest.model_validate({"name": "both", "members": members})
    ensembles.create(made.runtime.db, request)
    nightly = Nightly(made, target={"dataset": "pictures", "ensemble": "both"})
    assert nightly.run().verdict == "first"
    assert nightly.run().verdict == "ok"
    overwrite(made, "b", seed=41)
    run = nightly.run()
    assert run.error is not None
    assert (run.verdict, run.error.code) == ("failed", "checkpoint_replaced")
