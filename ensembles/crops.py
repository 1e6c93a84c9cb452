"""Where test crops lie: the 5x5 grid of the paper (section 3.2), and the centre and ten-crop recipes of other work."""

from __future__ import annotations

from typing import Literal

CropGrid = Literal["center", "ten"] | int


def grid_offsets(slack: int, positions: int = 5) -> tuple[int, ...]:
    """Offsets of a regular grid along one side, corners included, mirror-symmetric.

    The paper says "5 x 5 regular grid" only. Equal spacing in integers by plain floor would break the symmetry
    o[i] + o[n-1-i] = slack, and with it "flip then crop = crop then flip"; so the second half mirrors the first.

    Args:
        slack: image side minus crop, px, at least 0.
        positions: grid points along the side, at least 2.
    """
    offsets = [i * slack // (positions - 1) for i in range(positions)]
    for i in range(positions // 2):
        offsets[positions - 1 - i] = slack - offsets[i]
    return tuple(offsets)


def crop_corners(width: int, height: int, crop: int, grid: CropGrid = 5) -> tuple[tuple[int, int], ...]:
    """Top-left corners (left, top) in px of the crops of one image, row by row.

    Args:
        width: image width, px, at least `crop`.
        height: image height, px, at least `crop`.
        crop: side of the square crop, px.
        grid: n for an n x n grid; "center"; "ten" for four corners and the centre (ten with their flips).
    """
    slack_x, slack_y = width - crop, height - crop
    # round() is half-even, as torchvision's CenterCrop does; Caffe and TF-slim floor.
    center = (round(slack_x / 2), round(slack_y / 2))
    if grid == "center":
        return (center,)
    if grid == "ten":
        return ((0, 0), (slack_x, 0), (0, slack_y), (slack_x, slack_y), center)
    return tuple((x, y) for y in grid_offsets(slack_y, grid) for x in grid_offsets(slack_x, grid))
