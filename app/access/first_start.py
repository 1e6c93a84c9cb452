"""What the web process tells its operator when nobody can log in yet."""

from __future__ import annotations

from app.runtime import Runtime
from app.services.access import setup_links


def notice(runtime: Runtime) -> str | None:
    """A set-up link to print, where people log in and there is nobody; None otherwise."""
    if runtime.settings.auth == "local":
        return None
    secret = setup_links.make(runtime.db)
    if secret is None:
        return None
    link = f"{runtime.settings.public_url}/setup/{secret}"
    return f"Nobody can log in yet. Open this link, good once and for a day, to become the administrator:\n  {link}"
