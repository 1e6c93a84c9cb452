"""Witnesses for a VGG, a ResNet and an EfficientNet from JPEG to log-probabilities: torchvision's recipe, and timm's.

Both run here with the same weights on the same files as the engine. Each common mistake is planted in turn, and the
same comparison must notice it for each network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from numpy.typing import NDArray
from PIL import Image
from timm.layers import ClassifierHead
from timm.models import vgg as timm_vgg
from torch import Tensor, nn
from torchvision import models

from benchmarks.witness import (
    Agreement,
    agreement,
    carry_over,
    compare,
    loaded,
    our_log_probs,
    reference_log_probs,
    timm_transform,
)
from ensembles.checkpoints import recognise
from ensembles.engine import LoadedNetwork
from ensembles.forward import class_scores
from ensembles.multicrop import crop_scores
from ensembles.preprocessing import decode, resize, to_network_input
from ensembles.protocols import PRESETS
from ensembles.specs import ViewSpec
from tests.builders import encoded, photo
from tests.torchvision_nets import lively
from tests.unit.ensembles.test_witness_torchvision import narrow_network, torchvision_twin

CLASSES = 6
SIZES = [(500, 375), (375, 500), (400, 400), (333, 500), (640, 420), (300, 281)]
NETWORKS = ("vgg11", "resnet18", "efficientnet_b0")


@dataclass(frozen=True)
class Case:
    """One network with calibrated random weights, and what the references make of the images."""

    network: LoadedNetwork
    view: ViewSpec
    theirs: Mapping[str, NDArray[np.float64]]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("images")
    for seed in range(8):
        (folder / f"{seed}.jpg").write_bytes(encoded(photo(*SIZES[seed % len(SIZES)], seed)))
    return sorted(folder.iterdir())


@pytest.fixture(scope="module", params=NETWORKS)
def case(request: pytest.FixtureRequest, files: list[Path]) -> Case:
    name = request.param
    transform = next(iter(models.get_model_weights(name))).transforms()
    inputs = torch.stack([transform(decode(path)) for path in files])
    if name == "vgg11":
        theirs = torchvision_twin(narrow_network("A", False, inputs))
        twin = carry_over(theirs.state_dict(), narrow_timm_vgg(theirs.state_dict()))
    else:
        theirs = lively(name, inputs, classes=CLASSES)
        twin = carry_over(theirs.state_dict(), timm.create_model(name, num_classes=CLASSES))
    network = loaded(recognise(theirs.state_dict()), theirs.state_dict())
    (view,) = PRESETS["torchvision"].views(None, 224, recipe=network.architecture.recipe)
    references = {
        "torchvision": reference_log_probs(theirs, transform, files),
        "timm": reference_log_probs(twin, timm_transform(name), files),
    }
    return Case(network, view, references)


def narrow_timm_vgg(tensors: Mapping[str, Tensor]) -> nn.Module:
    """timm's class of the same narrow shape."""
    widths = [tensor.shape[0] for tensor in tensors.values() if tensor.dim() == 4]
    hidden, (first, second, *rest) = tensors["classifier.0.weight"].shape[0], widths
    steps = [first, "M", second, "M", *rest[:2], "M", *rest[2:4], "M", *rest[4:], "M"]
    network = timm_vgg.VGG(steps, num_classes=CLASSES)
    # Its constructor knows one width of the FC layers only; the layers themselves stay timm's.
    network.pre_logits = timm_vgg.ConvMlp(widths[-1], hidden, 7)
    network.head = ClassifierHead(hidden, CLASSES, pool_type="avg")
    return network


@pytest.mark.parametrize("reference", ["torchvision", "timm"])
def test_log_probabilities_equal_the_references_from_the_same_files(
    reference: str, case: Case, files: list[Path]
) -> None:
    theirs = case.theirs[reference]
    found = agreement(our_log_probs(case.network, files), theirs)
    assert found.spread >= 3
    assert found.predicted >= CLASSES / 2
    assert found.difference < 1e-4
    assert found.other_top1 == 0


def bgr(case: Case, files: list[Path]) -> NDArray[np.float64]:
    return our_log_probs(_with(case, channel_order="bgr"), files, case.view)


def wrong_mean(case: Case, files: list[Path]) -> NDArray[np.float64]:
    caffe_mean = (123.68 / 255, 116.779 / 255, 103.939 / 255)  # a whole 0.5 of 255 away from torchvision's
    return our_log_probs(_with(case, mean=caffe_mean), files, case.view)


def no_antialias(case: Case, files: list[Path]) -> NDArray[np.float64]:
    return our_log_probs(case.network, files, replace(case.view, antialias=False))


def other_interpolation(case: Case, files: list[Path]) -> NDArray[np.float64]:
    other = {"bilinear": "bicubic", "bicubic": "bilinear"}[case.view.resize]
    return our_log_probs(case.network, files, replace(case.view, resize=other))


def wrong_resize(case: Case, files: list[Path]) -> NDArray[np.float64]:
    return our_log_probs(case.network, files, replace(case.view, scale=255))


def resized_to_the_crop(case: Case, files: list[Path]) -> NDArray[np.float64]:
    return our_log_probs(case.network, files, replace(case.view, scale=224))


def long_side_rounded_up(case: Case, files: list[Path]) -> NDArray[np.float64]:
    return our_log_probs(case.network, files, replace(case.view, long_side="ceil"))


def flipped_too(case: Case, files: list[Path]) -> NDArray[np.float64]:
    return our_log_probs(case.network, files, replace(case.view, hflip=True))


def crop_one_pixel_off(case: Case, files: list[Path]) -> NDArray[np.float64]:
    return by_hand(case, files, shift=1)


def squashed(case: Case, files: list[Path]) -> NDArray[np.float64]:
    return by_hand(case, files, squash=True)


MISTAKES: list[Callable[[Case, list[Path]], NDArray[np.float64]]] = [
    bgr,
    wrong_mean,
    no_antialias,
    other_interpolation,
    wrong_resize,
    resized_to_the_crop,
    long_side_rounded_up,
    flipped_too,
    crop_one_pixel_off,
    squashed,
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_the_witnesses_notice_a_planted_mistake(
    mistake: Callable[[Case, list[Path]], NDArray[np.float64]], case: Case, files: list[Path]
) -> None:
    wrong = mistake(case, files)
    for theirs in case.theirs.values():
        assert agreement(wrong, theirs).difference > 1e-3


def test_the_crop_cut_by_hand_is_the_engine_s(case: Case, files: list[Path]) -> None:
    assert agreement(by_hand(case, files), our_log_probs(case.network, files)).difference < 1e-5


def test_agreement_is_blind_to_a_constant_and_to_nothing_else() -> None:
    theirs = np.log(np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]))
    assert agreement(theirs + np.array([[3.0], [-1.0]]), theirs).difference < 1e-12
    assert agreement(theirs * 1.01, theirs).difference > 1e-3
    assert agreement(theirs[:, ::-1], theirs).other_top1 == 2


def test_the_script_compares_a_folder_of_images(files: list[Path]) -> None:
    found = dict(compare("resnet18", files[:4], None))
    assert set(found) == {"torchvision", "timm"}
    assert all(isinstance(one, Agreement) and one.difference < 1e-4 and one.spread > 1 for one in found.values())


def by_hand(case: Case, files: list[Path], *, shift: int = 0, squash: bool = False) -> NDArray[np.float64]:
    """The centre crop, moved down by `shift` px, of the image resized as asked or squashed to a square."""
    crop = case.network.architecture.crop
    rows = []
    for path in files:
        image = decode(path)
        if squash:
            image = image.resize((case.view.scale, case.view.scale), Image.Resampling.BILINEAR)
        pixels = to_network_input(resize(image, case.view)[None], case.network.preprocessing)[0]
        top, left = (round((side - crop) / 2) for side in pixels.shape[1:])
        crops = pixels[None, :, top + shift : top + shift + crop, left : left + crop]
        rows.append(crop_scores(lambda inputs: class_scores(case.network.network, inputs), crops, batch=1))
    return torch.cat(rows).double().log_softmax(1).numpy()


def _with(case: Case, **changes: object) -> LoadedNetwork:
    preprocessing = replace(case.network.preprocessing, **changes)  # type: ignore[arg-type]
    return LoadedNetwork(case.network.name, case.network.network, preprocessing)
