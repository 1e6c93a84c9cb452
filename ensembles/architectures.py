"""What the service needs to know of a network, whatever its family; what it costs, and how its batches are cut."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any

from ensembles.configurations import CONFIGURATIONS, Architecture
from ensembles.errors import Problem, ScaleTooSmallError, SpecError
from ensembles.layers import LayerRow
from ensembles.recipes import Recipe
from ensembles.scales import PoolRounding, resized_size
from ensembles.specs import ViewSpec
from ensembles.torchvision_networks import FAMILY, TorchvisionArchitecture
from ensembles.torchvision_table import torchvision_networks

#: A batch of more than one image or crop stays within this many MACs a forward pass, and within MAX_BATCH.
FORWARD_MACS = 64 * 10**9
MAX_BATCH = 64
#: The commonest size in ImageNet's validation set, px: what "one image" means where only the shape of work matters.
_NOMINAL_IMAGE = (500, 375)


class NetworkArchitecture(typing.Protocol):
    """A network before it has weights. Its JSON form is part of a checkpoint's identity."""

    def __hash__(self) -> int:
        """Architectures are values."""

    @property
    def name(self) -> str:
        """Torchvision's name where it has the network."""

    @property
    def classes(self) -> int:
        """Outputs of the last layer."""

    @property
    def crop(self) -> int:
        """Side of the training crop, px."""

    @property
    def parameters(self) -> int:
        """Learned numbers."""

    @property
    def recipe(self) -> Recipe:
        """How the authors of its weights prepared images."""

    @property
    def dense_refusal(self) -> str | None:
        """Why it cannot be evaluated densely; None if it can."""

    def view_refusal(self, view: ViewSpec) -> str | None:
        """Why this view cannot be; None if it can."""

    def macs(self, height: int, width: int, pool_rounding: PoolRounding = "floor") -> int:
        """Multiply-accumulates of one pass over an image, at least 1; exact at the crop.

        Raises:
            ScaleTooSmallError: the image is too small for the network.
        """

    def layers(self) -> tuple[LayerRow, ...]:
        """The layer table at the crop, one row a module; empty where there is none."""

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""


def architecture_from_dict(data: Mapping[str, Any]) -> NetworkArchitecture:
    """The inverse of any family's `to_dict`. Records without a family are the paper's networks.

    Raises:
        SpecError: no such family, or a field breaks its rule.
    """
    family = data.get("family")
    if family is None:
        return Architecture.from_dict(data)
    if family != FAMILY:
        raise SpecError([Problem("architecture.family", f"absent, or {FAMILY}", family)])
    return TorchvisionArchitecture.from_dict(data)


def architecture_names() -> tuple[str, ...]:
    """What a network may be called: the paper's configurations, and the names of every family."""
    vgg = [Architecture(letter, batch_norm).name for letter in CONFIGURATIONS for batch_norm in (False, True)]
    return (*CONFIGURATIONS, *vgg, *torchvision_networks())


def view_macs(architecture: NetworkArchitecture, view: ViewSpec, image_width: int, image_height: int) -> int:
    """Multiply-accumulates of one image under one view, flips and crops counted.

    Args:
        architecture: the network.
        view: mode, test scale and flips.
        image_width: before rescaling, px.
        image_height: before rescaling, px.

    Raises:
        ScaleTooSmallError: the test scale leaves no position, or no room for a crop.
    """
    if view.mode == "crops":
        if view.scale < architecture.crop:
            raise ScaleTooSmallError(view.scale, architecture.crop, architecture.name)
        return view.crops_per_image * architecture.macs(architecture.crop, architecture.crop)
    width, height = resized_size(image_width, image_height, view.scale, view.long_side)
    return architecture.macs(height, width, view.pool_rounding) * (2 if view.hflip else 1)


def block_size(architecture: NetworkArchitecture, view: ViewSpec) -> int:
    """Images of one dense batch: a power of two from 1 to 64, the most whose forward pass stays within 64 GMAC.

    It depends on nothing but its arguments, never on the machine: a batch is formed only inside an aligned block of
    this many images in canonical order, so that posteriors have the same bits however the work is cut. A flipped
    batch is a forward pass of its own. Crops of different images never share a batch, hence 1 for a crops view.
    """
    if view.mode == "crops":
        return 1
    width, height = resized_size(*_NOMINAL_IMAGE, view.scale, view.long_side)
    images = FORWARD_MACS // architecture.macs(height, width, view.pool_rounding)
    return min(MAX_BATCH, 1 << max(0, images.bit_length() - 1))
