"""docs/operations.md says of every fault case which test shows it, or why none does."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SECTION = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8").split("## Fault cases\n")[1].split("\n## ")[0]
CASES = [*range(1, 35), 47, 48]


def test_every_case_has_its_row() -> None:
    assert [int(number) for number in re.findall(r"^\| F(\d\d) \|", SECTION, re.MULTILINE)] == CASES


def test_every_test_in_the_table_exists_and_bears_the_number() -> None:
    defined = {
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    for number, row in re.findall(r"^\| F(\d\d) \|(.*)\|$", SECTION, re.MULTILINE):
        named = re.findall(r"`(test_\w+)`", row)
        assert set(named) <= defined, (number, set(named) - defined)
        assert named, number
        assert all(f"f{number}" in name for name in named), (number, named)
