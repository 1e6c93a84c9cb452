"""Who may do what: scopes and roles, by the names that REST, the command line, pages and tables use."""

from __future__ import annotations

import datetime as dt
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from app.representations.base import Document, Request


class Scope(StrEnum):
    """What a request may do. None implies another: a token that only starts work need not read."""

    READ = "read"
    RUN = "run"
    ADMIN = "admin"


class Role(StrEnum):
    """Of a person."""

    VIEWER = "viewer"
    RUNNER = "runner"
    ADMIN = "admin"

    @property
    def scopes(self) -> frozenset[Scope]:
        """What people of this role may do."""
        return SCOPES_OF[self]


SCOPES_OF = {
    Role.VIEWER: frozenset({Scope.READ}),
    Role.RUNNER: frozenset({Scope.READ, Scope.RUN}),
    Role.ADMIN: frozenset(Scope),
}

#: Nobody's twin by case or look; safe on every page and in every log.
UserName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._@-]{0,63}$", description="small letters, digits, . _ @ -")]
#: Its rules are checked where it is hashed, so that no answer repeats it.
Password = Annotated[str, Field(description="12 to 200 characters")]
RoleName = Literal["viewer", "runner", "admin"]
ScopeName = Literal["read", "run", "admin"]

DEFAULT_TOKEN_DAYS = 90
MAX_TOKEN_DAYS = 366


class UserRequest(Request):
    """A new user."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "anna", "role": "runner", "password": "correct horse battery"}]}
    )

    name: UserName
    role: RoleName = "viewer"
    password: Password = Field(repr=False)


class UserPatch(Request):
    """What changes about a user; what is left out stays. A new password, or disabling, ends every session."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"role": "viewer"}, {"disabled": True}]})

    role: RoleName | None = None
    disabled: bool | None = None
    password: Password | None = Field(default=None, repr=False)


class UserDocument(Document):
    """A person who logs in."""

    id: str
    name: str
    role: str
    disabled: bool
    created_at: dt.datetime
    last_login_at: dt.datetime | None


class TokenRequest(Request):
    """A new token for a program; it may do what its scopes and its owner's role both allow."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "ci", "scopes": ["read", "run"], "expires_in_days": 90}]}
    )

    name: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
    scopes: list[ScopeName] = Field(default=["read"], min_length=1, max_length=3)
    expires_in_days: int = Field(default=DEFAULT_TOKEN_DAYS, ge=1, le=MAX_TOKEN_DAYS)
    user: UserName | None = Field(default=None, description="the owner's name; null for whoever asks")


class TokenDocument(Document):
    """A program's credential, without its secret."""

    id: str
    name: str
    user: str
    scopes: list[str]
    state: Literal["active", "expired", "revoked", "owner disabled"]
    created_at: dt.datetime
    expires_at: dt.datetime
    last_used_at: dt.datetime | None


class NewTokenDocument(TokenDocument):
    """A token that was just made; its text is shown this once and is kept nowhere."""

    token: str
