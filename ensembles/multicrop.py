"""Multi-crop evaluation: the network with FC layers on a grid of crops and their mirror images (paper section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor

from ensembles.architectures import FORWARD_MACS, MAX_BATCH, NetworkArchitecture
from ensembles.crops import CropGrid, crop_corners
from ensembles.forward import Forward


def cut_crops(pixels: Tensor, crop: int, grid: CropGrid = 5, *, hflip: bool = True) -> Tensor:
    """The crops of one image: the places of `crops.crop_corners` in order, then the same crops mirrored.

    The mirror image is of the crop, not a crop of the mirror image: the two differ where a slack is odd, at the
    centre, which then lies half a pixel off the middle.

    Args:
        pixels: (C, H, W) of a resized image, both sides at least `crop`.
        crop: side of a crop, px.
        grid: n for n x n, "center" or "ten".
        hflip: also each crop's mirror image.

    Returns:
        (crops, C, crop, crop) in channels-last memory format.
    """
    height, width = pixels.shape[-2:]
    corners = crop_corners(width, height, crop, grid)
    crops = torch.stack([pixels[:, top : top + crop, left : left + crop] for left, top in corners])
    if hflip:
        crops = torch.cat([crops, crops.flip(3)])
    return crops.contiguous(memory_format=torch.channels_last)


def crop_batch_size(architecture: NetworkArchitecture) -> int:
    """Crops of one forward pass, from 1 to MAX_BATCH: the most that stay within FORWARD_MACS."""
    macs = architecture.macs(architecture.crop, architecture.crop)
    return min(MAX_BATCH, max(1, FORWARD_MACS // macs))


def crop_scores(forward: Forward, crops: Tensor, batch: int) -> Tensor:
    """Class scores before the softmax of one image's crops, at most `batch` in a forward pass.

    Returns:
        (crops, K).
    """
    return torch.cat([forward(part) for part in torch.split(crops, batch)])


def multicrop_posteriors(forward: Forward, crops: Tensor, batch: int) -> Tensor:
    """Posteriors of one image: the mean of its crops' softmax, in float32, accumulated in float64.

    Args:
        forward: pixels (n, C, crop, crop) -> class scores (n, K).
        crops: (crops, C, crop, crop), preprocessed.
        batch: most crops in one forward pass.

    Returns:
        (K,) float32.
    """
    return crop_scores(forward, crops, batch).float().softmax(1).double().mean(0).float()
