"""The README's way from nothing to a red pull request, run as it stands, and what it says beside it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SECTION = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## In CI\n")[2].partition("\n## ")[0]

#: Seconds that the README promises.
PROMISED = 300


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)


def stop_group(group: int) -> None:
    """End a process group: politely, and for good if it is still there after 30 s."""
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGTERM)
        for _ in range(300):
            time.sleep(0.1)
            os.killpg(group, 0)
        os.killpg(group, signal.SIGKILL)


def test_the_commands_lead_from_nothing_to_a_red_gate(tmp_path: Path) -> None:
    (script,) = blocks("sh")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    assert script.count("127.0.0.1:8080") == 1
    # A checkout after `make setup`: the environment that runs this test, and the shipped examples.
    (tmp_path / ".venv").symlink_to(sys.prefix, target_is_directory=True)
    (tmp_path / "examples").symlink_to(ROOT / "examples", target_is_directory=True)
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    began = time.monotonic()
    process = subprocess.Popen(
        ["bash", "-c", script.replace("127.0.0.1:8080", address)],
        cwd=tmp_path,
        env={**kept, "SOFTVOTE_BIND": address, "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=PROMISED)
    finally:
        stop_group(process.pid)
    assert process.returncode == 1, said
    assert time.monotonic() - began < PROMISED
    printed = SECTION.partition("It ends with\n\n```\n")[2].partition("```")[0]
    # An id is another each time, and other processors may round one image otherwise.
    pattern = re.sub(r"\d+ points", r"\\d+ points", re.sub(r"[0-9a-f]{24}", "[0-9a-f]{24}", re.escape(printed.strip())))
    pattern = re.sub(r"worse\\ by\\ \d+", r"worse\\ by\\ \\d+", pattern)
    assert re.search(pattern, said), said
    suite = ET.parse(tmp_path / "gate.xml").getroot().find("testsuite")  # noqa: S314 - our own answer
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    assert (tmp_path / "gate.md").read_text().startswith("### Softvote: FAIL\n")


def test_the_step_asks_what_the_command_asks_and_the_action_takes_it() -> None:
    (text,) = blocks("yaml")
    (step,) = yaml.safe_load(text)
    assert step["uses"].partition("@")[0].endswith("/ci/github")
    inputs = yaml.safe_load((ROOT / "ci/github/action.yml").read_text(encoding="utf-8"))["inputs"]
    assert set(step["with"]) <= set(inputs)
    (script,) = blocks("sh")
    command = script[script.rindex("softvote gate") :]
    for name, option in (("baseline",) * 2, ("dataset",) * 2, ("checkpoints", "checkpoint"), ("protocol",) * 2):
        assert f"--{option} {step['with'][name]} " in command
    assert f"--margin {step['with']['margin']} " in command


def test_the_yaml_of_the_docs_fits_the_files() -> None:
    texts = re.findall(r"^```yaml\n(.*?)^```", (ROOT / "docs/ci.md").read_text(encoding="utf-8"), re.M | re.S)
    workflow, pipeline = (yaml.safe_load(text) for text in texts)
    (step,) = (step for step in workflow["jobs"]["gate"]["steps"] if "softvote" in step["uses"])
    inputs = yaml.safe_load((ROOT / "ci/github/action.yml").read_text(encoding="utf-8"))["inputs"]
    assert set(step["with"]) <= set(inputs)
    (job,) = yaml.safe_load((ROOT / "ci/gitlab/softvote.gitlab-ci.yml").read_text(encoding="utf-8"))
    assert pipeline["gate"]["extends"] == job
    assert pipeline["include"][0]["remote"].endswith("/ci/gitlab/softvote.gitlab-ci.yml")
