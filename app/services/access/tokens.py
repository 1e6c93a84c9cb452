"""Credentials of programs: `sv_<id>_<secret>`. The id finds the row, the secret is compared as a hash."""

from __future__ import annotations

import datetime as dt
import hmac
import re
import secrets

from sqlalchemy import select, update

from app.db.clock import now
from app.db.models import ApiToken, User
from app.db.session import Database
from app.db.statements import changed
from app.errors import InvalidRequestError, NotFoundError, UnauthenticatedError
from app.representations.access import Role, Scope, TokenRequest
from app.services import events
from app.services.access import users
from app.services.access.identities import Identity
from app.services.access.secret_texts import hashed, new_secret
from ensembles.errors import Problem

_TEXT = re.compile(r"sv_([a-z2-7]{8})_([A-Za-z0-9_-]{43})", re.ASCII)
_ID_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
#: How exactly it is known when a token was used last; a row is written no more often.
_USE_RESOLUTION = dt.timedelta(minutes=1)


def create(db: Database, request: TokenRequest, by: Identity) -> tuple[str, str]:
    """Make a token; its id, and its text, which is kept nowhere.

    Raises:
        NotFoundError: there is no such owner.
        InvalidRequestError: no owner was named where nobody logs in, or the owner's role has not the scopes.
    """
    owner = request.user or by.user_id
    if owner is None:
        raise InvalidRequestError([Problem("user", "the owner's name, where nobody is logged in", None)])
    key, secret = "".join(secrets.choice(_ID_ALPHABET) for _ in range(8)), new_secret()
    with db.write() as session:
        user = users.find(session, owner)
        if user.id != by.user_id and Scope.ADMIN not in by.scopes:
            raise InvalidRequestError([Problem("user", "your own name, unless you are an admin", request.user)])
        allowed = sorted(Role(user.role).scopes)
        scopes = [scope.value for scope in Scope if scope in request.scopes]
        if not set(scopes) <= set(allowed):
            rule = f"some of what the owner's role allows: {', '.join(allowed)}"
            raise InvalidRequestError([Problem("scopes", rule, request.scopes)])
        at = now(session)
        session.add(
            ApiToken(
                id=key,
                user_id=user.id,
                name=request.name,
                scopes=scopes,
                secret_sha256=hashed(secret),
                created_at=at,
                expires_at=at + dt.timedelta(days=request.expires_in_days),
            )
        )
        events.record(session, "token_created", subject_id=key, user=user.name, scopes=scopes, by=by.title)
    return key, f"sv_{key}_{secret}"


def revoke(db: Database, key: str, by: Identity) -> None:
    """End a token for good; once more changes nothing. A token may end itself, a person's session that person's.

    Raises:
        NotFoundError: there is none, or it is somebody else's and who asks is no admin.
    """
    own = ApiToken.id == by.credential_id if by.kind == "token" else ApiToken.user_id == by.user_id
    with db.write() as session:
        wanted = select(ApiToken, User.name).join(User, User.id == ApiToken.user_id).where(ApiToken.id == key)
        row = session.execute(wanted if Scope.ADMIN in by.scopes else wanted.where(own)).first()
        if row is None:
            raise NotFoundError("token", key)
        ended = update(ApiToken).where(ApiToken.id == key, ApiToken.revoked_at.is_(None))
        if changed(session, ended.values(revoked_at=now(session))):
            events.record(session, "token_revoked", subject_id=key, user=row[1], by=by.title)


def authenticate(db: Database, text: str) -> Identity:
    """Who shows this token, with what its scopes and its owner's role both allow now.

    Raises:
        UnauthenticatedError: it is none, or no longer one.
    """
    unknown = UnauthenticatedError("the bearer token is not known here")
    parts = _TEXT.fullmatch(text)
    if parts is None:
        raise unknown
    with db.read() as session:
        at = now(session)
        statement = select(ApiToken, User).join(User, User.id == ApiToken.user_id).where(ApiToken.id == parts[1])
        row = session.execute(statement).first()
    if row is None:
        raise unknown
    token, owner = row
    if not hmac.compare_digest(token.secret_sha256, hashed(parts[2])):
        raise unknown
    if token.revoked_at is not None:
        raise UnauthenticatedError("the bearer token was revoked")
    if token.expires_at <= at:
        raise UnauthenticatedError("the bearer token has expired")
    if owner.disabled:
        raise UnauthenticatedError("the bearer token's owner is disabled")
    if token.last_used_at is None or at - token.last_used_at > _USE_RESOLUTION:
        with db.write() as session:
            changed(session, update(ApiToken).where(ApiToken.id == token.id).values(last_used_at=at))
    role = Role(owner.role)
    scopes = role.scopes.intersection(Scope(scope) for scope in token.scopes)
    return Identity("token", scopes, user_id=owner.id, name=owner.name, role=role, credential_id=token.id)
