"""Torchvision's classification networks, built without memory for weights, for crops and for whole images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torchvision import models

from ensembles.errors import CheckpointUnrecognisedError, Problem, SpecError
from ensembles.recognition import shape_differences
from ensembles.torchvision_networks import TorchvisionArchitecture
from ensembles.torchvision_table import TABLE_CLASSES, default_row, torchvision_networks

#: Heads that only training uses. Their tensors are left out of what is read.
_WITH_AUXILIARY_HEADS = ("googlenet", "inception_v3")


class TorchvisionNetwork(nn.Module):
    """A network of torchvision for crops of exactly its crop; `body` is torchvision's own module."""

    def __init__(self, architecture: TorchvisionArchitecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.body = build(architecture.network, architecture.classes, architecture.crop)

    def forward(self, pixels: Tensor) -> Tensor:
        """Class scores before the softmax.

        Args:
            pixels: (N, 3, crop, crop), preprocessed.

        Returns:
            (N, K).

        Raises:
            SpecError: the pixels have another shape.
        """
        crop = self.architecture.crop
        if pixels.dim() != 4 or pixels.shape[1:] != (3, crop, crop):
            raise SpecError([Problem("pixels", f"shape (N, 3, {crop}, {crop})", tuple(pixels.shape))])
        return cast("Tensor", self.body(pixels))

    def check(self, tensors: Mapping[str, Tensor]) -> None:
        """Compare names, shapes and computed integers with the network's own.

        Raises:
            CheckpointUnrecognisedError: they are other ones. Other integers would index other weights.
        """
        expected = f"{self.architecture.network} as torchvision builds it"
        differences = shape_differences(_shapes(self.body.state_dict()), _shapes(tensors))
        if differences:
            raise CheckpointUnrecognisedError(differences, expected)
        for name, own in _integer_buffers(self.body).items():
            if name in tensors and not torch.equal(tensors[name], own):
                raise CheckpointUnrecognisedError(f"{name} with other values", expected)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over the tensors of a state dict themselves, without a copy.

        Raises:
            CheckpointUnrecognisedError: as `check`.
        """
        self.check(tensors)
        state = _StateDict({**_integer_buffers(self.body), **tensors})
        # MNASNet refuses tensors that do not say which of its two stems they belong to; shapes have told already.
        state._metadata = {"": {"version": 2}}
        self.body.load_state_dict(state, strict=True, assign=True)


class WholeImages(nn.Module):
    """The same network on images of any size: its own global pooling makes one class score map position of them."""

    def __init__(self, network: TorchvisionNetwork) -> None:
        super().__init__()
        self.body = network.body

    def forward(self, pixels: Tensor) -> Tensor:
        """Class scores (N, K, 1, 1) of preprocessed pixels (N, 3, H, W) of equal sizes, before the softmax."""
        return cast("Tensor", self.body(pixels))[:, :, None, None]


class _StateDict(dict[str, Tensor]):
    """A state dict with a place for the versions of its modules."""

    _metadata: dict[str, dict[str, int]]


class _WithoutWeights(TorchFunctionMode):
    """Inside, uninitialised tensors have no memory, while what networks compute of themselves is computed.

    `torch.device("meta")` would take that too: RegNet plans its widths with tensors, Swin's windows are indices.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Iterable[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return func(*args, **{**(kwargs or {}), **({"device": "meta"} if func is torch.empty else {})})


def build(network: str, classes: int, crop: int) -> nn.Module:
    """Torchvision's module in evaluation mode, its weights without memory; auxiliary heads are left out.

    Pixels are not transformed inside: what GoogLeNet's and Inception's weights expect stands in their preprocessing.
    """
    options: dict[str, Any] = {"num_classes": classes}
    if network.startswith("vit_"):
        options["image_size"] = crop
    if network in _WITH_AUXILIARY_HEADS:
        options |= {"aux_logits": False, "init_weights": False, "transform_input": False}
    with _WithoutWeights():
        return cast("nn.Module", models.get_model(network, weights=None, **options)).eval()


def _integer_buffers(body: nn.Module) -> dict[str, Tensor]:
    """What the network computes of itself and saves all the same; batch norm's counters are no part of it."""
    return {
        name: buffer
        for name, buffer in body.named_buffers()
        if not buffer.is_floating_point() and not name.endswith("num_batches_tracked")
    }


def nearest_network(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """The network of torchvision whose state dict shares most names with these, and how it differs, in words.

    It builds all of them, which takes seconds: for the message about a file that is refused.

    Returns:
        None where none shares half of its names.
    """
    best, most, differences = None, 0.5, ""
    for network in torchvision_networks():
        expected = _shapes(build(network, TABLE_CLASSES, default_row(network).crop).state_dict())
        alike = len(expected.keys() & shapes.keys()) / len(expected.keys() | shapes.keys())
        if alike > most:
            best, most, differences = network, alike, shape_differences(expected, shapes)
    return best and f"{best}: {differences}"


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}
