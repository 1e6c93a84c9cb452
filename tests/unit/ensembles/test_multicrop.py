"""Multi-crop evaluation: which crops, in which order, and how their posteriors are averaged."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ensembles.architectures import FORWARD_MACS
from ensembles.configurations import Architecture
from ensembles.multicrop import crop_batch_size, crop_scores, cut_crops, multicrop_posteriors
from tests.tiny_nets import tiny_vgg


def coordinates(height: int, width: int) -> Tensor:
    """(2, H, W): each pixel knows its row and column."""
    rows, columns = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    return torch.stack([rows, columns])


def test_the_grid_has_its_corners_row_by_row_and_then_the_mirrored_crops() -> None:
    crops = cut_crops(coordinates(256, 341), 224)
    assert crops.shape == (50, 2, 224, 224)
    tops, lefts = (0, 8, 16, 24, 32), (0, 29, 58, 88, 117)
    places = [(top, left) for top in tops for left in lefts]
    assert [tuple(map(int, crop[:, 0, 0].tolist())) for crop in crops[:25]] == places
    # Mirrored, the first pixel of a row is what was its last.
    assert [tuple(map(int, crop[:, 0, 0].tolist())) for crop in crops[25:]] == [(y, x + 223) for y, x in places]
    assert [tuple(map(int, crop[:, 0, -1].tolist())) for crop in crops[25:]] == places


@pytest.mark.parametrize(
    ("grid", "hflip", "count"), [(5, True, 50), (5, False, 25), (2, True, 8), ("ten", True, 10), ("center", False, 1)]
)
def test_the_recipes_have_their_number_of_crops(grid: str | int, hflip: bool, count: int) -> None:
    assert len(cut_crops(coordinates(40, 50), 32, grid, hflip=hflip)) == count


def test_the_centre_crop_is_rounded_to_even_as_torchvision_does() -> None:
    (crop,) = cut_crops(coordinates(339, 341), 224, "center", hflip=False)  # slack 115 and 117
    assert crop[:, 0, 0].tolist() == [58, 58]


def test_posteriors_are_averaged_after_the_softmax() -> None:
    scores = torch.tensor([[2.0, 0, -1], [-1.0, 1, 0]])
    expected = torch.tensor([0.466913, 0.389718, 0.143369])
    posterior = multicrop_posteriors(lambda crops: scores, torch.zeros(2, 3, 4, 4), 2)
    torch.testing.assert_close(posterior, expected, atol=1e-6, rtol=0)
    assert posterior.dtype == torch.float32


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_the_batch_decides_how_many_crops_go_in_a_pass_and_nothing_else(batch: int) -> None:
    sizes: list[int] = []
    network = tiny_vgg()

    def forward(crops: Tensor) -> Tensor:
        sizes.append(len(crops))
        return network(crops)

    crops = cut_crops(torch.randn(3, 40, 50, generator=torch.Generator().manual_seed(0)), 32)
    scores = crop_scores(forward, crops, batch)
    assert max(sizes) <= batch
    assert sum(sizes) == 50
    torch.testing.assert_close(scores, network(crops))


def test_an_image_and_its_mirror_image_agree_where_every_slack_is_even() -> None:
    network = tiny_vgg()
    pixels = torch.randn(3, 44, 58, generator=torch.Generator().manual_seed(0)) * 3
    ours = multicrop_posteriors(network, cut_crops(pixels, 32), 50)
    mirrored = multicrop_posteriors(network, cut_crops(pixels.flip(2), 32), 50)
    torch.testing.assert_close(ours, mirrored, atol=1e-6, rtol=0)
    without = multicrop_posteriors(network, cut_crops(pixels, 32, hflip=False), 50)
    assert not torch.allclose(ours, without, atol=1e-3)


@pytest.mark.parametrize("configuration", ["A", "D", "E"])
def test_a_pass_over_crops_stays_within_the_macs_of_a_pass(configuration: str) -> None:
    architecture = Architecture(configuration, batch_norm=False, width=1.0, classes=1000, crop=224)
    batch = crop_batch_size(architecture)
    assert batch * architecture.macs(224, 224) <= FORWARD_MACS < (batch + 1) * architecture.macs(224, 224)


def test_a_network_too_large_for_the_macs_of_a_pass_takes_one_crop_at_a_time() -> None:
    assert crop_batch_size(Architecture("E", batch_norm=False, width=4.0, classes=1000, crop=224)) == 1


def test_a_small_network_takes_no_more_than_64_crops_at_a_time() -> None:
    assert crop_batch_size(tiny_vgg().architecture) == 64
