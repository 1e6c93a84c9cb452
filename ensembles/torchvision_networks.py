"""The second family of architectures: the classification networks of torchvision, known by their names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from ensembles.configurations import MAX_CLASSES
from ensembles.errors import Problem, ScaleTooSmallError, SpecError
from ensembles.layers import LayerRow
from ensembles.recipes import Recipe
from ensembles.scales import MAX_SIDE, PoolRounding
from ensembles.specs import PREPROCESSING_PRESETS, Preprocessing, Resize, ViewSpec, is_whole_number
from ensembles.torchvision_table import (
    TABLE_CLASSES,
    TorchvisionRow,
    default_row,
    torchvision_networks,
    torchvision_rows,
)

FAMILY = "torchvision"

#: Why networks whose names begin so have no dense form.
_DENSE_REFUSALS = {
    "alexnet": "AlexNet pools its features to fixed 6 x 6 positions: at any size but the crop's, another function",
    "maxvit_": "MaxViT divides the features of exactly its crop into windows and grids, and takes no other size",
    "swin_": "Swin's attention windows fit its crop; at other sizes they are filled up with zeros, another function",
    "vit_": "a vision transformer has one position embedding for each patch of its crop, and takes no other size",
}
_INTERPOLATIONS = ("bilinear", "bicubic", "nearest")


@dataclass(frozen=True)
class TorchvisionArchitecture:
    """One network of torchvision with its classes, its crop and the recipe of its weights.

    Attributes:
        network: torchvision's name, such as resnet50.
        classes: outputs of the last layer.
        crop: side of the training crop, px. Networks without a dense form have only those of published weights.
        resize: smaller image side before the centre crop, px.
        interpolation: of that rescaling.

    Raises:
        SpecError: a field breaks its rule; all of them are listed.
    """

    network: str
    classes: int
    crop: int
    resize: int
    interpolation: Resize

    @classmethod
    def published(cls, network: str, classes: int = TABLE_CLASSES, crop: int | None = None) -> TorchvisionArchitecture:
        """With the recipe of the network's first published weights, or of those for this crop.

        Args:
            network: torchvision's name.
            classes: outputs of the last layer.
            crop: px; None for the published one. Another one keeps the recipe's proportion of resize and crop.

        Raises:
            SpecError: no such network, or a value that it cannot have.
        """
        if network not in torchvision_networks():
            raise SpecError([_unknown(network)])
        row = torchvision_rows().get((network, crop or 0), default_row(network))
        crop = row.crop if crop is None else crop
        resize = max(crop, round(crop * row.resize / row.crop))
        return cls(network, classes, crop, resize, cast("Resize", row.interpolation))

    def __post_init__(self) -> None:
        if self.network not in torchvision_networks():
            raise SpecError([_unknown(self.network)])
        problems = self._problems()
        if problems:
            raise SpecError(problems)

    def _problems(self) -> list[Problem]:
        crop, resize, smallest = self.crop, self.resize, default_row(self.network).min_side
        crops = [row.crop for row in torchvision_rows().values() if row.network == self.network]
        if self.dense_refusal is not None:
            crop_rule, crop_kept = " or ".join(f"{each} px" for each in crops), crop in crops
        else:
            crop_rule = f"a whole number of px from {smallest} to {MAX_SIDE}"
            crop_kept = is_whole_number(crop) and smallest <= crop <= MAX_SIDE
        rules = {
            "classes": (
                is_whole_number(self.classes) and 1 <= self.classes <= MAX_CLASSES,
                f"a whole number from 1 to {MAX_CLASSES}",
            ),
            "crop": (crop_kept, f"{crop_rule} for {self.network}"),
            "resize": (
                not crop_kept or (is_whole_number(resize) and crop <= resize <= MAX_SIDE),
                f"a whole number of px from the crop to {MAX_SIDE}",
            ),
            "interpolation": (self.interpolation in _INTERPOLATIONS, f"one of {', '.join(_INTERPOLATIONS)}"),
        }
        return [
            Problem(f"architecture.{name}", rule, getattr(self, name))
            for name, (kept, rule) in rules.items()
            if not kept
        ]

    @property
    def _row(self) -> TorchvisionRow:
        return torchvision_rows().get((self.network, self.crop), default_row(self.network))

    @property
    def name(self) -> str:
        """Torchvision's."""
        return self.network

    @property
    def parameters(self) -> int:
        """Learned numbers, without auxiliary heads."""
        return self._row.parameters + (self.classes - TABLE_CLASSES) * self._row.parameters_per_class

    @property
    def recipe(self) -> Recipe:
        """How the authors of its weights prepared images."""
        return Recipe(self.resize, self.interpolation, self._preprocessing)

    @property
    def _preprocessing(self) -> Preprocessing:
        return PREPROCESSING_PRESETS[self._row.preprocessing]

    @property
    def dense_refusal(self) -> str | None:
        """Why it cannot be evaluated densely; None where its own forward pass takes whole images."""
        reasons = (reason for prefix, reason in _DENSE_REFUSALS.items() if self.network.startswith(prefix))
        return next(reasons, None)

    def view_refusal(self, view: ViewSpec) -> str | None:
        """Why this view cannot be; None where it can."""
        if view.mode == "crops":
            return None
        if self.dense_refusal is None and view.score_pooling != "logits":
            return (
                f"{self.network} pools its features before it scores classes, so there is no class score map and "
                f'score_pooling must be "logits", not "{view.score_pooling}"'
            )
        if self.dense_refusal is None and view.pool_rounding != "floor":
            return (
                f'pool_rounding "{view.pool_rounding}" is about VGG\'s 2 x 2 pooling; {self.network} pools as '
                'torchvision builds it, which is "floor"'
            )
        return self.dense_refusal

    def macs(self, height: int, width: int, pool_rounding: PoolRounding = "floor") -> int:  # noqa: ARG002
        """Multiply-accumulates of one pass, measured at the table's crop and otherwise in proportion to the pixels.

        Strides that do not divide a side, and layers after the pooling, make up to some percent of difference. Batches
        are sized from it, so that it must be the same everywhere: it is whole-number arithmetic on shipped numbers.

        Args:
            height: image height, px.
            width: image width, px.
            pool_rounding: only "floor" means anything here.

        Raises:
            ScaleTooSmallError: the image is smaller than the network can take.
        """
        row = self._row
        if min(height, width) < row.min_side:
            raise ScaleTooSmallError(min(height, width), row.min_side, self.network)
        at_crop = row.macs + (self.classes - TABLE_CLASSES) * row.macs_per_class
        return max(1, at_crop * height * width // row.crop**2)

    def layers(self) -> tuple[LayerRow, ...]:
        """Empty: these networks are no list of layers, and only torchvision knows their modules."""
        return ()

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "family": FAMILY,
            "network": self.network,
            "classes": self.classes,
            "crop": self.crop,
            "resize": self.resize,
            "interpolation": self.interpolation,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TorchvisionArchitecture:
        """The inverse of `to_dict`."""
        return cls(**{name: value for name, value in data.items() if name != "family"})


def _unknown(network: object) -> Problem:
    return Problem("architecture.network", "a classification network of torchvision beside VGG, as resnet50", network)
