"""Path segments and query parameters that more than one resource has."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

#: No control characters: PostgreSQL refuses NUL in text, and no name has any.
Text = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]


class Parameters(BaseModel):
    """What a request says beside its body."""

    @classmethod
    def model_json_schema(cls, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Pydantic's, worked out once for the framework, which asks for it at every request."""
        return super().model_json_schema(*args, **kwargs) if args or kwargs else _schema_of(cls)


@cache
def _schema_of(parameters: type[Parameters]) -> dict[str, Any]:
    return super(Parameters, parameters).model_json_schema()


class Query(Parameters):
    """Query parameters or path segments, which are text that is read as numbers where numbers are wanted."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SubmitHeader(Parameters):
    """Headers of a request that starts or makes something."""

    model_config = ConfigDict(extra="ignore")

    idempotency_key: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$")] | None = Field(
        default=None,
        alias="Idempotency-Key",
        description="a word of the client's choice; the same key with the same body starts nothing anew",
    )


class PageQuery(Query):
    """Which part of a list."""

    cursor: Annotated[str, Field(max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")] | None = Field(
        default=None, description="`next` of the page before"
    )
    limit: int = Field(default=50, ge=1, le=200, description="items on a page")


class KeyPath(Query):
    """A path that names one thing."""

    key: Text = Field(description="id or name; a name with a slash can only be reached by id")


class IdPath(Query):
    """A path that names one evaluation."""

    id: Text
