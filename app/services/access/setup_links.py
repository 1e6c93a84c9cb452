"""The way in for the first administrator: a link, printed where only the operator reads, good once."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.base import new_id
from app.db.clock import now
from app.db.models import SetupLink, User
from app.db.session import Database
from app.db.statements import lock_rows
from app.errors import SetupLinkError
from app.representations.access import Role
from app.services.access import logins, passwords, users
from app.services.access.identities import LOCAL
from app.services.access.secret_texts import hashed, new_secret

LIFETIME = dt.timedelta(days=1)


def make(db: Database) -> str | None:
    """The secret of a new link; None where there is a user already.

    Links made before stay good: of several processes that start at once, each prints one.
    """
    with db.write() as session:
        if session.scalars(select(User.id).limit(1)).first() is not None:
            return None
        secret = new_secret()
        session.add(SetupLink(id=new_id(), secret_sha256=hashed(secret), expires_at=now(session) + LIFETIME))
        return secret


def check(db: Database, secret: str) -> None:
    """Look whether a link is good, and leave it so.

    Raises:
        SetupLinkError: it is not.
    """
    with db.read() as session:
        _check(session, secret)


def use(db: Database, secret: str, name: str, password: str) -> str:
    """Make the first administrator and begin a session; its secret. Every link is spent.

    Args:
        db: the database.
        secret: of the link.
        name: of the user.
        password: of the user.

    Raises:
        SetupLinkError: the link is not good.
        InvalidRequestError: the password breaks its rules.
    """
    check(db, secret)
    password_hash = passwords.hash_new(password, name=name)
    with db.write() as session:
        # Two links that are used at once: the second waits here and then finds none.
        lock_rows(session, SetupLink, set(session.scalars(select(SetupLink.id))))
        _check(session, secret)
        user_id = users.add(session, name, Role.ADMIN, password_hash, LOCAL)
        return logins.begin(session, user_id)


def _check(session: Session, secret: str) -> None:
    good = SetupLink.secret_sha256 == hashed(secret), SetupLink.expires_at > now(session)
    has_user = session.scalars(select(User.id).limit(1)).first() is not None
    if has_user or session.scalars(select(SetupLink.id).where(*good)).first() is None:
        raise SetupLinkError
