"""Dense evaluation: pooling of the score map, flips, and networks small enough to check by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from ensembles.dense import dense_posteriors, pool_scores
from ensembles.forward import class_scores
from ensembles.vgg import fully_convolutional
from tests.tiny_nets import tiny_vgg


def score_map(*positions: list[float]) -> Tensor:
    """(1, K, 1, w) from the class scores of w positions."""
    return torch.tensor(positions).T[None, :, None, :]


def hand_network(pool_rounding: str) -> tuple[nn.Module, nn.Module]:
    """conv 3x3 of ones, ReLU, 2x2/2 max pool, then FC on 2x2: class 0 is its top left unit, class 1 the bottom right.

    Returns:
        The fully-convolutional form, and the form for 4x4 crops.
    """
    convolution = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    linear = nn.Linear(4, 2, bias=False)
    with torch.no_grad():
        convolution.weight.fill_(1)
        linear.weight.copy_(torch.tensor([[1.0, 0, 0, 0], [0, 0, 0, 1]]))
    features, classifier = nn.Sequential(convolution, nn.ReLU(), nn.MaxPool2d(2)), nn.Sequential(linear)
    dense = fully_convolutional(features, classifier, side=2, pool_rounding=pool_rounding)
    return dense.eval(), nn.Sequential(features, nn.Flatten(), classifier).eval()


def ramp(height: int, width: int) -> Tensor:
    return torch.arange(float(height * width)).view(1, 1, height, width)


def test_at_the_training_crop_the_hand_network_gives_its_fc_scores() -> None:
    dense, crops = hand_network("floor")
    assert class_scores(dense, ramp(4, 4)).flatten().tolist() == [45, 90]
    assert class_scores(crops, ramp(4, 4)).flatten().tolist() == [45, 90]


@pytest.mark.parametrize("pool_rounding", ["floor", "ceil"])
def test_the_hand_network_s_class_maps_on_a_larger_image(pool_rounding: str) -> None:
    dense, _ = hand_network(pool_rounding)
    maps = class_scores(dense, ramp(6, 6))[0]
    assert maps[0].tolist() == [[63, 81], [171, 189]]
    assert maps[1].tolist() == [[189, 198], [243, 252]]
    assert maps.mean((1, 2)).tolist() == [126, 220.5]


def test_crops_of_the_hand_network_differ_from_the_dense_map_at_their_borders() -> None:
    _, crops = hand_network("floor")
    scores = [
        class_scores(crops, ramp(6, 6)[:, :, y : y + 4, x : x + 4].contiguous())[0].tolist()
        for y in (0, 2)
        for x in (0, 2)
    ]
    assert scores == [[63, 126], [81, 144], [171, 234], [189, 252]]


@pytest.mark.parametrize(("pool_rounding", "mean"), [("floor", [99, 184.5]), ("ceil", [108, 155.25])])
def test_rounding_up_keeps_the_last_column_of_an_odd_side(pool_rounding: str, mean: list[float]) -> None:
    dense, _ = hand_network(pool_rounding)
    assert class_scores(dense, ramp(6, 5))[0].mean((1, 2)).tolist() == mean
    # Scaled down, so that the posterior says more than 0 or 1.
    posterior = dense_posteriors(lambda pixels: class_scores(dense, pixels) / 50, ramp(6, 5), hflip=False)
    torch.testing.assert_close(posterior[0], torch.tensor(mean).div(50).softmax(0))


def test_of_two_positions_the_softmax_comes_before_or_after_the_mean_as_asked() -> None:
    two = score_map([math.log(8), 0, 0], [0, math.log(2), 0])
    torch.testing.assert_close(pool_scores(two, "probs")[0], torch.tensor([0.525, 0.3, 0.175]))
    expected = torch.tensor([0.539504, 0.269752, 0.190744])
    torch.testing.assert_close(pool_scores(two, "logits")[0], expected, atol=1e-6, rtol=0)


def test_where_the_softmax_is_taken_can_decide_the_class() -> None:
    three = score_map([10.0, 0, 0], [0.0, 3, 0], [0.0, 3, 0])
    after = torch.tensor([0.363489, 0.606310, 0.030201])
    before = torch.tensor([0.769662, 0.202881, 0.027457])
    torch.testing.assert_close(pool_scores(three, "probs")[0], after, atol=1e-6, rtol=0)
    torch.testing.assert_close(pool_scores(three, "logits")[0], before, atol=1e-6, rtol=0)


def test_the_maximum_over_positions_is_renormalised() -> None:
    two = score_map([math.log(8), 0, 0], [0, math.log(2), 0])  # posteriors (.8, .1, .1) and (.25, .5, .25)
    torch.testing.assert_close(pool_scores(two, "probs_max")[0], torch.tensor([0.8, 0.5, 0.25]) / 1.55)


@pytest.mark.parametrize("score_pooling", ["logits", "probs", "probs_max"])
def test_rows_are_float32_distributions_whatever_the_scores(score_pooling: str) -> None:
    maps = torch.randn(5, 7, 3, 4, generator=torch.Generator().manual_seed(0)) * 60
    rows = pool_scores(maps.to(torch.bfloat16), score_pooling)
    assert rows.dtype == torch.float32
    torch.testing.assert_close(rows.sum(1), torch.ones(5))
    one_position = pool_scores(maps[:, :, :1, :1], score_pooling)
    torch.testing.assert_close(one_position, maps[:, :, 0, 0].softmax(1))


def test_positions_are_averaged_and_not_summed() -> None:
    one, four = score_map([2.0, 0, -1]), score_map(*[[2.0, 0, -1]] * 4)
    torch.testing.assert_close(pool_scores(one, "logits"), pool_scores(four, "logits"))


def test_flips_average_softmax_posteriors_and_not_scores() -> None:
    def forward(pixels: Tensor) -> Tensor:
        right = bool(pixels[0, 0, 0, 0] > pixels[0, 0, 0, -1])
        return score_map([-1.0, 1, 0]) if right else score_map([2.0, 0, -1])

    posterior = dense_posteriors(forward, ramp(1, 4))
    torch.testing.assert_close(posterior[0], torch.tensor([0.466913, 0.389718, 0.143369]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("score_pooling", ["logits", "probs", "probs_max"])
@pytest.mark.parametrize("size", [(48, 80), (45, 67)])
def test_an_image_and_its_mirror_image_have_the_same_posterior_to_the_bit(
    size: tuple[int, int], score_pooling: str
) -> None:
    dense = fully_convolutional(tiny_vgg().features, tiny_vgg().classifier, side=1)
    pixels = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1)).mul(3)
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    ours = dense_posteriors(dense, pixels, score_pooling=score_pooling)
    mirrored = dense_posteriors(
        dense, pixels.flip(3).contiguous(memory_format=torch.channels_last), score_pooling=score_pooling
    )
    assert torch.equal(ours, mirrored)
    assert not torch.allclose(
        dense_posteriors(dense, pixels, hflip=False), dense_posteriors(dense, pixels.flip(3), hflip=False)
    )


def test_with_pointwise_convolutions_alone_the_dense_map_equals_the_crops() -> None:
    generator = torch.Generator().manual_seed(2)
    features = nn.Sequential()
    for inputs, outputs in ((3, 4), (4, 6), (6, 6), (6, 8), (8, 8)):
        features.extend([nn.Conv2d(inputs, outputs, 1), nn.ReLU(), nn.MaxPool2d(2)])
    classifier = nn.Sequential(nn.Linear(8 * 49, 9), nn.ReLU(), nn.Linear(9, 5))
    for parameter in (*features.parameters(), *classifier.parameters()):
        parameter.data.normal_(0, 0.5, generator=generator)
    features, classifier = features.double(), classifier.double()
    pixels = torch.randn(1, 3, 320, 288, generator=generator, dtype=torch.float64)
    with torch.inference_mode():
        dense = fully_convolutional(features, classifier, side=7)(pixels)[0]
        assert dense.shape == (5, 4, 3)
        for row in range(4):
            for column in range(3):
                crop = pixels[:, :, 32 * row : 32 * row + 224, 32 * column : 32 * column + 224]
                scores = classifier(features(crop).flatten(1))[0]
                torch.testing.assert_close(dense[:, row, column], scores, atol=1e-12, rtol=0)
