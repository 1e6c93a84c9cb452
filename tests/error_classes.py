"""Every error class of the project, read from the source: importing the workers' would import torch."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[1]
ROOTS = ("ServiceError", "EnsemblesError")


@dataclass(frozen=True)
class ErrorClass:
    """A class that descends from one of the roots; `code` is empty where the class has none of its own."""

    module: str
    bases: tuple[str, ...]
    code: str


def error_classes(*packages: str) -> dict[str, ErrorClass]:
    """By name, the errors that these packages define; private ones are left out."""
    classes = {}
    for package in packages:
        for path in (PROJECT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    bases = tuple(ast.unparse(base).rpartition(".")[2] for base in node.bases)
                    classes[node.name] = ErrorClass(
                        ".".join(path.relative_to(PROJECT).with_suffix("").parts), bases, _code(node)
                    )
    found = set(ROOTS)
    while more := {name for name, cls in classes.items() if found.intersection(cls.bases)} - found:
        found |= more
    return {name: classes[name] for name in sorted(found) if name in classes}


def _code(node: ast.ClassDef) -> str:
    for statement in node.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and isinstance(statement.value, ast.Constant):
            target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
            if isinstance(target, ast.Name) and target.id == "code":
                return str(statement.value.value)
    return ""
