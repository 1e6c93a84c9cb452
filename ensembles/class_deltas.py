"""Which classes a candidate answers better or worse than the base."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensembles.confusion import check_classes
from ensembles.errors import Problem, SpecError
from ensembles.intervals import tango_interval
from ensembles.mcnemar import mcnemar_exact, paired_counts
from ensembles.multiplicity import benjamini_hochberg
from ensembles.paired import Verdict
from ensembles.statistics import confidence_problems


@dataclass(frozen=True)
class ClassDelta:
    """The change of one class's top-1 error from base to candidate.

    Attributes:
        label: the class.
        n: its images, at least 1.
        only_base_wrong: images of it that the candidate alone answers rightly.
        only_candidate_wrong: images of it that the base alone answers rightly.
        difference: error of the candidate minus the base's, on these images.
        low: Tango limit of `difference`, of this class by itself.
        high: the upper one.
        p_exact: two-sided exact McNemar p.
        p_adjusted: by Benjamini and Hochberg over the classes: of the classes called better or worse, at most a share
            of 1 - confidence is expected to be called so by chance.
        verdict: from `p_adjusted`.
    """

    label: int
    n: int
    only_base_wrong: int
    only_candidate_wrong: int
    difference: float
    low: float
    high: float
    p_exact: float
    p_adjusted: float
    verdict: Verdict


def class_deltas(
    labels: NDArray[np.integer[Any]],
    base_wrong: NDArray[np.bool_],
    candidate_wrong: NDArray[np.bool_],
    classes: int,
    confidence: float = 0.95,
) -> tuple[ClassDelta, ...]:
    """Paired tests class by class, in the order of the classes; those without an image are left out.

    Args:
        labels: (N,) in 0..K-1, N at least 1.
        base_wrong: (N,).
        candidate_wrong: (N,).
        classes: K.
        confidence: strictly between 0 and 1.

    Raises:
        SpecError: an argument breaks its rule.
    """
    problems = confidence_problems(confidence)
    if problems:
        raise SpecError(problems)
    check_classes(labels, classes)
    paired_counts(base_wrong, candidate_wrong)
    if labels.shape != base_wrong.shape:
        raise SpecError([Problem("labels", "one an image", (labels.shape, base_wrong.shape))])
    n = np.bincount(labels, minlength=classes)
    only_base = np.bincount(labels[base_wrong & ~candidate_wrong], minlength=classes)
    only_candidate = np.bincount(labels[candidate_wrong & ~base_wrong], minlength=classes)
    present = np.flatnonzero(n)
    p_exact = mcnemar_exact(only_base[present], only_candidate[present])
    p_adjusted = benjamini_hochberg(p_exact)
    deltas = []
    for label, p, adjusted in zip(present.tolist(), p_exact.tolist(), p_adjusted.tolist(), strict=True):
        b, c, images = int(only_base[label]), int(only_candidate[label]), int(n[label])
        verdict: Verdict = "no difference detectable"
        if adjusted <= 1 - confidence:
            verdict = "better" if c < b else "worse"
        low, high = tango_interval(b, c, images, confidence)
        deltas.append(ClassDelta(label, images, b, c, (c - b) / images, low, high, p, adjusted, verdict))
    return tuple(deltas)
