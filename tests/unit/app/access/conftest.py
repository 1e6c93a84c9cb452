from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.people import People, make_guarded_runtime


@pytest.fixture(scope="module")
def home_with_people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somebody of every role; copying it is quicker than hashing their passwords anew."""
    home = tmp_path_factory.mktemp("people") / "home"
    people = People(make_guarded_runtime(home))
    for name, role in (("ada", "admin"), ("rob", "runner"), ("vera", "viewer")):
        people.add(name, role)  # type: ignore[arg-type]
    people.runtime.db.dispose()
    return home


@pytest.fixture
def people(home_with_people: Path, tmp_path: Path) -> Iterator[People]:
    home = tmp_path / "home"
    shutil.copytree(home_with_people, home)
    runtime = make_guarded_runtime(home)
    yield People(runtime)
    runtime.db.dispose()
