"""Which paths of this host a request may name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from app.errors import InvalidRequestError, PathForbiddenError
from ensembles.dataset_index import is_text
from ensembles.errors import Problem


def allowed_path(
    text: str, roots: Sequence[Path], setting: str, *, folder: bool | None, trusted: bool, field: str = "path"
) -> Path:
    """The real path behind `text`, links followed.

    Args:
        text: absolute, or relative to one of the roots (to the working folder where trusted).
        roots: folders that the real path must lie under, unless trusted.
        setting: the environment variable that lists the roots, for the message.
        folder: a folder is needed, else a regular file: opening a FIFO would never return. None: either of the two.
        trusted: the operator's own command line, which may name any path.
        field: of the request, for the message.

    Raises:
        PathForbiddenError: outside the roots, missing or of the wrong kind: a stranger cannot tell which.
        InvalidRequestError: the same for a trusted caller, who is told.
    """
    if trusted:
        found = _resolved(Path(text).expanduser(), folder=folder)
        if found is None:
            kind = {True: "folder", False: "file", None: "file or folder"}[folder]
            raise InvalidRequestError([Problem(field, f"an existing {kind} whose path is UTF-8", text)])
        return found
    for root in roots:
        real_root = _resolved(root, folder=True)
        found = _resolved(root / text, folder=folder)
        if real_root is not None and found is not None and found.is_relative_to(real_root):
            return found
    raise PathForbiddenError(field, text, setting)


def _resolved(path: Path, *, folder: bool | None) -> Path | None:
    try:
        real = path.resolve(strict=True)
        is_right = (
            real.is_dir() if folder else real.is_file() if folder is not None else real.is_dir() or real.is_file()
        )
    except (OSError, ValueError, RuntimeError):  # ValueError: a NUL, or no UTF-8; RuntimeError: a circle of links
        return None
    # What has no UTF-8 form cannot be stored, nor shown in an answer.
    return real if is_right and is_text(str(real)) else None
