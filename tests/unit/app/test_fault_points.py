"""Failures that tests provoke: at the place and the call that were named, once, and nowhere else."""

from __future__ import annotations

import errno
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.config import Settings
from app.errors import ConfigurationError
from app.fault_points import EXIT_STATUS, POINTS, arm, is_armed, reach

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    arm(None)


def test_only_the_named_call_of_the_named_point_fails_and_only_once() -> None:
    arm("artifact.before_fsync:2")
    reach("artifact.before_fsync")
    reach("artifact.after_fsync")
    with pytest.raises(OSError, match=r"provoked at artifact\.before_fsync") as caught:
        reach("artifact.before_fsync")
    assert caught.value.errno == errno.EIO
    assert not is_armed()
    reach("artifact.before_fsync")


def test_a_process_can_be_made_to_end_at_a_point() -> None:
    code = "from app.fault_points import arm, reach; arm('lease.before_commit:1:exit'); reach('lease.before_commit')"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == EXIT_STATUS


def test_every_point_is_reached_somewhere_and_none_is_unknown() -> None:
    sources = [file.read_text(encoding="utf-8") for part in ("app", "workers") for file in (ROOT / part).rglob("*.py")]
    reached = {point for text in sources for point in re.findall(r'\breach\("([a-z_.]+)"\)', text)}
    assert reached == set(POINTS)


@pytest.mark.parametrize(
    "fault",
    [
        "nowhere:1",
        "lease.before_commit",
        "lease.before_commit:0",
        "lease.before_commit:x",
        "lease.before_commit:1:melt",
        "lease.before_commit:1:",
    ],
)
def test_a_fault_that_cannot_be_is_refused_at_the_start(fault: str) -> None:
    with pytest.raises(ConfigurationError, match="SOFTVOTE_FAULT"):
        Settings.from_environment({"SOFTVOTE_FAULT": fault})


@pytest.mark.parametrize("seconds", ["0", "soon", "nan", "7200"])
def test_a_lease_takes_between_a_second_and_an_hour(seconds: str) -> None:
    with pytest.raises(ConfigurationError, match="SOFTVOTE_LEASE_SECONDS"):
        Settings.from_environment({"SOFTVOTE_LEASE_SECONDS": seconds})


def test_a_process_that_was_asked_for_none_has_none() -> None:
    assert Settings.from_environment({}).fault is None
    assert not is_armed()
