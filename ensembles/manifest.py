"""The CSV manifest: one line an image, with its path, its label and, if wanted, an id of its own.

    # classes: names.txt
    path,label,id
    flowers/0001.jpg,rose,r1

docs/datasets.md is the reference. All problems of a manifest are found in one reading.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path, PurePosixPath

from ensembles.dataset_index import is_text, printable_id
from ensembles.errors import DatasetFormatError, DatasetProblemsError, Problem
from ensembles.imagenet import IMAGENET_1K, imagenet_wnids
from ensembles.listings import ListedImage, Listing

COLUMNS = ("path", "label", "id")
MAX_MANIFEST_BYTES = 256_000_000
#: Class numbers without a list of classes make a class of every number up to the largest.
MAX_CLASS_NUMBER = 99_999
_MAX_CLASSES_BYTES = 10_000_000

_CLASSES_LINE = re.compile(r"#\s*classes\s*:\s*(.*?)\s*", re.IGNORECASE)
_NUMBER = re.compile(r"0|[1-9][0-9]{0,8}")


@dataclass(frozen=True)
class _Row:
    line: int
    path: str
    label: str
    id: str


def list_manifest(path: Path) -> Listing:
    """Read a manifest; its images lie under its own folder.

    Raises:
        DatasetFormatError: not text, too large, or its first lines break a rule.
        DatasetProblemsError: lines that break a rule, all of them, each with line, column, rule and value.
        OSError: it cannot be read.
    """
    lines = io.StringIO(_read_text(path, "manifest", MAX_MANIFEST_BYTES), newline="").readlines()
    first = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
    declared = _declared_classes(path, lines[:first])
    problems: list[tuple[int, Problem]] = []
    rows = list(_rows(lines, first, problems))
    _check_paths_and_ids(rows, problems)
    classes, labels = _labels(rows, declared, problems)
    if problems:
        raise DatasetProblemsError(path.name, [problem for _, problem in sorted(problems, key=itemgetter(0))])
    images = tuple(
        ListedImage(row.id, row.path, label, f"line {row.line}, column path")
        for row, label in zip(rows, labels, strict=True)
    )
    return Listing("manifest", path.parent, classes, images)


def _read_text(path: Path, field: str, max_bytes: int) -> str:
    """UTF-8, with or without a byte order mark; bytes that are not UTF-8 may belong to file names, and are kept."""
    if path.stat().st_size > max_bytes:
        raise DatasetFormatError(field, f"a file of at most {max_bytes:,} bytes", str(path))
    text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
    if "\0" in text:
        raise DatasetFormatError(field, "UTF-8 text without NUL characters", str(path))
    return text


def _declared_classes(path: Path, comments: Sequence[str]) -> tuple[str, ...] | None:
    """The list that a line `# classes: NAME` gives: the built-in one, or a file beside the manifest, a name a line."""
    named = [match[1] for line in comments if (match := _CLASSES_LINE.fullmatch(line.rstrip("\r\n")))]
    if not named:
        return None
    if len(named) > 1:
        raise DatasetFormatError("classes", "one line `# classes: …` at most", named)
    if named[0] == IMAGENET_1K:
        return imagenet_wnids()
    rule = f"{IMAGENET_1K}, or the path of a text file below the manifest's folder"
    file = path.parent / named[0]
    if not file.is_file() or not file.resolve().is_relative_to(path.parent.resolve()):
        raise DatasetFormatError("classes", rule, named[0])
    names = [line.strip() for line in io.StringIO(_read_text(file, "classes", _MAX_CLASSES_BYTES), newline=None)]
    while names and not names[-1]:
        names.pop()
    if not names:
        raise DatasetFormatError("classes", "a file with one class name a line", named[0])
    problems = []
    lines_of_names: dict[str, int] = {}
    for line, name in enumerate(names, start=1):
        where = f"{printable_id(named[0])}, line {line}"
        if not name or not is_text(name):
            problems.append(Problem(where, "a class name in UTF-8, and no blank line between names", name))
        elif lines_of_names.setdefault(name, line) != line:
            problems.append(Problem(where, f"each class once; line {lines_of_names[name]} has the same", name))
    if problems:
        raise DatasetProblemsError(path.name, problems)
    return tuple(names)


def _rows(lines: Sequence[str], first: int, problems: list[tuple[int, Problem]]) -> Iterator[_Row]:
    """Rows that have their cells; `line` is where a row begins, as an editor counts."""
    reader = csv.reader(lines[first:], strict=True)
    columns: list[str] = []
    while True:
        line = first + reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            problems.append((line, Problem(f"line {line}", "a row of CSV", str(error))))
            return
        if cells is None:
            return
        if not cells:
            continue
        if not columns:
            columns, is_header = _columns(cells, line)
            if is_header:
                continue
        if len(cells) == len(columns):
            cell = dict(zip(columns, cells, strict=True))
            path = str(PurePosixPath(cell["path"])) if cell["path"] else ""
            yield _Row(line, path, cell["label"].strip(), cell.get("id", path))
        else:
            problems.append((line, Problem(f"line {line}", f"{len(columns)} cells ({', '.join(columns)})", cells)))


def _columns(cells: Sequence[str], line: int) -> tuple[list[str], bool]:
    """The columns' names, and whether the first row gives them."""
    named = [cell.strip().lower() for cell in cells]
    if "path" in named or "label" in named:
        if any(named.count(name) > 1 for name in COLUMNS) or not {"path", "label"} <= set(named):
            raise DatasetFormatError(f"line {line}", "a header with the columns path and label, each once", list(cells))
        return named, True
    if not 2 <= len(cells) <= len(COLUMNS):
        raise DatasetFormatError(
            f"line {line}", "path,label or path,label,id, or a header that names them", list(cells)
        )
    return list(COLUMNS[: len(cells)]), False


def _check_paths_and_ids(rows: Sequence[_Row], problems: list[tuple[int, Problem]]) -> None:
    lines_of_ids: dict[str, int] = {}
    for row in rows:
        if row.path in ("", ".") or row.path.startswith("/") or ".." in row.path.split("/"):
            rule = "a relative path that stays below the manifest's folder"
            problems.append(_at(row, "path", rule, row.path))
            continue
        column = "path" if row.id == row.path else "id"
        if not row.id.strip():
            problems.append(_at(row, "id", "an id that is not blank", row.id))
        elif lines_of_ids.setdefault(row.id, row.line) != row.line:
            rule = f"each image once; line {lines_of_ids[row.id]} has the same {column}"
            problems.append(_at(row, column, rule, row.id))


def _labels(
    rows: Sequence[_Row], declared: tuple[str, ...] | None, problems: list[tuple[int, Problem]]
) -> tuple[tuple[str, ...], list[int]]:
    """The classes, and a class number for each row (0 beside a problem)."""
    names = set(declared or ())
    numbered = all(_NUMBER.fullmatch(row.label) for row in rows) and not all(row.label in names for row in rows)
    if declared is not None:
        classes = declared
        listed = f"{len(classes)} classes, {classes[0]!r} to {classes[-1]!r}"
        rule = f"one of the {listed}, or on every line a number from 0 to {len(classes) - 1}"
    elif numbered:
        largest = min(max(int(row.label) for row in rows), MAX_CLASS_NUMBER)
        classes = tuple(str(number) for number in range(largest + 1))
        rule = f"a class number of at most {MAX_CLASS_NUMBER:,}"
    else:
        classes = tuple(sorted({row.label for row in rows if row.label and is_text(row.label)}))
        rule = "a class name in UTF-8"
    numbers = {name: number for number, name in enumerate(map(str, range(len(classes))) if numbered else classes)}
    problems += [_at(row, "label", rule, row.label) for row in rows if row.label not in numbers]
    return classes, [numbers.get(row.label, 0) for row in rows]


def _at(row: _Row, column: str, rule: str, value: str) -> tuple[int, Problem]:
    return row.line, Problem(f"line {row.line}, column {column}", rule, value)
