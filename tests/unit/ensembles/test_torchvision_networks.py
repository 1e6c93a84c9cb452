"""Torchvision's classification networks: the shipped table, recognition, and what of them can be dense."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import models

from benchmarks.torchvision_table import macs_of, measured, rows
from ensembles import engine
from ensembles.architectures import architecture_from_dict, block_size, view_macs
from ensembles.canonical import digest
from ensembles.checkpoints import Checkpoint, file_sha256, load_network, read_tensors, recognise
from ensembles.configurations import Architecture
from ensembles.errors import (
    ArchitectureMismatchError,
    CheckpointCorruptError,
    CheckpointMissingError,
    CheckpointUnrecognisedError,
    DenseUnsupportedError,
    ScaleTooSmallError,
    SpecError,
)
from ensembles.networks import LoadedNetwork, load
from ensembles.specs import PREPROCESSING_PRESETS, Preprocessing, ViewSpec
from ensembles.torchvision_models import TorchvisionNetwork, build
from ensembles.torchvision_networks import TorchvisionArchitecture
from ensembles.torchvision_table import default_row, torchvision_networks, torchvision_rows
from ensembles.vgg import VGG, initialise
from ensembles.weight_layouts import in_torchvision_layout
from tests.torchvision_nets import lively, photos

published = TorchvisionArchitecture.published
DENSE = ViewSpec("dense", 256)
REFUSED = ("alexnet", "maxvit_", "swin_", "vit_")


def zeros(network: str, classes: int = 3, crop: int | None = None) -> dict[str, Tensor]:
    """A state dict of the right names and shapes with hardly any memory; computed integers as the network has them."""
    body = build(network, classes, crop or default_row(network).crop)
    return {
        name: tensor if not tensor.is_floating_point() else torch.zeros(1).expand(tensor.shape)
        for name, tensor in body.state_dict().items()
    }


def saved(body: nn.Module | Mapping[str, Tensor], path: Path) -> Path:
    torch.save(body.state_dict() if isinstance(body, nn.Module) else dict(body), path)
    return path


def registered(path: Path, architecture: TorchvisionArchitecture | Architecture) -> Checkpoint:
    return Checkpoint(path, file_sha256(path), architecture, Preprocessing(), path.stem)


def test_the_table_lists_every_classification_network_of_torchvision_beside_vgg() -> None:
    names = [name for name in models.list_models(module=models) if not name.startswith("vgg")]
    assert list(torchvision_networks()) == names
    assert len(names) >= 70


@pytest.mark.slow
def test_the_table_is_what_torchvision_measures() -> None:
    assert {(row.network, row.crop): row for row in rows()} == torchvision_rows()


def test_the_table_agrees_with_what_torchvision_publishes_of_its_weights() -> None:
    for network in torchvision_networks():
        weights = next(iter(models.get_model_weights(network)))
        architecture = published(network)
        assert architecture.macs(architecture.crop, architecture.crop) / 1e9 == pytest.approx(
            weights.meta["_ops"], abs=6e-4
        ), network
        if network != "inception_v3":  # counts the auxiliary head that only training uses
            assert architecture.parameters == weights.meta["num_params"], network


@pytest.mark.parametrize("network", torchvision_networks())
def test_every_network_is_built_recognised_and_says_whether_it_is_dense(network: str) -> None:
    tensors = zeros(network)
    architecture = recognise(tensors)
    assert architecture == published(network, classes=3)
    assert architecture_from_dict(architecture.to_dict()) == architecture
    assert TorchvisionNetwork(architecture).body.state_dict().keys() == tensors.keys()
    refused = network.startswith(REFUSED)
    assert (architecture.dense_refusal is not None) == refused
    if not refused:
        body = build(network, 3, architecture.crop).to("meta")
        larger = architecture.crop + 37
        assert body(torch.empty(2, 3, larger, larger + 50, device="meta")).shape == (2, 3)


@pytest.mark.parametrize("crop", [384, 518])
def test_the_crop_of_a_vision_transformer_is_told_by_its_tensors(crop: int) -> None:
    network = {384: "vit_b_16", 518: "vit_h_14"}[crop]
    found = recognise(zeros(network, crop=crop))
    assert found == published(network, 3, crop)
    assert (found.crop, found.recipe.resize, found.recipe.interpolation) == (crop, crop, "bicubic")


def test_records_without_a_family_are_the_papers_networks_and_keep_their_digest() -> None:
    record = {"configuration": "D", "batch_norm": False, "width": 1.0, "classes": 1000, "crop": 224}
    architecture = architecture_from_dict(record)
    assert isinstance(architecture, Architecture)
    assert architecture.to_dict() == record
    assert digest(record) == "0532a3126ada986db96e844d36e0eb53640ec3309fde579ba714026c7560ab83"


@pytest.mark.parametrize(
    ("record", "field"),
    [
        ({"family": "timm", "network": "resnet18"}, "architecture.family"),
        ({**published("resnet18").to_dict(), "network": "vgg16"}, "architecture.network"),
        ({**published("resnet18").to_dict(), "crop": 0}, "architecture.crop"),
        ({**published("vit_b_16").to_dict(), "crop": 225}, "architecture.crop"),
        ({**published("densenet121").to_dict(), "crop": 28}, "architecture.crop"),
        ({**published("resnet18").to_dict(), "resize": 200}, "architecture.resize"),
        ({**published("resnet18").to_dict(), "interpolation": "lanczos"}, "architecture.interpolation"),
        ({**published("resnet18").to_dict(), "classes": True}, "architecture.classes"),
    ],
)
def test_records_that_break_a_rule_name_the_field(record: dict[str, object], field: str) -> None:
    with pytest.raises(SpecError) as caught:
        architecture_from_dict(record)
    assert [problem.field for problem in caught.value.problems] == [field]


def test_a_network_of_another_crop_keeps_the_proportion_of_its_recipe() -> None:
    assert published("resnet18", 10, 64).recipe.resize == round(64 * 256 / 224)
    assert recognise(zeros("resnet18", 10), crop=64) == published("resnet18", 10, 64)
    with pytest.raises(SpecError, match=r"224 px or 384 px for vit_b_16"):
        recognise(zeros("vit_b_16"), crop=200)
    with pytest.raises(SpecError, match="32 px, which the tensors of vgg11 tell"):
        recognise(
            {n: torch.zeros(1).expand(s) for n, s in Architecture("A", False, 0.1, 3, 32).tensor_shapes().items()},
            crop=64,
        )


@pytest.mark.parametrize("network", ["resnet18", "efficientnet_b0", "densenet121", "mobilenet_v3_small"])
def test_the_cost_of_a_larger_image_is_near_what_torch_counts(network: str) -> None:
    counted = macs_of(build(network, 1000, 224), 256, 341)
    assert published(network).macs(256, 341) == pytest.approx(counted, rel=0.08)


def test_cost_and_blocks_follow_from_the_architecture_alone() -> None:
    resnet = published("resnet50")
    assert view_macs(resnet, ViewSpec("crops", 256), 500, 375) == 50 * resnet.macs(224, 224)
    assert block_size(resnet, ViewSpec("dense", 256)) == 8
    assert block_size(resnet, ViewSpec("dense", 512)) == 2
    assert block_size(resnet, ViewSpec("crops", 256)) == 1
    assert published("resnet50", 10).macs(224, 224) == resnet.macs(224, 224) - 990 * 2048
    assert published("resnet50", 10).parameters == resnet.parameters - 990 * 2049
    with pytest.raises(ScaleTooSmallError):
        published("inception_v3").macs(74, 300)


def test_what_weights_expect_of_pixels_comes_with_their_network() -> None:
    assert published("resnet18").recipe.preprocessing == PREPROCESSING_PRESETS["torchvision"]
    for network in ("googlenet", "inception_v3", "efficientnet_v2_l"):
        assert published(network).recipe.preprocessing == PREPROCESSING_PRESETS["inception"]


@pytest.mark.parametrize("network", ["googlenet", "inception_v3"])
def test_input_transformed_inside_the_network_equals_its_preprocessing(network: str) -> None:
    crop = default_row(network).crop
    theirs = lively(network)
    theirs.transform_input = True
    ours = TorchvisionNetwork(recognise(theirs.state_dict()))  # type: ignore[arg-type]
    ours.load(in_torchvision_layout(theirs.state_dict()))
    pixels = photos(crop, 3) * 0.1 + 0.5

    def normalised(preprocessing: Preprocessing) -> Tensor:
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (preprocessing.mean, preprocessing.std))
        return (pixels - mean) / std

    with torch.inference_mode():
        expected = theirs(normalised(Preprocessing()))
        found = ours(normalised(published(network).recipe.preprocessing))
        other = ours(normalised(Preprocessing()))
    spread = float(expected.std())
    assert float((found - expected).abs().max()) < 1e-4 * spread
    assert float((other - expected).abs().max()) > 1e-2 * spread


def test_loaded_weights_give_torchvision_s_class_scores_on_crops_and_on_whole_images(tmp_path: Path) -> None:
    theirs = lively("resnet18")
    path = saved(theirs, tmp_path / "resnet18.pth")
    network = load(registered(path, recognise(read_tensors(path))))
    crops, whole = photos(224, 2), photos(256, 2)[:, :, :, :241]
    with torch.inference_mode():
        torch.testing.assert_close(network.network(crops), theirs(crops))
        torch.testing.assert_close(network.dense()(whole), theirs(whole)[:, :, None, None])
    with pytest.raises(SpecError, match="224, 224"):
        network.network(whole)


def test_scoring_every_position_of_the_features_and_averaging_is_the_dense_form(tmp_path: Path) -> None:
    theirs = lively("resnet18")
    path = saved(theirs, tmp_path / "resnet18.pth")
    network = load(registered(path, recognise(read_tensors(path))))
    pixels = photos(320, 1)[..., :288]
    with torch.inference_mode():
        features = nn.Sequential(*list(theirs.children())[:-2])(pixels)
        class_map = F.conv2d(features, theirs.fc.weight[:, :, None, None], theirs.fc.bias)
        torch.testing.assert_close(network.dense()(pixels)[:, :, 0, 0], class_map.mean((2, 3)))
    assert class_map.shape[2:] == (10, 9)


@pytest.mark.parametrize("network", ["swin_t", "mnasnet0_5"])
def test_networks_of_every_kind_load_from_a_file_of_theirs(network: str, tmp_path: Path) -> None:
    theirs = lively(network)
    path = saved(theirs, tmp_path / "weights.pt")
    ours = load_network(registered(path, recognise(read_tensors(path))))
    pixels = photos(224, 3)
    with torch.inference_mode():
        expected = theirs(pixels)
        assert expected.std(0).min() > 0.5
        torch.testing.assert_close(ours(pixels), expected, rtol=1e-4, atol=1e-4)


def test_names_of_older_files_are_understood() -> None:
    densenet = {
        name.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): tensor
        for name, tensor in zeros("densenet121").items()
        if not name.endswith("num_batches_tracked")
    }
    assert any("norm.1" in name for name in densenet)
    assert recognise(densenet) == published("densenet121", 3)
    vit = {
        name.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2."): tensor
        for name, tensor in zeros("vit_b_32").items()
    }
    assert any("linear_2" in name for name in vit)
    assert recognise(vit) == published("vit_b_32", 3)


def test_integers_other_than_the_networks_own_are_refused(tmp_path: Path) -> None:
    tensors = {name: tensor.clone() for name, tensor in zeros("swin_t").items()}
    name = "features.1.0.attn.relative_position_index"
    without = {key: tensor for key, tensor in tensors.items() if not key.endswith("relative_position_index")}
    assert recognise(without) == recognise(tensors)
    with pytest.raises(CheckpointUnrecognisedError, match="other values"):
        recognise({**tensors, name: tensors[name].flip(0)})
    with pytest.raises(CheckpointUnrecognisedError, match=r"unexpected x\.relative_position_index"):
        recognise({**zeros("resnet18"), "x.relative_position_index": torch.zeros(2, dtype=torch.int64)})
    path = saved({"fc.relative_position_bias": torch.zeros(2, dtype=torch.int64)}, tmp_path / "odd.pth")
    with pytest.raises(CheckpointCorruptError, match="int64"):
        read_tensors(path)


def test_a_network_that_comes_near_is_named_with_what_differs() -> None:
    tensors = zeros("resnet34")
    del tensors["layer4.2.conv2.weight"]
    with pytest.raises(CheckpointUnrecognisedError) as caught:
        recognise(tensors)
    near = "resnet34: missing layer4.2.conv2.weight; shape fc.weight 3×512 instead of 1000×512, "
    assert caught.value.nearest == near + "fc.bias 3 instead of 1000"


def test_a_stated_network_is_compared_with_the_tensors() -> None:
    assert recognise(zeros("resnet18"), "resnet18") == published("resnet18", 3)
    with pytest.raises(
        ArchitectureMismatchError, match="stated as resnet34, but the file's tensors are those of resnet18"
    ):
        recognise(zeros("resnet18"), "resnet34")


def test_tensors_of_a_are_read_as_a_lrn_where_that_is_stated(tmp_path: Path) -> None:
    lrn = initialise(VGG(Architecture("A-LRN", False, 1 / 16, 3, 32)), seed=1).eval()
    plain = VGG(Architecture("A", False, 1 / 16, 3, 32)).eval()
    weights = dict(zip(plain.state_dict(), lrn.state_dict().values(), strict=True))
    path = saved(weights, tmp_path / "a.pth")
    pixels = 50 * torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    tensors = read_tensors(path)
    assert recognise(tensors).name == "vgg11"
    with torch.inference_mode():
        for stated in ("A-LRN", "vgg-a-lrn"):
            ours = load_network(registered(path, recognise(tensors, stated)))
            assert torch.equal(ours(pixels), lrn(pixels))
        assert not torch.allclose(load_network(registered(path, recognise(tensors, "A")))(pixels), lrn(pixels))
    with pytest.raises(ArchitectureMismatchError, match=r"vgg11 \(configuration A\)"):
        recognise(tensors, "D")


def test_a_file_that_is_gone_is_no_passing_trouble(tmp_path: Path) -> None:
    checkpoint = registered(saved(lively("resnet18"), tmp_path / "resnet18.pth"), published("resnet18", 6))
    checkpoint.path.unlink()
    with pytest.raises(CheckpointMissingError, match=r"resnet18\.pth"):
        load_network(checkpoint)


@pytest.mark.parametrize(
    ("network", "view", "reason"),
    [
        ("vit_b_16", DENSE, "position embedding"),
        ("swin_t", DENSE, "windows"),
        ("maxvit_t", DENSE, "no other size"),
        ("alexnet", DENSE, "6 x 6"),
        ("resnet18", ViewSpec("dense", 256, score_pooling="probs"), "no class score map"),
        ("resnet18", ViewSpec("dense", 256, score_pooling="probs_max"), "no class score map"),
        ("resnet18", ViewSpec("dense", 256, pool_rounding="ceil"), "pool_rounding"),
    ],
)
def test_dense_views_that_a_network_cannot_do_are_refused_with_the_reason(
    network: str, view: ViewSpec, reason: str
) -> None:
    architecture = published(network, 3)
    assert reason in str(architecture.view_refusal(view))
    assert architecture.view_refusal(ViewSpec("crops", 256, pool_rounding="ceil", score_pooling="probs")) is None
    assert Architecture("D").view_refusal(view) is None


def test_the_engine_refuses_such_a_view_before_any_image_is_read() -> None:
    swin = TorchvisionNetwork(published("swin_t", 3))
    swin.load({n: torch.zeros(t.shape) for n, t in swin.body.state_dict().items() if t.is_floating_point()})
    network = LoadedNetwork("swin", swin, Preprocessing())
    with pytest.raises(DenseUnsupportedError, match="swin cannot be evaluated densely"):
        engine.predict([network], [], [DENSE])
    with pytest.raises(DenseUnsupportedError):
        network.dense()


def test_a_row_is_measured_as_the_table_has_it() -> None:
    weights = next(iter(models.get_model_weights("shufflenet_v2_x0_5")))
    assert measured("shufflenet_v2_x0_5", weights) == default_row("shufflenet_v2_x0_5")
