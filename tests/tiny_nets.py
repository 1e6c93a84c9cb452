"""Narrow VGG networks with weights that make them interesting: sure of themselves, and not all of the same class."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ensembles.configurations import Architecture
from ensembles.networks import LoadedNetwork
from ensembles.preprocessing import to_network_input
from ensembles.specs import Preprocessing
from ensembles.vgg import VGG, DenseVGG, initialise
from tests.builders import photo


def tiny_vgg(
    configuration: str = "A",
    *,
    batch_norm: bool = False,
    width: float = 1 / 32,
    classes: int = 5,
    crop: int = 32,
    seed: int = 0,
) -> VGG:
    """A network in evaluation mode with random weights, biases and batch-norm statistics."""
    network = initialise(VGG(Architecture(configuration, batch_norm, width, classes, crop)), seed=seed)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.bias.normal_(0, 0.2, generator=generator)
            elif isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.7, 1.4, generator=generator)
                module.bias.normal_(0, 0.2, generator=generator)
                module.running_mean.normal_(0, 0.2, generator=generator)
                module.running_var.uniform_(0.6, 1.6, generator=generator)
    return network.eval().requires_grad_(requires_grad=False)


def calibrate(network: VGG, pixels: Tensor, std: float) -> VGG:
    """Rescale the last layer so that each class score has mean 0 and the given standard deviation over `pixels`.

    Random networks give nearly the same scores for every image; what then differs between two evaluations drowns.
    Narrow ones may have dead units, so the hidden layers are brought to a common range first.

    Args:
        network: changed in place.
        pixels: (N, 3, H, W), preprocessed; crops, or whole images.
        std: of the class scores afterwards.
    """
    body = DenseVGG(network).body
    inputs = pixels
    with torch.inference_mode():
        for module in body:
            outputs = module(inputs.clone())
            layer = getattr(module, "linear", module)
            if isinstance(layer, nn.Conv2d | nn.Linear) and layer is not network.classifier[-1]:
                # Spread 1 over images and positions, most of it above 0: rarely active units amplify rounding.
                mean, deviation = outputs.mean((0, 2, 3)), outputs.std((0, 2, 3)) + 1e-6
                _rescale(layer, mean - 0.7 * deviation, deviation)
                outputs = module(inputs.clone())
            inputs = outputs
        scores = inputs.mean((2, 3))
        _rescale(network.classifier[-1], scores.mean(0), scores.std(0) / std)
    return network


def _rescale(layer: nn.Module, mean: Tensor, deviation: Tensor) -> None:
    layer.weight.div_(deviation.view(-1, *[1] * (layer.weight.dim() - 1)))
    layer.bias.sub_(mean).div_(deviation)


def tiny_network(
    name: str = "tiny", *, preprocessing: Preprocessing | None = None, std: float = 3.0, **options: Any
) -> LoadedNetwork:
    """`tiny_vgg` with these options, calibrated on photos and loaded on the CPU."""
    network = tiny_vgg(**options)
    crop = network.architecture.crop
    photos = np.stack([np.asarray(photo(crop, crop, seed)) for seed in range(32)])
    preprocessing = preprocessing or Preprocessing()
    return LoadedNetwork(name, calibrate(network, to_network_input(photos, preprocessing), std), preprocessing)
