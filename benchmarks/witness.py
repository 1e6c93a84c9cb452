"""Softvote, torchvision's reference recipe and timm's, on the same images with the same weights, in one process.

    python -m benchmarks.witness FOLDER [--network resnet50 ...] [--weights FILE] [--limit N]

FOLDER holds images at any depth. Without `--weights`, the networks get random weights, calibrated on the first images
so that class scores differ by several units and many classes lead. It prints the largest difference of a
log-probability in standard deviations of the class scores, and how many images have another top-1 class.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from PIL import Image
from timm.data import create_transform, resolve_data_config
from torch import Tensor, nn
from torchvision import models

from ensembles.checkpoints import read_tensors, recognise
from ensembles.configurations import Architecture
from ensembles.engine import ImageFile, predict
from ensembles.networks import LoadedNetwork
from ensembles.preprocessing import decode
from ensembles.protocols import PRESETS
from ensembles.specs import ViewSpec
from ensembles.torchvision_models import TorchvisionNetwork
from ensembles.torchvision_networks import TorchvisionArchitecture
from ensembles.vgg import VGG
from tests.torchvision_nets import lively

#: timm's name of the weights with the same recipe as torchvision's first ones.
TIMM_WEIGHTS = {
    "vgg11": "vgg11.tv_in1k",
    "vgg16": "vgg16.tv_in1k",
    "resnet18": "resnet18.tv_in1k",
    "resnet50": "resnet50.tv_in1k",
    "efficientnet_b0": "efficientnet_b0.ra_in1k",
}
#: Log-probability; that of the smallest normal float32 is -87.3.
_LOWEST = -80.0
_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class Agreement:
    """How near two evaluations of the same images are.

    Attributes:
        difference: largest difference of a log-probability, in standard deviations of the reference's class scores.
        other_top1: images whose best class differs.
        spread: standard deviation of the reference's log-probabilities.
        predicted: classes that the reference predicts.
    """

    difference: float
    other_top1: int
    spread: float
    predicted: int


def agreement(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> Agreement:
    """Compare log-probabilities (N, K); class scores do as well, since a constant a row makes no difference.

    Where the reference's are too low for the float32 of a posterior, there is nothing to compare.
    """
    ours, theirs = (scores - np.logaddexp.reduce(scores, axis=1, keepdims=True) for scores in (ours, theirs))
    spread = float((theirs - theirs.mean(1, keepdims=True)).std())
    best = theirs.argmax(1)
    return Agreement(
        float(np.abs(ours - theirs)[theirs > _LOWEST].max()) / spread,
        int((ours.argmax(1) != best).sum()),
        spread,
        len(set(best.tolist())),
    )


def our_log_probs(network: LoadedNetwork, files: Sequence[Path], view: ViewSpec | None = None) -> NDArray[np.float64]:
    """By the engine, under the preset `torchvision` unless told otherwise; (N, K)."""
    architecture = network.architecture
    view = view or PRESETS["torchvision"].views(None, architecture.crop, recipe=architecture.recipe)[0]
    (predicted,) = predict([network], [ImageFile(path.name, path) for path in files], [view])
    # Posteriors are float32, in which the softmax of a far lower score is 0.
    return np.log(np.maximum(predicted.probs, np.finfo(np.float32).tiny).astype(np.float64))


def reference_log_probs(
    model: nn.Module, transform: Callable[[Image.Image], Tensor], files: Sequence[Path]
) -> NDArray[np.float64]:
    """By a model of torchvision or timm behind its own transform, as their evaluation scripts do; (N, K)."""
    rows = []
    with torch.inference_mode():
        for path in files:
            with Image.open(path) as image:
                pixels = transform(image.convert("RGB"))
            rows.append(model(pixels.unsqueeze(0)).double().log_softmax(1)[0])
    return torch.stack(rows).numpy()


def loaded(architecture: Architecture | TorchvisionArchitecture, tensors: Mapping[str, Tensor]) -> LoadedNetwork:
    """Our network with these tensors."""
    network: VGG | TorchvisionNetwork
    if isinstance(architecture, TorchvisionArchitecture):
        network = TorchvisionNetwork(architecture)
        network.load(tensors)
    else:
        network = VGG(architecture)
        network.load_state_dict(tensors)
    return LoadedNetwork(architecture.name, network, architecture.recipe.preprocessing)


def carry_over(tensors: Mapping[str, Tensor], model: nn.Module) -> nn.Module:
    """Give a model with other names the same tensors, in order; FC layers may be convolutions there."""
    own = model.state_dict()
    pairs = zip(own.items(), tensors.values(), strict=True)
    model.load_state_dict({name: tensor.reshape(mine.shape) for (name, mine), tensor in pairs})
    return model.eval()


def timm_transform(network: str) -> Callable[[Image.Image], Tensor]:
    """Timm's evaluation transform for its weights of the same recipe."""
    config = timm.models.get_pretrained_cfg(TIMM_WEIGHTS[network]).to_dict()
    transform: Callable[[Image.Image], Tensor] = create_transform(**resolve_data_config({}, pretrained_cfg=config))
    return transform


def compare(network: str, files: Sequence[Path], weights_file: Path | None) -> list[tuple[str, Agreement]]:
    """Softvote against torchvision and, where timm has the network, timm."""
    recipe = next(iter(models.get_model_weights(network))).transforms()
    model, tensors = _network(network, recipe, files, weights_file)
    ours = our_log_probs(loaded(recognise(tensors), tensors), files)
    found = [("torchvision", agreement(ours, reference_log_probs(model, recipe, files)))]
    if network in TIMM_WEIGHTS:
        twin = carry_over(tensors, timm.create_model(network, num_classes=ours.shape[1]))
        found.append(("timm", agreement(ours, reference_log_probs(twin, timm_transform(network), files))))
    return found


def _network(network: str, recipe: Any, files: Sequence[Path], weights_file: Path | None) -> tuple[nn.Module, Any]:
    if weights_file is None:
        pixels = torch.stack([recipe(decode(path)) for path in files[:32]])
        model = lively(network, pixels, classes=100)
        return model, model.state_dict()
    tensors = read_tensors(weights_file)
    model = models.get_model(network, weights=None, num_classes=recognise(tensors).classes).eval()
    model.load_state_dict(tensors)
    return model, tensors


def main() -> None:
    """Compare on a folder of images and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--network", nargs="+", default=["vgg16", "resnet50", "efficientnet_b0"])
    parser.add_argument("--weights", type=Path, help="of the one network named, instead of random ones")
    parser.add_argument("--limit", type=int, default=200)
    options = parser.parse_args()
    files = sorted(path for path in options.folder.rglob("*") if path.suffix.lower() in _SUFFIXES)[: options.limit]
    print("| network | against | images | classes predicted | spread | largest difference | other top-1 |")
    print("|---|---|---|---|---|---|---|")
    for network in options.network:
        for name, found in compare(network, files, options.weights):
            print(
                f"| {network} | {name} | {len(files)} | {found.predicted} | {found.spread:.2f} "
                f"| {found.difference:.1e} | {found.other_top1} |"
            )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
