"""The cost of an image is the mean over a sample of its data set's sizes."""

from __future__ import annotations

import pytest

from app.services.costs import mean_macs
from ensembles.architectures import view_macs
from ensembles.configurations import Architecture
from ensembles.specs import ViewSpec

NETWORK = Architecture("A", False, 0.25, 10, 32)
DENSE = ViewSpec(mode="dense", scale=64)
CROPS = ViewSpec(mode="crops", scale=64)


def test_every_image_of_the_sample_counts_once() -> None:
    sizes = [[100, 50], [100, 50], [50, 50]]
    expected = (2 * view_macs(NETWORK, DENSE, 100, 50) + view_macs(NETWORK, DENSE, 50, 50)) / 3
    assert mean_macs(NETWORK, DENSE, sizes) == pytest.approx(expected)


def test_crops_cost_the_same_whatever_the_size() -> None:
    assert mean_macs(NETWORK, CROPS, [[100, 50], [5000, 10]]) == 50 * NETWORK.macs(32, 32)


def test_an_image_beyond_the_pixel_cap_costs_nothing_and_does_not_count() -> None:
    capped = ViewSpec(mode="dense", scale=64, max_pixels=64 * 64)
    assert mean_macs(NETWORK, capped, [[50, 50], [20_000, 10]]) == view_macs(NETWORK, capped, 50, 50)


def test_without_a_readable_image_a_common_size_is_assumed() -> None:
    assert mean_macs(NETWORK, DENSE, []) == view_macs(NETWORK, DENSE, 500, 375)
