"""The worker's parent process: what it may import, which task it offers, what it accepts."""

from __future__ import annotations

import subprocess
import sys

from app.config import Settings
from app.messaging import QUEUES, WORK_TASK
from workers.celery_app import PoolChild, StopFlag, build_app
from workers.options import WorkerOptions


def test_nothing_that_the_parent_or_the_command_line_imports_brings_torch() -> None:
    modules = "app.cli, workers.cli, workers.celery_app, workers.tasks, workers.scheduler, workers.supervisor"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_worker_offers_the_one_task_that_doorbells_name(tmp_path: str) -> None:
    settings = Settings.from_environment({"SOFTVOTE_HOME": str(tmp_path)})
    app = build_app(settings, PoolChild(settings, WorkerOptions()))
    app.finalize()
    assert WORK_TASK in app.tasks
    assert [name for name in app.tasks if not name.startswith("celery.")] == [WORK_TASK]


def test_messages_are_json_only_acknowledged_early_and_never_answered(tmp_path: str) -> None:
    settings = Settings.from_environment({"SOFTVOTE_HOME": str(tmp_path)})
    conf = build_app(settings, PoolChild(settings, WorkerOptions())).conf
    assert conf.accept_content == ["json"]
    assert conf.task_serializer == "json"
    assert conf.task_acks_late is False
    assert conf.result_backend is None
    assert conf.worker_enable_remote_control is False
    assert set(conf.task_queues) == set(QUEUES)


def test_the_stop_flag_crosses_a_fork() -> None:
    code = (
        "import os, sys, time; from workers.celery_app import StopFlag\n"
        "flag = StopFlag(); pid = os.fork()\n"
        "if pid == 0:\n"
        "    while not flag.is_set(): time.sleep(0.01)\n"
        "    os._exit(7)\n"
        "flag.set(); sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=30).returncode == 7
    assert not StopFlag().is_set()
