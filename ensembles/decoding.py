"""From an image file to RGB pixels: hostile files are refused by rule, before memory is spent on them.

Every mode of 8 bits a channel becomes RGB as in torchvision's image loader, so that numbers agree with published ones:

* greyscale and 1-bit pixels are replicated to three channels; palettes are looked up;
* alpha and palette transparency are dropped, not composited: there is no background to composite over;
* CMYK is converted by Pillow's formula; embedded colour profiles are ignored;
* of an animation, the first frame is taken;
* more than 8 bits a channel are refused: Pillow's conversion would clip them to white without a word.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from importlib import metadata
from io import BytesIO
from pathlib import Path
from typing import TypeVar

import PIL
from PIL import Image, UnidentifiedImageError, features

from ensembles.datasets import IMAGE_FORMATS, MAX_IMAGE_PIXELS
from ensembles.errors import DecoderMissingError, UnreadableImageError
from ensembles.specs import Decoder, Exif

MAX_FILE_BYTES = 50_000_000
#: Strips far longer than any photograph cost libraries more than their pixel count suggests.
MAX_IMAGE_SIDE = 30_000

#: Everything else that `open` may report is the machine's fault, and says nothing about the image.
_FAULTS_OF_THE_PATH = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO}
)
_Result = TypeVar("_Result")

_ORIENTATION_TAG = 0x0112
_Transpose = Image.Transpose
#: EXIF orientation -> (what makes the stored pixels upright, what undoes it).
_ORIENTATIONS = {
    2: (_Transpose.FLIP_LEFT_RIGHT, _Transpose.FLIP_LEFT_RIGHT),
    3: (_Transpose.ROTATE_180, _Transpose.ROTATE_180),
    4: (_Transpose.FLIP_TOP_BOTTOM, _Transpose.FLIP_TOP_BOTTOM),
    5: (_Transpose.TRANSPOSE, _Transpose.TRANSPOSE),
    6: (_Transpose.ROTATE_270, _Transpose.ROTATE_90),
    7: (_Transpose.TRANSVERSE, _Transpose.TRANSVERSE),
    8: (_Transpose.ROTATE_90, _Transpose.ROTATE_270),
}


def decode(
    path: str | Path, decoder: Decoder = "pillow", exif: Exif = "ignore", *, image_id: str | None = None
) -> Image.Image:
    """Read one image file.

    Args:
        path: a JPEG, PNG, WEBP or BMP file; its extension does not matter.
        decoder: "torchcodec" reads all of these but BMP and animations.
        exif: "transpose" turns the image upright by its EXIF orientation; the paper's software did not.
        image_id: what errors call the image; the path by default.

    Returns:
        Pixels in mode RGB.

    Raises:
        UnreadableImageError: see `read_image_file` and `decode_bytes`.
        DecoderMissingError: torchcodec is not installed.
    """
    name = str(path) if image_id is None else image_id
    return decode_bytes(read_image_file(path, name), decoder, exif, image_id=name)


def read_image_file(path: str | Path, image_id: str) -> bytes:
    """The bytes of a regular file of at most MAX_FILE_BYTES; a FIFO or device is refused, never waited for.

    Raises:
        UnreadableImageError: no such file, no permission, not a regular file, empty, or too large.
        OSError: the machine failed, not the image (an I/O error, too many open files).
    """
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UnreadableImageError(image_id, "not a regular file")
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        if error.errno in _FAULTS_OF_THE_PATH:
            raise UnreadableImageError(image_id, os.strerror(error.errno)) from error
        raise
    if not data:
        raise UnreadableImageError(image_id, "the file is empty")
    if len(data) > MAX_FILE_BYTES:
        raise UnreadableImageError(image_id, f"a file has at most {MAX_FILE_BYTES:,} bytes; this one has more")
    return data


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def decode_bytes(
    data: bytes, decoder: Decoder = "pillow", exif: Exif = "ignore", *, image_id: str = "(bytes)"
) -> Image.Image:
    """`decode` for the contents of a file.

    Raises:
        UnreadableImageError: another format, damaged or truncated, over MAX_IMAGE_PIXELS or MAX_IMAGE_SIDE by its
            header, or more than 8 bits a channel.
        DecoderMissingError: torchcodec is not installed.
    """
    image = _guarded(lambda: Image.open(BytesIO(data), formats=IMAGE_FORMATS), image_id)
    with image:
        _check_header(image, data, image_id)
        if decoder == "torchcodec":
            upright = _torchcodec(data, image, image_id)
            return _transposed(upright, _orientation(image), 1) if exif == "ignore" else upright
        _guarded(image.load, image_id)
        rgb = _guarded(lambda: _to_rgb(image), image_id)
        return _transposed(rgb, _orientation(image), 0) if exif == "transpose" else rgb


def decoder_version(decoder: Decoder) -> str:
    """What decodes JPEG, for the record: another version of it may give other pixels.

    Raises:
        DecoderMissingError: torchcodec is not installed.
    """
    if decoder == "torchcodec":
        try:
            return f"torchcodec {metadata.version('torchcodec')}"
        except metadata.PackageNotFoundError as error:
            raise DecoderMissingError(decoder, "it is not installed") from error
    library = features.version_feature("libjpeg_turbo")
    return f"pillow {PIL.__version__}, " + (f"libjpeg-turbo {library}" if library else "libjpeg")


def _guarded(step: Callable[[], _Result], image_id: str) -> _Result:
    """Run a decoding step on untrusted bytes."""
    try:
        return step()
    except MemoryError:
        raise  # of the machine, not of the image: the caller may succeed with less in flight
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableImageError(image_id, _too_many_pixels()) from None
    except UnidentifiedImageError:
        raise UnreadableImageError(image_id, f"not one of the formats {', '.join(IMAGE_FORMATS)}") from None
    except Exception as error:
        # Damaged files make the plugins raise nearly anything: OSError, SyntaxError, struct.error, IndexError ...
        raise UnreadableImageError(image_id, f"damaged or truncated ({error})") from error


def _check_header(image: Image.Image, data: bytes, image_id: str) -> None:
    width, height = image.size
    if width * height > MAX_IMAGE_PIXELS:
        raise UnreadableImageError(image_id, f"{_too_many_pixels()}; this one has {width} x {height}")
    if max(width, height) > MAX_IMAGE_SIDE:
        rule = f"an image has at most {MAX_IMAGE_SIDE:,} px a side; this one has {width} x {height}"
        raise UnreadableImageError(image_id, rule)
    # Of the four formats only PNG has deeper pixels. Byte 24 is its bit depth; Pillow's mode shows it for grey alone.
    if image.format == "PNG" and data[24] > 8:
        raise UnreadableImageError(image_id, f"more than 8 bits a channel are not supported; this one has {data[24]}")


def _too_many_pixels() -> str:
    return f"an image has at most {MAX_IMAGE_PIXELS:,} pixels"


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("P", "PA") and "transparency" in image.info:
        # The same colours as from P directly, without Pillow's warning about the transparency that is dropped.
        image = image.convert("RGBA")
    return image.convert("RGB")


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 where there is none. XMP, which Pillow's own `getexif` also consults, is no EXIF."""
    exif = Image.Exif()
    try:
        exif.load(image.info.get("exif", b""))
        orientation = exif.get(_ORIENTATION_TAG, 1)
    except Exception:  # damaged EXIF raises nearly anything; it orients nothing, and the pixels may be intact
        return 1
    return orientation if isinstance(orientation, int) else 1


def _transposed(image: Image.Image, orientation: int, direction: int) -> Image.Image:
    steps = _ORIENTATIONS.get(orientation)
    return image if steps is None else image.transpose(steps[direction])


def _torchcodec(data: bytes, header: Image.Image, image_id: str) -> Image.Image:
    """Decode upright: TorchCodec always applies the EXIF orientation."""
    try:
        from torchcodec.decoders import decode_image  # noqa: PLC0415 - an optional dependency that loads torch
    except (ImportError, RuntimeError, OSError) as error:
        raise DecoderMissingError("torchcodec", str(error)) from error
    if header.format == "BMP":
        raise UnreadableImageError(image_id, "torchcodec has no BMP decoder; decode with pillow")
    if getattr(header, "n_frames", 1) > 1:
        raise UnreadableImageError(image_id, "torchcodec decodes every frame of an animation; decode with pillow")
    pixels = _guarded(lambda: decode_image(data, mode="RGB"), image_id)
    return Image.fromarray(pixels.reshape(3, *pixels.shape[-2:]).permute(1, 2, 0).contiguous().numpy())
