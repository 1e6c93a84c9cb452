"""VGG weights in timm's and in Caffe's names are the same networks, to the last class score."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from timm.layers import ClassifierHead
from timm.models import vgg as timm_vgg
from torch import Tensor, nn
from torch.nn import functional

from ensembles.checkpoints import Checkpoint, file_sha256, load_network, read_tensors, recognise
from ensembles.configurations import Architecture
from ensembles.errors import CheckpointUnrecognisedError
from ensembles.specs import Preprocessing
from ensembles.vgg import VGG
from tests.tiny_nets import tiny_vgg

CROP = 64
CAFFE_NAMES = {
    "A": "conv1_1 conv2_1 conv3_1 conv3_2 conv4_1 conv4_2 conv5_1 conv5_2",
    "C": "conv1_1 conv1_2 conv2_1 conv2_2 conv3_1 conv3_2 conv3_3 conv4_1 conv4_2 conv4_3 conv5_1 conv5_2 conv5_3",
    "D": "conv1_1 conv1_2 conv2_1 conv2_2 conv3_1 conv3_2 conv3_3 conv4_1 conv4_2 conv4_3 conv5_1 conv5_2 conv5_3",
    "E": "conv1_1 conv1_2 conv2_1 conv2_2 conv3_1 conv3_2 conv3_3 conv3_4 conv4_1 conv4_2 conv4_3 conv4_4 "
    "conv5_1 conv5_2 conv5_3 conv5_4",
}


def loaded_from(tensors: dict[str, Tensor], path: Path) -> VGG:
    """What becomes of a file with these tensors, with the architecture that they tell."""
    torch.save(tensors, path)
    architecture = recognise(read_tensors(path))
    return load_network(Checkpoint(path, file_sha256(path), architecture, Preprocessing(), "file"))


def photo_batch() -> Tensor:
    return torch.randn(3, 3, CROP, CROP, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", ["vgg11", "vgg13_bn", "vgg16", "vgg19_bn"])
def test_timm_s_own_models_are_recognised(name: str) -> None:
    with torch.device("meta"):
        tensors = timm.create_model(name, num_classes=7).state_dict()
    architecture = recognise(tensors)
    assert (architecture.name, architecture.width, architecture.classes, architecture.crop) == (name, 1.0, 7, 224)


@pytest.mark.parametrize("batch_norm", [False, True], ids=["plain", "bn"])
def test_class_scores_equal_timm_s_from_its_own_weights(batch_norm: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    steps = [8, "M", 16, "M", 32, 32, "M", 64, 64, "M", 64, 64, "M"]
    theirs = timm_vgg.VGG(steps, num_classes=5, norm_layer=nn.BatchNorm2d if batch_norm else None)
    # Its constructor knows one width of the FC layers only; the layers themselves stay timm's.
    theirs.pre_logits, theirs.head = timm_vgg.ConvMlp(64, 512, CROP // 32), ClassifierHead(512, 5, pool_type="avg")
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        theirs.train()(photo_batch())  # running statistics that matter
    theirs.eval()
    ours = loaded_from(theirs.state_dict(), tmp_path / "timm.pth")
    assert ours.architecture == Architecture("A", batch_norm, 1 / 8, classes=5, crop=CROP)
    with torch.inference_mode():
        expected = theirs(photo_batch())
        assert expected.std() > 1e-2
        assert (ours(photo_batch()) - expected).abs().max() < 1e-4 * expected.std()


def caffe_scores(tensors: dict[str, Tensor], pixels: Tensor) -> Tensor:
    """The deploy file's network, layer by layer, by the names alone."""
    block = "1"
    for name in sorted(
        name.removesuffix(".weight") for name in tensors if name.startswith("conv") and "bias" not in name
    ):
        if name[4] != block:
            pixels, block = functional.max_pool2d(pixels, 2), name[4]
        weight = tensors[f"{name}.weight"]
        pixels = functional.conv2d(pixels, weight, tensors[f"{name}.bias"], padding=weight.shape[-1] // 2).relu()
    flat = functional.max_pool2d(pixels, 2).flatten(1)
    for name in ("fc6", "fc7"):
        flat = (flat @ tensors[f"{name}.weight"].flatten(1).T + tensors[f"{name}.bias"]).relu()
    return flat @ tensors["fc8.weight"].flatten(1).T + tensors["fc8.bias"]


def in_caffe_s_names(network: VGG, *, convolutional: bool) -> dict[str, Tensor]:
    architecture = network.architecture
    names = [*CAFFE_NAMES[architecture.configuration].split(), "fc6", "fc7", "fc8"]
    learned = [layer.name for layer in architecture.plan if layer.kind in ("conv", "linear")]
    state, tensors = network.state_dict(), {}
    for theirs, ours in zip(names, learned, strict=True):
        weight = state[f"{ours}.weight"]
        if theirs.startswith("fc") and convolutional:
            side = architecture.crop // 32 if theirs == "fc6" else 1
            weight = weight.view(len(weight), -1, side, side)
        tensors |= {f"{theirs}.weight": weight, f"{theirs}.bias": state[f"{ours}.bias"]}
    return tensors


@pytest.mark.parametrize("convolutional", [False, True], ids=["fc", "net-surgery"])
@pytest.mark.parametrize("configuration", CAFFE_NAMES)
def test_networks_in_caffe_s_names_give_caffe_s_class_scores(
    configuration: str, convolutional: bool, tmp_path: Path
) -> None:
    network = tiny_vgg(configuration, crop=CROP)
    tensors = in_caffe_s_names(network, convolutional=convolutional)
    ours = loaded_from(tensors, tmp_path / "caffe.pth")
    assert ours.architecture == network.architecture
    with torch.inference_mode():
        expected = caffe_scores(tensors, photo_batch())
        assert (ours(photo_batch()) - expected).abs().max() < 1e-4 * expected.std()


def test_a_layout_that_one_name_does_not_belong_to_stays_as_it_is() -> None:
    tensors = in_caffe_s_names(tiny_vgg("D"), convolutional=False)
    with pytest.raises(CheckpointUnrecognisedError, match=r"conv1_1\.weight"):
        recognise(tensors | {"layer1.weight": torch.ones(3)})
    with torch.device("meta"):
        timm_tensors = timm.create_model("vgg11").state_dict()
    with pytest.raises(CheckpointUnrecognisedError, match="vgg11: without the three FC layers"):
        recognise(timm_tensors | {"layer1.weight": torch.ones(3)})
