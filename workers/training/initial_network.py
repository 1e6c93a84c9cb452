"""The network before its first step: drawn at random, or begun with layers of a trained one (paper section 3.1)."""

from __future__ import annotations

from typing import cast

import torch

from ensembles.checkpoints import Checkpoint, file_sha256, load_network, read_metadata, read_tensors, recognise
from ensembles.configurations import Architecture
from ensembles.errors import Problem, SpecError
from ensembles.specs import Preprocessing
from ensembles.vgg import VGG, initialise
from workers.training.plan import TrainingPlan

#: Convolutions of A that the paper gave to the deeper networks, beside its three FC layers.
_TRANSFERRED_CONVOLUTIONS = 4


def initial_network(plan: TrainingPlan, architecture: Architecture) -> tuple[VGG, Preprocessing | None]:
    """The network before its first step, and the preprocessing of the checkpoint that it came from."""
    network = initialise(VGG(architecture), plan.seed, plan.initialisation)
    if plan.init_from is None:
        return network, None
    source_architecture = recognise(read_tensors(plan.init_from))
    if not isinstance(source_architecture, Architecture):
        raise SpecError([Problem("init_from", "a network of the paper", source_architecture.name)])
    wanted = {**architecture.to_dict(), "configuration": source_architecture.configuration}
    if source_architecture.to_dict() != wanted:
        raise SpecError([Problem("init_from", f"a network with {wanted}", source_architecture.to_dict())])
    metadata = read_metadata(plan.init_from)
    source = load_network(
        Checkpoint(
            plan.init_from,
            file_sha256(plan.init_from),
            source_architecture,
            metadata.preprocessing or Preprocessing(),
            plan.init_from.stem,
        )
    )
    transfer(cast("VGG", source), network)
    return network, metadata.preprocessing


@torch.no_grad()
def transfer(source: VGG, target: VGG) -> None:
    """Copy layers of `source` into `target`, in place.

    Equal configurations share every layer. Others share the first four convolutions of `source` (with their batch
    norm), each at its own block and place in the block, the only places where A's shapes fit those of the deeper
    networks; and the three FC layers.

    Raises:
        SpecError: some layer to be copied has no counterpart of its shape.
    """
    ours, theirs = _places(source.architecture), _places(target.architecture)
    if source.architecture.configuration != target.architecture.configuration:
        early = [place for place in ours if place[0] == "conv"][:_TRANSFERRED_CONVOLUTIONS]
        taken = {(kind, *where) for _, *where in early for kind in ("conv", "batch_norm")}
        ours = {place: name for place, name in ours.items() if place in taken or place[0] == "linear"}
    for place, name in ours.items():
        if place not in theirs or _shapes(source, name) != _shapes(target, theirs[place]):
            rule = (
                f"{target.architecture.configuration} itself, or a configuration whose first layers fit it, such as A"
            )
            raise SpecError([Problem("init_from", rule, source.architecture.configuration)])
    for place, name in ours.items():
        target.get_submodule(theirs[place]).load_state_dict(source.get_submodule(name).state_dict())


def _places(architecture: Architecture) -> dict[tuple[object, ...], str]:
    """Module name of each layer with weights, by (kind, block, place in the block), both from 0."""
    places: dict[tuple[object, ...], str] = {}
    block, place = 0, -1
    for layer in architecture.plan:
        if layer.kind == "max_pool":
            block, place = block + 1, -1
        if layer.kind in ("conv", "linear"):
            place += 1
        if layer.kind in ("conv", "linear", "batch_norm"):
            places[layer.kind, block, place] = layer.name
    return places


def _shapes(network: VGG, module: str) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in network.get_submodule(module).state_dict().items()}
