"""The names that other projects give the same VGG weights, and the way from them to torchvision's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

#: timm's VGG: torchvision's features, then FC layers as convolutions.
_TIMM_HEAD = {"pre_logits.fc1": "classifier.0", "pre_logits.fc2": "classifier.3", "head.fc": "classifier.6"}
#: The authors' Caffe networks: conv<block>_<position>, and FC layers counted on from the five blocks.
_CAFFE_HEAD = {"fc6": "classifier.0", "fc7": "classifier.3", "fc8": "classifier.6"}
_CAFFE_CONVOLUTION = re.compile(r"conv([1-9])_([1-9])")


def in_torchvision_layout(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename timm's or Caffe's VGG layout to torchvision's; any other state dict comes back as it is.

    FC weights kept as convolutions, (outputs, C, side, side), become (outputs, C * side * side): Caffe, timm and
    torch all flatten features channel by channel, row by row, so the columns keep their order.
    """
    modules = _renamed_modules({name.rpartition(".")[0] for name in tensors})
    renamed = {}
    for name, tensor in tensors.items():
        module, _, leaf = name.rpartition(".")
        target = modules.get(module)
        if target is None:
            renamed[name] = tensor
        else:
            fully_connected = target.startswith("classifier.") and tensor.dim() == 4
            renamed[f"{target}.{leaf}"] = tensor.flatten(1) if fully_connected else tensor
    return renamed


def _renamed_modules(modules: Iterable[str]) -> dict[str, str]:
    """New names of the modules that have one; empty unless every module belongs to the same layout."""
    others = set(modules)
    if others & _TIMM_HEAD.keys():
        belong = all(module in _TIMM_HEAD or module.startswith("features.") for module in others)
        return _TIMM_HEAD if belong else {}
    places = {match.groups(): match.string for module in others if (match := _CAFFE_CONVOLUTION.fullmatch(module))}
    if not places or others - set(places.values()) - _CAFFE_HEAD.keys():
        return {}
    renamed, index, block = dict(_CAFFE_HEAD), 0, "1"
    for place in sorted(places):
        index += place[0] != block  # the pool between two blocks
        block = place[0]
        renamed[places[place]] = f"features.{index}"
        index += 2  # the convolution and its ReLU
    return renamed
