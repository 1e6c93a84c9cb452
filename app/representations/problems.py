"""Errors as JSON: RFC 9457 problem details."""

from __future__ import annotations

from app.representations.base import Document


class ProblemItem(Document):
    """One thing wrong; `pointer` is a JSON pointer into the request's body, or names a query parameter or header."""

    pointer: str
    code: str
    message: str


class ProblemDocument(Document):
    """The answer to every request that failed; `code` is the stable word to branch on, listed in docs/errors.md."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[ProblemItem]
