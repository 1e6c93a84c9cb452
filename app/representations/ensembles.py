"""Saved ensembles: requests and documents."""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

from pydantic import ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from app.representations.base import Document, Request
from app.representations.requests import Name, Notes

ModeName = Literal["dense", "crops", "both"]
RuleName = Literal["mean", "geometric", "vote"]
MethodName = Literal["exhaustive", "greedy", "weights"]
GuardName = Literal["split", "crossfit", "none"]
OverName = Literal["views", "modes", "checkpoints"]
MetricName = Literal["top1_error", "top5_error", "nll"]


class SearchRequest(Request):
    """How to search an ensemble among what an evaluation has predicted.

    Units are its views, its (checkpoint, mode) pairs or its checkpoints (`over`). `metric` is made small, on the images
    that the guard lets choose. `within` is the margin, in the unit of the metric, of the cheapest that is good enough,
    and `cost` what is called cheap.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"method": "exhaustive", "over": "checkpoints"}]})

    method: MethodName = "exhaustive"
    guard: GuardName = "split"
    over: OverName = "checkpoints"
    metric: MetricName = "top1_error"
    rule: Literal["mean", "geometric"] = "mean"
    cost: Literal["gmacs", "seconds"] = "gmacs"
    within: float = Field(default=0.002, ge=0, le=100)


class SavedSearchRequest(SearchRequest):
    """A search whose chosen ensemble is saved; the same question has the same answer."""

    evaluation: Name


class EnsembleMemberRequest(Request):
    """A checkpoint of an ensemble; scales and mode are the protocol's where they are not given."""

    checkpoint: Name
    scales: list[int] | None = Field(default=None, min_length=1, max_length=64)
    mode: ModeName | None = None
    weight: float = 1.0
    protocol: str | dict[str, Any] | None = None


class EnsembleRequest(Request):
    """Save an ensemble by its members, or the one that a search chooses.

    `chosen_on` names the evaluation whose images its members or weights were chosen on; null says that they were fixed
    beforehand.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "d-and-e",
                    "members": [
                        {"checkpoint": "digits-d-jitter", "scales": [32, 48, 64], "mode": "dense", "weight": 2.0},
                        {"checkpoint": "digits-e-jitter", "scales": [48], "mode": "crops"},
                    ],
                }
            ]
        }
    )

    name: Name
    members: list[EnsembleMemberRequest] = Field(default_factory=list, min_length=1, max_length=64)
    search: SavedSearchRequest | None = None
    protocol: str | dict[str, Any] = "vgg-multi-scale-dense"
    rule: RuleName = "mean"
    temperature: float | None = None
    notes: Notes = ""
    chosen_on: Name | None = None

    @model_serializer(mode="wrap")
    def _written(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """With a search, without what it decides itself."""
        decided = ("members", "protocol", "rule", "chosen_on") if self.search is not None else ("search",)
        return {name: value for name, value in write(self).items() if name not in decided}


class EnsembleChange(Request):
    """Edit what people write about an ensemble; what it computes never changes."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"notes": "for the paper"}]})

    name: Name | None = None
    notes: Notes | None = None


class EnsembleMemberDocument(Document):
    """A checkpoint of an ensemble under a protocol."""

    checkpoint: str
    scales: list[int]
    mode: ModeName | Literal["imported"]
    weight: float
    protocol: dict[str, Any]


class ChoiceDocument(Document):
    """On which images an ensemble was chosen, and how.

    `method` is a search's, or `hand`; then nobody knows how many candidates were tried. `n_select` images chose, and
    the search reported on `n_report`.
    """

    evaluation: str
    dataset: str
    dataset_fingerprint: str
    method: Literal["exhaustive", "greedy", "weights", "hand"]
    metric: MetricName | None
    over: OverName | None
    selection: GuardName
    candidates_tried: int | None
    n_select: int
    n_report: int


class EnsembleDocument(Document):
    """One saved ensemble; `chosen` is null where it was fixed beforehand."""

    id: str
    name: str
    notes: str
    rule: RuleName
    temperature: float | None
    members: list[EnsembleMemberDocument]
    chosen: ChoiceDocument | None
    created_at: dt.datetime
    links: dict[str, str]


class EvaluatedEnsembleDocument(Document):
    """The saved ensemble that an evaluation is of, as it was then.

    `selection_biased`: images of the same data set chose it, so its errors are too good on average.
    """

    id: str
    name: str
    chosen: ChoiceDocument | None
    selection_biased: bool
