"""What health checks are answered with."""

from __future__ import annotations

from typing import Literal

from app.representations.base import Document


class HealthDocument(Document):
    """A process that answers is `ok`; one that can serve requests is `ready`."""

    status: Literal["ok", "ready"]
