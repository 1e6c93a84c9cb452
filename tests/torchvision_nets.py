"""Torchvision's networks with random weights that make them interesting: sure of themselves, not all of one class."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models.efficientnet import MBConv
from torchvision.models.resnet import BasicBlock, Bottleneck

from ensembles.preprocessing import to_network_input
from ensembles.specs import Preprocessing
from ensembles.torchvision_table import default_row
from tests.builders import photo


def lively(
    network: str, pixels: Tensor | None = None, *, classes: int = 6, std: float = 4.0, seed: int = 0
) -> nn.Module:
    """Torchvision's own module in evaluation mode.

    Its batch norms get the statistics of `pixels`, so that no layer fades away, and each class score gets mean 0 and
    the given standard deviation over them.

    Args:
        network: torchvision's name, VGG's among them.
        pixels: (N, 3, crop, crop), preprocessed; by default of photos.
        classes: outputs.
        std: of the class scores.
        seed: of the weights.
    """
    torch.manual_seed(seed)
    options: dict[str, Any] = {"num_classes": classes}
    if network in ("googlenet", "inception_v3"):
        options |= {"init_weights": False}
    body = cast("nn.Module", models.get_model(network, weights=None, **options)).eval()
    for name, module in body.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if isinstance(module, nn.BatchNorm2d) and "aux" not in name.lower():
            nn.init.uniform_(module.weight, 0.7, 1.4)
            nn.init.normal_(module.bias, 0, 0.2)
            module.momentum = None  # a plain mean of the batches
            module.train()
    for last in _ends_of_residual_branches(body):
        # Branches as strong as what they are added to would multiply every rounding error, block by block.
        nn.init.uniform_(last.weight, 0.07, 0.14)
    pixels = photos(published_crop(network)) if pixels is None else pixels
    with torch.no_grad():
        body(pixels)
        body.eval()
        scores = body(pixels)
        head = [module for module in body.modules() if isinstance(module, nn.Conv2d | nn.Linear)][-1]
        deviation = scores.std(0)
        weight, bias = cast("Tensor", head.weight), cast("Tensor", head.bias)
        weight.mul_((std / deviation).view(-1, *[1] * (weight.dim() - 1)))
        bias.sub_(scores.mean(0)).mul_(std / deviation)
    return body.requires_grad_(requires_grad=False)


def _ends_of_residual_branches(body: nn.Module) -> list[nn.BatchNorm2d]:
    ends: list[nn.BatchNorm2d] = []
    for module in body.modules():
        if isinstance(module, BasicBlock):
            ends.append(module.bn2)
        elif isinstance(module, Bottleneck):
            ends.append(module.bn3)
        elif isinstance(module, MBConv) and module.use_res_connect:
            ends.append(module.block[-1][1])
    return ends


def published_crop(network: str) -> int:
    """Side of the crop of the network's first published weights, px."""
    return 224 if network.startswith("vgg") else default_row(network).crop


def photos(side: int, count: int = 12) -> Tensor:
    """(count, 3, side, side), preprocessed."""
    pixels = np.stack([np.asarray(photo(side, side, seed)) for seed in range(count)])
    return to_network_input(pixels, Preprocessing())
