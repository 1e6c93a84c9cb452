"""Edits that name the version they were made on: nobody undoes somebody else's edit unseen."""

from __future__ import annotations

from collections.abc import Collection

from app.errors import PreconditionFailedError


def check(kind: str, key: str, version: str, expected: Collection[str] | None) -> None:
    """Compare the present version with those the editor accepts. Call it with the row locked.

    Args:
        kind: of what is edited, for the message.
        key: its name or id, for the message.
        version: the present one.
        expected: the accepted ones; None accepts any.

    Raises:
        PreconditionFailedError: it is another.
    """
    if expected is not None and version not in expected:
        raise PreconditionFailedError(kind, key, version)
