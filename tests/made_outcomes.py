"""How made-up classifiers answer images: as many wrong as wished, mostly the same ones, as with real classifiers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ensembles.outcomes import ImageOutcomes

_Bools = NDArray[np.bool_]


def made_outcomes(
    labels: NDArray[np.integer], classes: int, wrong: int, wrong_at_5: int = 0, *, seed: int = 0
) -> ImageOutcomes:
    """Outcomes of n images, exactly `wrong` of them wrong at top 1 and, with six classes or more, `wrong_at_5` at 5.

    Args:
        labels: (n,), below `classes`.
        classes: K, at least 2 where anything is wrong.
        wrong: 0..n.
        wrong_at_5: 0..wrong.
        seed: of what is this classifier's own; how hard an image is, is the same for all.
    """
    n = len(labels)
    own = np.random.default_rng([seed, n])
    difficulty = np.random.default_rng(n).random(n) + own.normal(0, 0.04, n)
    hardest = np.argsort(-difficulty, kind="stable")
    at_1, at_5 = np.zeros(n, dtype=np.bool_), np.zeros(n, dtype=np.bool_)
    at_1[hardest[:wrong]] = True
    at_5[hardest[: wrong_at_5 if classes > 5 else 0]] = True
    return outcomes_of(labels, classes, at_1, at_5, seed=seed)


def outcomes_of(
    labels: NDArray[np.integer], classes: int, at_1: _Bools, at_5: _Bools | None = None, *, seed: int = 0
) -> ImageOutcomes:
    """Outcomes that are wrong where `at_1` (n,) says so, and at top 5 where `at_5` does (None: nowhere)."""
    n = len(labels)
    own = np.random.default_rng([seed, n, 1])
    at_5 = np.zeros(n, dtype=np.bool_) if at_5 is None else at_5
    ranks = np.where(at_5, min(5, classes - 1), np.where(at_1, 1, 0))
    # Half of what is wrong is taken for the next class, so that some confusions are frequent.
    away = np.where(own.random(n) < 0.5, 1, own.integers(1, max(2, classes), n))
    predicted = np.where(at_1, (labels + away) % classes, labels)
    confidences = np.clip(np.where(at_1, own.uniform(0.3, 0.75, n), own.uniform(0.55, 1.0, n)), 1 / classes, 1.0)
    label_probs = np.where(at_1, (1 - confidences) * own.uniform(0.05, 0.9, n), confidences)
    others = np.where(at_1, confidences, 1 - confidences)
    return ImageOutcomes(
        labels=np.asarray(labels, dtype=np.int32),
        ranks=ranks.astype(np.int32),
        predicted=predicted.astype(np.int32),
        label_probs=label_probs,
        confidences=confidences,
        brier_scores=(1 - label_probs) ** 2 + others**2,
    )
