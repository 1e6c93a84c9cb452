"""A service where people log in, with somebody of every role, for tests of who may do what."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient
from sqlalchemy import delete, update

from app.access.gate import LOGIN
from app.config import Settings
from app.db.models import ApiToken, RateWindow
from app.factory import create_app
from app.representations.access import RoleName, ScopeName, TokenRequest, UserPatch, UserRequest
from app.runtime import Runtime, build_runtime
from app.services.access import logins, tokens, users
from app.services.access.identities import LOCAL

PASSWORD = "correct horse battery"
HOST = "softvote.example"


def make_guarded_runtime(home: Path, **environment: str) -> Runtime:
    """An empty service that asks people to log in."""
    settings = {"SOFTVOTE_HOME": str(home), "SOFTVOTE_AUTH": "users", "SOFTVOTE_PUBLIC_URL": f"http://{HOST}"}
    return build_runtime(Settings.from_environment({**settings, **environment}), migrate=True)


@dataclass(frozen=True)
class People:
    """Makes people and their credentials, by the service's own functions."""

    runtime: Runtime

    def add(self, name: str, role: RoleName) -> str:
        """A user whose password is PASSWORD."""
        return users.create(self.runtime.db, UserRequest(name=name, role=role, password=PASSWORD), LOCAL)

    def change(self, name: str, **fields: Any) -> None:
        """As an admin would."""
        users.change(self.runtime.db, name, UserPatch(**fields), LOCAL)

    def token(self, name: str, *scopes: ScopeName) -> str:
        """A token of a user's, as text."""
        request = TokenRequest(name="test", scopes=list(scopes), user=name)
        return tokens.create(self.runtime.db, request, LOCAL)[1]

    def log_in(self, name: str) -> str:
        """The secret of a new session."""
        self.forget_rates()
        return logins.log_in(self.runtime.db, name, PASSWORD, "192.0.2.1")

    def set_token(self, text: str, **columns: Any) -> None:
        """Change a token's row, as time would."""
        with self.runtime.db.write() as session:
            session.execute(update(ApiToken).where(ApiToken.id == text[3:11]).values(**columns))

    def forget_rates(self) -> None:
        """Let a minute pass."""
        with self.runtime.db.write() as session:
            session.execute(delete(RateWindow))

    def client(self) -> FlaskClient:
        """Somebody without any credential."""
        client = create_app(self.runtime).test_client()
        client.environ_base["HTTP_ACCEPT"] = "text/html,application/json"
        return client

    def browser(self, name: str) -> FlaskClient:
        """A browser in which this user is logged in."""
        client, secret = self.client(), self.log_in(name)
        with client.session_transaction() as session:
            session[LOGIN] = secret
        return client

    def program(self, token: str) -> FlaskClient:
        """A program that shows this token."""
        client = self.client()
        client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
        return client


def form_token(client: FlaskClient, page: str) -> str:
    """The form token that a page holds."""
    found = re.search(r'name="csrf_token" value="([^"]+)"', client.get(page).get_data(as_text=True))
    assert found, f"{page} has no form token"
    return found[1]
