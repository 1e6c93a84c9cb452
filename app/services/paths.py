"""Which paths of this host a request may name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from app.errors import InvalidRequestError, PathForbiddenError
from ensembles.errors import Problem


def allowed_path(text: str, roots: Sequence[Path], setting: str, *, folder: bool, trusted: bool) -> Path:
    """The real path behind `text`, links followed.

    Args:
        text: absolute, or relative to one of the roots (to the working folder where trusted).
        roots: folders that the real path must lie under, unless trusted.
        setting: the environment variable that lists the roots, for the message.
        folder: a folder is needed, else a regular file: opening a FIFO would never return.
        trusted: the operator's own command line, which may name any path.

    Raises:
        PathForbiddenError: outside the roots, missing or of the wrong kind: a stranger cannot tell which.
        InvalidRequestError: the same for a trusted caller, who is told.
    """
    if trusted:
        found = _resolved(Path(text).expanduser(), folder=folder)
        if found is None:
            rule = f"an existing {'folder' if folder else 'file'}"
            raise InvalidRequestError([Problem("path", rule, text)])
        return found
    for root in roots:
        real_root = _resolved(root, folder=True)
        found = _resolved(root / text, folder=folder)
        if real_root is not None and found is not None and found.is_relative_to(real_root):
            return found
    raise PathForbiddenError("path", text, setting)


def _resolved(path: Path, *, folder: bool) -> Path | None:
    try:
        real = path.resolve(strict=True)
        return real if (real.is_dir() if folder else real.is_file()) else None
    except (OSError, ValueError, RuntimeError):  # ValueError: a NUL; RuntimeError: a circle of links
        return None
