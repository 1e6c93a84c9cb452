"""p-values of several tests read together."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import false_discovery_control

from ensembles.errors import Problem, SpecError


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjusted p-values of M tests that keep the chance of any false rejection at the level (Holm 1979).

    Valid however the tests depend on one another: those of many candidates against one base do.

    Args:
        p_values: (M,), in [0, 1]; M may be 0.

    Raises:
        SpecError: another shape, or a value out of range.
    """
    p = _checked(p_values)
    order = np.argsort(p, kind="stable")
    steps = p[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def benjamini_hochberg(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjusted p-values of M tests that keep the expected share of false rejections at the level.

    For lists of findings such as the classes of a data set, of which a few false ones do no harm; for independent or
    positively dependent tests (Benjamini & Hochberg 1995).

    Args:
        p_values: (M,), in [0, 1]; M may be 0.

    Raises:
        SpecError: another shape, or a value out of range.
    """
    p = _checked(p_values)
    return np.asarray(false_discovery_control(p, method="bh"), dtype=np.float64) if len(p) else p


def _checked(p_values: ArrayLike) -> NDArray[np.float64]:
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1:
        raise SpecError([Problem("p_values", "one number a test, (M,)", p.shape)])
    outside = p[~((p >= 0) & (p <= 1))]
    if len(outside):
        raise SpecError([Problem("p_values", "from 0 to 1", float(outside[0]))])
    return p
