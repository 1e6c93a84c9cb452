"""Images and image folders for tests: drawn from a seed, with structure at every scale that resizing can get wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

KINDS = ("jpg", "jpg", "grey", "jpg", "png", "rgba", "cmyk", "palette", "webp")


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """An RGB picture with a tinted gradient, hard-edged shapes and fine texture; every seed looks different."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    tint, slope = rng.uniform(60, 190, 3), rng.uniform(-90, 90, (2, 3))
    values = tint + rows[..., None] / height * slope[0] + columns[..., None] / width * slope[1]
    image = Image.fromarray(values.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        left, top = rng.uniform(-0.2, 0.9, 2) * (width, height)
        size = rng.uniform(0.05, 0.5, 2) * (width, height)
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape((left, top, left + size[0], top + size[1]), fill=tuple(rng.integers(0, 256, 3).tolist()))
    texture = rng.normal(0, 18, (height, width, 1)) + rng.normal(0, 6, (height, width, 3))
    return Image.fromarray((np.asarray(image) + texture).clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, extension: str = "jpg", **options: Any) -> bytes:
    """The bytes of an image file."""
    formats = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "bmp": "BMP", "gif": "GIF", "tiff": "TIFF"}
    if extension == "jpg":
        options = {"quality": 92, **options}
    buffer = BytesIO()
    image.save(buffer, formats[extension], **options)
    return buffer.getvalue()


def oriented(image: Image.Image, orientation: int, extension: str = "jpg") -> bytes:
    """A file whose EXIF block asks viewers to turn it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(image, extension, exif=exif)


def write_folder(root: Path, files: Mapping[str, bytes]) -> Path:
    """Write files by their path under `root`, making folders on the way."""
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def mixed_images(count: int, sizes: Sequence[tuple[int, int]], classes: int = 3) -> dict[str, bytes]:
    """An image folder as a mapping: sizes, formats and pixel modes take turns; any nine images have all of KINDS."""
    files = {}
    for index in range(count):
        image = photo(*sizes[index % len(sizes)], seed=index)
        kind = KINDS[index % len(KINDS)]
        name = f"class-{index % classes}/{index:04d}-{kind}"
        if kind == "grey":
            files[f"{name}.jpg"] = encoded(image.convert("L"))
        elif kind == "cmyk":
            files[f"{name}.jpg"] = encoded(image.convert("CMYK"))
        elif kind == "palette":
            files[f"{name}.png"] = encoded(image.quantize(64), "png")
        elif kind == "rgba":
            image.putalpha(Image.linear_gradient("L").resize(image.size))
            files[f"{name}.png"] = encoded(image, "png")
        elif kind in ("png", "webp"):
            files[f"{name}.{kind}"] = encoded(image, kind)
        else:
            files[f"{name}.jpg"] = encoded(image)
    return files
