"""Fixtures of the browser tests: Chromium, a server with a made-up history, and a laboratory with real processes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from app.runtime import Runtime
from ensembles.configurations import Architecture
from tests.app_builders import make_runtime
from tests.e2e.chromium import FLAGS, Visit, serving, visiting
from tests.history import History
from tests.integration.harness import Deployment, deployment

OpenTab = Callable[..., Visit]

#: Milliseconds that a page may take to show what is expected of it: two busy cores are slow, a wrong page stays wrong.
PATIENCE = 20_000
expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, headless."""
    executable = shutil.which("chromium")
    if executable is None:
        if os.environ.get("SOFTVOTE_TEST_REQUIRE_SERVICES") == "1":
            pytest.fail("SOFTVOTE_TEST_REQUIRE_SERVICES=1, and there is no `chromium` on the PATH")
        pytest.skip("there is no `chromium` on the PATH (Debian: apt install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    runtime = make_runtime(tmp_path / "home")
    yield runtime
    runtime.db.dispose()


@pytest.fixture
def history(runtime: Runtime) -> History:
    return History(runtime, macs_per_second=1e15)


@pytest.fixture
def server(runtime: Runtime) -> Iterator[str]:
    """Address of a server on `runtime`."""
    with serving(runtime) as address:
        yield address


@dataclass(frozen=True)
class Laboratory:
    """A whole installation: its data folder and database, a real scheduler and worker, and its web address."""

    deployment: Deployment
    address: str


@pytest.fixture
def laboratory(tmp_path: Path) -> Iterator[Laboratory]:
    """Nothing is registered yet; files go below `deployment.home / "data"` and `/ "checkpoints"`."""
    with deployment(tmp_path / "laboratory") as made, serving(made.runtime) as address:
        made.start("scheduler", "scheduler")
        made.start_worker()
        yield Laboratory(made, address)


@pytest.fixture
def open_tab(chromium: Browser, server: str) -> Iterator[OpenTab]:
    """Open a tab in a profile of its own; what it complained about by the end of the test fails it."""
    with ExitStack() as stack:
        visits: list[Visit] = []

        def opened(**options: Any) -> Visit:
            visits.append(stack.enter_context(visiting(chromium, server, **options)))
            return visits[-1]

        yield opened
        for visit in visits:
            assert visit.complaints == []
            assert visit.strangers() == set()


def narrow_vgg(configuration: str, classes: int = 10) -> Architecture:
    """An eighth of the width, crop 32."""
    return Architecture(configuration, width=0.125, classes=classes, crop=32)


@pytest.fixture
def digits(history: History) -> History:
    """A data set and three checkpoints that fit it, one that does not."""
    history.dataset("digits", images=1797, classes=tuple("0123456789"))
    history.dataset("flowers", images=6149, classes=[f"flower {i:03d}" for i in range(102)])
    history.checkpoint("digits-a", narrow_vgg("A"), (32, 32), tags=["demo"])
    history.checkpoint("digits-d-jitter", narrow_vgg("D"), (32, 48), tags=["demo"], notes="Second seed.")
    history.checkpoint("digits-e-jitter", narrow_vgg("E"), (32, 48))
    history.checkpoint("flowers-b", narrow_vgg("B", 102), (32, 32))
    return history
