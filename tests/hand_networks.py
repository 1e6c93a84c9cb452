"""Networks whose class scores can be computed by hand, as checkpoint files of paper configurations.

All convolutions pass their first channels on unchanged but the one that the example is about. Images are enlarged 16
times for it to stand in the last block, where a feature map has their own size: four exact halvings go before.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ensembles.checkpoints import Checkpoint, file_sha256, recognise, save_checkpoint
from ensembles.configurations import Architecture
from ensembles.specs import Preprocessing
from ensembles.tensor_files import read_tensors
from ensembles.vgg import VGG

#: Pixels reach the first convolution as they are stored, 0 to 255.
AS_STORED = Preprocessing("rgb", 255, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))

#: A hand network's class scores are this many times larger than those of its file, so that no posterior saturates.
SCALE = 64.0

_BEFORE_THE_LAST_POOL = 16


def passing_network(configuration: str, *, width: float, classes: int, crop: int, channels: int) -> VGG:
    """Convolutions and hidden FC layers pass on `channels` values, FC 1 those at the top left; the last is all 0.

    The first convolution gives every channel the red one.
    """
    network = VGG(Architecture(configuration, width=width, classes=classes, crop=crop))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        convolutions = [module for module in network.features if isinstance(module, torch.nn.Conv2d)]
        for place, convolution in enumerate(convolutions):
            centre = convolution.kernel_size[0] // 2
            for channel in range(channels):
                convolution.weight[channel, channel if place else 0, centre, centre] = 1
        first, second, _ = (module for module in network.classifier if isinstance(module, torch.nn.Linear))
        positions = (crop // 32) ** 2
        for channel in range(channels):
            first.weight[channel, channel * positions] = 1
            second.weight[channel, channel] = 1
    return network.eval()


def sum_of_nine() -> VGG:
    """The network of a 3x3 convolution of ones, a ReLU, a 2x2 pool, and an FC layer on 2x2 positions.

    Class 0 is the position at the top left, class 1 the one at the bottom right, class 2 always 0.
    """
    network = passing_network("A", width=1 / 64, classes=3, crop=64, channels=1)
    *_, convolution, _ = (module for module in network.features if isinstance(module, torch.nn.Conv2d))
    first, second, last = (module for module in network.classifier if isinstance(module, torch.nn.Linear))
    with torch.no_grad():
        convolution.weight[0, 0] = 1
        first.weight.zero_()
        first.weight[0, 0] = first.weight[1, 3] = 1
        second.weight[1, 1] = 1
        last.weight[0, 0] = last.weight[1, 1] = 1 / SCALE
    return network


def checkpoint_of(network: VGG, path: Path, preprocessing: Preprocessing = AS_STORED) -> Checkpoint:
    """Written to a file, recognised from its tensors alone."""
    save_checkpoint(path, network)
    found = recognise(read_tensors(path))
    assert found == network.architecture
    return Checkpoint(path, file_sha256(path), found, preprocessing, path.stem)


def enlarged(values: NDArray[np.integer]) -> NDArray[np.uint8]:
    """(h, w) as the grey image (16 h, 16 w, 3) whose map before the last pool it is."""
    block = np.ones((_BEFORE_THE_LAST_POOL,) * 2, np.uint8)
    return np.repeat(np.kron(values.astype(np.uint8), block)[:, :, None], 3, axis=2)


def scores_of(probs: NDArray[np.float32]) -> Tensor:
    """Class scores from a posterior of which the last class has score 0."""
    logs = torch.as_tensor(probs, dtype=torch.float64).log()
    return (logs - logs[..., -1:])[..., :-1]
