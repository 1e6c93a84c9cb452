"""The paper's networks in torch: with FC layers for crops, and fully-convolutional for whole images (section 3.2)."""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor, nn

from ensembles.configurations import Architecture
from ensembles.errors import Problem, SpecError
from ensembles.layers import Layer
from ensembles.scales import PoolRounding

Initialisation = Literal["he", "paper"]


class VGG(nn.Module):
    """A VGG network with FC layers, for crops of exactly the training size.

    Modules have torchvision's names and indices, so its state dicts load as they are. There is no adaptive pooling:
    at the training crop it is the identity, and at any other size it computes another function than dense evaluation.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.features = nn.Sequential()
        self.classifier = nn.Sequential()
        for layer in architecture.plan:
            part, _ = layer.name.split(".")
            cast("nn.Sequential", self.get_submodule(part)).append(_module(layer))

    def forward(self, pixels: Tensor) -> Tensor:
        """Class scores before the softmax.

        Args:
            pixels: (N, 3, crop, crop), preprocessed.

        Returns:
            (N, K).

        Raises:
            SpecError: the pixels have another shape. A slightly larger crop would otherwise pass unnoticed, because
                pooling rounds down.
        """
        crop = self.architecture.crop
        if pixels.dim() != 4 or pixels.shape[1:] != (3, crop, crop):
            raise SpecError([Problem("pixels", f"shape (N, 3, {crop}, {crop})", tuple(pixels.shape))])
        return cast("Tensor", self.classifier(self.features(pixels).flatten(1)))


class DenseVGG(nn.Module):
    """The same network applied to whole images: FC layers as convolutions, one class score a position of the map.

    Its modules are the VGG's own, so both always have the same weights, device and mode.
    """

    def __init__(self, network: VGG, pool_rounding: PoolRounding = "floor") -> None:
        super().__init__()
        self.architecture = network.architecture
        self.body = fully_convolutional(
            network.features, network.classifier, network.architecture.crop // 32, pool_rounding
        )
        self.pool_rounding = pool_rounding
        self.train(network.training)

    def forward(self, pixels: Tensor) -> Tensor:
        """The class score map, before the softmax and before any averaging.

        Args:
            pixels: (N, 3, H, W), preprocessed; equal sizes only, padding would change the scores.

        Returns:
            (N, K, h, w), sizes by `scales.score_map_side`.

        Raises:
            ScaleTooSmallError: the image is so small that the map would be empty.
        """
        self.architecture.score_map_size(pixels.shape[-2], pixels.shape[-1], self.pool_rounding)
        return cast("Tensor", self.body(pixels))


class ConvolutionalLinear(nn.Module):
    """A fully-connected layer as a convolution without padding, on the layer's own weights.

    The layer is applied to every window of the features. As `conv2d` on the reshaped weight it would be the same
    function, but CPU convolutions rearrange the weight at every call: 16 times as long on VGG-16's first FC layer
    (four 7x7 maps, two cores), most of it spent on moving 400 MB.
    """

    def __init__(self, linear: nn.Linear, kernel: int) -> None:
        super().__init__()
        self.linear = linear
        self.kernel = kernel

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, outputs, H - kernel + 1, W - kernel + 1)."""
        windows = features.unfold(2, self.kernel, 1).unfold(3, self.kernel, 1)  # (N, C, h, w, kernel, kernel)
        # A Linear weight's columns follow flatten(): channel, row, column.
        columns = windows.permute(0, 2, 3, 1, 4, 5).flatten(3)
        return cast("Tensor", self.linear(columns)).permute(0, 3, 1, 2)


def fully_convolutional(
    features: nn.Sequential, classifier: nn.Sequential, side: int, pool_rounding: PoolRounding = "floor"
) -> nn.Sequential:
    """Turn convolutions followed by FC layers into one network for any image size, sharing every weight.

    Args:
        features: convolutions and pooling.
        classifier: layers on the flattened features; its first Linear becomes a `side` x `side` convolution, every
            later one a 1 x 1.
        side: height and width of the features at the training crop.
        pool_rounding: "ceil" replaces each max pool by one that keeps an odd side's last row and column.
    """
    body = nn.Sequential()
    for module in features:
        body.append(_rounding_up(module) if pool_rounding == "ceil" and isinstance(module, nn.MaxPool2d) else module)
    kernel = side
    for module in classifier:
        if isinstance(module, nn.Linear):
            body.append(ConvolutionalLinear(module, kernel))
            kernel = 1
        else:
            body.append(module)
    return body


def _rounding_up(pool: nn.MaxPool2d) -> nn.MaxPool2d:
    return nn.MaxPool2d(pool.kernel_size, pool.stride, pool.padding, pool.dilation, ceil_mode=True)


def _module(layer: Layer) -> nn.Module:
    match layer.kind:
        case "conv":
            return nn.Conv2d(layer.inputs, layer.outputs, layer.kernel, padding=layer.kernel // 2)
        case "batch_norm":
            return nn.BatchNorm2d(layer.outputs)
        case "relu":
            return nn.ReLU(inplace=True)
        case "lrn":
            # The paper means Krizhevsky's x / (k + alpha * sum)^beta with alpha = 1e-4, n = 5, k = 2. Torch, like
            # Caffe, divides alpha by n, so its alpha must be 5 times larger; Caffe also defaults to k = 1.
            return nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)
        case "max_pool":
            return nn.MaxPool2d(kernel_size=2, stride=2)
        case "linear":
            return nn.Linear(layer.inputs * layer.kernel**2, layer.outputs)
        case "dropout":
            return nn.Dropout(0.5)


@torch.no_grad()
def initialise(network: VGG, seed: int, scheme: Initialisation = "he") -> VGG:
    """Draw every weight anew, independent of the global random state; biases are zero.

    The paper's N(0, variance 1e-2) makes activations of the deeper configurations explode unless their first layers
    come from a trained A (section 3.1), so it is no default: "he" keeps the variance through ReLUs from the start.

    Args:
        network: changed in place.
        seed: equal seeds give equal weights on the CPU.
        scheme: "he" for N(0, 2 / fan-in), with a small last layer for near-uniform first posteriors; "paper" for
            N(0, 1e-2) everywhere.

    Returns:
        The same network.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            if scheme == "paper":
                std = 0.1
            elif module is network.classifier[-1]:
                std = 0.01
            else:
                std = (2 / module.weight[0].numel()) ** 0.5
            module.weight.copy_(torch.empty(module.weight.shape).normal_(0.0, std, generator=generator))
            nn.init.zeros_(cast("Tensor", module.bias))
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
    return network
