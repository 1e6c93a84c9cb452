"""What is evaluated: checkpoints and data sets."""

from __future__ import annotations

import datetime as dt
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base, Id, one_of, utc_now


class RegistrationState(StrEnum):
    """Of a checkpoint or data set: a worker opens the files, so a new row is not ready at once."""

    REGISTERING = "registering"
    READY = "ready"
    FAILED = "failed"


class Checkpoint(Base):
    """Weights by sha256, with the architecture, preprocessing and training scale that go with them."""

    __tablename__ = "checkpoints"
    __table_args__ = (one_of("state", RegistrationState), Index(None, "fingerprint"))

    id: Mapped[Id]
    name: Mapped[str] = mapped_column(String(200), unique=True)
    state: Mapped[str] = mapped_column(String(16), default=RegistrationState.REGISTERING)
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None]
    source: Mapped[str]
    path: Mapped[str | None]
    sha256: Mapped[str | None] = mapped_column(String(64))
    # Digest of sha256, architecture and preprocessing: what posteriors depend on. The training scale only chooses Q.
    fingerprint: Mapped[str | None] = mapped_column(String(64))
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    architecture: Mapped[dict[str, Any] | None]
    architecture_name: Mapped[str | None] = mapped_column(String(64))
    classes: Mapped[int | None]
    parameters: Mapped[int | None] = mapped_column(BigInteger)
    macs: Mapped[float | None]
    training_scale_min: Mapped[int | None]
    training_scale_max: Mapped[int | None]
    preprocessing: Mapped[dict[str, Any] | None]
    class_names: Mapped[list[str] | None]
    tags: Mapped[list[str]] = mapped_column(default=list)
    notes: Mapped[str] = mapped_column(default="")
    created_at: Mapped[dt.datetime] = mapped_column(default=utc_now)


class Dataset(Base):
    """Labelled images below a folder, fingerprinted; the index of ids, labels and hashes is an artifact."""

    __tablename__ = "datasets"
    __table_args__ = (one_of("state", RegistrationState), Index(None, "fingerprint"))

    id: Mapped[Id]
    name: Mapped[str] = mapped_column(String(200), unique=True)
    state: Mapped[str] = mapped_column(String(16), default=RegistrationState.REGISTERING)
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None]
    # What was asked for: a folder, or a manifest.
    source: Mapped[str]
    # The folder that the images' paths lie under, where it is not `source`.
    root: Mapped[str | None]
    # Where labels are read from, unless they are the names of folders: a manifest, or the folder of ImageNet's devkit.
    label_source: Mapped[str | None]
    format: Mapped[str | None] = mapped_column(String(32))
    images: Mapped[int | None]
    classes: Mapped[list[str] | None]
    fingerprint: Mapped[str | None] = mapped_column(String(64))
    index_key: Mapped[str | None]
    index_sha256: Mapped[str | None] = mapped_column(String(64))
    # (width, height) of the first images in canonical order, a fair sample from which costs are estimated.
    sample_sizes: Mapped[list[Any] | None]
    created_at: Mapped[dt.datetime] = mapped_column(default=utc_now)
