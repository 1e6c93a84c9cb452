"""Predictions that came from elsewhere."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from app.representations.base import Request
from app.representations.requests import HostPath, Name, Notes


class PredictionsRequest(Request):
    """Make a member of evaluations from a file of posteriors or logits of a data set's images.

    `kind` says what the values are; only an .npz archive says it itself. `ids` is the file with the ids of an .npy
    array, one a line. `member` chooses one checkpoint of an archive with several. With `partial`, images that the file
    lacks count as unreadable.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"path": "predictions/vit.npz", "name": "vit-b16", "dataset": "imagenet-val", "kind": "logits"}
            ]
        }
    )

    path: HostPath
    name: Name
    dataset: Name
    kind: Literal["probs", "logits"] | None = None
    ids: HostPath | None = None
    member: Name | None = None
    partial: bool = False
    tags: list[Name] = Field(default=[])
    notes: Notes = ""
