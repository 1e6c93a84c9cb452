"""A protocol says which views a checkpoint needs and how they combine; presets are protocols with a name."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Literal, cast

from ensembles.canonical import digest
from ensembles.crops import CropGrid
from ensembles.errors import Problem, ScaleTooSmallError, SpecError, TrainingScaleMissingError, UnknownNameError
from ensembles.recipes import Recipe
from ensembles.scales import MAX_SIDE, LongSide, PoolRounding, TrainingScale
from ensembles.specs import (
    Decoder,
    Dtype,
    Exif,
    Mode,
    Resize,
    ScorePooling,
    ViewSpec,
    choice_problems,
    crop_grid_problems,
    is_whole_number,
)

Scales = Literal["multi", "single", "recipe"] | tuple[int, ...]
FusionRule = Literal["mean", "geometric", "vote"]

#: What a protocol passes on to each of its views, unchanged and under the same name.
_VIEW_FIELDS = (
    "hflip",
    "crop_grid",
    "score_pooling",
    "resize",
    "antialias",
    "long_side",
    "pool_rounding",
    "decoder",
    "exif",
    "dtype",
)


@dataclass(frozen=True)
class Protocol:
    """Which views a checkpoint is evaluated with.

    Posteriors are averaged over the scales inside a mode, then the modes are averaged with equal weight (paper,
    table 5): a flat mean over 6 dense and 150 crop posteriors would be another protocol.

    Attributes:
        scales: "multi" or "single", derived from each checkpoint's training scale by the paper's rule, or test scales
            Q in px; "recipe" is the one test scale that a checkpoint's published weights are evaluated at.
        scale_step: px between the three scales of a checkpoint with a fixed S; the paper's 32 belongs to crop 224.
        modes: "dense", "crops" or both; "imported" alone is what members have whose posteriors came from elsewhere, and
            nobody can ask for it.
        resize: interpolation; "recipe" is that of the checkpoint's published weights.
        exclude: ids of images left out of every score (such as the 2014 blacklist); their posteriors are still kept.
        name: the preset it came from, if it still equals it; not part of the digest.
    """

    scales: Scales = "multi"
    scale_step: int = 32
    modes: tuple[Mode, ...] = ("dense",)
    hflip: bool = True
    crop_grid: CropGrid = 5
    score_pooling: ScorePooling = "logits"
    resize: Resize | Literal["recipe"] = "bilinear"
    antialias: bool = True
    long_side: LongSide = "trunc"
    pool_rounding: PoolRounding = "floor"
    decoder: Decoder = "pillow"
    exif: Exif = "ignore"
    dtype: Dtype = "float32"
    exclude: tuple[str, ...] | None = None
    name: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        if self.resize == "recipe":
            del values["resize"]
        problems = choice_problems(values) + crop_grid_problems(self.crop_grid) + self._own_problems()
        if problems:
            raise SpecError(problems)

    def _own_problems(self) -> list[Problem]:
        problems = [
            Problem(name, "true or false", getattr(self, name))
            for name in ("hflip", "antialias")
            if not isinstance(getattr(self, name), bool)
        ]
        if not isinstance(self.scales, tuple):
            if self.scales not in ("multi", "single", "recipe"):
                rule = '"multi", "single", "recipe" or a list of test scales in px'
                problems.append(Problem("scales", rule, self.scales))
        elif not self.scales or not all(is_whole_number(q) and 1 <= q <= MAX_SIDE for q in self.scales):
            problems.append(
                Problem("scales", f"one or more whole numbers of px from 1 to {MAX_SIDE}", list(self.scales))
            )
        elif len(set(self.scales)) != len(self.scales):
            problems.append(Problem("scales", "each test scale once", list(self.scales)))
        if not is_whole_number(self.scale_step) or not 1 <= self.scale_step <= MAX_SIDE:
            problems.append(Problem("scale_step", f"a whole number of px from 1 to {MAX_SIDE}", self.scale_step))
        if self.modes not in (("dense",), ("crops",), ("dense", "crops"), ("imported",)):
            problems.append(Problem("modes", '["dense"], ["crops"] or ["dense", "crops"]', _list_of(self.modes)))
        if self.exclude is not None and not (
            isinstance(self.exclude, tuple) and all(isinstance(i, str) for i in self.exclude)
        ):
            problems.append(Problem("exclude", "null or a list of image ids", _list_of(self.exclude)))
        return problems

    @classmethod
    def parse(cls, value: str | Mapping[str, Any]) -> Protocol:
        """Read a preset's name, or an object of protocol fields, optionally on top of `"preset": name`.

        Raises:
            SpecError: neither name nor object, or fields that are unknown or break a rule; all are listed.
            UnknownNameError: no such preset.
        """
        if isinstance(value, str):
            if value not in PRESETS:
                raise UnknownNameError("protocol", value, PRESETS)
            return PRESETS[value]
        if not isinstance(value, Mapping):
            raise SpecError([Problem("protocol", "the name of a preset, or an object of protocol fields", value)])
        given = {**value}
        base = cls.parse(_preset_name(given.pop("preset"))) if given.get("preset") is not None else cls()
        given.pop("preset", None)
        known = {f.name for f in fields(cls)} - {"name"}
        unknown = [
            Problem(name, f"a protocol has the fields {', '.join(sorted(known))}", given[name], "unknown_field")
            for name in given
            if name not in known
        ]
        changes = {name: _tuple_of(item) for name, item in given.items() if name in known}
        # JSON order of the two modes carries no meaning.
        if changes.get("modes") == ("crops", "dense"):
            changes["modes"] = ("dense", "crops")
        try:
            parsed = replace(base, **changes, name=None)
        except SpecError as error:
            raise SpecError([*unknown, *error.problems]) from None
        if unknown:
            raise SpecError(unknown)
        return replace(parsed, name=next((name for name, preset in PRESETS.items() if preset == parsed), None))

    def to_dict(self) -> dict[str, Any]:
        """JSON form of every field that means something, but not the name; also what enters the digest."""
        if self.modes == ("imported",):
            return {"modes": ["imported"], "exclude": _list_of(self.exclude)}
        return {f.name: _list_of(getattr(self, f.name)) for f in fields(self) if f.name != "name"}

    @cached_property
    def digest(self) -> str:
        """64 hex digits."""
        return digest(self.to_dict())

    def test_scales(
        self, training_scale: TrainingScale | None, subject: str = "the checkpoint", recipe: Recipe | None = None
    ) -> tuple[int, ...]:
        """The Q of a checkpoint trained at `training_scale`, px, ascending.

        Raises:
            TrainingScaleMissingError: the paper's rule needs S and there is none.
        """
        if isinstance(self.scales, tuple):
            return tuple(sorted(self.scales))
        if self.scales == "recipe":
            return ((recipe or Recipe()).resize,)
        if training_scale is None:
            raise TrainingScaleMissingError(subject)
        return (
            (training_scale.single_scale(),) if self.scales == "single" else training_scale.multi_scale(self.scale_step)
        )

    def views(
        self,
        training_scale: TrainingScale | None,
        crop: int,
        subject: str = "the checkpoint",
        recipe: Recipe | None = None,
    ) -> tuple[ViewSpec, ...]:
        """The views of one checkpoint, mode by mode, scales ascending.

        Args:
            training_scale: the checkpoint's S; needed unless the scales are listed.
            crop: the checkpoint's crop, px.
            subject: the checkpoint's name, for messages.
            recipe: of the checkpoint's published weights; by default torchvision's VGG's.

        Raises:
            ScaleTooSmallError: some Q is smaller than the crop.
            TrainingScaleMissingError: S is needed and unknown.
        """
        scales = self.test_scales(training_scale, subject, recipe)
        if scales[0] < crop:
            raise ScaleTooSmallError(scales[0], crop, subject)
        shared = {name: getattr(self, name) for name in _VIEW_FIELDS}
        if self.resize == "recipe":
            shared["resize"] = (recipe or Recipe()).interpolation
        return tuple(ViewSpec(mode=mode, scale=scale, **shared) for mode in self.modes for scale in scales)


@dataclass(frozen=True)
class FusionSpec:
    """How members' posteriors become one.

    Attributes:
        rule: "mean", "geometric" (normalised geometric mean) or "vote" (shares of votes for the likeliest class).
        weights: one a member, in order; None means equal.
        temperature: the logarithms of the fused posteriors are divided by it; None means 1. It changes no error.
    """

    rule: FusionRule = "mean"
    weights: tuple[float, ...] | None = None
    temperature: float | None = None

    def __post_init__(self) -> None:
        problems = []
        if self.rule not in FUSION_RULES:
            problems.append(Problem("fusion.rule", f"one of {', '.join(FUSION_RULES)}", self.rule))
        if self.weights is not None and not (
            isinstance(self.weights, Sequence)
            and all(isinstance(w, int | float) and 0 <= w <= sys.float_info.max for w in self.weights)
            and sum(self.weights) > 0
        ):
            rule = "null, or one finite number >= 0 a member with a sum above 0"
            problems.append(Problem("fusion.weights", rule, _list_of(self.weights)))
        low, high = TEMPERATURES
        if self.temperature is not None and not (
            isinstance(self.temperature, int | float)
            and not isinstance(self.temperature, bool)
            and low <= self.temperature <= high
        ):
            problems.append(Problem("fusion.temperature", f"null, or a number from {low} to {high}", self.temperature))
        if problems:
            raise SpecError(problems)

    @classmethod
    def from_dict(cls, form: Mapping[str, Any]) -> FusionSpec:
        """The inverse of `to_dict`."""
        weights = form["weights"]
        return cls(form["rule"], None if weights is None else tuple(weights), form.get("temperature"))

    def to_dict(self) -> dict[str, Any]:
        """JSON form; a temperature only where there is one."""
        form: dict[str, Any] = {"rule": self.rule, "weights": None if self.weights is None else list(self.weights)}
        return form if self.temperature is None else form | {"temperature": self.temperature}


FUSION_RULES: tuple[FusionRule, ...] = ("mean", "geometric", "vote")
#: Beyond these, powers of posteriors leave float64.
TEMPERATURES = (0.01, 100.0)

#: Of members whose posteriors were imported: how these were made is not ours to say.
IMPORTED = Protocol(modes=("imported",))

PRESETS: dict[str, Protocol] = {
    name: replace(protocol, name=name)
    for name, protocol in {
        "vgg-single-scale": Protocol(scales="single"),
        "vgg-multi-scale-dense": Protocol(),
        "vgg-multi-scale-crops": Protocol(modes=("crops",)),
        "vgg-multi-scale-both": Protocol(modes=("dense", "crops")),
        "center-crop": Protocol(scales="single", modes=("crops",), crop_grid="center", hflip=False),
        "ten-crop": Protocol(scales="single", modes=("crops",), crop_grid="ten"),
        "torchvision": Protocol(scales="recipe", resize="recipe", modes=("crops",), crop_grid="center", hflip=False),
        "caffe-vgg": Protocol(resize="bicubic", long_side="ceil", pool_rounding="ceil"),
    }.items()
}

#: One line each, for the protocol list in REST and on the launch page.
PRESET_SUMMARIES: dict[str, str] = {
    "vgg-single-scale": "Dense at one test scale, Q = S or the middle of [Smin;Smax] (paper, table 3)",
    "vgg-multi-scale-dense": "Dense at three test scales (paper, table 4)",
    "vgg-multi-scale-crops": "5 x 5 crops with flips at three test scales, 150 an image (paper, table 5, multi-crop)",
    "vgg-multi-scale-both": "The equal mean of dense and multi-crop posteriors (paper, table 5, multi-crop & dense)",
    "center-crop": "One centre crop at the single test scale, no flip",
    "ten-crop": "Four corners and the centre with flips at the single test scale",
    "torchvision": "One centre crop after the resize of the weights' own recipe, as torchvision's reference evaluation",
    "caffe-vgg": "Multi-scale dense as the released Caffe networks: bicubic, long side and pooling rounded up",
}


def _preset_name(value: object) -> str:
    if not isinstance(value, str):
        raise SpecError([Problem("protocol.preset", "the name of a preset", value)])
    return value


def _tuple_of(value: object) -> Any:
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value


def _list_of(value: object) -> object:
    return list(cast("tuple[object, ...]", value)) if isinstance(value, tuple) else value
