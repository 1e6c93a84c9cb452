"""Reading image files: every 8-bit mode becomes RGB by the documented rule, and hostile files are refused early."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import struct
import sys
import threading
import time
import zlib
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from ensembles import decoding
from ensembles.decoding import decode, decode_bytes, decoder_version, read_image_file
from ensembles.errors import DecoderMissingError, UnreadableImageError
from tests.builders import encoded, oriented, photo

NEEDS_TORCHCODEC = pytest.mark.skipif(find_spec("torchcodec") is None, reason="torchcodec is not installed")
DECODERS = ["pillow", pytest.param("torchcodec", marks=NEEDS_TORCHCODEC)]


def reason(data: bytes, **options: str) -> str:
    with pytest.raises(UnreadableImageError) as caught:
        decode_bytes(data, image_id="a/b.jpg", **options)
    assert caught.value.image_id == "a/b.jpg"
    return caught.value.reason


def png_header(width: int, height: int, bit_depth: int = 8, color_type: int = 2) -> bytes:
    """A PNG that announces a size and holds almost nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, bit_depth, color_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("extension", ["jpg", "png", "webp", "bmp"])
def test_the_four_formats_decode_to_pillow_s_own_pixels(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"image.{extension}"
    path.write_bytes(encoded(photo(40, 30), extension))
    image = decode(path)
    assert image.mode == "RGB"
    assert np.array_equal(np.asarray(image), np.asarray(Image.open(path).convert("RGB")))


@pytest.mark.parametrize("decoder", DECODERS)
def test_greyscale_is_replicated_to_three_channels(decoder: str) -> None:
    grey = photo(31, 22).convert("L")
    pixels = np.asarray(decode_bytes(encoded(grey, "png"), decoder))
    assert all(np.array_equal(pixels[:, :, channel], np.asarray(grey)) for channel in range(3))


def test_one_bit_pixels_become_black_and_white() -> None:
    pixels = np.asarray(decode_bytes(encoded(photo(20, 20).convert("1"), "png")))
    assert set(np.unique(pixels)) == {0, 255}


@pytest.mark.parametrize("decoder", DECODERS)
def test_alpha_is_dropped_and_not_composited(decoder: str) -> None:
    image = photo(20, 16)
    opaque = np.asarray(image)
    image.putalpha(0)
    assert np.array_equal(np.asarray(decode_bytes(encoded(image, "png"), decoder)), opaque)


def test_palette_transparency_is_dropped_without_a_warning() -> None:
    image = photo(20, 16).quantize(16)
    plain = np.asarray(image.convert("RGB"))
    data = encoded(image, "png", transparency=bytes(range(0, 256, 16)))
    assert "transparency" in Image.open(BytesIO(data)).info
    assert np.array_equal(np.asarray(decode_bytes(data)), plain)


def test_grey_with_alpha_keeps_its_grey() -> None:
    image = photo(20, 16).convert("LA")
    grey = np.asarray(image)[:, :, 0]
    image.putalpha(7)
    assert np.array_equal(np.asarray(decode_bytes(encoded(image, "png")))[:, :, 1], grey)


@pytest.mark.parametrize("decoder", DECODERS)
def test_cmyk_follows_the_multiplicative_formula(decoder: str) -> None:
    ink = (10, 60, 120, 40)
    red, green, blue = np.asarray(decode_bytes(encoded(Image.new("CMYK", (16, 16), ink), "jpg"), decoder))[8, 8]
    expected = [(255 - c) * (255 - ink[3]) / 255 for c in ink[:3]]
    assert np.allclose([red, green, blue], expected, atol=2)


def test_of_an_animation_the_first_frame_is_taken() -> None:
    frames = [photo(24, 20, seed) for seed in range(3)]
    data = encoded(frames[0], "webp", lossless=True, save_all=True, append_images=frames[1:])
    assert np.array_equal(np.asarray(decode_bytes(data)), np.asarray(frames[0]))


def test_sixteen_bit_grey_is_refused_instead_of_clipped_to_white() -> None:
    assert "8 bits" in reason(encoded(Image.new("I;16", (8, 8), 40_000), "png"))


def test_sixteen_bit_colour_is_refused_although_pillow_calls_it_rgb() -> None:
    data = png_header(8, 8, bit_depth=16)
    assert Image.open(BytesIO(data)).mode == "RGB"
    assert "8 bits" in reason(data)


@pytest.mark.parametrize("extension", ["gif", "tiff"])
def test_other_formats_stay_shut_whatever_they_are_called(tmp_path: Path, extension: str) -> None:
    assert "JPEG, PNG, WEBP, BMP" in reason(encoded(photo(9, 9), extension))


def test_a_web_page_with_an_image_s_name_is_no_image() -> None:
    assert "JPEG, PNG, WEBP, BMP" in reason(b"<!doctype html><title>404</title>" * 20)


def test_the_format_comes_from_the_content_and_not_from_the_name(tmp_path: Path) -> None:
    path = tmp_path / "actually-a-png.JPEG"
    path.write_bytes(encoded(photo(12, 12), "png"))
    assert np.array_equal(np.asarray(decode(path)), np.asarray(photo(12, 12)))


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("extension", ["jpg", "png", "webp"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.95])
def test_a_truncated_file_is_unreadable_and_never_half_grey(extension: str, part: float, decoder: str) -> None:
    data = encoded(photo(64, 64), extension)
    assert reason(data[: int(len(data) * part)], decoder=decoder)


@pytest.mark.parametrize("extension", ["jpg", "png", "webp", "bmp"])
def test_damage_anywhere_gives_pixels_or_the_one_error(extension: str) -> None:
    data = encoded(photo(40, 30), extension)
    rng = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(data)
        for place in rng.integers(0, len(data), 4):
            damaged[place] = rng.integers(256)
        with contextlib.suppress(UnreadableImageError):
            assert decode_bytes(bytes(damaged)).mode == "RGB"


def test_too_many_pixels_are_refused_before_they_are_decoded() -> None:
    started = time.monotonic()
    assert "50,000,000" in reason(png_header(8000, 6251))
    assert "50,000,000" in reason(png_header(10_000, 10_000))  # Pillow itself only warns
    assert "50,000,000" in reason(png_header(14_000, 14_000))  # Pillow raises
    assert time.monotonic() - started < 1


def test_exactly_the_most_pixels_are_not_refused_for_their_number() -> None:
    assert "truncated" in reason(png_header(8000, 6250))


def test_a_strip_longer_than_the_side_cap_is_refused() -> None:
    assert "30,000 px a side" in reason(png_header(30_001, 1))
    assert "a side" not in reason(png_header(30_000, 1))


def test_a_decompression_bomb_in_a_text_chunk_is_refused() -> None:
    text = b"zTXt" + b"comment\x00\x00" + zlib.compress(bytes(80_000_000))
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    data = encoded(photo(8, 8), "png")
    assert "damaged" in reason(data[:33] + chunk + data[33:])


def test_a_file_over_the_size_cap_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.bmp"
    path.write_bytes(encoded(photo(8, 8), "bmp"))
    os.truncate(path, decoding.MAX_FILE_BYTES)
    assert decode(path).size == (8, 8)
    os.truncate(path, decoding.MAX_FILE_BYTES + 1)
    with pytest.raises(UnreadableImageError, match="50,000,000 bytes"):
        decode(path)


def test_an_empty_file_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(UnreadableImageError, match="empty"):
        decode(tmp_path / "empty.jpg")


def test_a_fifo_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    caught: list[BaseException] = []

    def attempt() -> None:
        try:
            decode(tmp_path / "pipe.jpg")
        except UnreadableImageError as error:
            caught.append(error)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    assert "regular file" in str(caught[0])


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.jpg"))
        for name in ("folder.jpg", "loop.jpg", "socket.jpg", "missing.jpg", "missing/a.jpg", "x" * 300):
            with pytest.raises(UnreadableImageError):
                decode(tmp_path / name)
    with pytest.raises(UnreadableImageError, match="regular file"):
        decode("/dev/zero")


def test_a_failing_machine_is_not_the_image_s_fault(tmp_path: Path) -> None:
    path = tmp_path / "image.jpg"
    path.write_bytes(encoded(photo(8, 8)))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            read_image_file(path, "image.jpg")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_ignored_unless_asked_for(orientation: int, decoder: str) -> None:
    data = oriented(photo(32, 24), orientation, "png")
    stored = photo(32, 24)
    assert np.array_equal(np.asarray(decode_bytes(data, decoder)), np.asarray(stored))
    upright = ImageOps.exif_transpose(Image.open(BytesIO(data)))
    assert np.array_equal(np.asarray(decode_bytes(data, decoder, "transpose")), np.asarray(upright))
    assert (upright.size == (24, 32)) == (orientation >= 5)


def test_orientation_six_of_a_jpeg_turns_it_on_its_side() -> None:
    data = oriented(photo(32, 24), 6)
    assert decode_bytes(data).size == (32, 24)
    assert decode_bytes(data, exif="transpose").size == (24, 32)


def test_damaged_exif_orients_nothing() -> None:
    data = encoded(photo(32, 24), exif=b"Exif\x00\x00garbage that is no TIFF header")
    assert decode_bytes(data, exif="transpose").size == (32, 24)


@NEEDS_TORCHCODEC
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_torchcodec_gives_the_pixels_of_pillow_for_jpegs(mode: str) -> None:
    data = encoded(photo(65, 47).convert(mode))
    ours, theirs = (np.asarray(decode_bytes(data, decoder), dtype=int) for decoder in ("pillow", "torchcodec"))
    assert np.abs(ours - theirs).max() <= 2


@NEEDS_TORCHCODEC
def test_torchcodec_names_what_it_cannot_decode() -> None:
    assert "BMP" in reason(encoded(photo(8, 8), "bmp"), decoder="torchcodec")
    frames = [photo(24, 20, seed) for seed in range(2)]
    animation = encoded(frames[0], "webp", save_all=True, append_images=frames[1:])
    assert "animation" in reason(animation, decoder="torchcodec")


def test_a_missing_torchcodec_is_named_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchcodec", None)
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)
    with pytest.raises(DecoderMissingError, match=r"torchcodec.*decode with pillow"):
        decode_bytes(encoded(photo(8, 8)), "torchcodec")


def test_the_decoder_s_version_names_the_jpeg_library() -> None:
    assert decoder_version("pillow").startswith("pillow ")
    assert "libjpeg" in decoder_version("pillow")
