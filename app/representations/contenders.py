"""What the table of contenders is asked by: units, in whole weights of prediction sets."""

from __future__ import annotations

from typing import Literal

from app.representations.base import Document
from app.representations.ensembles import ModeName, OverName


class ContenderUnitDocument(Document):
    """A view, a mode or a checkpoint.

    `leaves` are whole weights of the table's members, the prediction sets: the unit is their weighted mean, and all
    units of a document have the same sum. `own_weight` is what the unit weighs in the evaluation's own fusion.
    `gmacs` and `seconds` are those of an image; seconds are null where they were not measured.
    """

    checkpoint: str
    scales: list[int]
    mode: ModeName | Literal["imported"]
    gmacs: float
    seconds: float | None
    leaves: list[int]
    own_weight: float


class ContenderUnitsDocument(Document):
    """The units of an evaluation, and the version of the table that they belong to (its ETag).

    `rules` are the fusion rules whose errors the table gives for these units; `images` is how many are scored.
    """

    evaluation: str
    over: OverName
    version: str
    images: int
    rules: list[Literal["mean", "geometric"]]
    units: list[ContenderUnitDocument]
    links: dict[str, str]
