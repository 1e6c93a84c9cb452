"""What CI services run: their files, executed as they would be, against a live server."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sysconfig
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml
from werkzeug.serving import make_server

from app.cli.main import main
from app.db.queries import evaluations as evaluation_queries
from app.factory import create_app
from app.representations.gates import GateDocument
from app.runtime import Runtime
from app.services import evaluations
from app.services.comparing import gates
from ensembles.configurations import Architecture
from tests.app_builders import make_runtime
from tests.history import History

ROOT = Path(__file__).parents[4]
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "ci/github/action.yml").read_text(encoding="utf-8"))
JOB: dict[str, Any] = yaml.safe_load((ROOT / "ci/gitlab/softvote.gitlab-ci.yml").read_text(encoding="utf-8"))[
    ".softvote-gate"
]
pytestmark = pytest.mark.slow

INSTALLED = Path(sysconfig.get_path("scripts"))


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    runtime = make_runtime(tmp_path_factory.mktemp("ci") / "home")
    yield runtime
    runtime.db.dispose()


@pytest.fixture(scope="module")
def runs(runtime: Runtime) -> dict[str, str]:
    """Evaluations of 2,000 images, the baseline `production` among them."""
    history = History(runtime, macs_per_second=1e18)
    history.dataset("digits", images=2000, classes=tuple("0123456789"))
    keys = {}
    for name, wrong in (("base", 200), ("near", 198), ("worse", 290)):
        history.checkpoint(name, Architecture("A", width=0.125, classes=10, crop=32), (32, 32))
        keys[name] = history.submit(dataset="digits", checkpoints=[name], protocol={"scales": [32]})
        history.predict()
        history.finish(keys[name], [wrong])
    gates.promote(runtime.db, "production", keys["base"])
    return keys


@pytest.fixture(scope="module")
def url(runtime: Runtime) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, create_app(runtime), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass(frozen=True)
class Workspace:
    """A checked-out repository on a runner, with the command line installed where the first step puts it."""

    folder: Path
    url: str

    def run(self, script: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """A step as a runner starts it, with nothing in the environment but what a runner sets."""
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder), **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def action(self, **inputs: str) -> subprocess.CompletedProcess[str]:
        """The judging step of the composite action."""
        given = {name.replace("_", "-"): value for name, value in {"url": self.url, **inputs}.items()}
        assert set(given) <= set(ACTION["inputs"])
        known = {name: given.get(name, one.get("default", "")) for name, one in ACTION["inputs"].items()}
        step = ACTION["runs"]["steps"][1]
        environment = {name: filled(value, known) for name, value in step["env"].items()}
        runner = {
            "GITHUB_ACTION_PATH": str(ROOT / "ci/github"),
            "RUNNER_TEMP": str(self.folder / "temp"),
            "GITHUB_OUTPUT": str(self.folder / "outputs"),
            "GITHUB_STEP_SUMMARY": str(self.folder / "summary.md"),
        }
        return self.run(step["run"], {**runner, **environment})

    def job(self, **variables: str) -> subprocess.CompletedProcess[str]:
        """The script of the GitLab job."""
        environment = {**JOB["variables"], "CI_PROJECT_DIR": str(self.folder), "SOFTVOTE_URL": self.url, **variables}
        return self.run("\n".join(JOB["script"]), environment)

    def junit(self) -> tuple[str | None, ...]:
        """tests, failures and errors of the report."""
        suite = ET.parse(self.folder / "softvote-gate.xml").getroot().find("testsuite")  # noqa: S314 - our own answer
        assert suite is not None
        return tuple(suite.get(name) for name in ("tests", "failures", "errors"))

    def lines(self, name: str) -> dict[str, str]:
        """A file of NAME=VALUE."""
        return dict(line.split("=", 1) for line in (self.folder / name).read_text().splitlines())


def filled(value: str, inputs: Mapping[str, str]) -> str:
    """A value of a step's environment with its expressions evaluated."""
    return re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda found: inputs[found[1]], value)


@pytest.fixture
def workspace(tmp_path: Path, url: str) -> Workspace:
    for place in ("temp/softvote/bin", ".softvote/bin"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "softvote").symlink_to(INSTALLED / "softvote")
    return Workspace(tmp_path, url)


OUTCOMES = [
    ({"candidate": "near", "margin": "3"}, 0, "pass", ("1", "0", "0")),
    ({"candidate": "worse", "margin": ""}, 1, "fail", ("1", "1", "0")),
    ({"candidate": "near", "margin": "0.01"}, 3, "inconclusive", ("1", "0", "1")),
]


@pytest.mark.parametrize(("asked", "status", "verdict", "counts"), OUTCOMES)
def test_the_action_ends_as_the_verdict_says_and_hands_it_on(
    workspace: Workspace,
    runs: dict[str, str],
    asked: dict[str, str],
    status: int,
    verdict: str,
    counts: tuple[str, ...],
) -> None:
    key = runs[asked["candidate"]]
    done = workspace.action(baseline="production", candidate=key, margin=asked["margin"])
    assert done.returncode == status, done.stdout + done.stderr
    assert done.stdout.startswith(verdict.upper())
    assert ("::error title=Softvote::" in done.stdout) == bool(status)
    assert workspace.junit() == counts
    outputs = workspace.lines("outputs")
    assert (outputs["verdict"], outputs["candidate"]) == (verdict, key)
    assert len(outputs["gates"]) == 24
    summary = (workspace.folder / "summary.md").read_text()
    assert summary == (workspace.folder / "softvote-gate.md").read_text()
    assert summary.startswith(f"### Softvote: {verdict.upper()}\n")


@pytest.mark.parametrize(("asked", "status", "verdict", "counts"), OUTCOMES)
def test_the_gitlab_job_ends_as_the_verdict_says_and_leaves_its_reports(
    workspace: Workspace,
    runs: dict[str, str],
    asked: dict[str, str],
    status: int,
    verdict: str,
    counts: tuple[str, ...],
) -> None:
    key = runs[asked["candidate"]]
    done = workspace.job(
        SOFTVOTE_GATE_BASELINE="production", SOFTVOTE_GATE_CANDIDATE=key, SOFTVOTE_GATE_MARGIN=asked["margin"]
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert workspace.junit() == counts
    found = workspace.lines(JOB["artifacts"]["reports"]["dotenv"])
    assert (found["SOFTVOTE_VERDICT"], found["SOFTVOTE_CANDIDATE"]) == (verdict, key)
    reports = {*JOB["artifacts"]["paths"], *JOB["artifacts"]["reports"].values()}
    assert {name for name in reports if (workspace.folder / name).is_file()} == reports


def test_a_policy_is_judged_gate_by_gate_and_inconclusive_may_be_let_pass(
    workspace: Workspace, runs: dict[str, str]
) -> None:
    policy = "[[gates]]\nmargin = 3\n\n[[gates]]\nmargin = 0.01\n"
    (workspace.folder / "softvote.toml").write_text(policy)
    asked = {"policy": "softvote.toml", "baseline": "production", "candidate": runs["near"]}
    assert workspace.action(**asked).returncode == 3
    assert workspace.junit() == ("2", "0", "1")
    assert workspace.action(**asked, allow_inconclusive="true").returncode == 0
    assert workspace.action(**{**asked, "candidate": runs["worse"]}, allow_inconclusive="true").returncode == 1


@pytest.mark.parametrize(
    ("inputs", "status", "words"),
    [
        ({"candidate": "nothing"}, 2, "no evaluation 'nothing'"),
        ({}, 2, "--candidate is needed"),
        ({"dataset": "digits"}, 2, "either --candidate, or --dataset and --checkpoint"),
        ({"candidate": "x", "margin": "wide"}, 2, "wide"),
        ({"candidate": "x", "url": "http://127.0.0.1:1"}, 4, "nothing answers"),
        ({"dataset": "digits", "checkpoints": "near", "timeout": "0.1", "protocol": "center-crop"}, 4, "has not ended"),
    ],
)
def test_where_nothing_was_judged_the_step_says_so_and_no_verdict_is_handed_on(
    workspace: Workspace, runtime: Runtime, runs: dict[str, str], inputs: dict[str, str], status: int, words: str
) -> None:
    done = workspace.action(baseline="production", **inputs)
    evaluations.cancel_many(runtime.db)
    assert done.returncode == status, done.stdout + done.stderr
    assert words in done.stderr
    assert "::error title=Softvote::Nothing was judged" in done.stdout
    assert not (workspace.folder / "outputs").exists()
    assert not (workspace.folder / "softvote-gate.xml").exists()


def test_what_inputs_hold_is_never_read_by_a_shell(workspace: Workspace, runs: dict[str, str]) -> None:
    name = '$(touch hacked) "; touch hacked #`touch hacked`'
    done = workspace.action(baseline=name, candidate=runs["near"])
    assert done.returncode == 2
    assert name in done.stderr
    assert not (workspace.folder / "hacked").exists()
    # Expressions stand in environments alone, where they are data.
    assert all("${{" not in step["run"] for step in ACTION["runs"]["steps"])


def test_a_candidate_is_evaluated_first_and_what_fails_there_is_no_verdict(
    workspace: Workspace, runtime: Runtime, runs: dict[str, str]
) -> None:
    history = History(runtime, macs_per_second=1e18)
    ends = iter([True, False])
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.05):
            with runtime.db.read() as session:
                queued = evaluation_queries.list_page(session, cursor=None, limit=9, status="queued").items
            for item in queued:
                if next(ends):
                    history.predict()
                    history.finish(item.id, [300])
                else:
                    history.fail_slice("nonfinite_output", "a NaN")

    thread = threading.Thread(target=work)
    thread.start()
    try:
        (workspace.folder / "protocol.json").write_text(json.dumps({"scales": [40]}))
        asked = {"baseline": "production", "dataset": "digits", "checkpoints": "worse\n", "timeout": "60"}
        done = workspace.action(**asked, protocol="protocol.json")
        assert done.returncode == 1, done.stdout + done.stderr
        made = workspace.lines("outputs")["candidate"]
        assert f"evaluation {made}" in done.stdout
        (workspace.folder / "protocol.json").write_text(json.dumps({"scales": [44]}))
        failed = workspace.action(**asked, protocol="protocol.json")
        assert failed.returncode == 4, failed.stdout + failed.stderr
        assert "failed [nonfinite_output]: a NaN; nothing was judged" in failed.stderr
    finally:
        stop.set()
        thread.join()


def test_the_action_has_the_shape_that_github_asks_for() -> None:
    assert {"name", "description", "inputs", "outputs", "runs"} == set(ACTION)
    for one in ACTION["inputs"].values():
        assert set(one) <= {"description", "required", "default", "deprecationMessage"}
        assert isinstance(one["description"], str)
        assert isinstance(one.get("default", ""), str)
    assert ACTION["runs"]["using"] == "composite"
    for step in ACTION["runs"]["steps"]:
        assert set(step) <= {"name", "id", "if", "shell", "env", "run", "working-directory"}
        assert step["shell"] == "bash"
        for value in step["env"].values():
            (name,) = re.findall(r"^\$\{\{ inputs\.([\w-]+) \}\}$", value)
            assert name in ACTION["inputs"]
    ids = {step.get("id") for step in ACTION["runs"]["steps"]}
    for one in ACTION["outputs"].values():
        (step_id,) = re.findall(r"^\$\{\{ steps\.(\w+)\.outputs\.\w+ \}\}$", one["value"])
        assert step_id in ids
    assert set(JOB) == {"image", "variables", "before_script", "script", "artifacts"}


def test_every_variable_that_is_set_fills_an_option() -> None:
    known = {option.envvar for option in main.commands["gate"].params if option.envvar}
    named = {name for name in ACTION["runs"]["steps"][1]["env"] if name.startswith("SOFTVOTE_GATE_")}
    assert named | set(JOB["variables"]) <= known
    documented = set(re.findall(r"SOFTVOTE_GATE_\w+", (ROOT / "ci/gitlab/softvote.gitlab-ci.yml").read_text()))
    assert documented <= known


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_has_nothing_to_say() -> None:
    files = [str(path) for path in (ROOT / "ci").rglob("*.sh")]
    done = subprocess.run(["shellcheck", *files], capture_output=True, text=True, check=False)
    assert done.stdout == ""


def test_a_verdict_over_the_environment_is_that_of_the_options(workspace: Workspace, runs: dict[str, str]) -> None:
    asked = {"SOFTVOTE_GATE_BASELINE": "production", "SOFTVOTE_GATE_CANDIDATE": runs["worse"]}
    more = {"SOFTVOTE_GATE_METRIC": "nll", "SOFTVOTE_GATE_MARGIN": "0.02", "SOFTVOTE_GATE_ALPHA": "0.1"}
    home = {"SOFTVOTE_URL": workspace.url}
    done = workspace.run(f"{INSTALLED}/softvote gate --json", {**asked, **more, **home})
    gate = GateDocument.model_validate_json(done.stdout)
    assert (gate.metric, gate.margin, gate.alpha, gate.candidate) == ("nll", 0.02, 0.1, runs["worse"])
