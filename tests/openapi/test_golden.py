"""The OpenAPI document in the repository, which clients were made from, and the command that keeps it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.openapi import golden


@pytest.fixture(scope="module")
def served() -> dict[str, Any]:
    return golden.served()


def test_the_document_in_the_repository_is_the_one_that_is_served(served: dict[str, Any]) -> None:
    kept = golden.golden()
    if kept != served:
        pytest.fail(
            f"docs/openapi.json is not what the server serves; it differs in {differences(kept, served)}. "
            "Run `make openapi` (python -m tests.openapi.golden), look at the difference and commit it."
        )
    assert golden.GOLDEN.read_text(encoding="utf-8") == golden.text_of(served)


def differences(kept: dict[str, Any], served: dict[str, Any]) -> str:
    """Names of the paths and schemas that are not the same."""
    pairs = (
        (kept["paths"], served["paths"]),
        (kept["components"]["schemas"], served["components"]["schemas"]),
    )
    names = [name for old, new in pairs for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    return ", ".join(names) or "what stands outside of paths and schemas"


@pytest.fixture
def file(served: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A document of its own for the command, at first the one that is served."""
    path = tmp_path / "openapi.json"
    path.write_text(golden.text_of(served), encoding="utf-8")
    monkeypatch.setattr(golden, "GOLDEN", path)
    monkeypatch.setattr(sys, "argv", ["golden"])
    return path


def test_what_is_new_is_written(file: Path, served: dict[str, Any]) -> None:
    older = {**served, "paths": {path: methods for path, methods in served["paths"].items() if "badges" not in path}}
    file.write_text(golden.text_of(older), encoding="utf-8")
    assert golden.main() == 0
    assert file.read_text(encoding="utf-8") == golden.text_of(served)


def test_what_would_break_clients_is_named_and_not_written_unless_it_is_meant(
    file: Path, served: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    older = {**served, "paths": {**served["paths"], "/api/v1/gone": served["paths"]["/api/v1/workers"]}}
    file.write_text(golden.text_of(older), encoding="utf-8")
    assert golden.main() == 1
    assert "breaks clients: GET /api/v1/gone: is gone" in capsys.readouterr().err
    assert file.read_text(encoding="utf-8") == golden.text_of(older)
    monkeypatch.setattr(sys, "argv", ["golden", "--breaking"])
    assert golden.main() == 0
    assert file.read_text(encoding="utf-8") == golden.text_of(served)
