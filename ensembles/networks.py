"""A checkpoint's network, loaded once and used for any number of views."""

from __future__ import annotations

import torch
from torch import nn

from ensembles.architectures import NetworkArchitecture
from ensembles.checkpoints import Checkpoint, Network, load_network
from ensembles.errors import DenseUnsupportedError
from ensembles.scales import PoolRounding
from ensembles.specs import Preprocessing
from ensembles.torchvision_models import TorchvisionNetwork, WholeImages
from ensembles.vgg import DenseVGG


class LoadedNetwork:
    """A network in evaluation mode on one device, with its name and what it expects of pixels."""

    def __init__(
        self, name: str, network: Network, preprocessing: Preprocessing, device: str | torch.device = "cpu"
    ) -> None:
        self.name = name
        self.architecture: NetworkArchitecture = network.architecture
        self.preprocessing = preprocessing
        self.device = torch.device(device)
        self.network = network.eval().to(self.device).to(memory_format=torch.channels_last)
        self._dense: dict[PoolRounding, nn.Module] = {}

    def dense(self, pool_rounding: PoolRounding = "floor") -> nn.Module:
        """The form for whole images, on the same weights: pixels -> class score map.

        Raises:
            DenseUnsupportedError: there is none.
        """
        if self.architecture.dense_refusal is not None:
            raise DenseUnsupportedError(self.name, self.architecture.dense_refusal)
        if pool_rounding not in self._dense:
            self._dense[pool_rounding] = (
                WholeImages(self.network)
                if isinstance(self.network, TorchvisionNetwork)
                else DenseVGG(self.network, pool_rounding)
            )
        return self._dense[pool_rounding]


def load(checkpoint: Checkpoint, device: str | torch.device = "cpu") -> LoadedNetwork:
    """Read a checkpoint's weights onto a device.

    Raises:
        CheckpointError: as `checkpoints.load_network` does.
    """
    return LoadedNetwork(checkpoint.name, load_network(checkpoint), checkpoint.preprocessing, device)
