"""`softvote ensemble` and `softvote evaluate --ensemble`, at the machine and against a server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result
from werkzeug.serving import make_server

from app.cli.main import main
from app.factory import create_app
from tests.integration.harness import Deployment, deployment


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployment(tmp_path_factory.mktemp("commands")) as made:
        made.add_images(count=30)
        for name, seed in (("a", 1), ("b", 2)):
            made.add_checkpoint(name, seed=seed)
        yield made


@pytest.fixture(scope="module")
def evaluation_id(made: Deployment) -> str:
    key = made.submit(["a", "b"])
    assert made.run(key).status == "succeeded"
    return key


@pytest.fixture(scope="module", params=["local", "server"])
def url(request: pytest.FixtureRequest, made: Deployment) -> Iterator[str]:
    if request.param == "local":
        yield ""
        return
    server = make_server("127.0.0.1", 0, create_app(made.runtime), threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


@pytest.fixture
def run(made: Deployment, url: str):
    def run(*arguments: str, status: int = 0) -> Result:
        environment = {"SOFTVOTE_HOME": str(made.home), "SOFTVOTE_URL": url}
        result = CliRunner().invoke(main, list(arguments), env=environment)
        assert result.exit_code == status, result.output
        return result

    return run


def test_a_search_is_printed_and_its_ensemble_saved_listed_shown_evaluated_and_forgotten(
    run, evaluation_id: str
) -> None:
    text = run("ensemble", "search", evaluation_id, "--over", "modes", "--save", "found").output
    assert "15 candidates tried over modes; 15 images chose, 15 report" in text
    assert "saved as found" in text
    assert "optimism:" in text
    found = json.loads(run("ensemble", "search", evaluation_id, "--over", "modes", "--json").output)
    saved = json.loads(run("ensemble", "show", "found", "--json").output)
    assert [(m["checkpoint"], m["mode"]) for m in saved["members"]] == [
        (m["checkpoint"], m["mode"]) for m in found["best"][0]["members"]
    ]
    assert "chosen by exhaustive among 15 on pictures" in run("ensemble", "ls").output
    assert "chosen by exhaustive among 15 on pictures" in run("ensemble", "show", "found").output
    estimate = run("evaluate", "--dataset", "pictures", "--ensemble", "found", "--estimate", "--json").output
    assert json.loads(estimate)["gmacs"] == 0
    evaluation = json.loads(run("evaluate", "--dataset", "pictures", "--ensemble", "found", "--json").output)
    assert evaluation["ensemble"]["selection_biased"]
    run("ensemble", "rm", "found")
    assert "found" not in run("ensemble", "ls").output


def test_a_biased_search_says_so(run, evaluation_id: str) -> None:
    text = run("ensemble", "search", evaluation_id, "--method", "weights", "--guard", "none").output
    assert "selection-biased" in text
    text = run("ensemble", "search", evaluation_id, "--method", "greedy", "--guard", "crossfit").output
    assert "choosing in this way errs on" in text
    found = run(
        "ensemble", "search", evaluation_id, "--method", "weights", "--metric", "nll", "--within", "1", "--json"
    )
    assert json.loads(found.output)["within"] == 1


def test_an_ensemble_is_saved_by_names_or_from_a_file(run, tmp_path) -> None:
    options = ("--checkpoint", "a", "--checkpoint", "b", "--weight", "2", "--weight", "1", "--rule", "vote")
    run("ensemble", "save", "plain", *options)
    shown = json.loads(run("ensemble", "show", "plain", "--json").output)
    assert [(m["checkpoint"], m["weight"]) for m in shown["members"]] == [("a", 2.0), ("b", 1.0)]
    assert (shown["rule"], shown["chosen"]) == ("vote", None)
    assert "fixed beforehand" in run("ensemble", "show", "plain").output
    file = tmp_path / "mix.json"
    file.write_text(json.dumps({"members": [{"checkpoint": "a", "scales": [48], "mode": "crops"}]}))
    run("ensemble", "save", "mixed", "--file", str(file))
    file.write_text(json.dumps({"members": [{"checkpoint": "a", "scale": 48}]}))
    assert "members.0.scale" in run("ensemble", "save", "wrong", "--file", str(file), status=2).output
    for name in ("plain", "mixed"):
        run("ensemble", "rm", name)


def test_what_an_ensemble_says_cannot_be_said_beside_it(run) -> None:
    run("evaluate", "--dataset", "pictures", status=2)
    run("evaluate", "--dataset", "pictures", "--ensemble", "x", "--checkpoint", "a", status=2)
    assert "fusion" in run("evaluate", "--dataset", "pictures", "--ensemble", "x", "--fusion", "vote", status=2).output
    run("ensemble", "save", "none", status=2)
    run("ensemble", "save", "none", "--checkpoint", "a", "--weight", "1", "--weight", "2", status=2)
