"""What people and programs may ask for."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from app.representations.base import Request

Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]

#: PostgreSQL stores every character but this one.
NO_NUL = r"^[^\x00]*$"
Notes = Annotated[str, Field(max_length=10_000, pattern=NO_NUL)]
HostPath = Annotated[str, Field(min_length=1, max_length=4096, pattern=NO_NUL)]


def without_none(written: dict[str, Any], *names: str) -> dict[str, Any]:
    """A written document without the fields among `names` that are null."""
    return {name: value for name, value in written.items() if value is not None or name not in names}


class FusionRequest(Request):
    """How members become one; `weights` one a member, in order.

    The rule is `mean`, `geometric` or `vote`; a temperature divides the logarithms of the fused posteriors.
    """

    rule: str = "mean"
    weights: list[float] | None = None
    temperature: float | None = None

    @model_serializer(mode="wrap")
    def _written(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without a temperature as before there was one: stored requests and their digests stay what they are."""
        return without_none(write(self), "temperature")


class MemberRequest(Request):
    """A checkpoint with a protocol or weight of its own."""

    checkpoint: Name
    protocol: str | dict[str, Any] | None = None
    weight: float = 1.0


class EvaluationRequest(Request):
    """Evaluate checkpoints on a data set under a protocol, and fuse them; or a saved `ensemble`, which says it all."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "dataset": "digits",
                    "checkpoints": ["digits-d-jitter", "digits-e-jitter"],
                    "protocol": "vgg-multi-scale-both",
                }
            ]
        }
    )

    dataset: Name
    checkpoints: list[Name | MemberRequest] = Field(default_factory=list, min_length=1, max_length=64)
    ensemble: Name | None = None
    protocol: str | dict[str, Any] = "vgg-multi-scale-dense"
    fusion: FusionRequest = FusionRequest()
    limit: int | None = Field(default=None, ge=1)
    force: bool = False
    priority: int = Field(default=5, ge=0, le=9)
    unreadable: Literal["fail", "skip"] = "fail"

    @model_serializer(mode="wrap")
    def _written(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """With no ensemble as before there were any; with one, without what it says itself."""
        if self.ensemble is None:
            return without_none(write(self), "ensemble")
        return {name: value for name, value in write(self).items() if name not in ("checkpoints", "protocol", "fusion")}


class EmptyRequest(Request):
    """Nothing more to say than the address does: an empty object. An empty body of that type is read as one."""

    model_config = ConfigDict(json_schema_extra={"examples": [{}]})

    @model_validator(mode="before")
    @classmethod
    def _read_nothing(cls, value: Any) -> Any:
        return {} if value is None else value


class CancelRequest(Request):
    """Which evaluations to cancel: those of `ids` that have not ended, or with null all that have not."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"ids": None}]})

    ids: list[Name] | None = Field(max_length=10_000)


class CheckpointRequest(Request):
    """Register a weights file. What the file itself tells (configuration, width, number of classes…) need not be said.

    `architecture` is a check on what is recognised, and decides between A and A-LRN. `crop` is for networks whose
    tensors do not tell it. `classes` names the outputs in order. `weights` says which of torchvision's published
    weights the file has, such as resnet50/IMAGENET1K_V2: preprocessing, crop, resize and class names are then
    torchvision's.
    """

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"path": "vgg16.safetensors", "name": "vgg16", "training_scale": "256-512"}]}
    )

    path: HostPath
    name: Name
    training_scale: str | int | list[int] | None = None
    preprocessing: str | dict[str, Any] | None = None
    architecture: Name | None = None
    crop: int | None = Field(default=None, ge=1, le=4096)
    classes: list[Name] | None = Field(default=None, min_length=1, max_length=100_000)
    weights: Name | None = None
    tags: list[Name] = Field(default=[])
    notes: Notes = ""


class CheckpointChange(Request):
    """Edit what people write about a checkpoint; what it computes never changes."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"notes": "second run"}]})

    name: Name | None = None
    notes: Notes | None = None
    tags: list[Name] | None = None


class DatasetRequest(Request):
    """Register a folder of class folders, a CSV manifest, or ImageNet's validation set as it is downloaded.

    The format follows from the path where none is given. `devkit` is for ImageNet alone: the folder of its labels,
    where it lies neither in the images' folder nor beside it.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"path": "imagenet/val", "name": "imagenet-val"}]})

    path: HostPath
    name: Name
    format: Literal["image_folder", "manifest", "imagenet_val"] | None = None
    devkit: HostPath | None = None
