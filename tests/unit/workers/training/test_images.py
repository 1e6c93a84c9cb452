"""Training crops: where they lie, what size the image had, and what colours are."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ensembles.errors import UnreadableImageError
from ensembles.scales import TrainingScale
from workers.training.images import Augmentation, Colours, TrainingImages
from workers.training.sources import scan


@pytest.fixture
def ramp(tmp_path: Path) -> Path:
    """One class, one 96 x 64 image whose red level is the column and whose green level is the row."""
    (tmp_path / "only").mkdir()
    pixels = np.zeros((64, 96, 3), dtype=np.uint8)
    pixels[..., 0] = np.arange(96)
    pixels[..., 1] = np.arange(64)[:, None]
    Image.fromarray(pixels).save(tmp_path / "only" / "ramp.png")
    return tmp_path


def crop_of(root: Path, scale: int, place: tuple[float, float], *, flip: bool = False, jitter: bool = True):
    scales = TrainingScale(32, 64) if jitter else TrainingScale(scale, scale)
    images = TrainingImages(scan(root), scales, crop=32)
    drawn = Augmentation(np.array([0]), np.array([scale]), np.array([place]), np.array([flip]))
    ((pixels, labels),) = images.batches(drawn, size=1, threads=1)
    assert labels.tolist() == [0]
    return pixels[0].astype(int)


@pytest.mark.parametrize(("place", "corner"), [((0, 0), (0, 0)), ((0.9999, 0.9999), (64, 32)), ((0.5, 0.5), (32, 16))])
def test_a_crop_lies_anywhere_inside_the_image(ramp, place, corner):
    pixels = crop_of(ramp, 64, place)
    assert (pixels[0, 0, 0], pixels[0, 0, 1]) == corner
    assert (pixels[-1, -1, 0], pixels[-1, -1, 1]) == (corner[0] + 31, corner[1] + 31)


def test_a_flip_mirrors_left_and_right_only(ramp):
    assert np.array_equal(crop_of(ramp, 64, (0, 0), flip=True), crop_of(ramp, 64, (0, 0))[:, ::-1])


def test_the_smaller_side_has_the_drawn_scale(ramp):
    # At S = 32 the crop spans the whole height, so its rows run over all 64 levels.
    pixels = crop_of(ramp, 32, (0, 0))
    assert pixels[0, 0, 1] <= 1
    assert pixels[-1, 0, 1] >= 62


def test_a_fixed_scale_gives_the_pixels_of_the_same_scale_jittered(ramp):
    assert np.array_equal(crop_of(ramp, 48, (0.3, 0.6), jitter=False), crop_of(ramp, 48, (0.3, 0.6)))


def test_an_epoch_shows_every_image_once_with_scales_from_end_to_end():
    drawn = Augmentation.draw(np.random.default_rng(0), 1000, TrainingScale(36, 40), hflip=True)
    assert sorted(drawn.order) == list(range(1000))
    assert set(drawn.scales.tolist()) == {36, 37, 38, 39, 40}
    assert 400 < drawn.flips.sum() < 600
    assert not Augmentation.draw(np.random.default_rng(0), 1000, TrainingScale(36, 40), hflip=False).flips.any()


def test_batches_are_full_and_in_order_whatever_the_threads(tmp_path):
    for label in range(3):
        (tmp_path / f"class{label}").mkdir()
        for number in range(5):
            Image.new("RGB", (32, 32), (label, number, 0)).save(tmp_path / f"class{label}" / f"{number}.png")
    images = TrainingImages(scan(tmp_path), TrainingScale(32, 32), crop=32)
    drawn = Augmentation.draw(np.random.default_rng(0), 15, TrainingScale(32, 32), hflip=True)
    first, second = ([*images.batches(drawn, size=4, threads=threads)] for threads in (1, 3))
    assert [len(labels) for _, labels in first] == [4, 4, 4]
    for (pixels, labels), (same_pixels, same_labels) in zip(first, second, strict=True):
        assert np.array_equal(pixels[:, 0, 0, 0], labels)
        assert np.array_equal(pixels, same_pixels)
        assert np.array_equal(labels, same_labels)


def test_a_damaged_training_image_is_named(ramp):
    (ramp / "only" / "broken.png").write_bytes(b"not an image")
    with pytest.raises(UnreadableImageError, match=r"only/broken\.png"):
        TrainingImages(scan(ramp), TrainingScale(32, 32), crop=32)


def test_principal_axes_are_as_long_as_the_deviation_along_them():
    # Red and green vary together by 3, blue alone by 2: axes (1, 1, 0) / sqrt 2 with deviation 3 sqrt 2, and blue.
    axes = Colours(np.zeros(3), np.array([[9.0, 9.0, 0.0], [9.0, 9.0, 0.0], [0.0, 0.0, 4.0]])).principal_axes()
    assert np.allclose(np.abs(axes[2]), [3, 3, 0])
    assert np.allclose(np.abs(axes[1]), [0, 0, 2])
    assert np.allclose(axes[0], 0, atol=1e-6)


def test_the_mean_colour_is_that_of_the_images(tmp_path):
    (tmp_path / "only").mkdir()
    Image.new("RGB", (40, 40), (10, 20, 30)).save(tmp_path / "only" / "a.png")
    Image.new("RGB", (40, 40), (30, 20, 50)).save(tmp_path / "only" / "b.png")
    colours = TrainingImages(scan(tmp_path), TrainingScale(32, 36), crop=32).colours()
    assert np.allclose(colours.mean, [20, 20, 40])
    assert np.allclose(colours.covariance, [[100, 0, 100], [0, 0, 0], [100, 0, 100]])
