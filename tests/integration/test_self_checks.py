"""Workers that find out about themselves that they had better start anew."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from app.db.queries import parts
from tests.integration.harness import Deployment, deployment, processes_of


def open_for_work(made: Deployment) -> None:
    made.add_images(count=60)
    made.add_checkpoint("a")
    made.start("scheduler", "scheduler")


@pytest.mark.parametrize("services", [False, pytest.param(True, marks=pytest.mark.services)])
def test_a_worker_whose_parent_hears_no_bell_any_more_ends_and_its_successor_works(
    tmp_path: Path, services: bool
) -> None:
    with deployment(tmp_path, services=services) as made:
        open_for_work(made)
        deaf = made.start_worker("deaf", "--deaf-seconds", "3")
        made.wait(lambda: "worker_ready" in made.log("deaf"), "the worker to be ready")
        first = made.submit(["a"])
        assert made.wait_until_ended(first).status == "succeeded"
        before = set(processes_of(made))
        # The parent stands still; its child, which computes, lives on and cannot know from any message.
        os.kill(deaf.pid, signal.SIGSTOP)
        second = made.submit(["a"], force=True)
        made.wait(lambda: deaf.poll() is not None, "the deaf worker to end", timeout=30)
        assert "worker_deaf" in made.log("deaf")
        made.wait(lambda: deaf.pid not in processes_of(made) and len(processes_of(made)) < len(before), "its child too")
        made.start_worker("successor")
        assert made.wait_until_ended(second).status == "succeeded"


def test_a_worker_that_grew_too_large_starts_anew_between_two_slices_and_burns_no_attempt(tmp_path: Path) -> None:
    with deployment(tmp_path) as made:
        open_for_work(made)
        made.start_worker("large", "--max-memory", "0.1")
        evaluation_id = made.submit(["a"], protocol={"scales": [34, 40], "modes": ["dense"]})
        assert made.wait_until_ended(evaluation_id).status == "succeeded"
        assert "worker_full" in made.log("large")
        assert len(made.events("worker_started")) > 1
        assert made.events("worker_vanished") == []
        with made.runtime.db.read() as session:
            rows = parts.list_page(session, evaluation_id, cursor=None, limit=200).items
        assert {(row.state, row.attempts, row.lost_leases) for row in rows} == {("done", 0, 0)}
