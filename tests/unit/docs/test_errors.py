import ast
import re
from collections.abc import Iterator
from pathlib import Path

from app.api.errors import HTTP_CODES, STATUSES
from app.api.validation import CODES
from app.services.leasing.recovery import WORKER_LOST
from tests.error_classes import error_classes

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/errors.md"

CLASS_ROW = re.compile(r"^\| `(\w+)` \| (?:`(\w+)`|–) \| (\d{3}|–) \| [^|]+ \| [^|]+ \|$", re.MULTILINE)
WORD_ROW = re.compile(r"^\| `(\w+)` \| [^`|–][^|]* \|(?: [^|]+ \|)?$", re.MULTILINE)


def section(title: str) -> str:
    """The text under one heading of the page."""
    return PAGE.read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_every_error_class_has_a_code_of_its_own() -> None:
    # InspectionError carries the code of the error that another process met.
    classes = {name: e for name, e in error_classes("app", "ensembles", "workers").items() if name != "InspectionError"}
    codes = [error.code for error in classes.values()]
    assert all(re.fullmatch(r"[a-z][a-z0-9_]+", code) for code in codes), classes
    assert len(set(codes)) == len(codes)


def test_the_table_of_errors_is_complete_and_true() -> None:
    rows = CLASS_ROW.findall(section("Errors"))
    documented = {code: (name, status) for code, name, status in rows}
    assert len(documented) == len(rows), "a code stands there twice"
    statuses = {error.__name__: str(int(status)) for error, status in STATUSES.items()}
    expected = {
        error.code: (name, statuses.get(name, "–"))
        for name, error in error_classes("app", "ensembles", "workers").items()
        if error.code
    }
    expected |= {code: ("", str(status)) for status, code in HTTP_CODES.items()}
    assert documented == expected


def codes_of_problems() -> Iterator[str]:
    """The code of every `Problem` that the source makes, of its own or of an error that it caught."""
    classes = error_classes("app", "ensembles")
    for package in ("app", "ensembles"):
        for path in (ROOT / package).rglob("*.py"):
            tree = ast.parse(path.read_text())
            for code in made_codes(tree):
                if isinstance(code, ast.Constant):
                    yield str(code.value)
                elif (name := ast.unparse(code).removesuffix(".code")) in classes:
                    yield classes[name].code
            for handler in ast.walk(tree):
                if isinstance(handler, ast.ExceptHandler) and handler.type:
                    caught = ast.unparse(handler.type)
                    if caught in classes and f"{handler.name}.code" in map(ast.unparse, made_codes(handler)):
                        yield classes[caught].code


def made_codes(tree: ast.AST) -> list[ast.expr]:
    """The last argument of each `Problem(field, rule, value, code)`."""
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "Problem")
    return [call.args[3] for call in calls if len(call.args) == 4]


def test_the_table_of_codes_of_fields_is_complete() -> None:
    used = {"invalid_value", *CODES.values(), *codes_of_problems()}
    assert set(WORD_ROW.findall(section("Codes of fields"))) == used


def test_the_table_of_codes_of_failed_work_is_complete() -> None:
    rules = re.findall(r'\(\w[\w.]*, "(\w+)", (?:True|False)\)', (ROOT / "workers/failures.py").read_text())
    assert len(rules) > 3
    assert set(WORD_ROW.findall(section("Codes of failed work"))) == {*rules, WORKER_LOST}
