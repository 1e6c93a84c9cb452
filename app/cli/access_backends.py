"""What the command line asks about users and tokens, of a server or of the local database; mixed into the backends."""

from __future__ import annotations

from typing import Any, Protocol
from urllib.parse import quote

from app.db.queries import access as queries
from app.representations.access import TokenRequest, UserPatch, UserRequest
from app.runtime import Runtime
from app.services.access import tokens as token_service
from app.services.access import users as user_service
from app.services.access.identities import LOCAL

Json = dict[str, Any]


class AccessBackend(Protocol):
    """Questions and requests about users and tokens; every answer is the JSON that REST gives."""

    def users(self) -> list[Json]:
        """Everybody who logs in."""

    def add_user(self, request: UserRequest) -> Json:
        """Make a user."""

    def change_user(self, key: str, patch: UserPatch) -> Json:
        """Change a user's role, let in or shut out, or give a new password."""

    def tokens(self) -> list[Json]:
        """Tokens, without their secrets."""

    def create_token(self, request: TokenRequest) -> Json:
        """Make a token; the answer has its text, this once."""

    def revoke_token(self, token_id: str) -> None:
        """End a token for good."""


class LocalAccess:
    """In the local database, with the operator's rights."""

    runtime: Runtime

    def users(self) -> list[Json]:
        with self.runtime.db.read() as session:
            return [one.model_dump(mode="json") for one in queries.users(session)]

    def add_user(self, request: UserRequest) -> Json:
        return self._user(user_service.create(self.runtime.db, request, LOCAL))

    def change_user(self, key: str, patch: UserPatch) -> Json:
        return self._user(user_service.change(self.runtime.db, key, patch, LOCAL))

    def tokens(self) -> list[Json]:
        with self.runtime.db.read() as session:
            return [one.model_dump(mode="json") for one in queries.tokens(session)]

    def create_token(self, request: TokenRequest) -> Json:
        key, text = token_service.create(self.runtime.db, request, LOCAL)
        with self.runtime.db.read() as session:
            return {**queries.token(session, key).model_dump(mode="json"), "token": text}

    def revoke_token(self, token_id: str) -> None:
        token_service.revoke(self.runtime.db, token_id, LOCAL)

    def _user(self, user_id: str) -> Json:
        with self.runtime.db.read() as session:
            return queries.user(session, user_id).model_dump(mode="json")


class HttpAccess:
    """From a server's REST interface, with the rights of the token."""

    def users(self) -> list[Json]:
        found: list[Json] = self._call("GET", "/users")["items"]
        return found

    def add_user(self, request: UserRequest) -> Json:
        return self._call("POST", "/users", request)

    def change_user(self, key: str, patch: UserPatch) -> Json:
        return self._call("PATCH", f"/users/{quote(key, safe='')}", patch)

    def tokens(self) -> list[Json]:
        found: list[Json] = self._call("GET", "/tokens")["items"]
        return found

    def create_token(self, request: TokenRequest) -> Json:
        return self._call("POST", "/tokens", request)

    def revoke_token(self, token_id: str) -> None:
        self._call("DELETE", f"/tokens/{quote(token_id, safe='')}")

    def _call(self, method: str, path: str, body: Any = None, params: Any = None) -> Json:
        """The backend's."""
        raise NotImplementedError
