"""People: made, given a role, disabled, given a new password. There is always an admin who can log in."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from app.db.base import new_id
from app.db.clock import now
from app.db.models import SetupLink, User, UserSession
from app.db.session import Database
from app.db.statements import changed, insert_new, lock_rows
from app.errors import InvalidRequestError, LastAdminError, NameTakenError, NotFoundError, WrongLoginError
from app.representations.access import Role, UserPatch, UserRequest
from app.services import events
from app.services.access import passwords, rate_limits
from app.services.access.identities import Identity
from ensembles.errors import Problem


def create(db: Database, request: UserRequest, by: Identity) -> str:
    """Make a user; the id.

    Raises:
        NameTakenError: another one has the name.
        InvalidRequestError: the password breaks its rules, or the first user would be no admin.
    """
    password_hash = passwords.hash_new(request.password, name=request.name)
    with db.write() as session:
        if Role(request.role) is not Role.ADMIN and session.scalars(select(User.id).limit(1)).first() is None:
            raise InvalidRequestError([Problem("role", "admin, for the first user", request.role)])
        return add(session, request.name, Role(request.role), password_hash, by)


def add(session: Session, name: str, role: Role, password_hash: str, by: Identity) -> str:
    """Insert a user in a running transaction; set-up links end with the first one.

    Raises:
        NameTakenError: another one has the name.
    """
    key = new_id()
    columns = {"id": key, "name": name, "role": role, "password_hash": password_hash, "disabled": False}
    if not insert_new(session, User, {**columns, "created_at": now(session)}):
        raise NameTakenError("user", name)
    session.execute(delete(SetupLink))
    events.record(session, "user_created", subject_id=key, user=name, role=role, by=by.title)
    return key


def change(db: Database, key: str, patch: UserPatch, by: Identity) -> str:
    """Change a user's role, let in or shut out, or give a new password; the id.

    Args:
        db: the database.
        key: id or name.
        patch: what changes.
        by: who asks.

    Raises:
        NotFoundError: there is none.
        LastAdminError: nobody would be left who may manage users.
        InvalidRequestError: the password breaks its rules.
    """
    with db.read() as session:
        name = find(session, key).name
    password_hash = None if patch.password is None else passwords.hash_new(patch.password, name=name)
    with db.write() as session:
        admins = select(User.id).where(User.role == Role.ADMIN, ~User.disabled)
        lock_rows(session, User, set(session.scalars(admins)))
        user = find(session, key)
        role = user.role if patch.role is None else patch.role
        disabled = user.disabled if patch.disabled is None else patch.disabled
        if set(session.scalars(admins)) == {user.id} and (disabled or role != Role.ADMIN):
            raise LastAdminError(user.name)
        told: dict[str, Any] = {"user": user.name, "by": by.title}
        if role != user.role:
            events.record(session, "user_role_changed", subject_id=user.id, role=role, was=user.role, **told)
        if disabled != user.disabled:
            events.record(session, "user_disabled" if disabled else "user_enabled", subject_id=user.id, **told)
        if password_hash is not None:
            events.record(session, "password_changed", subject_id=user.id, **told)
        columns = {"role": role, "disabled": disabled, "password_hash": password_hash or user.password_hash}
        changed(session, update(User).where(User.id == user.id).values(**columns))
        if disabled or password_hash is not None:
            end_sessions(session, user.id)
        return user.id


def change_own_password(db: Database, by: Identity, present: str, new: str) -> None:
    """Give oneself a new password, which ends every session, this one too.

    Raises:
        WrongLoginError: the present password is another.
        RateLimitedError: it was tried too often.
        InvalidRequestError: the new one breaks its rules.
    """
    rate_limits.spend(db, "password changes", str(by.user_id), rate_limits.LOGINS_PER_NAME)
    with db.read() as session:
        user = find(session, str(by.user_id))
    if not passwords.is_right(present, user.password_hash):
        raise WrongLoginError
    password_hash = passwords.hash_new(new, name=user.name, field="new_password")
    with db.write() as session:
        unchanged = update(User).where(User.id == user.id, User.password_hash == user.password_hash)
        if not changed(session, unchanged.values(password_hash=password_hash)):
            raise WrongLoginError
        end_sessions(session, user.id)
        events.record(session, "password_changed", subject_id=user.id, user=user.name, by=user.name)


def end_sessions(session: Session, user_id: str) -> None:
    """Log a user out everywhere."""
    changed(session, delete(UserSession).where(UserSession.user_id == user_id))


def find(session: Session, key: str) -> User:
    """The user with this id or name.

    Raises:
        NotFoundError: there is none.
    """
    statement = select(User).where(or_(User.id == key, User.name == key)).execution_options(populate_existing=True)
    user = session.scalars(statement).first()
    if user is None:
        raise NotFoundError("user", key, session.scalars(select(User.name)))
    return user
