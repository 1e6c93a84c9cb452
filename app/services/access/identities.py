"""Who asks, as far as the service knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from app.representations.access import Role, Scope


@dataclass(frozen=True)
class Identity:
    """Whoever sends a request.

    Attributes:
        kind: "local" is anybody at this machine where nobody logs in.
        scopes: what this one may do now.
        user_id: of the person, or of the token's owner.
        name: that person's.
        role: that person's.
        credential_id: of the session or token that was shown.
    """

    kind: Literal["anonymous", "local", "user", "token"]
    scopes: frozenset[Scope] = frozenset()
    user_id: str | None = None
    name: str | None = None
    role: Role | None = None
    credential_id: str | None = None

    @property
    def title(self) -> str:
        """How the history calls this one."""
        return self.name or "somebody at this machine"


ANONYMOUS = Identity("anonymous")
LOCAL = Identity("local", frozenset(Scope))
