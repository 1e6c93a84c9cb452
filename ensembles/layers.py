"""What one module of a network is before it has weights: its name, tensors and cost."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Literal

LayerKind = Literal["conv", "batch_norm", "relu", "lrn", "max_pool", "linear", "dropout"]


@dataclass(frozen=True)
class Layer:
    """One module of a network before it has weights; every layer list in the package comes from these.

    A "linear" layer is described as the convolution without padding that it is in dense mode, so its weight has
    `inputs * kernel**2` columns.

    Attributes:
        name: torchvision's module name, such as features.0.
        inputs: input channels.
        outputs: output channels.
        kernel: side of the convolution's kernel; 1 for layers without one.
    """

    name: str
    kind: LayerKind
    inputs: int
    outputs: int
    kernel: int = 1

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Learned tensors, by their name inside the module."""
        match self.kind:
            case "conv":
                return {"weight": (self.outputs, self.inputs, self.kernel, self.kernel), "bias": (self.outputs,)}
            case "linear":
                return {"weight": (self.outputs, self.inputs * self.kernel**2), "bias": (self.outputs,)}
            case "batch_norm":
                return {"weight": (self.outputs,), "bias": (self.outputs,)}
            case _:
                return {}

    def buffer_shapes(self) -> dict[str, tuple[int, ...]]:
        """Saved tensors that are no parameters: batch norm's running statistics."""
        if self.kind != "batch_norm":
            return {}
        return {"running_mean": (self.outputs,), "running_var": (self.outputs,), "num_batches_tracked": ()}

    @property
    def parameters(self) -> int:
        """Learned numbers."""
        return sum(map(prod, self.tensor_shapes().values()))

    @property
    def macs_per_position(self) -> int:
        """Multiply-accumulates for one output position; only convolutions and FC layers are counted."""
        return self.inputs * self.outputs * self.kernel**2 if self.kind in ("conv", "linear") else 0


@dataclass(frozen=True)
class LayerRow:
    """One row of the layer table.

    Attributes:
        type: the layer in words, such as "conv 3x3" or "max pool".
        output_shape: (C, H, W), or (units,) after flattening, of one crop.
    """

    name: str
    type: str
    output_shape: tuple[int, ...]
    parameters: int
