"""The command line on a real local service: real JPEGs, a real checkpoint, and the same answers through a server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select
from werkzeug.serving import make_server

from app.cli.backends import LocalBackend
from app.cli.http_backend import HttpBackend
from app.cli.main import main
from app.config import Settings
from app.db.models import EvaluationOutcomes, PredictionPart
from app.factory import create_app
from app.runtime import build_runtime
from ensembles.checkpoints import CheckpointMetadata, save_checkpoint
from ensembles.scales import TrainingScale
from ensembles.specs import Preprocessing
from tests.builders import mixed_images, write_folder
from tests.tiny_nets import tiny_network

#: As in the image of the web process, where torch was never installed.
WITHOUT_TORCH = """
import sys
class Missing:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "safetensors"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing)
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with a data set, two checkpoints and one finished evaluation."""
    home = tmp_path_factory.mktemp("home")
    write_folder(home / "photos", mixed_images(7, [(48, 40), (40, 56)]))
    for seed, configuration in enumerate(("A", "D")):
        network = tiny_network(configuration=configuration, classes=3, seed=seed).network
        metadata = CheckpointMetadata(TrainingScale(36, 36), Preprocessing(), None)
        save_checkpoint(home / f"{configuration}.safetensors", network, metadata)
    ok(home, "dataset", "add", str(home / "photos"))
    ok(home, "checkpoint", "add", str(home / "A.safetensors"), "--name", "small-a", "--tag", "demo")
    ok(home, "checkpoint", "add", str(home / "D.safetensors"), "--name", "small-d", "--train-scale", "32-40")
    return home


@pytest.fixture(scope="module")
def evaluation(home: Path) -> dict[str, object]:
    """A finished evaluation with its scores, as JSON."""
    protocol = home / "protocol.json"
    protocol.write_text('{"preset": "vgg-multi-scale-both", "scale_step": 4}')
    members = ("--checkpoint", "small-a", "--checkpoint", "small-d")
    result = ok(home, "evaluate", "--dataset", "photos", *members, "--protocol", str(protocol), "--local", "--json")
    return dict(json.loads(result.stdout))


def run(home: Path, *arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(
        main, list(arguments), env={"SOFTVOTE_HOME": str(home), "SOFTVOTE_URL": "", **environment}
    )


def ok(home: Path, *arguments: str, **environment: str) -> Result:
    result = run(home, *arguments, **environment)
    assert result.exit_code == 0, result.output
    return result


def test_a_checkpoint_is_recognised_from_its_tensors_and_shown_with_its_layer_table(home: Path) -> None:
    output = ok(home, "checkpoint", "show", "small-d").stdout
    assert "vgg16" in output
    assert "[32;40]" in output
    last = output.splitlines()[-1].split()
    document = json.loads(ok(home, "checkpoint", "show", "small-d", "--json").stdout)
    assert last == ["total", f"{document['parameters']:,}"]
    assert sum(layer["parameters"] for layer in document["layers"]) == document["parameters"]
    assert document["training_scale"] == [32, 40]


def test_lists_name_everything_that_was_registered(home: Path) -> None:
    assert {"small-a", "small-d"} <= set(ok(home, "checkpoint", "ls").stdout.split())
    listed = json.loads(ok(home, "dataset", "ls", "--json").stdout)
    assert [(item["name"], item["images"], item["classes"]) for item in listed] == [("photos", 7, 3)]


def test_an_evaluation_scores_every_view_member_and_the_ensemble(evaluation: dict[str, object]) -> None:
    assert evaluation["status"] == "succeeded"
    scores = evaluation["scores"]
    assert isinstance(scores, list)
    top1 = [score for score in scores if score["metric"] == "top1_error"]
    # For each of two members: 6 views, 2 modes over three scales, their equal mean; and the ensemble.
    assert len(top1) == 2 * (6 + 2 + 1) + 1
    assert all(score["n"] == 7 and 0 <= score["value"] <= 1 for score in top1)
    assert top1[-1]["subject"] == "ensemble"


def test_results_come_as_table_csv_json_and_markdown(home: Path, evaluation: dict[str, object]) -> None:
    key = str(evaluation["id"])
    shown = ok(home, "results", key).stdout
    assert "ensemble" in shown
    assert "ECE" in shown  # a pipe has room for every metric
    table = ok(home, "results", key, "--format", "csv").stdout.splitlines()
    assert table[0].startswith("subject,name,members,scales,mode,n,n_unreadable,top1_error,top1_error_low")
    assert len(table) == 1 + 19
    assert ok(home, "results", key, "--format", "markdown").stdout.count("\n|") == 1 + 19
    assert json.loads(ok(home, "results", key, "--format", "json").stdout)["items"] == evaluation["scores"]
    target = home / "scores.csv"
    ok(home, "results", key, "--format", "csv", "--output", str(target))
    assert target.read_bytes().count(b"\r\n") == 1 + 19


def test_what_is_known_costs_nothing_the_second_time(home: Path, evaluation: dict[str, object]) -> None:
    protocol = str(home / "protocol.json")
    again = ok(
        home, "evaluate", "--dataset", "photos", "--checkpoint", "small-a", "--protocol", protocol, "--local", "--json"
    )
    document = json.loads(again.stdout)
    assert document["status"] == "succeeded"
    assert all(view["reused"] == view["total"] for view in document["views"])


def test_an_estimate_starts_nothing_and_names_the_bytes_that_are_then_written(
    home: Path, server: str, evaluation: dict[str, object]
) -> None:
    asked = ("--dataset", "photos", "--checkpoint", "small-a", "--checkpoint", "small-d")
    arguments = ("evaluate", *asked, "--protocol", str(home / "protocol.json"), "--estimate")
    before = ok(home, "ls", "--json").stdout
    known = json.loads(ok(home, *arguments, "--json").stdout)
    assert (known["gmacs"], known["image_views_done"]) == (0.0, known["image_views"])
    anew = json.loads(ok(home, *arguments, "--force", "--json").stdout)
    assert anew["gmacs"] == anew["gmacs_total"] == known["gmacs_total"] > 0
    with build_runtime(Settings.from_environment({"SOFTVOTE_HOME": str(home)})).db.read() as session:
        sets = [view["set_id"] for view in known["views"]]
        files = [
            *session.scalars(select(PredictionPart.artifact).where(PredictionPart.set_id.in_(sets))),
            *session.scalars(
                select(EvaluationOutcomes.artifact).where(EvaluationOutcomes.evaluation_id == str(evaluation["id"]))
            ),
        ]
    arrays = [np.load(home / "artifacts" / str(key), allow_pickle=False) for key in files]
    assert anew["disk_bytes"] == sum(array.nbytes for array in arrays)
    assert json.loads(ok(home, *arguments, "--json", SOFTVOTE_URL=server).stdout) == known
    shown = ok(home, *arguments).stdout
    assert "of which 84 are known" in shown
    assert "no live worker predicts" in shown
    assert ok(home, "ls", "--json").stdout == before


def test_the_paper_tables_hold_the_evaluation_and_compare_nothing_off_imagenet(
    home: Path, evaluation: dict[str, object]
) -> None:
    output = ok(home, "paper", str(evaluation["id"]), "--only-measured").stdout
    assert "Table 3" in output
    assert "small-a + small-d" in output
    assert "Not set beside the printed numbers" in output
    (reasons,) = [line for line in output.splitlines() if line.startswith("  every row: ")]
    assert "classes in place of ImageNet" in reasons
    only = ok(home, "paper", str(evaluation["id"]), "--table", "6").stdout
    assert "Table 6" in only
    assert "Table 5" not in only


def test_members_are_compared_with_their_ensemble_on_the_same_images(home: Path, evaluation: dict[str, object]) -> None:
    key = str(evaluation["id"])
    sides = (key, f"{key}:small-a", f"{key}:small-d")
    document = json.loads(ok(home, "compare", *sides, "--json").stdout)
    assert [(pair["candidate"], pair["metric"]) for pair in document["pairs"]] == [
        (side, metric) for side in sides[1:] for metric in ("top1_error", "top5_error")
    ]
    scores = evaluation["scores"]
    assert isinstance(scores, list)
    values = {s["subject_name"]: s["value"] for s in scores if s["metric"] == "top1_error" and s["mode"] == "both"}
    for pair, name in zip(document["pairs"][::2], ("small-a", "small-d"), strict=True):
        assert (pair["base_value"], pair["candidate_value"]) == (values["ensemble"], values[name])
        assert pair["difference"] == pytest.approx(values[name] - values["ensemble"])
        assert round(7 * pair["difference"]) == pair["only_candidate_wrong"] - pair["only_base_wrong"]
        assert pair["n"] == 7
        assert pair["verdict"] == "no difference detectable"  # seven images cannot tell
        assert pair["protocols_differ"] == []
    assert "no difference detectable" in ok(home, "compare", *sides).stdout
    assert ok(home, "compare", *sides, "--format", "csv").stdout.splitlines()[0].startswith("base,candidate,metric,n,")
    assert ok(home, "compare", *sides, "--format", "markdown").stdout.count("\n|") == 1 + 4


def test_a_side_that_cannot_be_compared_is_named(home: Path, evaluation: dict[str, object]) -> None:
    key = str(evaluation["id"])
    for side, code in ((key, "invalid_request"), (f"{key}:small-b", "not_found"), ("0" * 24, "not_found")):
        result = run(home, "compare", key, side)
        assert (result.exit_code, f"[{code}]" in result.stderr) == (2, True), result.output


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("evaluate", "--dataset", "photoz", "--checkpoint", "small-a"), "invalid_request", "did you mean photos"),
        (("evaluate", "--dataset", "photos", "--checkpoint", "small-a"), "invalid_request", "at least the crop"),
        (("status", "0" * 24), "not_found", "no evaluation"),
        (("checkpoint", "show", "small"), "not_found", "did you mean"),
    ],
)
def test_a_request_that_cannot_be_met_exits_2_and_says_why(
    home: Path, arguments: tuple[str, ...], code: str, words: str
) -> None:
    result = run(home, *arguments)
    assert result.exit_code == 2
    assert f"[{code}]" in result.stderr
    assert words in result.stderr
    with_json = run(home, *arguments, "--json")
    assert json.loads(with_json.stderr)["code"] == code


def test_a_finished_evaluation_cannot_be_cancelled(home: Path, evaluation: dict[str, object]) -> None:
    result = run(home, "cancel", str(evaluation["id"]))
    assert result.exit_code == 2
    assert "state_conflict" in result.stderr


def test_all_that_has_not_ended_is_cancelled_at_once(home: Path, evaluation: dict[str, object]) -> None:
    asked = ("--dataset", "photos", "--checkpoint", "small-a", "--protocol", "vgg-single-scale", "--force")
    submitted = ok(home, "evaluate", *asked, "--json")
    assert run(home, "cancel").exit_code == 2
    assert run(home, "cancel", str(json.loads(submitted.stdout)["id"]), "--all").exit_code == 2
    assert ok(home, "cancel", "--all").stdout == "1 cancelled\n"
    assert json.loads(ok(home, "cancel", "--all", "--json").stdout) == {"cancelled": 0}
    assert json.loads(ok(home, "status", str(evaluation["id"]), "--json").stdout)["status"] == "succeeded"


def test_broken_settings_exit_4_with_every_problem(home: Path) -> None:
    result = run(home, "ls", SOFTVOTE_BIND="0.0.0.0:80", SOFTVOTE_BROKER_URL="amqp://x")
    assert result.exit_code == 4
    assert "SOFTVOTE_BIND" in result.stderr
    assert "SOFTVOTE_BROKER_URL" in result.stderr


def test_an_unreachable_server_exits_4(home: Path) -> None:
    result = run(home, "ls", SOFTVOTE_URL="http://127.0.0.1:9")
    assert result.exit_code == 4
    assert "server_unreachable" in result.stderr


def test_the_doctor_names_what_is_missing_and_what_to_do(home: Path) -> None:
    result = run(home, "doctor")
    assert result.exit_code == 4  # no worker is alive
    assert "FAIL workers" in result.stdout
    assert "softvote up" in result.stdout
    findings = json.loads(run(home, "doctor", "--json").stdout)["findings"]
    assert [f["subject"] for f in findings if not f["ok"]] == ["workers"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("doctor",),
        ("dataset", "add", "photos"),
        ("checkpoint", "add", "A.safetensors"),
        ("train", "--config", "A", "--train-scale", "256", "--dataset", "photos", "--output", "a.safetensors"),
    ],
)
def test_without_torch_a_command_that_needs_it_says_what_to_install(home: Path, arguments: tuple[str, ...]) -> None:
    program = WITHOUT_TORCH + f"from app.cli.main import main; main({list(arguments)!r})"
    environment = {**os.environ, "SOFTVOTE_HOME": str(home), "SOFTVOTE_URL": "", "PYTHONPATH": str(Path.cwd())}
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=home, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode in (2, 4)
    assert "softvote[worker]" in result.stdout + result.stderr
    assert "Traceback" not in result.stderr


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[str]:
    """The same service behind a real HTTP server."""
    application = create_app(build_runtime(Settings.from_environment({"SOFTVOTE_HOME": str(home)})))
    listener = make_server("127.0.0.1", 0, application, threaded=True)
    thread = threading.Thread(target=listener.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{listener.server_port}"
    listener.shutdown()
    thread.join()
    listener.server_close()


def test_a_server_and_the_local_database_give_the_same_json(
    home: Path, server: str, evaluation: dict[str, object]
) -> None:
    local = LocalBackend(build_runtime(Settings.from_environment({"SOFTVOTE_HOME": str(home)})))
    remote = HttpBackend(server, token=None)
    key = str(evaluation["id"])
    assert remote.checkpoints() == local.checkpoints()
    assert remote.checkpoint("small-a") == local.checkpoint("small-a")
    assert remote.layers("small-a") == local.layers("small-a")
    assert remote.datasets() == local.datasets()
    assert remote.evaluation(key) == local.evaluation(key)
    assert remote.scores(key) == local.scores(key)
    assert remote.evaluations(10, "succeeded") == local.evaluations(10, "succeeded")
    assert remote.paper([key]) == local.paper([key])
    sides = [f"{key}:small-a", f"{key}:small-d"]
    assert remote.compare(key, sides) == local.compare(key, sides)
    remote.close()


def test_an_error_of_the_server_is_shown_like_a_local_one(home: Path, server: str) -> None:
    arguments = ("evaluate", "--dataset", "photoz", "--checkpoint", "small-a")
    local, remote = run(home, *arguments), run(home, *arguments, SOFTVOTE_URL=server)
    assert remote.exit_code == local.exit_code == 2
    assert "did you mean photos" in remote.stderr
    assert "[invalid_request]" in remote.stderr
