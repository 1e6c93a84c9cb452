"""/tokens."""

from __future__ import annotations

from flask import Response

from app.access.gate import caller
from app.access.rules import needs
from app.api.blueprints import PREFIX, answer, blueprint, declares, described, runtime
from app.api.schemas import IdPath
from app.db.queries import access as queries
from app.errors import InvalidRequestError, NotFoundError
from app.representations.access import NewTokenDocument, Scope, TokenDocument, TokenRequest
from app.representations.base import Page
from app.services.access import tokens as service

resource = blueprint("tokens", "Credentials of programs.")

CREATED = described(resource, NewTokenDocument, "Location")


@resource.get("/tokens", responses=declares({200: Page[TokenDocument]}))
def list_tokens() -> Response:
    """List one's own tokens, for an admin everybody's, newest first."""
    owner = None if Scope.ADMIN in caller().scopes else caller().user_id
    with runtime().db.read() as session:
        return answer(Page[TokenDocument](items=queries.tokens(session, owner)))


@resource.post("/tokens", responses=declares({201: CREATED}, InvalidRequestError, NotFoundError, unsafe=True))
@needs("admin")
def create_token(body: TokenRequest) -> Response:
    """Make a token; the answer is the only time that its text is shown."""
    key, text = service.create(runtime().db, body, caller())
    with runtime().db.read() as session:
        made = queries.token(session, key)
    document = NewTokenDocument(token=text, **made.model_dump())
    return answer(document, 201, {"Location": f"{PREFIX}/tokens/{key}"})


@resource.get("/tokens/<id>", responses=declares({200: TokenDocument}, NotFoundError))
def get_token(path: IdPath) -> Response:
    """Show one token, without its secret."""
    with runtime().db.read() as session:
        found = queries.token(session, path.id)
    if Scope.ADMIN not in caller().scopes and found.user != caller().name:
        raise NotFoundError("token", path.id)
    return answer(found)


@resource.delete("/tokens/<id>", responses=declares({204: None}, NotFoundError, unsafe=True))
@needs("read")
def revoke_token(path: IdPath) -> Response:
    """End a token for good: the one that asks, or with the scope admin any."""
    service.revoke(runtime().db, path.id, caller())
    return Response(status=204)
