"""Image files as they are met in the wild, each with the pixels it must give, or none where it must be refused.

The expected pixels are computed here with NumPy, by the rules that docs/datasets.md states, never by an image library.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from ensembles.decoding import MAX_FILE_BYTES
from tests.builders import encoded, oriented, photo, write_folder

Pixels = NDArray[np.uint8]
#: JPEG and lossy WebP change the pixels of `smooth` by less; any wrong conversion changes them by more.
LOSSY = 8

WIDTH, HEIGHT = 48, 36


@dataclass(frozen=True)
class OddImage:
    """A file.

    Attributes:
        data: its bytes.
        name: of the file; the extension need not be right.
        pixels: (H, W, 3) uint8 that decoding gives; None where the file is refused.
        tolerance: the largest difference of any pixel.
    """

    data: bytes
    name: str
    pixels: Pixels | None = None
    tolerance: int = 0


def picture() -> Image.Image:
    """Smooth enough that lossy coding changes little."""
    return Image.fromarray(smooth(WIDTH, HEIGHT))


def smooth(width: int, height: int) -> Pixels:
    rows, columns = np.mgrid[0:height, 0:width]
    channels = (60 + columns % 64, 110 + rows % 64, 220 - columns % 64)
    return np.stack(channels, axis=-1).astype(np.uint8)


def grey_of(values: NDArray[np.generic]) -> Pixels:
    """(H, W) as three equal channels."""
    return np.repeat(np.asarray(values, np.uint8)[:, :, None], 3, axis=2)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, color: int, rows: bytes = b"", extra: bytes = b"") -> bytes:
    """A PNG from its filtered rows; with none, one that announces a size and holds nothing."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    body = png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + extra + body


def _grey() -> list[tuple[str, OddImage]]:
    values = smooth(WIDTH, HEIGHT)[:, :, 0]
    grey = Image.fromarray(values)
    alpha = grey.convert("LA")
    alpha.putalpha(Image.linear_gradient("L").resize(grey.size))
    bits = (values > 80).astype(np.uint8)
    quarter_rows = b"".join(b"\0" + bytes([0b00011011, 0b11100100]) for _ in range(4))
    quarters = np.tile(np.array([0, 85, 170, 255, 255, 170, 85, 0], np.uint8), (4, 1))
    key = encoded(grey, "png", transparency=int(values[0, 0]))
    return [
        ("grey-jpeg", OddImage(encoded(grey), "a.jpg", grey_of(values), LOSSY)),
        ("grey-png", OddImage(encoded(grey, "png"), "a.png", grey_of(values))),
        ("grey-alpha-png", OddImage(encoded(alpha, "png"), "a.png", grey_of(values))),
        ("grey-colour-key-png", OddImage(key, "a.png", grey_of(values))),
        ("grey-2-bit-png", OddImage(png(8, 4, 2, 0, quarter_rows), "a.png", grey_of(quarters))),
        (
            "one-bit-png",
            OddImage(encoded(Image.fromarray(bits * 255).convert("1"), "png"), "a.png", grey_of(bits * 255)),
        ),
        (
            "one-bit-bmp",
            OddImage(encoded(Image.fromarray(bits * 255).convert("1"), "bmp"), "a.bmp", grey_of(bits * 255)),
        ),
        ("sixteen-bit-grey-png", OddImage(encoded(Image.new("I;16", (8, 8), 40_000), "png"), "a.png")),
    ]


def _colour() -> list[tuple[str, OddImage]]:
    rgb = smooth(WIDTH, HEIGHT)
    image = picture()
    clear = image.copy()
    clear.putalpha(0)
    half = image.copy()
    half.putalpha(Image.linear_gradient("L").resize(image.size))
    ink = np.array([10, 60, 120, 40])
    printed = np.rint((255 - ink[:3]) * (255 - ink[3]) / 255).astype(np.uint8)
    cmyk = Image.new("CMYK", (16, 16), tuple(ink.tolist()))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    second = photo(WIDTH, HEIGHT, 5)
    deep = b"\0" + struct.pack(">4H", 1, 2, 3, 4)
    return [
        ("rgb-jpeg", OddImage(encoded(image), "a.jpg", rgb, LOSSY)),
        ("progressive-jpeg", OddImage(encoded(image, progressive=True), "a.jpeg", rgb, LOSSY)),
        ("cmyk-jpeg", OddImage(encoded(cmyk), "a.jpg", np.full((16, 16, 3), printed), 2)),
        ("jpeg-with-colour-profile", OddImage(encoded(image, icc_profile=profile), "a.jpg", rgb, LOSSY)),
        ("jpeg-with-damaged-exif", OddImage(encoded(image, exif=b"Exif\0\0no TIFF header"), "a.jpg", rgb, LOSSY)),
        ("jpeg-with-bytes-after-its-end", OddImage(encoded(image) + b"<?php" * 9, "a.jpg", rgb, LOSSY)),
        ("two-picture-jpeg", OddImage(_mpo(image, second), "a.jpg", rgb, LOSSY)),
        ("rgb-png", OddImage(encoded(image, "png"), "a.PNG", rgb)),
        ("rgb-colour-key-png", OddImage(encoded(image, "png", transparency=(60, 110, 220)), "a.png", rgb)),
        ("png-named-jpg", OddImage(encoded(image, "png"), "a.jpg", rgb)),
        ("transparent-rgba-png", OddImage(encoded(clear, "png"), "a.png", rgb)),
        ("animated-png", OddImage(encoded(image, "png", save_all=True, append_images=[second]), "a.png", rgb)),
        ("lossy-webp", OddImage(encoded(image, "webp", quality=95), "a.webp", rgb, LOSSY)),
        ("half-transparent-webp", OddImage(encoded(half, "webp", lossless=True, exact=True), "a.webp", rgb)),
        ("animated-webp", OddImage(_animation(image, second, "webp"), "a.webp", rgb)),
        ("rgb-bmp", OddImage(encoded(image, "bmp"), "a.bmp", rgb)),
        ("rgba-bmp", OddImage(encoded(half, "bmp"), "a.bmp", rgb)),
        ("sixteen-bit-rgb-png", OddImage(png(8, 8, 16, 2), "a.png")),
        ("sixteen-bit-rgba-png", OddImage(png(1, 1, 16, 6, deep), "a.png")),
    ]


def _palettes() -> list[tuple[str, OddImage]]:
    indexes = (np.add.outer(np.arange(HEIGHT), np.arange(WIDTH)) % 16).astype(np.uint8)
    colours = np.array([[n * 16, 255 - n * 8, (n * 37) % 256] for n in range(16)], np.uint8)
    image = Image.fromarray(indexes)
    image.putpalette(colours.tobytes())
    rgb = colours[indexes]
    return [
        ("palette-png", OddImage(encoded(image, "png"), "a.png", rgb)),
        ("palette-bmp", OddImage(encoded(image, "bmp"), "a.bmp", rgb)),
        ("palette-with-a-clear-colour-png", OddImage(encoded(image, "png", transparency=3), "a.png", rgb)),
        (
            "palette-with-alpha-png",
            OddImage(encoded(image, "png", transparency=bytes(range(0, 256, 16))), "a.png", rgb),
        ),
    ]


def _sizes() -> list[tuple[str, OddImage]]:
    pixel = np.array([[[7, 200, 90]]], np.uint8)
    strip = smooth(1, 300)
    small = smooth(20, 16)
    return [
        ("one-pixel-png", OddImage(encoded(Image.fromarray(pixel), "png"), "a.png", pixel)),
        ("one-pixel-wide-png", OddImage(encoded(Image.fromarray(strip), "png"), "a.png", strip)),
        ("smaller-than-the-crop-png", OddImage(encoded(Image.fromarray(small), "png"), "a.png", small)),
    ]


def _turned() -> list[tuple[str, OddImage]]:
    rgb = smooth(WIDTH, HEIGHT)
    return [(f"exif-orientation-{n}-jpeg", OddImage(oriented(picture(), n), "a.jpg", rgb, LOSSY)) for n in range(1, 9)]


def _other_formats() -> list[tuple[str, OddImage]]:
    image, second = picture(), photo(WIDTH, HEIGHT, 5)
    grey = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    svg = b'<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"/>'
    return [
        ("gif-named-png", OddImage(encoded(image.quantize(16), "gif"), "a.png")),
        ("animated-gif-named-jpg", OddImage(_animation(image, second, "gif"), "a.jpg")),
        ("tiff-named-jpg", OddImage(encoded(image, "tiff"), "a.jpg")),
        ("float-tiff-named-bmp", OddImage(encoded(Image.fromarray(grey), "tiff"), "a.bmp")),
        ("svg-named-png", OddImage(svg, "a.png")),
        ("html-named-jpg", OddImage(b"<!doctype html><title>404 Not Found</title>", "a.jpg")),
        ("empty-file", OddImage(b"", "a.jpg")),
    ]


def _damaged() -> list[tuple[str, OddImage]]:
    files = {extension: encoded(photo(64, 64), extension) for extension in ("jpg", "png", "webp", "bmp")}
    garbled = bytearray(encoded(picture()))
    garbled[-80:-40] = bytes(range(40))
    flipped = bytearray(files["png"])
    flipped[len(flipped) // 2] ^= 1
    return [
        *((f"truncated-{kind}", OddImage(data[: len(data) // 2], f"a.{kind}")) for kind, data in files.items()),
        ("jpeg-without-its-last-bytes", OddImage(files["jpg"][:-12], "a.jpg")),
        ("png-with-a-flipped-bit", OddImage(bytes(flipped), "a.png")),
        ("jpeg-with-garbage-inside", OddImage(bytes(garbled), "a.jpg", smooth(WIDTH, HEIGHT), 255)),
        ("jpeg-header-alone", OddImage(files["jpg"][:20], "a.jpg")),
    ]


def _bombs() -> list[tuple[str, OddImage]]:
    """Small files that would cost much memory, case F42; each must be refused before it does."""
    text = png_chunk(b"zTXt", b"comment\0\0" + zlib.compress(bytes(80_000_000), 1))
    blank = zlib.compressobj(1)
    rows = b"".join(blank.compress(bytes(10_001)) for _ in range(10_000)) + blank.flush()
    hundred = png(10_000, 10_000, 8, 0).replace(png_chunk(b"IDAT", zlib.compress(b"")), png_chunk(b"IDAT", rows))
    frames = png_chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))
    line = bytes(1 + 3 * 8)
    return [
        ("hundred-megapixel-png", OddImage(hundred, "a.png")),
        ("hundred-and-96-megapixel-png", OddImage(png(14_000, 14_000, 8, 2), "a.png")),
        ("half-a-million-pixels-long-png", OddImage(png(500_000, 1, 8, 0), "a.png")),
        ("four-gigapixel-bmp", OddImage(_bmp_header(65_535, 65_535), "a.bmp")),
        ("png-with-80-mb-of-text", OddImage(png(8, 8, 8, 2, line * 8, text), "a.png")),
        (
            "png-with-two-billion-frames",
            OddImage(png(8, 8, 8, 2, line * 8, frames), "a.png", np.zeros((8, 8, 3), np.uint8)),
        ),
        ("file-over-50-mb", OddImage(encoded(picture(), "bmp").ljust(MAX_FILE_BYTES + 1, b"\0"), "a.bmp")),
    ]


@cache
def odd_images() -> dict[str, OddImage]:
    """All by name."""
    makers: tuple[Callable[[], list[tuple[str, OddImage]]], ...]
    makers = (_colour, _grey, _palettes, _sizes, _turned, _other_formats, _damaged, _bombs)
    return {name: image for maker in makers for name, image in maker()}


def bombs() -> list[str]:
    """Names of those that would cost much memory."""
    return [name for name, _ in _bombs()]


def write_odd_images(root: Path, names: Iterable[str]) -> Path:
    """Write each to a folder named like it."""
    return write_folder(root, {f"{name}/{odd_images()[name].name}": odd_images()[name].data for name in names})


def _animation(first: Image.Image, second: Image.Image, extension: str) -> bytes:
    options = {"lossless": True} if extension == "webp" else {}
    return encoded(first, extension, save_all=True, append_images=[second], **options)


def _mpo(first: Image.Image, second: Image.Image) -> bytes:
    """Two JPEGs in one file, as some cameras write."""
    buffer = BytesIO()
    first.save(buffer, "MPO", save_all=True, append_images=[second], quality=92)
    return buffer.getvalue()


def _bmp_header(width: int, height: int) -> bytes:
    return (
        b"BM"
        + struct.pack("<IHHI", 54, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    )
