"""A fresh database in a folder, as one process of the service sees it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.config import Settings
from app.runtime import Runtime, build_runtime


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    made = build_runtime(Settings.from_environment({"SOFTVOTE_HOME": str(tmp_path / "home")}), migrate=True)
    yield made
    made.db.dispose()
