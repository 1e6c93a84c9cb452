"""Posteriors of correlated members, as networks of one family have them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def correlated_members(
    images: int, classes: int, members: int, *, lead: float = 2.0, seed: int = 0
) -> tuple[list[NDArray[np.float32]], NDArray[np.int64]]:
    """(M arrays (N, K), labels): softmax of logits that share most of their noise."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, images)
    shared = generator.normal(size=(images, classes))
    shared[np.arange(images), labels] += lead
    probs = np.exp(1.5 * (shared + 0.6 * generator.normal(size=(members, images, classes))))
    return list((probs / probs.sum(axis=-1, keepdims=True)).astype(np.float32)), labels
