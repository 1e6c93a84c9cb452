"""Class scores that can be computed by hand, through files: an image and a checkpoint go in, a posterior comes out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from ensembles import engine
from ensembles.checkpoints import Checkpoint
from ensembles.engine import ImageFile
from ensembles.specs import Preprocessing, ViewSpec
from ensembles.vgg import VGG, initialise
from tests.builders import photo
from tests.hand_networks import SCALE, checkpoint_of, enlarged, passing_network, scores_of, sum_of_nine


def posterior(checkpoint: Checkpoint, pixels: NDArray[np.uint8], view: ViewSpec) -> NDArray[np.float32]:
    """(K,) of one image, written beside the checkpoint."""
    path = checkpoint.path.with_name("image.png")
    Image.fromarray(pixels).save(path)
    (predicted,) = engine.predict([checkpoint], [ImageFile("image.png", path)], [view])
    return predicted.probs[0]


def softmax(scores: list[tuple[float, float]]) -> NDArray[np.float64]:
    """Of the hand network's class scores, the third class having 0; a row each."""
    padded = np.array([[*pair, 0.0] for pair in scores]) / SCALE
    exponentials = np.exp(padded)
    return exponentials / exponentials.sum(axis=1, keepdims=True)


@pytest.fixture
def hand(tmp_path: Path) -> Checkpoint:
    return checkpoint_of(sum_of_nine(), tmp_path / "hand.safetensors")


@pytest.mark.parametrize(
    ("shape", "pool_rounding", "expected"),
    [
        ((4, 4), "floor", (45, 90)),
        ((4, 4), "ceil", (45, 90)),
        ((6, 6), "floor", (126, 220.5)),
        ((6, 6), "ceil", (126, 220.5)),
        ((6, 5), "floor", (99, 184.5)),
        ((6, 5), "ceil", (108, 155.25)),
    ],
)
def test_dense_scores_of_the_hand_network(
    hand: Checkpoint, shape: tuple[int, int], pool_rounding: str, expected: tuple[float, float]
) -> None:
    pixels = enlarged(np.arange(shape[0] * shape[1]).reshape(shape))
    view = ViewSpec("dense", 16 * min(shape), hflip=False, pool_rounding=pool_rounding)
    probs = posterior(hand, pixels, view)
    assert SCALE * scores_of(probs).numpy() == pytest.approx(expected, abs=1e-3)


def test_at_its_own_crop_the_hand_network_gives_its_fc_scores(hand: Checkpoint) -> None:
    pixels = enlarged(np.arange(16).reshape(4, 4))
    probs = posterior(hand, pixels, ViewSpec("crops", 64, crop_grid="center", hflip=False))
    assert SCALE * scores_of(probs).numpy() == pytest.approx((45, 90), abs=1e-3)


def test_crops_of_the_hand_network_see_zeros_where_dense_evaluation_sees_the_image(hand: Checkpoint) -> None:
    pixels = enlarged(np.arange(36).reshape(6, 6))
    crops = posterior(hand, pixels, ViewSpec("crops", 96, crop_grid=2, hflip=False))
    dense = posterior(hand, pixels, ViewSpec("dense", 96, hflip=False, score_pooling="probs"))
    assert crops == pytest.approx(softmax([(63, 126), (81, 144), (171, 234), (189, 252)]).mean(0), abs=1e-6)
    assert dense == pytest.approx(softmax([(63, 189), (81, 198), (171, 243), (189, 252)]).mean(0), abs=1e-6)


def test_the_maximum_over_the_hand_network_s_positions_is_renormalised(hand: Checkpoint) -> None:
    pixels = enlarged(np.arange(36).reshape(6, 6))
    probs = posterior(hand, pixels, ViewSpec("dense", 96, hflip=False, score_pooling="probs_max"))
    highest = softmax([(63, 189), (81, 198), (171, 243), (189, 252)]).max(0)
    assert probs == pytest.approx(highest / highest.sum(), abs=1e-6)


def test_the_flip_of_the_hand_network_s_image_counts_as_much_as_the_image(hand: Checkpoint) -> None:
    values = np.arange(36).reshape(6, 6)
    image, mirrored = (
        posterior(hand, enlarged(each), ViewSpec("dense", 96, hflip=False)) for each in (values, values[:, ::-1])
    )
    both = posterior(hand, enlarged(values), ViewSpec("dense", 96))
    assert both == pytest.approx((image + mirrored) / 2, abs=1e-6)
    assert not np.allclose(image, mirrored, atol=0.01)


def pointwise(configuration: str, crop: int) -> VGG:
    """Random weights; of each 3x3 kernel only the centre is left."""
    network = initialise(
        VGG(passing_network(configuration, width=1 / 32, classes=4, crop=crop, channels=1).architecture), seed=3
    )
    with torch.no_grad():
        for module in network.features:
            if isinstance(module, torch.nn.Conv2d) and module.kernel_size[0] > 1:
                centre = module.weight[:, :, 1:2, 1:2].clone() * 3
                module.weight.zero_()
                module.weight[:, :, 1:2, 1:2] = centre
    return network.eval()


@pytest.mark.parametrize(("configuration", "crop"), [("A", 32), ("C", 224)])
def test_without_borders_to_see_dense_positions_are_the_crops_at_multiples_of_32(
    tmp_path: Path, configuration: str, crop: int
) -> None:
    # A grid of three corners included has these crops where 64 px are left.
    scale = crop + 64
    image = np.asarray(photo(scale, scale, seed=1))
    dense_view = ViewSpec("dense", scale, hflip=False, score_pooling="probs")
    crops_view = ViewSpec("crops", scale, hflip=False, crop_grid=3)
    unsaturated = Preprocessing()
    checkpoint = checkpoint_of(pointwise(configuration, crop), tmp_path / "pointwise.safetensors", unsaturated)
    dense, crops = (posterior(checkpoint, image, view) for view in (dense_view, crops_view))
    assert dense == pytest.approx(crops, abs=1e-6)
    assert 0.01 < dense.max() < 0.99

    with_borders = initialise(VGG(checkpoint.architecture), seed=3).eval()
    other = checkpoint_of(with_borders, tmp_path / "with-borders.safetensors", unsaturated)
    dense, crops = (posterior(other, image, view) for view in (dense_view, crops_view))
    assert np.abs(dense - crops).max() > 1e-5


@pytest.mark.parametrize("mode", ["dense", "crops"])
def test_lrn_of_a_file_is_the_paper_s(tmp_path: Path, mode: str) -> None:
    """k = 2, n = 5, alpha = 1e-4 not divided by n, beta = 0.75; five channels of one pixel, all 10."""
    width, grey = 5 / 64, np.full((32, 32, 3), 10, np.uint8)
    scores = {}
    for configuration in ("A", "A-LRN"):
        network = passing_network(configuration, width=width, classes=6, crop=32, channels=5)
        with torch.no_grad():
            network.classifier[-1].weight[range(5), range(5)] = 1
        checkpoint = checkpoint_of(network, tmp_path / f"{configuration}.safetensors")
        probs = posterior(checkpoint, grey, ViewSpec(mode, 32, crop_grid="center"))
        scores[configuration] = scores_of(probs).numpy()
    paper = [5.880008739, 5.858378, 5.836931602, 5.858378, 5.880009]
    assert scores["A-LRN"] == pytest.approx(paper, abs=1e-5)
    assert scores["A"] == pytest.approx([10] * 5, abs=1e-4)
