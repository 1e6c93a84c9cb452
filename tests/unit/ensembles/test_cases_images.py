"""Cases F41 to F43: odd and hostile image files give what docs/datasets.md says, mode by mode."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from ensembles.datasets import scan_image_folder
from ensembles.decoding import decode
from ensembles.engine import ImageFile, predict
from ensembles.errors import UnreadableImageError
from ensembles.preprocessing import resize
from ensembles.specs import ViewSpec
from tests.odd_images import LOSSY, bombs, odd_images, picture, write_odd_images
from tests.tiny_nets import tiny_network

PAGE = Path(__file__).resolve().parents[3] / "docs/datasets.md"

#: What the page promises: file -> result.
TABLE = PAGE.read_text(encoding="utf-8").partition("<!-- odd images -->\n")[2].partition("\n\n")[0]
DOCUMENTED = dict(re.findall(r"^\| ([a-z0-9-]+) \| ([^|]+?) \|", TABLE.partition("|---|---|---|")[2], re.M))
READABLE = sorted(name for name, result in DOCUMENTED.items() if not result.startswith("unreadable: "))
UNREADABLE = sorted(set(DOCUMENTED) - set(READABLE))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every odd image, each in a class folder named like it."""
    return write_odd_images(tmp_path_factory.mktemp("odd"), odd_images())


def path_of(folder: Path, name: str) -> Path:
    return folder / name / odd_images()[name].name


def size_of(result: str) -> tuple[int, int]:
    width, height = result.split(" x ")
    return int(width), int(height)


def test_every_odd_image_is_documented_and_there_are_forty_of_them() -> None:
    assert set(odd_images()) == set(DOCUMENTED)
    assert len(DOCUMENTED) >= 40


@pytest.mark.parametrize("name", READABLE)
def test_f43_an_odd_image_gives_the_documented_pixels(folder: Path, name: str) -> None:
    odd = odd_images()[name]
    assert odd.pixels is not None
    image = decode(path_of(folder, name))
    assert (image.mode, image.size) == ("RGB", size_of(DOCUMENTED[name]))
    difference = np.abs(np.asarray(image).astype(int) - odd.pixels).max()
    assert difference <= odd.tolerance


@pytest.mark.parametrize("name", READABLE)
def test_f43_an_odd_image_of_any_size_is_rescaled_to_the_test_scale(folder: Path, name: str) -> None:
    pixels = resize(decode(path_of(folder, name)), ViewSpec("dense", 40))
    width, height = size_of(DOCUMENTED[name])
    assert min(pixels.shape[:2]) == 40
    assert (pixels.shape[0] >= pixels.shape[1]) == (height >= width)


@pytest.mark.parametrize("name", UNREADABLE)
def test_f41_f42_what_is_no_image_is_refused_with_the_documented_reason(folder: Path, name: str) -> None:
    assert odd_images()[name].pixels is None
    with pytest.raises(UnreadableImageError) as caught:
        decode(path_of(folder, name), image_id=name)
    assert caught.value.image_id == name
    assert DOCUMENTED[name].removeprefix("unreadable: ") in caught.value.reason


def test_f41_f43_odd_images_are_predicted_as_their_documented_pixels_in_both_modes(
    folder: Path, tmp_path: Path
) -> None:
    # Read once elsewhere; here every image is decoded for each of two views.
    names = [name for name in DOCUMENTED if name != "file-over-50-mb"]
    odd = [ImageFile(name, path_of(folder, name)) for name in names]
    plain = []
    for name in READABLE:
        pixels = odd_images()[name].pixels
        assert pixels is not None
        path = tmp_path / f"{name}.png"
        Image.fromarray(pixels).save(path)
        plain.append(ImageFile(name, path))
    views = [ViewSpec("dense", 34), ViewSpec("crops", 34, crop_grid=2)]
    network = tiny_network()
    for of_odd, of_plain in zip(predict([network], odd, views), predict([network], plain, views), strict=True):
        assert {image.image_id for image in of_odd.unreadable} == set(names) - set(READABLE)
        assert of_plain.unreadable == ()
        expected = dict(zip(READABLE, of_plain.probs, strict=True))
        for name, probs in zip(names, of_odd.probs, strict=True):
            if name not in expected:
                assert np.isnan(probs).all(), name
            elif odd_images()[name].tolerance == 0:
                assert np.allclose(probs, expected[name], atol=1e-5), name
            else:
                assert np.isfinite(probs).all(), name


@pytest.mark.parametrize("orientation", range(1, 9))
def test_f43_exif_orientation_turns_the_image_only_when_asked(folder: Path, orientation: int) -> None:
    name = f"exif-orientation-{orientation}-jpeg"
    path = path_of(folder, name)
    rule = re.findall(rf"^\| {name} .*$", TABLE, re.M)[0]
    upright = decode(path, exif="transpose")
    assert ("36 x 48" in rule) == (upright.size == (36, 48))
    with Image.open(path) as stored:
        assert np.array_equal(np.asarray(upright), np.asarray(ImageOps.exif_transpose(stored)))
    turned = not np.array_equal(np.asarray(upright), np.asarray(decode(path)))
    assert turned == (orientation != 1)


def test_f43_the_pictures_tell_wrong_conversions_from_right_ones() -> None:
    """Swapped channels, a turn or a mirror image would exceed the tolerance for lossy files."""
    pixels = np.asarray(picture()).astype(int)
    for wrong in (pixels[:, :, ::-1], pixels[::-1], pixels[:, ::-1], pixels.mean(2, keepdims=True)):
        assert np.abs(pixels - wrong).max() > 2 * LOSSY


def test_f41_odd_images_have_their_place_in_the_index(folder: Path) -> None:
    """Readable ones with their size; of the unreadable ones those whose header can be read and is within the rules."""
    sizes = {image.id.split("/")[0]: (image.width, image.height) for image in scan_image_folder(folder).images}
    assert set(sizes) == set(odd_images())
    for name in READABLE:
        assert sizes[name] == size_of(DOCUMENTED[name]), name
    for name in (
        "html-named-jpg",
        "empty-file",
        "hundred-megapixel-png",
        "four-gigapixel-bmp",
        "png-with-80-mb-of-text",
    ):
        assert sizes[name] == (0, 0), name


PROBE = """
import json, resource, sys, time, warnings
from pathlib import Path
import numpy, PIL.Image
from ensembles.datasets import scan_image_folder
from ensembles.decoding import decode
from ensembles.engine import ImageFile, predict
from ensembles.errors import UnreadableImageError
warnings.simplefilter("ignore")
root = Path(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
seconds = {}
for path in sorted(root.glob("*/*")):
    started = time.process_time()
    try:
        decode(path)
    except UnreadableImageError:
        pass
    seconds[path.parent.name] = time.process_time() - started
started = time.process_time()
scan_image_folder(root)
seconds["scan"] = time.process_time() - started
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(json.dumps({"seconds": seconds, "kib": grown}))
"""


def test_f42_bombs_cost_less_than_a_second_and_a_hundred_megabytes(tmp_path: Path) -> None:
    write_odd_images(tmp_path, bombs())
    command = [sys.executable, "-c", PROBE, str(tmp_path)]
    measured = json.loads(subprocess.run(command, capture_output=True, check=True, cwd=PAGE.parents[1]).stdout)
    assert set(measured["seconds"]) == {*bombs(), "scan"}
    assert max(measured["seconds"].values()) < 1
    assert measured["kib"] < 100_000
