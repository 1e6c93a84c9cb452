"""Who may use the service: people, their logins, the tokens of their programs, the way in for the first of them."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base, Id, one_of, utc_now
from app.representations.access import Role


class User(Base):
    """A person who logs in."""

    __tablename__ = "users"
    __table_args__ = (one_of("role", Role),)

    id: Mapped[Id]
    name: Mapped[str] = mapped_column(String(64), unique=True)
    role: Mapped[str] = mapped_column(String(16))
    # argon2id, with its parameters and salt in it.
    password_hash: Mapped[str]
    disabled: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[dt.datetime] = mapped_column(default=utc_now)
    last_login_at: Mapped[dt.datetime | None]


class UserSession(Base):
    """One login in one browser. Whoever has the secret is the user, so only its hash is kept."""

    __tablename__ = "user_sessions"

    id: Mapped[Id]
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    secret_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[dt.datetime]
    last_seen: Mapped[dt.datetime]


class ApiToken(Base):
    """A program's credential, `sv_<id>_<secret>`; it never may more than its owner."""

    __tablename__ = "api_tokens"

    id: Mapped[str] = mapped_column(String(8), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    name: Mapped[str] = mapped_column(String(100))
    scopes: Mapped[list[str]]
    secret_sha256: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[dt.datetime]
    expires_at: Mapped[dt.datetime]
    last_used_at: Mapped[dt.datetime | None]
    revoked_at: Mapped[dt.datetime | None]


class SetupLink(Base):
    """A way in for the first administrator, good once, for a day, and only while there is no user."""

    __tablename__ = "setup_links"

    id: Mapped[Id]
    secret_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    expires_at: Mapped[dt.datetime]


class RateWindow(Base):
    """How often something was tried since a minute began."""

    __tablename__ = "rate_windows"

    # SHA-256 of what is limited, such as an address with a name: neither is kept.
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    started_at: Mapped[dt.datetime] = mapped_column(index=True)
    tries: Mapped[int]
