"""/users."""

from __future__ import annotations

from flask import Response

from app.access.gate import caller
from app.access.rules import needs
from app.api.blueprints import PREFIX, answer, blueprint, declares, described, runtime
from app.api.schemas import KeyPath
from app.db.queries import access as queries
from app.errors import InvalidRequestError, LastAdminError, NameTakenError, NotFoundError
from app.representations.access import UserDocument, UserPatch, UserRequest
from app.representations.base import Page
from app.services.access import users as service

resource = blueprint("users", "People who log in. Only admins ask.")

CREATED = described(resource, UserDocument, "Location")


@resource.get("/users", responses=declares({200: Page[UserDocument]}))
@needs("admin")
def list_users() -> Response:
    """List everybody."""
    with runtime().db.read() as session:
        return answer(Page[UserDocument](items=queries.users(session)))


@resource.post("/users", responses=declares({201: CREATED}, InvalidRequestError, NameTakenError, unsafe=True))
@needs("admin")
def create_user(body: UserRequest) -> Response:
    """Make a user; the first one must be an admin."""
    key = service.create(runtime().db, body, caller())
    with runtime().db.read() as session:
        return answer(queries.user(session, key), 201, {"Location": f"{PREFIX}/users/{key}"})


@resource.get("/users/<key>", responses=declares({200: UserDocument}, NotFoundError))
@needs("admin")
def get_user(path: KeyPath) -> Response:
    """Show one user."""
    with runtime().db.read() as session:
        return answer(queries.user(session, service.find(session, path.key).id))


@resource.patch(
    "/users/<key>",
    responses=declares({200: UserDocument}, InvalidRequestError, NotFoundError, LastAdminError, unsafe=True),
)
@needs("admin")
def change_user(path: KeyPath, body: UserPatch) -> Response:
    """Change a user's role, disable or enable, or give a new password."""
    key = service.change(runtime().db, path.key, body, caller())
    with runtime().db.read() as session:
        return answer(queries.user(session, key))
