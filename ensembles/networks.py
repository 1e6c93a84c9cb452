"""A checkpoint's network, loaded once and used for any number of views."""

from __future__ import annotations

import torch

from ensembles.checkpoints import Checkpoint, load_network
from ensembles.configurations import Architecture
from ensembles.scales import PoolRounding
from ensembles.specs import Preprocessing
from ensembles.vgg import VGG, DenseVGG


class LoadedNetwork:
    """A network in evaluation mode on one device, with its name and what it expects of pixels."""

    def __init__(
        self, name: str, network: VGG, preprocessing: Preprocessing, device: str | torch.device = "cpu"
    ) -> None:
        self.name = name
        self.architecture: Architecture = network.architecture
        self.preprocessing = preprocessing
        self.device = torch.device(device)
        self.network = network.eval().to(self.device).to(memory_format=torch.channels_last)
        self._dense: dict[PoolRounding, DenseVGG] = {}

    def dense(self, pool_rounding: PoolRounding = "floor") -> DenseVGG:
        """The fully-convolutional form, on the same weights."""
        if pool_rounding not in self._dense:
            self._dense[pool_rounding] = DenseVGG(self.network, pool_rounding)
        return self._dense[pool_rounding]


def load(checkpoint: Checkpoint, device: str | torch.device = "cpu") -> LoadedNetwork:
    """Read a checkpoint's weights onto a device.

    Raises:
        CheckpointError: as `checkpoints.load_network` does.
    """
    return LoadedNetwork(checkpoint.name, load_network(checkpoint), checkpoint.preprocessing, device)
