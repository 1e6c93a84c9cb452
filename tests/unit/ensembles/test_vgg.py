"""The torch networks: equal to torchvision's, dense equal to fully-connected, and vectors checkable by hand."""

from __future__ import annotations

import math

import pytest
import torch
import torchvision
from torch import Tensor, nn

from ensembles.configurations import CONFIGURATIONS, Architecture
from ensembles.errors import ScaleTooSmallError, SpecError
from ensembles.vgg import VGG, DenseVGG, fully_convolutional, initialise

TORCHVISION = {"A": "vgg11", "B": "vgg13", "D": "vgg16", "E": "vgg19"}


def narrow(configuration: str, crop: int = 32, batch_norm: bool = False, classes: int = 7) -> VGG:
    network = initialise(VGG(Architecture(configuration, batch_norm, 1 / 32, classes, crop)), seed=3)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.bias.normal_(0, 0.3, generator=torch.Generator().manual_seed(5))
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.2, generator=torch.Generator().manual_seed(6))
                module.running_var.uniform_(0.5, 2, generator=torch.Generator().manual_seed(7))
    return network.double().eval()


def pixels(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(11), dtype=torch.float64)


@pytest.mark.parametrize("configuration", TORCHVISION)
@pytest.mark.parametrize("batch_norm", [False, True])
def test_names_shapes_and_modules_equal_torchvision_s(configuration: str, batch_norm: bool) -> None:
    architecture = Architecture(configuration, batch_norm)
    with torch.device("meta"):
        ours = VGG(architecture)
        theirs = torchvision.models.get_model(architecture.name)
    shapes = {name: tuple(tensor.shape) for name, tensor in theirs.state_dict().items()}
    assert {name: tuple(tensor.shape) for name, tensor in ours.state_dict().items()} == shapes
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert [repr(module) for module in ours.features] == [repr(module) for module in theirs.features]
    assert [repr(module) for module in ours.classifier] == [repr(module) for module in theirs.classifier]
    ours.load_state_dict(theirs.state_dict(), strict=True, assign=True)


def test_torchvision_s_narrowed_network_gives_the_same_scores() -> None:
    ours = narrow("A", crop=224, batch_norm=True)
    channels = [2, "M", 4, "M", 8, 8, "M", 16, 16, "M", 16, 16, "M"]
    with torch.device("meta"):
        theirs = torchvision.models.vgg.VGG(torchvision.models.vgg.make_layers(channels, True))
        theirs.classifier = VGG(ours.architecture).classifier
    theirs.load_state_dict(ours.state_dict(), strict=True, assign=True)
    theirs.eval()
    image = pixels(2, 3, 224, 224)
    with torch.no_grad():
        assert torch.equal(ours(image), theirs(image))


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
@pytest.mark.parametrize("batch_norm", [False, True])
def test_architecture_describes_the_state_dict_exactly(configuration: str, batch_norm: bool) -> None:
    architecture = Architecture(configuration, batch_norm, width=0.1, classes=3, crop=64)
    network = VGG(architecture)
    assert {name: tuple(t.shape) for name, t in network.state_dict().items()} == architecture.tensor_shapes()
    assert sum(parameter.numel() for parameter in network.parameters()) == architecture.parameters
    modules = dict(network.named_modules())
    assert [row.name for row in architecture.layers()] == [name for name in modules if "." in name]


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
@pytest.mark.parametrize("crop", [32, 64, 96])
@pytest.mark.parametrize("pool_rounding", ["floor", "ceil"])
def test_dense_equals_fully_connected_at_the_training_crop(configuration: str, crop: int, pool_rounding: str) -> None:
    network = narrow(configuration, crop)
    image = pixels(2, 3, crop, crop)
    with torch.no_grad():
        scores, score_map = network(image), DenseVGG(network, pool_rounding)(image)
    assert score_map.shape == (2, 7, 1, 1)
    assert scores.std() > 1e-3
    assert (score_map[:, :, 0, 0] - scores).abs().max() <= 1e-10


def test_dense_equals_fully_connected_with_batch_norm() -> None:
    network = narrow("D", 64, batch_norm=True)
    image = pixels(2, 3, 64, 64)
    with torch.no_grad():
        assert (DenseVGG(network)(image)[:, :, 0, 0] - network(image)).abs().max() <= 1e-10


@pytest.mark.parametrize("pool_rounding", ["floor", "ceil"])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (65, 65), (95, 97), (66, 130), (161, 97), (127, 64)])
def test_score_map_has_the_announced_size(height: int, width: int, pool_rounding: str) -> None:
    network = narrow("A", crop=64)
    with torch.no_grad():
        score_map = DenseVGG(network, pool_rounding)(pixels(1, 3, height, width))
    assert score_map.shape[2:] == network.architecture.score_map_size(height, width, pool_rounding)


@pytest.mark.parametrize(
    ("width", "height", "floor", "ceil"),
    [
        (225, 225, (1, 1), (2, 2)),
        (341, 256, (2, 4), (2, 5)),
        (385, 256, (2, 6), (2, 7)),
        (682, 512, (10, 15), (10, 16)),
    ],
)
def test_score_maps_of_crop_224_equal_the_table(
    width: int, height: int, floor: tuple[int, int], ceil: tuple[int, int]
) -> None:
    network = initialise(VGG(Architecture("A", width=0.01, classes=2)), seed=0).eval()
    image = pixels(1, 3, height, width).float()
    with torch.no_grad():
        assert DenseVGG(network, "floor")(image).shape[2:] == floor
        assert DenseVGG(network, "ceil")(image).shape[2:] == ceil


def test_an_image_without_a_position_is_refused_by_name() -> None:
    dense = DenseVGG(narrow("A", crop=64))
    with pytest.raises(ScaleTooSmallError):
        dense(pixels(1, 3, 63, 200))
    with torch.no_grad():
        assert DenseVGG(narrow("A", crop=64), "ceil")(pixels(1, 3, 63, 200)).shape[2:] == (1, 6)


@pytest.mark.parametrize("shape", [(1, 3, 40, 32), (1, 3, 33, 33), (1, 1, 32, 32), (3, 32, 32)])
def test_the_fc_network_takes_its_crop_and_nothing_else(shape: tuple[int, ...]) -> None:
    with pytest.raises(SpecError, match=r"pixels: shape \(N, 3, 32, 32\)"):
        narrow("A")(pixels(*shape))


def test_dense_shares_weights_with_the_network_through_casts_and_updates() -> None:
    network = narrow("D", crop=64)
    dense = DenseVGG(network, "ceil")
    pointers = {parameter.data_ptr() for parameter in network.parameters()}
    assert {parameter.data_ptr() for parameter in dense.parameters()} == pointers
    network.float()
    with torch.no_grad():
        network.classifier[6].bias.fill_(9.0)
        network.classifier[6].weight.zero_()
        assert torch.equal(dense(pixels(1, 3, 96, 64).float()), torch.full((1, 7, 2, 1), 9.0))


def test_only_1x1_convolutions_make_each_position_the_score_of_its_crop() -> None:
    generator = torch.Generator().manual_seed(2)
    features = nn.Sequential()
    for inputs, outputs in ((3, 4), (4, 5), (5, 6), (6, 6), (6, 6)):
        features.extend([nn.Conv2d(inputs, outputs, 1), nn.ReLU(), nn.MaxPool2d(2, 2)])
    classifier = nn.Sequential(nn.Linear(6 * 49, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    for parameter in [*features.parameters(), *classifier.parameters()]:
        parameter.data.normal_(0, 0.4, generator=generator)
    features.double(), classifier.double()
    image = pixels(1, 3, 288, 320)
    with torch.no_grad():
        score_map = fully_convolutional(features, classifier, side=7)(image)
        assert score_map.shape == (1, 3, 3, 4)
        for i in range(3):
            for j in range(4):
                crop = image[:, :, 32 * i : 32 * i + 224, 32 * j : 32 * j + 224]
                scores = classifier(features(crop).flatten(1))
                assert (score_map[:, :, i, j] - scores).abs().max() <= 1e-13 * scores.abs().max()


def hand_network() -> tuple[nn.Sequential, nn.Sequential]:
    """One 3x3 convolution of ones, ReLU, pool; class 0 reads the top left of 2x2 features, class 1 the bottom right."""
    features = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, bias=False), nn.ReLU(), nn.MaxPool2d(2, 2))
    classifier = nn.Sequential(nn.Linear(4, 2, bias=False))
    nn.init.ones_(features[0].weight)
    classifier[0].weight.data = torch.tensor([[1.0, 0, 0, 0], [0, 0, 0, 1.0]])
    return features.requires_grad_(False), classifier.requires_grad_(False)


def counting_image(height: int, width: int) -> Tensor:
    return torch.arange(float(height * width)).view(1, 1, height, width)


def test_hand_network_on_4x4_gives_45_and_90_both_ways() -> None:
    features, classifier = hand_network()
    image = counting_image(4, 4)
    assert features(image)[0, 0].tolist() == [[45, 54], [81, 90]]
    assert classifier(features(image).flatten(1)).tolist() == [[45, 90]]
    assert fully_convolutional(features, classifier, side=2)(image).flatten(1).tolist() == [[45, 90]]


def test_hand_network_on_6x6_shows_the_boundary_conditions() -> None:
    features, classifier = hand_network()
    image = counting_image(6, 6)
    score_map = fully_convolutional(features, classifier, side=2)(image)
    assert score_map[0].tolist() == [[[63, 81], [171, 189]], [[189, 198], [243, 252]]]
    assert score_map.mean((2, 3)).tolist() == [[126, 220.5]]
    crops = torch.cat([image[:, :, y : y + 4, x : x + 4] for y in (0, 2) for x in (0, 2)])
    assert classifier(features(crops).flatten(1)).tolist() == [[63, 126], [81, 144], [171, 234], [189, 252]]


def test_hand_network_on_6x5_gains_a_column_when_pooling_rounds_up() -> None:
    features, classifier = hand_network()
    image = counting_image(6, 5)
    floor = fully_convolutional(features, classifier, 2, "floor")(image)
    ceil = fully_convolutional(features, classifier, 2, "ceil")(image)
    assert floor.mean((2, 3)).tolist() == [[99, 184.5]]
    assert ceil.mean((2, 3)).tolist() == [[108, 155.25]]


def test_lrn_is_the_paper_s_with_alpha_not_divided_by_the_window() -> None:
    [layer] = [module for module in VGG(Architecture("A-LRN", width=0.1)).modules() if "Response" in repr(module)[:20]]
    values = layer(torch.full((1, 5, 1, 1), 10.0, dtype=torch.float64)).flatten().tolist()
    expected = [5.880008739, 5.858378, 5.836931602, 5.858378, 5.880008739]
    assert all(math.isclose(value, want, abs_tol=5e-7) for value, want in zip(values, expected, strict=True))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"alpha": 1e-4, "k": 1}, [9.955235, 9.940416, 9.925651, 9.940416, 9.955235]),  # Caffe's defaults
        (
            {"alpha": 1e-4, "k": 2},
            [5.932692, 5.928260, 5.923835, 5.928260, 5.932692],
        ),  # the paper's alpha, divided by 5
    ],
)
def test_the_forms_of_lrn_that_divide_alpha_give_other_values(options: dict[str, float], expected: list[float]) -> None:
    layer = torch.nn.LocalResponseNorm(5, beta=0.75, **options)
    values = layer(torch.full((1, 5, 1, 1), 10.0, dtype=torch.float64)).flatten().tolist()
    assert all(math.isclose(value, want, abs_tol=1e-6) for value, want in zip(values, expected, strict=True))


def test_lrn_follows_the_first_relu_only() -> None:
    features = VGG(Architecture("A-LRN", batch_norm=True, width=0.1)).features
    names = [type(module).__name__ for module in features]
    assert names[:5] == ["Conv2d", "BatchNorm2d", "ReLU", "LocalResponseNorm", "MaxPool2d"]
    assert names.count("LocalResponseNorm") == 1


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_two_forward_passes_in_evaluation_mode_are_bit_equal(configuration: str) -> None:
    network = narrow(configuration, batch_norm=True).float()
    image = pixels(2, 3, 32, 32).float()
    with torch.no_grad():
        assert torch.equal(network(image), network(image))
        assert torch.equal(DenseVGG(network)(image), DenseVGG(network)(image))


def test_dense_network_takes_over_the_mode() -> None:
    network = narrow("A")
    assert not any(module.training for module in DenseVGG(network).modules())
    assert all(module.training for module in DenseVGG(network.train()).modules())


def test_equal_seeds_give_equal_weights_whatever_the_global_state() -> None:
    architecture = Architecture("D", True, width=0.05, classes=3, crop=32)
    torch.manual_seed(1)
    first = initialise(VGG(architecture), seed=4).state_dict()
    torch.manual_seed(2)
    torch.rand(17)
    second = initialise(VGG(architecture), seed=4).state_dict()
    third = initialise(VGG(architecture), seed=5).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["features.0.weight"], third["features.0.weight"])


def test_he_initialisation_keeps_activations_in_range_where_the_paper_s_explodes() -> None:
    architecture = Architecture("E", width=0.5, classes=10, crop=32)
    image = pixels(4, 3, 32, 32).float()
    spreads = {}
    for scheme in ("he", "paper"):
        network = initialise(VGG(architecture), seed=0, scheme=scheme).eval()
        with torch.no_grad():
            spreads[scheme] = network.features(image).std().item()
    assert 0.1 < spreads["he"] < 10
    assert spreads["paper"] > 1000


def test_paper_initialisation_has_variance_one_hundredth_and_zero_biases() -> None:
    network = initialise(VGG(Architecture("B", width=0.1, classes=10, crop=32)), seed=0, scheme="paper")
    for layer in (network.features[12], network.classifier[3]):
        assert layer.weight.var().item() == pytest.approx(0.01, rel=0.05)
        assert not layer.bias.any()
