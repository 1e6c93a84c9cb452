"""Weights that torchvision publishes, by name: where their file lies, and what torchvision says of them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import torch
from torchvision import models

from ensembles.configurations import Architecture
from ensembles.errors import ArchitectureMismatchError, UnknownNameError, WeightsUnavailableError
from ensembles.specs import Preprocessing
from ensembles.torchvision_networks import TorchvisionArchitecture

#: What these two expect of pixels: torchvision transforms its own normalisation inside them.
_TRANSFORMING = ("googlenet", "inception_v3")


@dataclass(frozen=True)
class PublishedWeights:
    """One entry of torchvision's list.

    Attributes:
        name: network/weights, such as resnet50/IMAGENET1K_V2.
        network: torchvision's name.
        url: of the file.
        crop: side of the centre crop, px.
        resize: smaller image side before it, px.
        interpolation: of that rescaling.
        preprocessing: of the pixels.
        classes: names in the order of the outputs.
    """

    name: str
    network: str
    url: str
    crop: int
    resize: int
    interpolation: str
    preprocessing: Preprocessing
    classes: tuple[str, ...]

    def applied(self, found: Architecture | TorchvisionArchitecture) -> Architecture | TorchvisionArchitecture:
        """The architecture of a file with the recipe of these weights.

        Raises:
            ArchitectureMismatchError: the file holds another network.
        """
        if found.name != self.network:
            raise ArchitectureMismatchError(f"{self.network} (weights {self.name})", found.name)
        if not isinstance(found, TorchvisionArchitecture):
            return found
        return replace(found, crop=self.crop, resize=self.resize, interpolation=cast("Any", self.interpolation))


def published_weights(name: str) -> PublishedWeights:
    """Look a name up in the installed torchvision.

    Raises:
        UnknownNameError: it has no such network or weights.
        WeightsUnavailableError: the weights are not those of a classifier.
    """
    network, _, weights = name.partition("/")
    networks = models.list_models(module=models)
    if network not in networks:
        raise UnknownNameError("weights", network, networks)
    entries = {entry.name: entry for entry in models.get_model_weights(network)}
    if weights not in entries:
        raise UnknownNameError("weights", weights, entries)
    entry = entries[weights]
    if not entry.meta.get("categories"):
        reason = "torchvision publishes its features only; its classifier is NaN"
        raise WeightsUnavailableError(name, reason)
    recipe = entry.transforms()
    preprocessing = Preprocessing(mean=tuple(recipe.mean), std=tuple(recipe.std))
    if network in _TRANSFORMING:
        preprocessing = TorchvisionArchitecture.published(network).recipe.preprocessing
    return PublishedWeights(
        name=name,
        network=network,
        url=entry.url,
        crop=recipe.crop_size[0],
        resize=recipe.resize_size[0],
        interpolation=recipe.interpolation.value,
        preprocessing=preprocessing,
        classes=tuple(entry.meta["categories"]),
    )


def find_published_weights(name: str) -> Path:
    """The file of published weights: from torch hub's cache, else from the network into it.

    Raises:
        UnknownNameError: torchvision has no such weights.
        WeightsUnavailableError: they are not in the cache and cannot be had from the network.
    """
    url = published_weights(name).url
    file = Path(urlsplit(url).path).name
    cached = Path(torch.hub.get_dir()) / "checkpoints" / file
    if not cached.is_file():
        begins = re.search(r"-([0-9a-f]{8,})\.", file)
        try:
            cached.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(cached), begins and begins[1], progress=False)
        except (OSError, RuntimeError) as error:  # RuntimeError: the file's SHA-256 is another one
            reason = (
                f"they are not at {cached}, and {url} cannot be fetched ({error}); fetch it on another machine, and "
                "name the file with --weights"
            )
            raise WeightsUnavailableError(name, reason) from error
    return cached
