"""The shipped validation images are the ones that the script makes, and share no scan with the training images."""

import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ensembles.datasets import scan_image_folder

VALIDATION = Path(__file__).parents[3] / "examples" / "digits" / "val"
make_dataset = pytest.importorskip("examples.digits.make_dataset", reason="scikit-learn brings the scans")


@pytest.fixture(scope="module")
def splits():
    return make_dataset.load_splits()


def test_every_scan_is_in_one_split_and_validation_has_a_hundred_of_each_digit(splits):
    validation, training = splits
    assert sorted([*validation.sources, *training.sources]) == list(range(1797))
    assert Counter(validation.labels.tolist()) == dict.fromkeys(range(10), 100)
    assert len(set(training.labels.tolist())) == 10


def test_the_shipped_images_are_one_a_validation_scan_in_their_class(splits):
    validation, _ = splits
    index = scan_image_folder(VALIDATION)
    expected = {
        f"digit_{label}/scan{source:04d}.jpg": label
        for label, source in zip(validation.labels, validation.sources, strict=True)
    }
    assert {image.id: image.label for image in index.images} == expected
    assert {(image.width, image.height) for image in index.images} == set(make_dataset.SIZES)
    assert sum(image.size_bytes for image in index.images) < 6_000_000


@pytest.mark.parametrize("position", [0, 333, 999])
def test_the_script_makes_the_shipped_pixels_again(splits, position):
    validation, _ = splits
    label, source = validation.labels[position], validation.sources[position]
    image, quality = make_dataset.render(validation, position, 0)
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=quality)
    with Image.open(encoded) as made, Image.open(VALIDATION / f"digit_{label}" / f"scan{source:04d}.jpg") as shipped:
        # Not by bytes: another JPEG library may round another way.
        difference = np.abs(np.asarray(made, dtype=int) - np.asarray(shipped, dtype=int))
    assert difference.mean() < 1


def test_placements_of_one_scan_differ(splits):
    _, training = splits
    assert training.placements > 1
    first, second = (make_dataset.render(training, 0, placement)[0] for placement in (0, 1))
    assert first.size != second.size or first.tobytes() != second.tobytes()


def test_an_enlarged_scan_keeps_its_orientation_and_ink():
    scan = np.zeros((8, 8), dtype=np.uint8)
    scan[:4, :4] = 16
    mask = make_dataset.enlarge(scan, 40, 40)
    assert mask[:15, :15].min() > 0.9
    assert mask[25:, :].max() < 0.1
    assert mask[:, 25:].max() < 0.1
