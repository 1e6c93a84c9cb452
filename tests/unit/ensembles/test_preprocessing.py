"""Rescaling to the test scale and normalising: exact vectors, and a second implementation of plain interpolation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from ensembles.errors import UnreadableImageError
from ensembles.preprocessing import resize, resize_settings, to_network_input
from ensembles.specs import PREPROCESSING_PRESETS, Preprocessing, ViewSpec
from tests import reference
from tests.builders import photo

VIEW = ViewSpec("dense", 48)


def fields(view: ViewSpec) -> dict[str, object]:
    return {name: getattr(view, name) for name in view.__dataclass_fields__}


@pytest.mark.parametrize("filter_name", ["bilinear", "bicubic", "nearest"])
def test_antialiased_resizing_is_pillow_s(filter_name: str) -> None:
    image = photo(101, 67)
    expected = image.resize((72, 48), getattr(Image.Resampling, filter_name.upper()))
    assert np.array_equal(resize(image, replace(VIEW, resize=filter_name)), np.asarray(expected))


@pytest.mark.parametrize(("long_side", "width"), [("trunc", 682), ("round", 683), ("ceil", 683)])
def test_the_smaller_side_is_exactly_the_test_scale(long_side: str, width: int) -> None:
    view = replace(VIEW, scale=512, long_side=long_side)
    assert resize(photo(500, 375), view).shape == (512, width, 3)
    assert resize(photo(375, 500), view).shape == (width, 512, 3)
    assert resize(photo(90, 90), view).shape == (512, 512, 3)


@pytest.mark.parametrize("filter_name", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(101, 67), (40, 60), (48, 48)], ids=["shrink", "enlarge", "keep"])
def test_plain_interpolation_equals_its_definition(size: tuple[int, int], filter_name: str) -> None:
    view = replace(VIEW, resize=filter_name, antialias=False)
    ours = resize(photo(*size), view).astype(int)
    theirs = reference.resized(photo(*size), fields(view)).astype(int)
    assert np.abs(ours - theirs).max() <= 1
    assert (ours != theirs).mean() < 0.01  # at exact halves, float32 and float64 may round to either side


def test_antialias_matters_when_shrinking_and_not_when_enlarging() -> None:
    def difference(size: tuple[int, int]) -> int:
        smooth, plain = (resize(photo(*size), replace(VIEW, antialias=a)).astype(int) for a in (True, False))
        return int(np.abs(smooth - plain).max())

    assert difference((303, 201)) > 20
    assert difference((40, 30)) <= 1


@pytest.mark.parametrize("antialias", [True, False])
def test_pixels_are_eight_bit_and_the_image_is_not_changed(antialias: bool) -> None:
    image = photo(101, 67)
    pixels = resize(image, replace(VIEW, resize="bicubic", antialias=antialias))
    assert pixels.dtype == np.uint8
    assert np.array_equal(np.asarray(image), np.asarray(photo(101, 67)))


@pytest.mark.parametrize("scale", [48, 64, 96])
@pytest.mark.parametrize("seed", range(6))
def test_flipping_commutes_with_pillow_s_bilinear_resizing(scale: int, seed: int) -> None:
    image, view = photo(100 - seed, 70 + seed, seed), replace(VIEW, scale=scale)
    flipped_first = resize(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), view)
    assert np.array_equal(resize(image, view)[:, ::-1], flipped_first)


def test_a_strip_whose_resized_copy_breaks_the_pixel_cap_is_unreadable() -> None:
    strip = Image.new("RGB", (20_000, 10))
    with pytest.raises(UnreadableImageError, match="16,000,000 pixels") as caught:
        resize(strip, ViewSpec("dense", 256), image_id="a/strip.png")
    assert caught.value.image_id == "a/strip.png"
    assert "512000 x 256" in caught.value.reason


def test_the_pixel_cap_itself_is_allowed() -> None:
    view = replace(VIEW, max_pixels=48 * 72)
    assert resize(photo(72, 48), view).shape == (48, 72, 3)
    with pytest.raises(UnreadableImageError):
        resize(photo(73, 48), view)


def test_views_share_a_resized_copy_exactly_when_its_pixels_are_the_same() -> None:
    base = resize_settings(VIEW)
    for change in (
        {"mode": "crops"},
        {"hflip": False},
        {"score_pooling": "probs"},
        {"pool_rounding": "ceil"},
        {"dtype": "bfloat16"},
    ):
        assert resize_settings(replace(VIEW, **change)) == base
    for change in (
        {"scale": 49},
        {"resize": "bicubic"},
        {"antialias": False},
        {"long_side": "ceil"},
        {"decoder": "torchcodec"},
        {"exif": "transpose"},
        {"max_pixels": 10},
    ):
        assert resize_settings(replace(VIEW, **change)) != base
    nearest = replace(VIEW, resize="nearest")
    assert resize_settings(nearest) == resize_settings(replace(nearest, antialias=False))


def test_caffe_networks_read_bgr_minus_the_mean() -> None:
    pixels = np.array([[[[255, 0, 0], [0, 0, 0]]]], dtype=np.uint8)
    inputs = to_network_input(pixels, PREPROCESSING_PRESETS["caffe-vgg"])
    assert inputs.shape == (1, 3, 1, 2)
    torch.testing.assert_close(inputs[0, :, 0, 0], torch.tensor([-103.939, -116.779, 131.32]))
    torch.testing.assert_close(inputs[0, :, 0, 1], torch.tensor([-103.939, -116.779, -123.68]))


def test_the_paper_s_rule_is_the_same_in_rgb() -> None:
    pixels = np.array([[[[255, 0, 0]]]], dtype=np.uint8)
    inputs = to_network_input(pixels, PREPROCESSING_PRESETS["vgg-mean"])
    torch.testing.assert_close(inputs[0, :, 0, 0], torch.tensor([131.32, -116.779, -103.939]))


def test_torchvision_networks_read_zero_to_one_by_mean_and_deviation() -> None:
    pixels = np.array([[[[255, 0, 51]]]], dtype=np.uint8)
    expected = torch.tensor([(1 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225])
    torch.testing.assert_close(to_network_input(pixels, Preprocessing())[0, :, 0, 0], expected)


def test_read_only_pixels_are_accepted_without_a_warning() -> None:
    pixels = np.asarray(photo(9, 7))[None]
    assert not pixels.flags.writeable
    assert to_network_input(pixels, Preprocessing()).shape == (1, 3, 7, 9)


def test_network_input_is_float32_in_channels_last_memory_format() -> None:
    pixels = np.stack([np.asarray(photo(9, 7, seed)) for seed in range(2)])
    for preset in PREPROCESSING_PRESETS.values():
        inputs = to_network_input(pixels, preset)
        assert inputs.shape == (2, 3, 7, 9)
        assert inputs.dtype == torch.float32
        assert inputs.is_contiguous(memory_format=torch.channels_last)
