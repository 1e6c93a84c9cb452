"""Frozen, validated, hashed descriptions of how one posterior per image is made at one test scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Literal, get_args

from ensembles.canonical import digest
from ensembles.crops import CropGrid
from ensembles.errors import Problem, SpecError
from ensembles.scales import MAX_SIDE, LongSide, PoolRounding

#: Part of every prediction set's key. Raise it when the same ViewSpec would give other numbers.
ENGINE_VERSION = 1

Mode = Literal["dense", "crops", "imported"]
ScorePooling = Literal["logits", "probs", "probs_max"]
Resize = Literal["bilinear", "bicubic", "nearest"]
Decoder = Literal["pillow", "torchcodec"]
Exif = Literal["ignore", "transpose"]
Dtype = Literal["float32", "bfloat16", "float16"]
ChannelOrder = Literal["rgb", "bgr"]

_CHOICES: dict[str, tuple[str, ...]] = {
    "mode": get_args(Mode),
    "score_pooling": get_args(ScorePooling),
    "resize": get_args(Resize),
    "long_side": get_args(LongSide),
    "pool_rounding": get_args(PoolRounding),
    "decoder": get_args(Decoder),
    "exif": get_args(Exif),
    "dtype": get_args(Dtype),
}


def is_whole_number(value: object) -> bool:
    """True for an int that is not a bool: JSON's `true` is no scale."""
    return isinstance(value, int) and not isinstance(value, bool)


def choice_problems(values: Mapping[str, object]) -> list[Problem]:
    """A problem for each field of `values` that has a fixed list of choices and another value."""
    return [
        Problem(name, f"one of {', '.join(_CHOICES[name])}", value)
        for name, value in values.items()
        if name in _CHOICES and value not in _CHOICES[name]
    ]


def crop_grid_problems(value: object) -> list[Problem]:
    """The rule for `crop_grid`, shared by views and protocols."""
    whole = isinstance(value, int) and not isinstance(value, bool) and 2 <= value <= 9
    return (
        []
        if whole or value in ("center", "ten")
        else [Problem("crop_grid", '"center", "ten" or a grid size from 2 to 9', value)]
    )


@dataclass(frozen=True)
class ViewSpec:
    """How one posterior per image is made at one test scale. Immutable; `digest` is its identity.

    Fields that cannot change the posterior are left out of the digest (`score_pooling` of crops, `crop_grid` of a
    dense view, `antialias` of nearest-neighbour resizing), so that equal work has equal names.

    Attributes:
        mode: "dense" (fully-convolutional on the whole image), "crops", or "imported": the posteriors came from
            elsewhere, and nothing is known of how they were made.
        scale: test scale Q, smaller image side in px; 0 for what was imported.
        hflip: also the horizontally flipped image; the posteriors of both are averaged.
        resize: interpolation of the isotropic rescaling.
        antialias: low-pass filtering when shrinking; Pillow's resize. Without it, torch's plain interpolation.
        long_side: rounding of the longer side.
        pool_rounding: of 2x2/2 max pooling in dense mode; Caffe rounds up.
        score_pooling: dense: mean of the class score map then softmax ("logits"), softmax per position then mean
            ("probs") or then maximum, renormalised ("probs_max").
        crop_grid: crops: n for n x n, "center", or "ten".
        decoder: which JPEG decoder.
        exif: whether the EXIF orientation is applied; the paper's software ignored it.
        dtype: arithmetic of the network; posteriors are float32 whatever it is.
        max_pixels: an image whose resized copy would have more is unreadable by rule.
    """

    mode: Mode
    scale: int
    hflip: bool = True
    resize: Resize = "bilinear"
    antialias: bool = True
    long_side: LongSide = "trunc"
    pool_rounding: PoolRounding = "floor"
    score_pooling: ScorePooling = "logits"
    crop_grid: CropGrid = 5
    decoder: Decoder = "pillow"
    exif: Exif = "ignore"
    dtype: Dtype = "float32"
    max_pixels: int = 16_000_000

    def __post_init__(self) -> None:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        problems = choice_problems(values) + crop_grid_problems(self.crop_grid)
        problems += [
            Problem(name, "true or false", values[name])
            for name in ("hflip", "antialias")
            if not isinstance(values[name], bool)
        ]
        low, high = (0, 0) if self.mode == "imported" else (1, MAX_SIDE)
        if not is_whole_number(self.scale) or not low <= self.scale <= high:
            problems.append(Problem("scale", f"a whole number of px from {low} to {high}", self.scale))
        if not is_whole_number(self.max_pixels) or self.max_pixels < 1:
            problems.append(Problem("max_pixels", "a whole number of at least 1", self.max_pixels))
        if problems:
            raise SpecError(problems)

    def to_dict(self) -> dict[str, Any]:
        """What enters the digest: every field that can change the posterior, and no other."""
        if self.mode == "imported":
            return {"mode": self.mode, "scale": self.scale}
        irrelevant = {"crop_grid"} if self.mode == "dense" else {"score_pooling", "pool_rounding"}
        if self.resize == "nearest":
            irrelevant |= {"antialias"}
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name not in irrelevant}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ViewSpec:
        """The inverse of `to_dict`."""
        return cls(**data)

    @cached_property
    def digest(self) -> str:
        """64 hex digits."""
        return digest(self.to_dict())

    @property
    def crops_per_image(self) -> int:
        """Forward passes of one crop each that one image costs; 0 in any other mode."""
        if self.mode != "crops":
            return 0
        places = {"center": 1, "ten": 5}[self.crop_grid] if isinstance(self.crop_grid, str) else self.crop_grid**2
        return places * (2 if self.hflip else 1)


#: The one view of a member whose posteriors were imported.
IMPORTED_VIEW = ViewSpec("imported", 0)


@dataclass(frozen=True)
class Preprocessing:
    """What a checkpoint expects of pixel values; it travels with the weights.

    Pixels come as RGB in 0..255, are put in `channel_order`, divided by 255 where `value_range` is 1, then
    `(value - mean) / std` a channel, in that order of channels.
    """

    channel_order: ChannelOrder = "rgb"
    value_range: Literal[1, 255] = 1
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        problems = []
        if self.channel_order not in ("rgb", "bgr"):
            problems.append(Problem("preprocessing.channel_order", "one of rgb, bgr", self.channel_order))
        if self.value_range not in (1, 255):
            problems.append(Problem("preprocessing.value_range", "1 or 255", self.value_range))
        for name in ("mean", "std"):
            values = getattr(self, name)
            if len(values) != 3 or not all(isinstance(v, int | float) for v in values):
                problems.append(Problem(f"preprocessing.{name}", "three numbers, one a channel", values))
            elif name == "std" and min(values) <= 0:
                problems.append(Problem("preprocessing.std", "above 0", values))
        if problems:
            raise SpecError(problems)

    def to_dict(self) -> dict[str, Any]:
        """JSON form; also what enters the checkpoint's identity."""
        return {
            "channel_order": self.channel_order,
            "value_range": self.value_range,
            "mean": list(self.mean),
            "std": list(self.std),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Preprocessing:
        """The inverse of `to_dict`."""
        return cls(data["channel_order"], data["value_range"], tuple(data["mean"]), tuple(data["std"]))


#: "vgg-mean" is the paper's rule, "subtract the mean RGB value" in 0..255; "caffe-vgg" the same in the released BGR.
#: "inception" is what torchvision's `transform_input` makes of the first for GoogLeNet and Inception, in one step.
PREPROCESSING_PRESETS: dict[str, Preprocessing] = {
    "torchvision": Preprocessing(),
    "inception": Preprocessing("rgb", 1, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "vgg-mean": Preprocessing("rgb", 255, (123.68, 116.779, 103.939), (1.0, 1.0, 1.0)),
    "caffe-vgg": Preprocessing("bgr", 255, (103.939, 116.779, 123.68), (1.0, 1.0, 1.0)),
}
