"""`softvote schedule`: on the local database and on a server alike."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from werkzeug.serving import make_server

from app.cli.main import main
from app.factory import create_app
from tests.app_builders import Service, make_runtime

Softvote = Callable[..., Result]


@pytest.fixture(params=["local", "server"])
def softvote(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Softvote]:
    runtime = make_runtime(tmp_path / "home")
    service = Service(runtime)
    service.add_dataset()
    service.add_checkpoint()
    server = make_server("127.0.0.1", 0, create_app(runtime), threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}" if request.param == "server" else ""

    def call(*arguments: str) -> Result:
        environment = {"SOFTVOTE_HOME": str(runtime.settings.home), "SOFTVOTE_URL": url}
        return CliRunner().invoke(main, ["schedule", *arguments], env=environment)

    yield call
    server.shutdown()
    thread.join()
    server.server_close()
    runtime.db.dispose()


def add(softvote: Softvote, *options: str) -> Result:
    return softvote("add", "--name", "nightly", "--dataset", "digits", "--checkpoint", "vgg-a", *options)


def test_a_schedule_is_added_listed_shown_run_paused_resumed_and_removed(softvote: Softvote, tmp_path: Path) -> None:
    protocol = tmp_path / "one.json"
    protocol.write_text('{"scales": [40]}', encoding="utf-8")
    options = ("--cron", "30 2 * * *", "--timezone", "Europe/Berlin", "--protocol", str(protocol), "--margin", "1")
    added = add(softvote, *options)
    assert added.exit_code == 0, added.output
    assert "At 02:30 every day" in added.output
    assert added.output.count(", 02:30 (UTC+0") == 5
    assert "margin 0.01" in added.output
    assert "Clocks in Europe/Berlin" in added.output
    (listed,) = json.loads(softvote("ls", "--json").stdout)
    assert (listed["cron"], listed["target"]["protocol"]) == ("30 2 * * *", {"scales": [40]})
    assert "vgg-a on digits" in softvote("ls").output

    begun = json.loads(softvote("run", "nightly", "--json").stdout)
    shown = json.loads(softvote("show", "nightly", "--json").stdout)
    assert [run["id"] for run in shown["runs"]] == [begun["id"]]
    assert begun["id"] in softvote("show", "nightly").output
    again = softvote("run", "nightly")
    assert again.exit_code == 2
    assert "state_conflict" in again.output

    assert softvote("pause", "nightly").output == "nightly is paused\n"
    assert "paused" in softvote("show", "nightly").output
    assert "fires next on" in softvote("resume", "nightly").output
    assert softvote("rm", "nightly").exit_code == 0
    assert json.loads(softvote("ls", "--json").stdout) == []
    assert softvote("show", "nightly").exit_code == 2


def test_an_interval_is_said_in_spans(softvote: Softvote) -> None:
    found = add(softvote, "--every", "90m", "--protocol", "center-crop", "--no-gate", "--json")
    assert found.exit_code == 0, found.output
    document = json.loads(found.stdout)
    assert (document["every"], document["words"], document["gate"]) == (5400, "Every 90 minutes", None)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--cron", "0 0 0 * * *"), "seconds are not one of them"),
        (("--every", "often"), "every: a whole number with s, m, h, d or w"),
        ((), "either a cron expression or an interval"),
        (("--cron", "0 3 * * *", "--tag", "nightly"), "either checkpoints, a tag, or a saved ensemble"),
    ],
)
def test_what_is_wrong_is_said_with_its_rule(softvote: Softvote, options: tuple[str, ...], said: str) -> None:
    found = add(softvote, "--protocol", "center-crop", *options)
    assert found.exit_code == 2
    assert said in found.output
