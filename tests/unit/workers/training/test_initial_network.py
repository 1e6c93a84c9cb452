"""Which layers a deeper network takes from a trained shallower one."""

import pytest
import torch

from ensembles.configurations import Architecture
from ensembles.errors import SpecError
from ensembles.vgg import VGG, initialise
from workers.training.initial_network import transfer


def network(configuration: str, seed: int, *, batch_norm: bool = False) -> VGG:
    return initialise(VGG(Architecture(configuration, batch_norm, 1 / 16, 10, 32)), seed)


def shared_tensors(source: VGG, target: VGG) -> set[tuple[str, str]]:
    """Pairs (name in source, name in target) of equal weight matrices and kernels."""
    return {
        (ours, theirs)
        for ours, first in source.state_dict().items()
        for theirs, second in target.state_dict().items()
        if ours.endswith("weight") and first.dim() > 1 and first.shape == second.shape and torch.equal(first, second)
    }


@pytest.mark.parametrize(
    ("configuration", "convolutions"),
    [("B", (0, 5, 10, 12)), ("C", (0, 5, 10, 12)), ("D", (0, 5, 10, 12)), ("E", (0, 5, 10, 12)), ("A", range(0))],
)
def test_deeper_networks_take_the_first_four_convolutions_of_a_and_its_fc_layers(configuration, convolutions):
    source, target = network("A", 1), network(configuration, 2)
    transfer(source, target)
    layers = (f"classifier.{index}.weight" for index in (0, 3, 6))
    expected = {(layer, layer) for layer in layers}
    expected |= {
        (f"features.{ours}.weight", f"features.{theirs}.weight")
        for ours, theirs in zip((0, 3, 6, 8), convolutions, strict=False)
    }
    if configuration == "A":  # the same configuration shares everything
        expected |= {(f"features.{index}.weight", f"features.{index}.weight") for index in (0, 3, 6, 8, 11, 13, 16, 18)}
    assert shared_tensors(source, target) == expected


def test_batch_norm_goes_with_its_convolution():
    source, target = network("A", 1, batch_norm=True), network("D", 2, batch_norm=True)
    with torch.no_grad():
        for module in source.features:
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.fill_(7)
    transfer(source, target)
    moved = [
        index
        for index, module in enumerate(target.features)
        if isinstance(module, torch.nn.BatchNorm2d) and module.running_mean[0] == 7
    ]
    assert moved == [1, 8, 15, 18]


@pytest.mark.parametrize(("source", "target"), [("E", "A"), ("A", "B-5x5"), ("B-5x5", "B")])
def test_networks_whose_first_layers_do_not_fit_are_refused(source, target):
    before = network(target, 2).state_dict()
    into = network(target, 2)
    with pytest.raises(SpecError, match="init_from"):
        transfer(network(source, 1), into)
    assert all(torch.equal(before[name], tensor) for name, tensor in into.state_dict().items())
