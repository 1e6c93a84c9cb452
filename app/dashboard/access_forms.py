"""Forms of people, passwords and tokens. What is typed into a password field is never sent back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from app.dashboard.forms import Form
from app.representations.access import DEFAULT_TOKEN_DAYS, TokenRequest, UserPatch, UserRequest

_NAME_RULE = "small letters, digits, dots, hyphens, underscores or @, at most 64, beginning with a letter or digit"


class LoginForm(Form):
    """Name and password."""

    labels: ClassVar[Mapping[str, str]] = {"name": "Name", "password": "Password"}

    def complete(self) -> bool:
        """Whether both are there."""
        return self.require(name="your name is needed", password="your password is needed")  # noqa: S106 - a message


class NewPasswordForm(Form):
    """A password that somebody chooses, typed twice."""

    labels: ClassVar[Mapping[str, str]] = {
        "password": "Present password",
        "new_password": "New password",
        "again": "New password once more",
    }

    def complete(self, *, asks_present: bool) -> bool:
        """Whether everything is there, and the new password twice the same."""
        needed = {"new_password": "a new password is needed"}
        if asks_present:
            needed = {"password": "your present password is needed", **needed}
        return self.require(**needed) and agrees(self, "new_password")


class UserForm(Form):
    """A new user; without a role, the first administrator's own."""

    labels: ClassVar[Mapping[str, str]] = {
        "name": "Name",
        "role": "Role",
        "password": "Password",
        "again": "Password once more",
    }

    def request(self, role: str | None = None) -> UserRequest | None:
        """What was asked for; None, with problems, where something is missing or wrong."""
        if not self.require(name="a name is needed", password="a password is needed"):  # noqa: S106 - a message
            return None
        if not agrees(self, "password"):
            return None
        body = {"name": self["name"].strip(), "role": role or self["role"] or "viewer", "password": self["password"]}
        return self.read(UserRequest, body)

    def add(self, name: str, text: str) -> None:
        """Say the rule of names in words rather than as a pattern."""
        super().add(name, _NAME_RULE if name == "name" and "pattern" in text else text)


class UserChangeForm(Form):
    """What an admin changes about somebody: one of the fields at a time."""

    labels: ClassVar[Mapping[str, str]] = {
        "role": "Role",
        "disabled": "Access",
        "password": "New password",
        "again": "New password once more",
    }

    def request(self) -> UserPatch | None:
        """What was asked for; None, with problems, where something is wrong."""
        if "password" in self.values:
            if not self.require(password="a new password is needed") or not agrees(self, "password"):  # noqa: S106 - a message
                return None
            return self.read(UserPatch, {"password": self["password"]})
        if "disabled" in self.values:
            return self.read(UserPatch, {"disabled": self["disabled"] == "yes"})
        return self.read(UserPatch, {"role": self["role"]})


class TokenForm(Form):
    """A new token."""

    labels: ClassVar[Mapping[str, str]] = {
        "name": "Name",
        "scopes": "May",
        "expires_in_days": "Valid for",
        "user": "Owner",
    }

    def request(self) -> TokenRequest | None:
        """What was asked for; None, with problems, where something is missing or wrong."""
        if not self.require(name="a name is needed"):
            return None
        scopes = self.values.getlist("scopes")
        if not scopes:
            self.add("scopes", "choose at least one")
            return None
        days = self["expires_in_days"] or str(DEFAULT_TOKEN_DAYS)
        body: dict[str, object] = {
            "name": self["name"].strip(),
            "scopes": scopes,
            "expires_in_days": int(days) if days.isascii() and days.isdecimal() and len(days) < 6 else days,
            "user": self["user"] or None,
        }
        return self.read(TokenRequest, body)


def agrees(form: Form, name: str) -> bool:
    """Whether a password was typed the same twice; a problem beside the second where not."""
    if form[name] == form["again"]:
        return True
    form.add("again", "this is not the password that stands above")
    return False
