"""What every document shares."""

from __future__ import annotations

import hashlib
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict

T = TypeVar("T")


class Document(BaseModel):
    """An immutable JSON answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def version_of(document: BaseModel) -> str:
    """The value of a document's strong ETag: equal where every byte is."""
    return hashlib.sha256(document.model_dump_json().encode()).hexdigest()[:32]


class Request(BaseModel):
    """An immutable JSON request; unknown fields are refused by name."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Page(Document, Generic[T]):
    """One page of a list; `next` is an opaque cursor, null on the last page."""

    items: list[T]
    next: str | None = None


class ErrorInfo(Document):
    """Why something failed: a stable code and a sentence."""

    code: str
    message: str

    @classmethod
    def of(cls, code: str | None, message: str | None) -> ErrorInfo | None:
        """From two columns of a row; None where nothing failed."""
        return None if code is None else cls(code=code, message=message or "")
