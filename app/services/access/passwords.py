"""Passwords: their rules, and argon2id."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from app.errors import InvalidRequestError
from ensembles.errors import Problem

MIN_LENGTH, MAX_LENGTH = 12, 200

#: The library's defaults: RFC 9106, second recommended option.
_HASHER = PasswordHasher()


def hash_new(password: str, *, name: str, field: str = "password") -> str:
    """The hash of a password that somebody chose.

    Args:
        password: as typed.
        name: of the user; a password that is the name is refused.
        field: of the request, for the message.

    Raises:
        InvalidRequestError: it is too short, too long, the user's name, or no text.
    """
    rule = f"{MIN_LENGTH} to {MAX_LENGTH} characters, other than the name"
    typed = _normalised(password)
    fits = MIN_LENGTH <= len(typed) <= MAX_LENGTH and typed.casefold() != name.casefold()
    if not fits or not _is_text(typed):
        raise InvalidRequestError([Problem(field, rule, Hidden())])
    return _HASHER.hash(typed)


def is_right(password: str, kept: str | None) -> bool:
    """Whether the password is the one that was hashed; None, for an unknown user, takes as long and is never right."""
    typed = _normalised(password)
    if len(typed) > MAX_LENGTH or not _is_text(typed):
        typed = ""
    try:
        return _HASHER.verify(kept or _nobodys(), typed) and kept is not None
    except (VerificationError, InvalidHashError):
        return False


def is_outdated(kept: str) -> bool:
    """Whether the hash was made with other parameters than today's."""
    return _HASHER.check_needs_rehash(kept)


def rehash(password: str) -> str:
    """A hash with today's parameters of a password that was right."""
    return _HASHER.hash(_normalised(password))


class Hidden:
    """Stands in a message for a value that must not be repeated."""

    def __repr__(self) -> str:
        return "(hidden)"


def _normalised(password: str) -> str:
    """One form, however a keyboard composes an accent."""
    return unicodedata.normalize("NFC", password)


def _is_text(password: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in password)


@lru_cache(maxsize=1)
def _nobodys() -> str:
    return _HASHER.hash("nobody's")
