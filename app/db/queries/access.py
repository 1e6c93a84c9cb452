"""Reads of users and tokens; no hash ever leaves the tables by them."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from app.db.clock import now
from app.db.models import ApiToken, User
from app.errors import NotFoundError
from app.representations.access import TokenDocument, UserDocument


def any_user(session: Session) -> bool:
    """Whether there is a user at all."""
    return session.scalars(select(User.id).limit(1)).first() is not None


def users(session: Session) -> list[UserDocument]:
    """Everybody, by name."""
    return [_user(row) for row in session.scalars(select(User).order_by(User.name))]


def user(session: Session, user_id: str) -> UserDocument:
    """One user.

    Raises:
        NotFoundError: there is none.
    """
    row = session.get(User, user_id)
    if row is None:
        raise NotFoundError("user", user_id)
    return _user(row)


def tokens(session: Session, user_id: str | None = None) -> list[TokenDocument]:
    """One user's tokens, or everybody's, newest first."""
    rows = _tokens().order_by(ApiToken.created_at.desc(), ApiToken.id)
    if user_id is not None:
        rows = rows.where(ApiToken.user_id == user_id)
    at = now(session)
    return [_token(token, owner, at) for token, owner in session.execute(rows)]


def token(session: Session, token_id: str) -> TokenDocument:
    """One token.

    Raises:
        NotFoundError: there is none.
    """
    row = session.execute(_tokens().where(ApiToken.id == token_id)).first()
    if row is None:
        raise NotFoundError("token", token_id)
    found, owner = row
    return _token(found, owner, now(session))


def _tokens() -> Select[ApiToken, User]:
    return select(ApiToken, User).join(User, User.id == ApiToken.user_id)


def _user(row: User) -> UserDocument:
    return UserDocument(
        id=row.id,
        name=row.name,
        role=row.role,
        disabled=row.disabled,
        created_at=row.created_at,
        last_login_at=row.last_login_at,
    )


def _token(row: ApiToken, owner: User, at: dt.datetime) -> TokenDocument:
    return TokenDocument(
        id=row.id,
        name=row.name,
        user=owner.name,
        scopes=row.scopes,
        state="revoked"
        if row.revoked_at is not None
        else "expired"
        if row.expires_at <= at
        else "owner disabled"
        if owner.disabled
        else "active",
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
    )
