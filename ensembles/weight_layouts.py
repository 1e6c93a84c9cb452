"""The names that other projects and earlier releases give the same weights, and the way from them to torchvision's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from torch import Tensor

from ensembles.configurations import CONFIGURATIONS, Architecture

#: timm's VGG: torchvision's features, then FC layers as convolutions.
_TIMM_HEAD = {"pre_logits.fc1": "classifier.0", "pre_logits.fc2": "classifier.3", "head.fc": "classifier.6"}
#: The authors' Caffe networks: conv<block>_<position>, and FC layers counted on from the five blocks.
_CAFFE_HEAD = {"fc6": "classifier.0", "fc7": "classifier.3", "fc8": "classifier.6"}
_CAFFE_CONVOLUTION = re.compile(r"conv([1-9])_([1-9])")

#: Names in torchvision's own older files: DenseNet's layers before 0.3, the two FC layers of ViT's blocks before 0.12.
_OLD_NAMES = (
    (re.compile(r"(.*denselayer\d+\.(?:norm|conv))\.([12]\.\w+)"), r"\1\2"),
    (re.compile(r"(encoder\..*\.mlp)\.linear_1\.(\w+)"), r"\1.0.\2"),
    (re.compile(r"(encoder\..*\.mlp)\.linear_2\.(\w+)"), r"\1.3.\2"),
)
#: Heads of GoogLeNet and Inception that only training uses, each beside a module of the network it belongs to.
_AUXILIARY_HEADS = {"inception5b.": ("aux1.", "aux2."), "Mixed_7c.": ("AuxLogits.",)}


def in_torchvision_layout(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename timm's or Caffe's VGG layout and torchvision's older names, and leave out auxiliary heads.

    Any other state dict comes back as it is.

    FC weights kept as convolutions, (outputs, C, side, side), become (outputs, C * side * side): Caffe, timm and
    torch all flatten features channel by channel, row by row, so the columns keep their order.
    """
    modules = _renamed_modules({name.rpartition(".")[0] for name in tensors})
    renamed = {}
    for name, tensor in _with_present_names(tensors).items():
        module, _, leaf = name.rpartition(".")
        target = modules.get(module)
        if target is None:
            renamed[name] = tensor
        else:
            fully_connected = target.startswith("classifier.") and tensor.dim() == 4
            renamed[f"{target}.{leaf}"] = tensor.flatten(1) if fully_connected else tensor
    return renamed


def placed(tensors: Mapping[str, Tensor], architecture: Architecture) -> dict[str, Tensor]:
    """Tensors of configuration A under the names of A-LRN, whose normalisation has no tensors but a place of its own.

    Args:
        tensors: in torchvision's layout.
        architecture: for any other configuration the tensors come back as they are.
    """
    if not CONFIGURATIONS[architecture.configuration].lrn:
        return dict(tensors)
    plain = replace(architecture, configuration="A")
    if set(tensors) - set(plain.tensor_shapes()):
        return dict(tensors)
    ours, theirs = ([layer.name for layer in each.plan if layer.tensor_shapes()] for each in (architecture, plain))
    names = dict(zip(theirs, ours, strict=True))
    return {f"{names[module]}.{leaf}": tensors[name] for name in tensors for module, _, leaf in [name.rpartition(".")]}


def _with_present_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    heads = tuple(
        head
        for beside, names in _AUXILIARY_HEADS.items()
        if any(name.startswith(beside) for name in tensors)
        for head in names
    )
    present = {}
    for name, tensor in tensors.items():
        if not name.startswith(heads):
            replaced = (old.sub(new, name) for old, new in _OLD_NAMES if old.fullmatch(name))
            present[next(replaced, name)] = tensor
    return present


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
