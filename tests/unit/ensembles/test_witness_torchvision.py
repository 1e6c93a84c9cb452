"""A witness for the whole path from JPEG to class scores: torchvision's own VGG behind its own reference transform.

Each common mistake in preparing images is planted in turn, and the same comparison must notice it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms
from torchvision.models import vgg as torchvision_vgg

from ensembles.configurations import Architecture
from ensembles.decoding import decode_bytes
from ensembles.forward import class_scores
from ensembles.multicrop import crop_scores, cut_crops
from ensembles.preprocessing import resize, to_network_input
from ensembles.protocols import PRESETS
from ensembles.specs import Preprocessing, ViewSpec
from ensembles.vgg import VGG
from tests.builders import encoded, photo
from tests.tiny_nets import calibrate, tiny_vgg

CLASSES = 6
IMAGES = 10
SIZES = [(500, 375), (375, 500), (400, 400), (333, 500), (640, 420), (300, 280)]
(VIEW,) = PRESETS["torchvision"].views(None, 224)
REFERENCE_TRANSFORM = transforms.Compose(
    [
        transforms.Resize(256),
        transforms.CenterCrop(224),
        transforms.ToTensor(),
        transforms.Normalize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    ]
)


@pytest.fixture(scope="module")
def jpegs() -> list[bytes]:
    return [encoded(photo(*SIZES[seed % len(SIZES)], seed)) for seed in range(IMAGES)]


@pytest.fixture(scope="module")
def reference_inputs(jpegs: list[bytes]) -> Tensor:
    """(IMAGES, 3, 224, 224), prepared by torchvision."""
    return torch.stack([REFERENCE_TRANSFORM(Image.open(BytesIO(data)).convert("RGB")) for data in jpegs])


def narrow_network(configuration: str, batch_norm: bool, inputs: Tensor) -> VGG:
    network = tiny_vgg(configuration, batch_norm=batch_norm, width=1 / 32, classes=CLASSES, crop=224, seed=1)
    return calibrate(network, inputs, std=4.0)


def torchvision_twin(network: VGG) -> torchvision_vgg.VGG:
    """Torchvision's class of the same narrow shape, with the same weights."""
    architecture: Architecture = network.architecture
    channels: list[int | str] = [step for block in architecture.channels for step in (*block, "M")]
    twin = torchvision_vgg.VGG(
        torchvision_vgg.make_layers(channels, architecture.batch_norm), CLASSES, init_weights=False
    )
    # Its constructor knows one width of the FC layers only; the layers themselves stay torchvision's.
    hidden = architecture.hidden
    twin.classifier[0] = torch.nn.Linear(architecture.channels[-1][-1] * 49, hidden)
    twin.classifier[3] = torch.nn.Linear(hidden, hidden)
    twin.classifier[6] = torch.nn.Linear(hidden, CLASSES)
    twin.load_state_dict(network.state_dict())
    return twin.eval()


def our_scores(
    network: VGG, jpegs: list[bytes], view: ViewSpec = VIEW, preprocessing: Preprocessing | None = None
) -> Tensor:
    """(images, K) class scores before the softmax, by the path that the engine takes."""
    rows = []
    for data in jpegs:
        pixels = to_network_input(resize(decode_bytes(data), view)[None], preprocessing or Preprocessing())
        crops = cut_crops(pixels[0], network.architecture.crop, view.crop_grid, hflip=view.hflip)
        rows.append(crop_scores(lambda inputs: class_scores(network, inputs), crops, batch=1))
    return torch.cat(rows)


def agreement(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference of a class score, in standard deviations of the scores; the witness accepts below 1e-4."""
    return float((ours - theirs).abs().max() / theirs.std())


@pytest.mark.parametrize("batch_norm", [False, True], ids=["plain", "bn"])
@pytest.mark.parametrize("configuration", ["A", "B", "D", "E"])
def test_class_scores_equal_torchvision_s_from_the_same_jpegs(
    configuration: str, batch_norm: bool, jpegs: list[bytes], reference_inputs: Tensor
) -> None:
    network = narrow_network(configuration, batch_norm, reference_inputs)
    with torch.inference_mode():
        theirs = torchvision_twin(network)(reference_inputs)
    assert theirs.std() >= 3
    assert theirs.argmax(1).unique().numel() >= CLASSES / 2
    assert agreement(our_scores(network, jpegs), theirs) < 1e-4


def bgr(network: VGG, jpegs: list[bytes]) -> Tensor:
    return our_scores(network, jpegs, preprocessing=replace(Preprocessing(), channel_order="bgr"))


def wrong_mean(network: VGG, jpegs: list[bytes]) -> Tensor:
    caffe_mean = (123.68 / 255, 116.779 / 255, 103.939 / 255)  # a whole 0.5 of 255 away from torchvision's
    return our_scores(network, jpegs, preprocessing=replace(Preprocessing(), mean=caffe_mean))


def no_antialias(network: VGG, jpegs: list[bytes]) -> Tensor:
    return our_scores(network, jpegs, replace(VIEW, antialias=False))


def long_side_rounded_up(network: VGG, jpegs: list[bytes]) -> Tensor:
    return our_scores(network, jpegs, replace(VIEW, long_side="ceil"))


def bicubic(network: VGG, jpegs: list[bytes]) -> Tensor:
    return our_scores(network, jpegs, replace(VIEW, resize="bicubic"))


def squashed(network: VGG, jpegs: list[bytes]) -> Tensor:
    squares = [decode_bytes(data).resize((256, 256), Image.Resampling.BILINEAR) for data in jpegs]
    return our_scores(network, [encoded(image, "png") for image in squares])


def mirrored(network: VGG, jpegs: list[bytes]) -> Tensor:
    flipped = [decode_bytes(data).transpose(Image.Transpose.FLIP_LEFT_RIGHT) for data in jpegs]
    return our_scores(network, [encoded(image, "png") for image in flipped])


MISTAKES: list[Callable[[VGG, list[bytes]], Tensor]] = [
    bgr,
    wrong_mean,
    no_antialias,
    long_side_rounded_up,
    bicubic,
    squashed,
    mirrored,
]


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "bn"])
def witness(request: pytest.FixtureRequest, reference_inputs: Tensor) -> tuple[VGG, Tensor]:
    """A network, and what torchvision makes of it."""
    network = narrow_network("A", request.param, reference_inputs)
    with torch.inference_mode():
        return network, torchvision_twin(network)(reference_inputs)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_the_witness_notices_a_planted_mistake(
    mistake: Callable[[VGG, list[bytes]], Tensor], witness: tuple[VGG, Tensor], jpegs: list[bytes]
) -> None:
    network, theirs = witness
    assert agreement(mistake(network, jpegs), theirs) > 1e-3


def test_the_torchvision_preset_is_the_reference_transform_to_the_pixel(
    jpegs: list[bytes], reference_inputs: Tensor
) -> None:
    for data, expected in zip(jpegs, reference_inputs, strict=True):
        pixels = to_network_input(resize(decode_bytes(data), VIEW)[None], Preprocessing())
        (ours,) = cut_crops(pixels[0], 224, VIEW.crop_grid, hflip=VIEW.hflip)
        assert np.abs(ours.numpy() - expected.numpy()).max() < 1e-6
