"""A request names paths under the roots only, and learns nothing about others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.errors import InvalidRequestError, PathForbiddenError
from app.services.paths import allowed_path

SETTING = "SOFTVOTE_DATA_ROOTS"


@pytest.fixture
def roots(tmp_path: Path) -> tuple[Path, ...]:
    for folder in ("data/digits/a", "dataEVIL", "more"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "data" / "weights.pth").write_bytes(b"x")
    (tmp_path / "secret").write_bytes(b"x")
    (tmp_path / "dataEVIL" / "weights.pth").write_bytes(b"x")
    return (tmp_path / "data", tmp_path / "more", tmp_path / "missing")


def allowed(roots: tuple[Path, ...], text: str, *, folder: bool = False, trusted: bool = False) -> Path:
    return allowed_path(text, roots, SETTING, folder=folder, trusted=trusted)


def test_a_path_under_a_root_is_resolved(roots: tuple[Path, ...]) -> None:
    assert allowed(roots, str(roots[0] / "weights.pth")) == roots[0] / "weights.pth"
    assert allowed(roots, "weights.pth") == roots[0] / "weights.pth"
    assert allowed(roots, "digits/../weights.pth") == roots[0] / "weights.pth"
    assert allowed(roots, "digits", folder=True) == roots[0] / "digits"


def test_a_link_that_stays_inside_is_followed(roots: tuple[Path, ...]) -> None:
    (roots[1] / "link").symlink_to(roots[1] / "real.pth")
    (roots[1] / "real.pth").write_bytes(b"x")
    assert allowed(roots, "link") == roots[1] / "real.pth"


@pytest.mark.parametrize(
    "text",
    [
        "../secret",
        "{home}/secret",
        "{home}/dataEVIL/weights.pth",
        "../dataEVIL/weights.pth",
        "nothing",
        "/etc/passwd",
        "/proc/self/environ",
        "digits",
        "out",
        "loop",
        "fifo",
        "weights.pth\0",
        "%2e%2e/secret",
        "..\\secret",
        "~/secret",
        "x" * 5000,
    ],
)
def test_what_is_outside_missing_or_no_file_is_refused_alike(
    roots: tuple[Path, ...], tmp_path: Path, text: str
) -> None:
    (roots[0] / "out").symlink_to(tmp_path / "secret")
    (roots[0] / "loop").symlink_to(roots[0] / "loop")
    os.mkfifo(roots[0] / "fifo")
    named = text.format(home=tmp_path)
    with pytest.raises(PathForbiddenError) as caught:
        allowed(roots, named)
    rule = "path: a path that exists under one of the folders of SOFTVOTE_DATA_ROOTS is needed; got "
    assert str(caught.value) == rule + repr(named)


def test_the_operator_may_name_any_existing_path(roots: tuple[Path, ...], tmp_path: Path) -> None:
    assert allowed(roots, str(tmp_path / "secret"), trusted=True) == tmp_path / "secret"
    with pytest.raises(InvalidRequestError, match="path: an existing folder"):
        allowed(roots, str(tmp_path / "secret"), folder=True, trusted=True)
    with pytest.raises(InvalidRequestError, match="path: an existing file"):
        allowed(roots, str(tmp_path / "nothing"), trusted=True)
