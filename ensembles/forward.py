"""One forward pass, and the global switches that decide whether its bits can be relied on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from ensembles.specs import Dtype

#: Preprocessed pixels (N, C, H, W) -> class scores before the softmax: (N, K), or a map (N, K, h, w). A module is one.
Forward = Callable[[Tensor], Tensor]

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@torch.inference_mode()
def class_scores(network: Forward, pixels: Tensor, dtype: Dtype = "float32") -> Tensor:
    """Run `network` once.

    Args:
        network: in evaluation mode, on the pixels' device.
        pixels: (N, C, H, W) float32.
        dtype: arithmetic of the convolutions and FC layers, by torch's autocast; weights stay as they are.

    Returns:
        What the network returns, in float32. If any score of an image is NaN or infinite, all of them are NaN, so
        that no later softmax can make a finite posterior of them (exp(-inf) = 0 would).
    """
    with torch.autocast(pixels.device.type, dtype=_DTYPES[dtype], enabled=dtype != "float32"):
        scores = network(pixels).float()
    finite = scores.isfinite().flatten(1).all(1)
    return scores.masked_fill(~finite.view(-1, *[1] * (scores.dim() - 1)), torch.nan)


@contextmanager
def exact_arithmetic() -> Iterator[None]:
    """Inside, float32 means float32 and equal calls give equal bits: no TF32, no timing-dependent choice of kernels.

    The switches belong to the process; they are restored on leaving.
    """
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_float32_matmul_precision(precision)
