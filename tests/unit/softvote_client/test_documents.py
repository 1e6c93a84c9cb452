"""The client's documents against the service's, and the client as a package of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
import types
import zipfile
from pathlib import Path
from typing import Literal, Union, get_args, get_origin

import pytest
from pydantic import BaseModel

from app.representations import catalogue, comparisons, evaluations, gates
from app.representations.base import ErrorInfo
from softvote_client import documents

ROOT = Path(__file__).parents[3]

PAIRS: list[tuple[type[BaseModel], type[BaseModel]]] = [
    (documents.ErrorInfo, ErrorInfo),
    (documents.Progress, evaluations.ProgressDocument),
    (documents.Member, evaluations.MemberDocument),
    (documents.EvaluationRow, evaluations.EvaluationSummary),
    (documents.Evaluation, evaluations.EvaluationDocument),
    (documents.ScoreMember, evaluations.ScoreMember),
    (documents.Score, evaluations.ScoreDocument),
    (documents.Pair, comparisons.PairDocument),
    (documents.Comparison, comparisons.ComparisonDocument),
    (documents.Gate, gates.GateDocument),
    (documents.Baseline, gates.BaselineDocument),
    (documents.Checkpoint, catalogue.CheckpointDocument),
    (documents.Dataset, catalogue.DatasetDocument),
]


def shape(annotation: object) -> object:
    """A type with words for strings and models for mappings, which the client may take more loosely."""
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return str
    if origin in (Union, types.UnionType):
        return frozenset(map(shape, inside))
    if origin is list:
        return (list, shape(inside[0]))
    if origin is dict or (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return dict
    return annotation


@pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=[ours.__name__ for ours, _ in PAIRS])
def test_the_service_answers_every_field_of_a_document_in_its_type(
    ours: type[BaseModel], theirs: type[BaseModel]
) -> None:
    known = {name: shape(field.annotation) for name, field in theirs.model_fields.items()}
    wanted = {name: shape(field.annotation) for name, field in ours.model_fields.items()}
    assert wanted == {name: known.get(name) for name in wanted}


def test_every_document_of_the_client_is_held_to_one_of_the_service() -> None:
    public = {
        value for value in vars(documents).values() if isinstance(value, type) and issubclass(value, documents.Document)
    }
    assert public - {documents.Document} == {ours for ours, _ in PAIRS}


def test_what_a_newer_server_adds_is_kept() -> None:
    row = {"name": "n", "reference": "r", "evaluation": "e", "note": "", "promoted_at": "2026-01-01T00:00:00Z"}
    assert documents.Baseline.model_validate({**row, "new": [1]}).model_extra == {"new": [1]}


def test_importing_it_brings_nothing_of_the_service() -> None:
    code = (
        "import sys, softvote_client; "
        "print(sorted({name.partition('.')[0] for name in sys.modules} "
        "& {'app', 'workers', 'ensembles', 'flask', 'celery', 'sqlalchemy', 'numpy', 'torch'}))"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_it_is_a_package_of_its_own_that_needs_httpx_and_pydantic_alone(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "softvote_client", tmp_path / "source", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", str(tmp_path), str(tmp_path / "source")], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("softvote_client-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (archive.read(name).decode() for name in names if name.endswith("METADATA"))
    assert {f"softvote_client/{path.name}" for path in (ROOT / "softvote_client").glob("*.py")} <= set(names)
    assert "softvote_client/py.typed" in names
    needed = [line for line in metadata.splitlines() if line.startswith("Requires-Dist:")]
    assert needed == ["Requires-Dist: httpx>=0.28", "Requires-Dist: pydantic>=2.10"]
