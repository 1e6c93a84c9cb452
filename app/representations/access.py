"""Who may do what: scopes and roles, by the names that REST, the command line, pages and tables use."""

from __future__ import annotations

from enum import StrEnum


class Scope(StrEnum):
    """What a request may do. None implies another: a token that only starts work need not read."""

    READ = "read"
    RUN = "run"
    ADMIN = "admin"


class Role(StrEnum):
    """Of a person."""

    VIEWER = "viewer"
    RUNNER = "runner"
    ADMIN = "admin"

    @property
    def scopes(self) -> frozenset[Scope]:
        """What people of this role may do."""
        return SCOPES_OF[self]


SCOPES_OF = {
    Role.VIEWER: frozenset({Scope.READ}),
    Role.RUNNER: frozenset({Scope.READ, Scope.RUN}),
    Role.ADMIN: frozenset(Scope),
}
