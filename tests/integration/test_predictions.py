"""Predictions in and out through real workers and the real command line."""

from __future__ import annotations

import json
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.db.queries import checkpoints as queries
from app.representations.predictions import PredictionsRequest
from app.services import evaluations, imports
from ensembles.outcomes import score_images
from tests.integration.harness import Deployment, deployment

SOFTVOTE = str(Path(sysconfig.get_path("scripts")) / "softvote")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Deployment, str]]:
    """A data set, two networks, and an evaluation of both that has succeeded; its id."""
    with deployment(tmp_path_factory.mktemp("filled")) as made:
        made.add_images(count=50)
        for name, seed in (("a", 1), ("b", 2)):
            made.add_checkpoint(name, seed=seed)
        evaluation_id = made.submit(["a", "b"], protocol={"scales": [34, 40], "modes": ["dense", "crops"]})
        assert made.run(evaluation_id).status == "succeeded"
        yield made, evaluation_id


def softvote(made: Deployment, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [SOFTVOTE, *arguments, "--json"], env={**made.environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def values(made: Deployment, evaluation_id: str, subject: str = "ensemble") -> dict[str, float]:
    """The scores of the whole ensemble or member."""
    return {score.metric: score.value for score in made.scores(evaluation_id) if score.subject_name == subject}


def test_the_whole_ensemble_survives_the_way_out_and_in_again(filled: tuple[Deployment, str], tmp_path: Path) -> None:
    made, evaluation_id = filled
    for suffix in ("npy", "csv", "parquet"):
        path = tmp_path / f"fused.{suffix}"
        out = softvote(made, "predictions", "export", evaluation_id, "--output", str(path))
        assert (out["images"], out["arrays"]) == (50, ["ensemble"])
        name = f"fused-{suffix}"
        back = softvote(made, "predictions", "import", str(path), "--name", name, "--dataset", "pictures", "--probs")
        assert (back["state"], back["architecture"]) == ("ready", "imported")
        again = made.submit([name])
        assert made.run(again).status == "succeeded"
        # Fused posteriors are stored as float32.
        assert values(made, again, name) == pytest.approx(values(made, evaluation_id), abs=1e-6)
        twice = tmp_path / f"twice.{suffix}"
        softvote(made, "predictions", "export", again, "--output", str(twice))
        assert twice.read_bytes() == path.read_bytes()


def test_an_archive_holds_every_view_and_its_numbers_come_back_to_the_byte(
    filled: tuple[Deployment, str], tmp_path: Path
) -> None:
    made, evaluation_id = filled
    path = tmp_path / "views.npz"
    out = softvote(made, "predictions", "export", evaluation_id, "--output", str(path))
    names = [f"probs/{name}/{mode}/{scale}" for name in "ab" for mode in ("dense", "crops") for scale in (34, 40)]
    assert out["arrays"] == names
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    top1 = score_images(arrays["probs/a/dense/34"], arrays["labels"]).wrong(1).mean()
    stored = next(
        s.value for s in made.scores(evaluation_id) if (s.subject_name, s.scales, s.mode) == ("a", [34], "dense")
    )
    assert top1 == stored

    np.savez(tmp_path / "one.npz", ids=arrays["ids"], probs=arrays["probs/b/crops/40"])
    softvote(made, "predictions", "import", str(tmp_path / "one.npz"), "--name", "one", "--dataset", "pictures")
    again = made.submit(["one"])
    made.run(again)
    softvote(made, "predictions", "export", again, "--output", str(tmp_path / "two.npz"))
    with np.load(tmp_path / "two.npz", allow_pickle=False) as archive:
        assert archive["probs/one/imported"].tobytes() == arrays["probs/b/crops/40"].tobytes()
        assert archive["ids"].tolist() == arrays["ids"].tolist()


def test_imports_and_checkpoints_are_fused_by_real_workers(filled: tuple[Deployment, str], tmp_path: Path) -> None:
    """A member that went out and came in again is worth what it was: the ensemble is the same."""
    source, evaluation_id = filled
    path = tmp_path / "views.npz"
    softvote(source, "predictions", "export", evaluation_id, "--output", str(path))
    with deployment(tmp_path / "deployed", like=source) as made:
        root = made.runtime.settings.checkpoint_roots[0]
        (root / "views.npz").write_bytes(path.read_bytes())
        request = PredictionsRequest(path="views.npz", name="b-elsewhere", dataset="pictures", member="b")
        imports.request_import(made.runtime.db, made.runtime.settings, request)
        made.start("scheduler", "scheduler")
        made.start_worker("w1")
        made.start_worker("w2")
        made.wait(lambda: state(made, "b-elsewhere") == "ready", "the import")
        mixed = made.submit(
            ["a", "b-elsewhere"], protocol={"scales": [34, 40], "modes": ["dense", "crops"]}, force=True
        )
        assert made.wait_until_ended(mixed).status == "succeeded", made.logs_of_all()
        assert values(made, mixed) == pytest.approx(values(source, evaluation_id), abs=1e-6)
        row = next(score for score in made.scores(mixed) if score.subject_name == "b-elsewhere")
        assert (row.scales, row.mode, row.members[0].scales) == (None, "imported", [])


def test_a_damaged_import_fails_with_what_to_do_and_importing_again_mends_it(
    filled: tuple[Deployment, str], tmp_path: Path
) -> None:
    made, evaluation_id = filled
    path = tmp_path / "b.npy"
    softvote(made, "predictions", "export", evaluation_id, "--output", str(path), "--member", "b")
    softvote(made, "predictions", "import", str(path), "--name", "hurt", "--dataset", "pictures", "--probs")
    (stored,) = [f for f in made.runtime.artifacts.root.glob("imported/*.npy") if f.read_bytes() == path.read_bytes()]
    content = bytearray(stored.read_bytes())
    content[-1] ^= 1
    stored.write_bytes(content)
    hurt = made.submit(["hurt"])
    failed = made.run(hurt)
    assert failed.error is not None
    assert (failed.status, failed.error.code) == ("failed", "import_damaged")
    assert "import the predictions again" in failed.error.message
    softvote(made, "predictions", "import", str(path), "--name", "mended", "--dataset", "pictures", "--probs")
    evaluations.retry(made.runtime.db, hurt)
    assert made.run(hurt).status == "succeeded"


def state(made: Deployment, name: str) -> str:
    with made.runtime.db.read() as session:
        return queries.get(session, name).state
