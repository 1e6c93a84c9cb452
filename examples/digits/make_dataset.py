"""Make the digits demo data set: real handwritten scans on procedural backgrounds, as JPEGs in class folders.

Each of the 1,797 scans (8 x 8 px, 17 grey levels) that scikit-learn ships is enlarged, turned a little, and painted at
a varied size and position on a textured, cluttered background. A hundred scans of each digit make the validation
images, one image a scan; all other scans make the training images, several placements a scan. No scan is in both, and
clutter is cut only from scans of the same split.

Each image draws from its own generator, seeded by (seed, split, scan, placement): the files are the same byte for byte
wherever Pillow is the same, and do not depend on the order in which they are made.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

Pixels = NDArray[np.float64]  # grey values 0..255, (H, W) or (H, W, 3)
Mask = NDArray[np.float64]  # share of ink 0..1, (H, W)

HERE = Path(__file__).parent
SEED = 2014
VALIDATION_PER_CLASS = 100
TRAINING_PLACEMENTS = 12

#: (width, height) in px and how often: smaller sides 56..96 px, aspect ratios 1:2 to 2:1.
SIZES: tuple[tuple[int, int], ...] = (
    *((56, 56), (72, 72), (96, 96)),
    *((80, 60), (60, 80), (96, 72), (72, 96)),
    *((96, 64), (64, 96)),
    *((112, 56), (56, 112)),
)
SIZE_SHARES = (0.10, 0.10, 0.10, 0.11, 0.11, 0.11, 0.11, 0.09, 0.09, 0.04, 0.04)

#: Height of the scan as a share of the image's smaller side.
SCAN_SHARE = (0.45, 0.80)


@dataclass(frozen=True)
class Split:
    """The scans of one split.

    Attributes:
        name: "val" or "train", also the folder's name.
        number: enters every seed.
        scans: (N, 8, 8) uint8 grey levels 0..16.
        labels: (N,) digits.
        sources: (N,) positions in scikit-learn's order.
        placements: images made of each scan.
    """

    name: str
    number: int
    scans: NDArray[np.uint8]
    labels: NDArray[np.int64]
    sources: NDArray[np.int64]
    placements: int


def load_splits() -> tuple[Split, Split]:
    """The validation and the training split, stratified by digit, disjoint in scans."""
    digits = load_digits()
    scans, labels = digits.images.astype(np.uint8), digits.target.astype(np.int64)
    order = np.random.default_rng(SEED).permutation(len(labels))
    chosen = np.concatenate([order[labels[order] == digit][:VALIDATION_PER_CLASS] for digit in range(10)])
    in_validation = np.zeros(len(labels), dtype=bool)
    in_validation[chosen] = True

    def split(name: str, number: int, members: NDArray[np.bool_], placements: int) -> Split:
        sources = np.flatnonzero(members)
        return Split(name, number, scans[sources], labels[sources], sources, placements)

    return split("val", 0, in_validation, 1), split("train", 1, ~in_validation, TRAINING_PLACEMENTS)


def enlarge(values: NDArray[np.uint8], width: int, height: int, degrees: float = 0.0) -> Mask:
    """A scan, or a piece of one, as a mask of ink of the given size, turned about its centre."""
    levels = np.round(values.astype(np.float64) * (255 / 16)).astype(np.uint8)
    image = Image.fromarray(levels).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(image.rotate(degrees, Image.Resampling.BICUBIC), dtype=np.float64) / 255


def value_noise(rng: np.random.Generator, width: int, height: int) -> Pixels:
    """Sum of coarse and fine smooth noise, (H, W, 3), about 0 and within +-1."""
    total = np.zeros((height, width, 3))
    weight = 1.0
    for cells in (2, 4, 9, 20):
        grid = rng.integers(0, 256, (cells, cells, 3)).astype(np.uint8)
        smooth = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC)
        total += weight * (np.asarray(smooth, dtype=np.float64) / 127.5 - 1)
        weight *= 0.7
    return total / 2.5


def gradient(rng: np.random.Generator, width: int, height: int) -> Pixels:
    """A linear ramp in a random direction, (H, W, 3), from -1 to 1, each channel with its own strength."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    ramp = np.clip((np.cos(angle) * x + np.sin(angle) * y) / 1.2, -1, 1)
    return ramp[..., None] * rng.uniform(0.5, 1.0, 3)


def stripes(rng: np.random.Generator, width: int, height: int) -> Pixels:
    """Parallel bars of 4 to 16 px, (H, W, 3), soft or hard edges."""
    angle, period = rng.uniform(0, np.pi), rng.uniform(8, 32)
    y, x = np.mgrid[0:height, 0:width]
    wave = np.sin(2 * np.pi * (np.cos(angle) * x + np.sin(angle) * y) / period + rng.uniform(0, 2 * np.pi))
    return np.clip(wave * rng.uniform(1, 6), -1, 1)[..., None] * rng.uniform(0.3, 0.7, 3)


def patches(rng: np.random.Generator, width: int, height: int) -> Pixels:
    """Overlapping flat rectangles, (H, W, 3), within +-1."""
    canvas = np.zeros((height, width, 3))
    for _ in range(int(rng.integers(4, 10))):
        x, y = rng.integers(-width // 4, width), rng.integers(-height // 4, height)
        w, h = rng.integers(width // 8, width // 2), rng.integers(height // 8, height // 2)
        canvas[max(y, 0) : max(y + h, 0), max(x, 0) : max(x + w, 0)] = rng.uniform(-0.8, 0.8, 3)
    return canvas


TEXTURES = (value_noise, gradient, stripes, patches)


def background(rng: np.random.Generator, width: int, height: int) -> Pixels:
    """Two textures over a random colour, (H, W, 3)."""
    first, second = (TEXTURES[i] for i in rng.integers(0, len(TEXTURES), 2))
    texture = rng.uniform(8, 35) * first(rng, width, height) + rng.uniform(4, 22) * second(rng, width, height)
    return rng.uniform(110, 210, 3) + texture


def ink_colour(rng: np.random.Generator, canvas: Pixels) -> Pixels:
    """An RGB colour darker than the canvas's mean by 70 to 130 levels, as of a pen on paper."""
    return np.clip(canvas.mean() - rng.uniform(70, 130) + rng.uniform(-25, 25, 3), 0, 255)


def paint(canvas: Pixels, mask: Mask, colour: Pixels, left: int, top: int) -> None:
    """Blend `colour` into `canvas` where `mask` has ink; parts outside the canvas are cut off."""
    height, width = canvas.shape[:2]
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + mask.shape[1], width), min(top + mask.shape[0], height)
    if x0 >= x1 or y0 >= y1:
        return
    ink = mask[y0 - top : y1 - top, x0 - left : x1 - left, None]
    canvas[y0:y1, x0:x1] = (1 - ink) * canvas[y0:y1, x0:x1] + ink * colour


def clutter(rng: np.random.Generator, canvas: Pixels, scans: NDArray[np.uint8], colour: Pixels) -> None:
    """Pieces of other scans, 3 to 5 px of their 8, in about the digit's colour, anywhere."""
    height, width = canvas.shape[:2]
    for _ in range(int(rng.integers(0, 4))):
        scan = scans[rng.integers(0, len(scans))]
        side = int(rng.integers(3, 6))
        row, column = rng.integers(0, 9 - side, 2)
        size = int(min(width, height) * rng.uniform(0.18, 0.38))
        piece = enlarge(scan[row : row + side, column : column + side], size, size, rng.uniform(-180, 180))
        shade = np.clip(colour + rng.uniform(-30, 30, 3), 0, 255)
        left, top = int(rng.integers(-size // 2, width - size // 2)), int(rng.integers(-size // 2, height - size // 2))
        paint(canvas, piece * rng.uniform(0.4, 0.8), shade, left, top)


def central(rng: np.random.Generator, slack: int) -> int:
    """An offset in 0..slack, likelier towards the middle."""
    return round(slack * (rng.random() + rng.random()) / 2)


def render(split: Split, position: int, placement: int) -> tuple[Image.Image, int]:
    """One image of one scan, and the JPEG quality it is to be saved with."""
    rng = np.random.default_rng([SEED, split.number, int(split.sources[position]), placement])
    width, height = SIZES[rng.choice(len(SIZES), p=SIZE_SHARES)]
    canvas = background(rng, width, height)
    colour = ink_colour(rng, canvas)
    clutter(rng, canvas, split.scans, colour)

    tall = round(min(width, height) * rng.uniform(*SCAN_SHARE))
    wide = round(tall * rng.uniform(0.85, 1.15))
    mask = enlarge(split.scans[position], wide, tall, rng.uniform(-12, 12)) * rng.uniform(0.7, 1.0)
    paint(canvas, mask, colour, central(rng, width - wide), central(rng, height - tall))

    canvas += rng.uniform(0, 20) * (rng.random(canvas.shape) - 0.5) * 2
    quality = int(rng.integers(70, 96))
    return Image.fromarray(np.clip(np.round(canvas), 0, 255).astype(np.uint8)), quality


def write(split: Split, root: Path) -> Iterator[Path]:
    """Write every image of a split to `root`/<split>/digit_<d>/, yielding the paths as they are written."""
    for digit in range(10):
        (root / split.name / f"digit_{digit}").mkdir(parents=True, exist_ok=True)
    for position, (label, source) in enumerate(zip(split.labels, split.sources, strict=True)):
        for placement in range(split.placements):
            name = f"scan{source:04d}.jpg" if split.placements == 1 else f"scan{source:04d}-{placement:02d}.jpg"
            path = root / split.name / f"digit_{label}" / name
            image, quality = render(split, position, placement)
            image.save(path, quality=quality)
            yield path


def main() -> None:
    """Write both splits, or one."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=HERE, help="folder that receives val/ and train/")
    parser.add_argument("--split", choices=("val", "train"), action="append", help="repeatable; both by default")
    arguments = parser.parse_args()
    for split in load_splits():
        if split.name in (arguments.split or ("val", "train")):
            paths = list(write(split, arguments.output))
            size = sum(path.stat().st_size for path in paths)
            print(f"{split.name}: {len(paths)} images of {len(split.labels)} scans, {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
