"""What repeated requests are known by."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base, utc_now


class IdempotencyKey(Base):
    """An Idempotency-Key that came with a request, and what that request made. Evaluations keep their own."""

    __tablename__ = "idempotency_keys"

    # Digest of what kind of thing was asked for, and of the key.
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    request_digest: Mapped[str] = mapped_column(String(64))
    resource_id: Mapped[str] = mapped_column(String(24), index=True)
    created_at: Mapped[dt.datetime] = mapped_column(default=utc_now)
