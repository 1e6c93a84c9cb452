"""From RGB pixels to what a network reads: rescaled to the test scale, then normalised as the checkpoint expects."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ensembles.decoding import decode
from ensembles.errors import UnreadableImageError
from ensembles.scales import resized_size
from ensembles.specs import Preprocessing, ViewSpec

__all__ = ["decode", "resize", "resize_settings", "to_network_input"]

_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "nearest": Image.Resampling.NEAREST,
}


def resize_settings(view: ViewSpec) -> tuple[object, ...]:
    """All that decides the resized pixels: views that agree in it can share one resized copy of an image."""
    antialias = view.antialias and view.resize != "nearest"
    return view.decoder, view.exif, view.scale, view.long_side, view.resize, antialias, view.max_pixels


def resize(image: Image.Image, view: ViewSpec, *, image_id: str = "(image)") -> NDArray[np.uint8]:
    """Rescale isotropically so that the smaller side is `view.scale` (paper section 3.2).

    With `antialias`, and for nearest neighbours, this is Pillow's resize. Without, it is torch's plain interpolation
    at half-pixel centres, rounded to 8 bits so that every way of resizing hands on the same kind of pixels; note that
    torch's bicubic kernel (a = -0.75) is also another one than Pillow's (a = -0.5).

    Args:
        image: mode RGB.
        view: gives scale, filter, antialias, rounding of the longer side and the pixel cap.
        image_id: what an error calls the image.

    Returns:
        (H, W, 3).

    Raises:
        UnreadableImageError: the resized copy would have more than `view.max_pixels`.
    """
    width, height = resized_size(*image.size, view.scale, view.long_side)
    if width * height > view.max_pixels:
        rule = f"at most {view.max_pixels:,} pixels after resizing; test scale {view.scale} gives {width} x {height}"
        raise UnreadableImageError(image_id, rule)
    if view.antialias or view.resize == "nearest":
        return np.asarray(image.resize((width, height), _FILTERS[view.resize]))
    # A copy: what Pillow lends is read-only, which torch does not know.
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).unsqueeze(0).float()
    interpolated = F.interpolate(pixels, (height, width), mode=view.resize, align_corners=False, antialias=False)
    eight_bit = interpolated.round_().clamp_(0, 255).to(torch.uint8)  # bicubic overshoots
    return cast("NDArray[np.uint8]", eight_bit[0].permute(1, 2, 0).contiguous().numpy())


def to_network_input(
    pixels: NDArray[np.uint8], preprocessing: Preprocessing, device: str | torch.device = "cpu"
) -> Tensor:
    """Put pixels in the checkpoint's channel order and range, subtract its mean and divide by its standard deviation.

    Args:
        pixels: (N, H, W, 3), RGB.
        preprocessing: of the checkpoint.
        device: where the result lives; the transfer is of 8-bit pixels.

    Returns:
        (N, 3, H, W) float32 in channels-last memory format (VGG-16 on a CPU: 1.25 times the speed of contiguous).
    """
    # Torch warns of read-only memory, such as a Pillow image's.
    values = torch.from_numpy(pixels if pixels.flags.writeable else pixels.copy()).to(device).float()
    if preprocessing.channel_order == "bgr":
        values = values.flip(-1)
    if preprocessing.value_range == 1:
        values = values / 255
    options: dict[str, Any] = {"dtype": torch.float32, "device": device}
    values = (values - torch.tensor(preprocessing.mean, **options)) / torch.tensor(preprocessing.std, **options)
    return values.permute(0, 3, 1, 2)
