"""Dense evaluation: the fully-convolutional network on whole images (paper section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor

from ensembles.forward import Forward
from ensembles.specs import ScorePooling


def pool_scores(score_map: Tensor, score_pooling: ScorePooling = "logits") -> Tensor:
    """Turn class score maps into posteriors.

    The paper averages "class scores" over positions and takes the softmax later, which is "logits"; whether its code
    did so inside the map is not known. Means accumulate in float64, the softmax is float32.

    Args:
        score_map: (N, K, h, w), before the softmax.
        score_pooling: "logits": mean over positions, then softmax; "probs": softmax at each position, then mean;
            "probs_max": then maximum over positions, renormalised to sum 1.

    Returns:
        (N, K) float32.
    """
    if score_pooling == "logits":
        return score_map.double().mean((2, 3)).float().softmax(1)
    probs = score_map.float().softmax(1)
    if score_pooling == "probs":
        return probs.double().mean((2, 3)).float()
    best = probs.amax((2, 3))
    return best / best.sum(1, keepdim=True)


def dense_posteriors(
    forward: Forward, pixels: Tensor, *, hflip: bool = True, score_pooling: ScorePooling = "logits"
) -> Tensor:
    """Posteriors of a batch of images of one size.

    Args:
        forward: pixels -> class score map (N, K, h, w); called once, or twice with `hflip`.
        pixels: (N, C, H, W), resized and preprocessed.
        hflip: average the posteriors of each image and its mirror image.
        score_pooling: see `pool_scores`.

    Returns:
        (N, K) float32.
    """
    posteriors = pool_scores(forward(pixels), score_pooling)
    if not hflip:
        return posteriors
    mirrored = pool_scores(forward(pixels.flip(3).contiguous(memory_format=torch.channels_last)), score_pooling)
    return (posteriors + mirrored) / 2
