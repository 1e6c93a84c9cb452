"""What people and programs may ask for."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from app.representations.base import Request

Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


class FusionRequest(Request):
    """How members become one; `weights` one a member, in order."""

    rule: str = "mean"
    weights: list[float] | None = None


class MemberRequest(Request):
    """A checkpoint with a protocol or weight of its own."""

    checkpoint: Name
    protocol: str | dict[str, Any] | None = None
    weight: float = 1.0


class EvaluationRequest(Request):
    """Evaluate checkpoints on a data set under a protocol, and fuse them."""

    dataset: Name
    checkpoints: list[Name | MemberRequest] = Field(min_length=1, max_length=64)
    protocol: str | dict[str, Any] = "vgg-multi-scale-dense"
    fusion: FusionRequest = FusionRequest()
    limit: int | None = Field(default=None, ge=1)
    force: bool = False
    priority: int = Field(default=5, ge=0, le=9)
    unreadable: Literal["fail", "skip"] = "fail"


class CheckpointRequest(Request):
    """Register a weights file. What the file itself tells (configuration, width, classes…) need not be said."""

    path: str = Field(min_length=1, max_length=4096)
    name: Name
    training_scale: str | int | list[int] | None = None
    preprocessing: str | dict[str, Any] | None = None
    tags: list[Name] = Field(default=[])
    notes: str = Field(default="", max_length=10_000)


class CheckpointChange(Request):
    """Edit what people write about a checkpoint; what it computes never changes."""

    name: Name | None = None
    notes: str | None = Field(default=None, max_length=10_000)
    tags: list[Name] | None = None


class DatasetRequest(Request):
    """Register a folder of class folders."""

    path: str = Field(min_length=1, max_length=4096)
    name: Name
