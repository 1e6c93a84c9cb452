"""What one image of a data set costs under a view, from the sizes of a sample of its images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from ensembles.architectures import NetworkArchitecture, view_macs
from ensembles.scales import resized_size
from ensembles.specs import ViewSpec

#: Assumed where no image of the sample could be read: the commonest size of ImageNet's validation set, px.
_NOMINAL = (500, 375)


def mean_macs(architecture: NetworkArchitecture, view: ViewSpec, sizes: Sequence[Sequence[int]]) -> float:
    """Mean multiply-accumulates of one image.

    Args:
        architecture: the network.
        view: the view.
        sizes: (width, height) of sample images before rescaling, px.
    """
    return _mean_macs(architecture, view, tuple(sorted(Counter((w, h) for w, h in sizes).items())))


@lru_cache(maxsize=4096)
def _mean_macs(
    architecture: NetworkArchitecture, view: ViewSpec, sizes: tuple[tuple[tuple[int, int], int], ...]
) -> float:
    total = images = 0
    for (width, height), count in sizes:
        resized_width, resized_height = resized_size(width, height, view.scale, view.long_side)
        if resized_width * resized_height <= view.max_pixels:  # a larger one is unreadable by rule and costs nothing
            total += count * _macs(architecture, view, width, height)
            images += count
    return total / images if images else float(_macs(architecture, view, *_NOMINAL))


@lru_cache(maxsize=65536)
def _macs(architecture: NetworkArchitecture, view: ViewSpec, width: int, height: int) -> int:
    return view_macs(architecture, view, width, height)
