"""Sessions of people in browsers: begun with a password or a set-up link, known by a secret, ended."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from app.db.base import new_id
from app.db.clock import now
from app.db.models import User, UserSession
from app.db.session import Database
from app.db.statements import changed
from app.errors import WrongLoginError
from app.representations.access import Role
from app.services import events
from app.services.access import passwords, rate_limits
from app.services.access.identities import Identity
from app.services.access.secret_texts import hashed, new_secret

#: A session that nobody used for so long ends, and any after so long.
IDLE, ABSOLUTE = dt.timedelta(hours=8), dt.timedelta(days=7)
#: How exactly it is known when something was used last; a row is written no more often.
_USE_RESOLUTION = dt.timedelta(minutes=1)


def log_in(db: Database, name: str, password: str, address: str) -> str:
    """Begin a session; its secret, for the browser alone.

    Args:
        db: the database.
        name: as typed.
        password: as typed.
        address: of the client, for the limits.

    Raises:
        WrongLoginError: name or password is wrong, or the account is disabled.
        RateLimitedError: too many tries from this address, or with this name from it.
    """
    name = name.strip().lower()
    rate_limits.spend(db, "logins from one address", address, rate_limits.LOGINS_PER_ADDRESS)
    rate_limits.spend(db, "logins of one user", f"{address}\n{name}", rate_limits.LOGINS_PER_NAME)
    with db.read() as session:
        # What can be no name is not looked for: PostgreSQL refuses NUL in text.
        user = session.scalars(select(User).where(User.name == name)).first() if name.isprintable() else None
    # No transaction is open meanwhile: this takes long on purpose.
    right = passwords.is_right(password, None if user is None else user.password_hash)
    with db.write() as session:
        if user is None or not right or user.disabled:
            if user is not None:
                events.record(session, "login_failed", subject_id=user.id, user=user.name)
            failed = True
        else:
            kept = passwords.rehash(password) if passwords.is_outdated(user.password_hash) else user.password_hash
            same = update(User).where(User.id == user.id, ~User.disabled, User.password_hash == user.password_hash)
            failed = not changed(session, same.values(last_login_at=now(session), password_hash=kept))
            secret = "" if failed else begin(session, user.id)
            if not failed:
                events.record(session, "logged_in", subject_id=user.id, user=user.name)
    if failed:
        raise WrongLoginError
    return secret


def begin(session: Session, user_id: str) -> str:
    """Insert a session in a running transaction; its secret. Sessions that are over are swept."""
    secret, at = new_secret(), now(session)
    changed(session, delete(UserSession).where(UserSession.created_at < at - ABSOLUTE))
    columns = {"id": new_id(), "user_id": user_id, "secret_sha256": hashed(secret)}
    session.add(UserSession(**columns, created_at=at, last_seen=at))
    return secret


def resume(db: Database, secret: str) -> Identity | None:
    """Who has this session; None where it is over, or the account disabled."""
    with db.read() as session:
        at = now(session)
        statement = select(UserSession, User).join(User, User.id == UserSession.user_id)
        row = session.execute(statement.where(UserSession.secret_sha256 == hashed(secret))).first()
    if row is None:
        return None
    login, user = row
    if user.disabled or at - login.last_seen > IDLE or at - login.created_at > ABSOLUTE:
        return None
    if at - login.last_seen > _USE_RESOLUTION:
        with db.write() as session:
            seen = update(UserSession).where(UserSession.id == login.id, UserSession.last_seen < at)
            changed(session, seen.values(last_seen=at))
    role = Role(user.role)
    return Identity("user", role.scopes, user_id=user.id, name=user.name, role=role, credential_id=login.id)


def log_out(db: Database, by: Identity) -> None:
    """End this session."""
    with db.write() as session:
        if changed(session, delete(UserSession).where(UserSession.id == by.credential_id)):
            events.record(session, "logged_out", subject_id=by.user_id, user=by.name)
