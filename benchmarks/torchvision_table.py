"""Print `ensembles/torchvision_networks.csv`, measured from the installed torchvision.

python -m benchmarks.torchvision_table > ensembles/torchvision_networks.csv
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from dataclasses import asdict, fields
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models

from ensembles.specs import PREPROCESSING_PRESETS
from ensembles.torchvision_models import build
from ensembles.torchvision_table import TABLE_CLASSES, TorchvisionRow, tensors_sha256


def rows() -> Iterator[TorchvisionRow]:
    """Every network and, where tensors depend on it, crop; in torchvision's order of names and weights."""
    for network in models.list_models(module=models):
        if network.startswith("vgg"):
            continue  # described by the paper's configurations
        seen = set()
        for weights in models.get_model_weights(network):
            crop = weights.transforms().crop_size[0]
            if not seen or (network.startswith("vit_") and crop not in seen):
                seen.add(crop)
                yield measured(network, weights)


def measured(network: str, weights: Any) -> TorchvisionRow:
    """One row."""
    recipe = weights.transforms()
    crop = recipe.crop_size[0]
    body, wider = build(network, TABLE_CLASSES, crop), build(network, TABLE_CLASSES + 1, crop)
    shapes, others = shapes_of(body), shapes_of(wider)
    (head,) = {name.rpartition(".")[0] for name in shapes if shapes[name] != others[name]}
    parameters, macs = count(body), macs_of(body, crop, crop)
    return TorchvisionRow(
        network=network,
        crop=crop,
        resize=recipe.resize_size[0],
        interpolation=recipe.interpolation.value,
        preprocessing=preprocessing_name(network, recipe),
        min_side=max(weights.meta["min_size"]),
        head=head,
        parameters=parameters,
        parameters_per_class=count(wider) - parameters,
        macs=macs,
        macs_per_class=macs_of(wider, crop, crop) - macs,
        tensors_sha256=tensors_sha256(shapes, head),
    )


def preprocessing_name(network: str, recipe: Any) -> str:
    """The preset of these means and deviations; the weights that transform their input expect another one."""
    if network in ("googlenet", "inception_v3"):
        return "inception"
    (name,) = (
        name
        for name, preset in PREPROCESSING_PRESETS.items()
        if preset.value_range == 1 and (preset.mean, preset.std) == (tuple(recipe.mean), tuple(recipe.std))
    )
    return name


def shapes_of(body: nn.Module) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the state dict."""
    return {name: tuple(tensor.shape) for name, tensor in body.state_dict().items()}


def count(body: nn.Module) -> int:
    """Learned numbers."""
    return sum(parameter.numel() for parameter in body.parameters())


def macs_of(body: nn.Module, height: int, width: int) -> int:
    """Multiply-accumulates of one image, by torch's own counter."""
    with FlopCounterMode(display=False) as counter:
        body.to("meta")(torch.empty(1, 3, height, width, device="meta"))
    return int(counter.get_total_flops()) // 2


def main() -> None:
    """Write the table to standard output."""
    writer = csv.DictWriter(sys.stdout, [field.name for field in fields(TorchvisionRow)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows())


if __name__ == "__main__":
    main()
