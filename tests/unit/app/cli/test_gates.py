"""`softvote gate` and `softvote baseline`: exit statuses, policy files, reports for CI."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner, Result
from werkzeug.serving import make_server

from app.cli.main import main
from app.factory import create_app
from app.runtime import Runtime
from ensembles.configurations import Architecture
from tests.app_builders import make_runtime
from tests.history import History


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    runtime = make_runtime(tmp_path_factory.mktemp("gates") / "home")
    yield runtime
    runtime.db.dispose()


@pytest.fixture(scope="module")
def runs(runtime: Runtime) -> dict[str, str]:
    """Evaluations of 2,000 images that err on 200, 198 and 290 of them."""
    history = History(runtime, macs_per_second=1e18)
    history.dataset("digits", images=2000, classes=tuple("0123456789"))
    keys = {}
    for name, wrong in (("base", 200), ("near", 198), ("worse", 290)):
        history.checkpoint(name, Architecture("A", width=0.125, classes=10, crop=32), (32, 32))
        keys[name] = history.submit(dataset="digits", checkpoints=[name], protocol={"scales": [32]})
        history.predict()
        history.finish(keys[name], [wrong])
    return keys


@pytest.fixture(scope="module")
def url(runtime: Runtime) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, create_app(runtime), threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


def run(runtime: Runtime, *arguments: str, **environment: str) -> Result:
    home = {"SOFTVOTE_HOME": str(runtime.settings.home), "SOFTVOTE_URL": ""}
    empty = {"GITHUB_STEP_SUMMARY": "", "GITHUB_OUTPUT": ""}
    return CliRunner().invoke(main, list(arguments), env={**home, **empty, **environment})


def gate(runtime: Runtime, base: str, candidate: str, *options: str, **environment: str) -> Result:
    return run(runtime, "gate", "--baseline", base, "--candidate", candidate, *options, **environment)


def test_the_exit_status_is_the_verdict(runtime: Runtime, runs: dict[str, str]) -> None:
    failed = gate(runtime, runs["base"], runs["worse"])
    assert (failed.exit_code, failed.stdout.split(":")[0]) == (1, "FAIL")
    passed = gate(runtime, runs["base"], runs["near"], "--margin", "3")
    assert (passed.exit_code, passed.stdout.split(":")[0]) == (0, "PASS")
    unsure = gate(runtime, runs["base"], runs["near"], "--margin", "0.01")
    assert (unsure.exit_code, unsure.stdout.split(":")[0]) == (3, "INCONCLUSIVE")
    assert "images would settle" in unsure.stdout


def test_a_margin_is_in_points_and_in_nats(runtime: Runtime, runs: dict[str, str]) -> None:
    points = json.loads(gate(runtime, runs["base"], runs["near"], "--margin", "0.5", "--json").stdout)
    assert (points["metric"], points["margin"]) == ("top1_error", 0.005)
    nats = json.loads(gate(runtime, runs["base"], runs["near"], "--metric", "nll", "--margin", "0.5", "--json").stdout)
    assert (nats["metric"], nats["margin"]) == ("nll", 0.5)


def test_wrong_usage_is_2_and_a_missing_server_4(runtime: Runtime, runs: dict[str, str]) -> None:
    assert run(runtime, "gate", "--candidate", runs["near"]).exit_code == 2
    refused = gate(runtime, runs["base"], runs["near"], "--margin", "-1")
    assert refused.exit_code == 2
    assert "margin" in refused.stderr
    assert gate(runtime, runs["base"], "nothing").exit_code == 2
    assert gate(runtime, runs["base"], runs["near"], SOFTVOTE_URL="http://127.0.0.1:1").exit_code == 4


def test_a_policy_holds_several_gates_and_the_worst_decides(
    runtime: Runtime, runs: dict[str, str], tmp_path: Path
) -> None:
    assert run(runtime, "baseline", "promote", "production", runs["base"], "--note", "v1").exit_code == 0
    policy = tmp_path / "softvote.toml"
    policy.write_text(
        '[[gates]]\nbaseline = "production"\nmargin = 3\n\n'
        '[[gates]]\nbaseline = "production"\nmetric = "nll"\nmargin = 10\n\n'
        '[[gates]]\nbaseline = "production"\nmargin = 0.01\nclasses = ["0", "1"]\n'
    )
    junit, markdown, summary, outputs = (tmp_path / name for name in ("junit.xml", "gate.md", "summary.md", "out"))
    asked = ("gate", "--policy", str(policy), "--candidate", runs["near"])
    reports = ("--junit", str(junit), "--markdown", str(markdown))
    result = run(runtime, *asked, *reports, GITHUB_STEP_SUMMARY=str(summary), GITHUB_OUTPUT=str(outputs))
    assert result.exit_code == 3, result.output
    suite = ET.parse(junit).getroot().find("testsuite")  # noqa: S314 - our own answer
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "0", "1")
    assert markdown.read_text().startswith("### Softvote: INCONCLUSIVE\n")
    assert summary.read_text() == markdown.read_text()
    assert outputs.read_text().startswith("verdict=inconclusive\ngates=")
    found = json.loads(run(runtime, *asked, "--json").stdout)["items"]
    assert [one["verdict"] for one in found] == ["pass", "pass", "inconclusive"]
    assert found[2]["classes"] == ["0", "1"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gates = 1", "[[gates]]"),
        ("", "[[gates]]"),
        ("[[gates]]\nmarginn = 1\n", "'marginn' is none of"),
        ("[[gates", "softvote.toml"),
        ('[[gates]]\nbaseline = "x"\nmargin = "wide"\n', "margin"),
    ],
)
def test_a_policy_that_cannot_be_read_is_named(runtime: Runtime, tmp_path: Path, text: str, words: str) -> None:
    policy = tmp_path / "softvote.toml"
    policy.write_text(text)
    result = run(runtime, "gate", "--policy", str(policy), "--candidate", "x")
    assert result.exit_code == 2
    assert words in result.stderr


def test_a_server_answers_as_the_local_database_does(runtime: Runtime, runs: dict[str, str], url: str) -> None:
    remote = {"SOFTVOTE_URL": url}
    assert run(runtime, "baseline", "promote", "over rest", runs["base"], **remote).exit_code == 0
    assert "over rest" in run(runtime, "baseline", "ls", **remote).stdout
    here = json.loads(gate(runtime, "over rest", runs["worse"], "--json").stdout)
    there = json.loads(gate(runtime, "over rest", runs["worse"], "--json", **remote).stdout)
    own = ("id", "created_at", "links")
    assert {k: v for k, v in here.items() if k not in own} == {k: v for k, v in there.items() if k not in own}
    assert run(runtime, "baseline", "rm", "over rest", **remote).exit_code == 0
    assert "over rest" not in run(runtime, "baseline", "ls").stdout
