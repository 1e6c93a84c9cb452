"""How far the members of an ensemble differ, and which images the ensemble rescues or breaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensembles.errors import Problem, SpecError
from ensembles.mcnemar import discordant_matrix


def disagreement(predicted: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """The share of images that two members answer with different classes, for every pair.

    Args:
        predicted: (M, N) answered classes, N at least 1.

    Returns:
        (M, M), symmetric, 0 on the diagonal.

    Raises:
        SpecError: another shape, or no image.
    """
    _check_members("predicted", predicted)
    return np.array([[float(np.mean(first != second)) for second in predicted] for first in predicted])


def members_disagree(predicted: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    """(N,) from (M, N) answered classes: True where not all members give the same class."""
    _check_members("predicted", predicted)
    return np.asarray((predicted != predicted[0]).any(axis=0))


def error_correlation(wrong: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Pearson's correlation of being wrong (the phi coefficient), for every pair of members.

    Members whose errors correlate little gain most from being averaged.

    Args:
        wrong: (M, N), N at least 1.

    Returns:
        (M, M), symmetric; NaN where a member is never or always wrong, for then nothing correlates.

    Raises:
        SpecError: another shape, or no image.
    """
    _check_members("wrong", wrong)
    images = wrong.shape[1]
    errors = np.count_nonzero(wrong, axis=1)
    both = errors[:, np.newaxis] - discordant_matrix(wrong)
    # In whole numbers: n^2 times the covariances, so that no rounding can carry a correlation beyond +-1.
    covariance = images * both - np.multiply.outer(errors, errors)
    variance = np.diagonal(covariance).astype(np.float64)
    with np.errstate(invalid="ignore"):
        correlation: NDArray[np.float64] = covariance / np.sqrt(np.multiply.outer(variance, variance))
    return correlation


@dataclass(frozen=True, eq=False)
class EnsembleEffect:
    """What averaging does to single images.

    Attributes:
        reference: row of the member that the ensemble is compared with.
        rescued: (N,) the ensemble is right and the reference wrong.
        broken: (N,) the ensemble is wrong and the reference right.
        right_against_all: (N,) the ensemble is right though every member is wrong.
        wrong_for_all: (N,) the ensemble and every member are wrong.
    """

    reference: int
    rescued: NDArray[np.bool_]
    broken: NDArray[np.bool_]
    right_against_all: NDArray[np.bool_]
    wrong_for_all: NDArray[np.bool_]


def ensemble_effect(
    member_wrong: NDArray[np.bool_], ensemble_wrong: NDArray[np.bool_], reference: int | None = None
) -> EnsembleEffect:
    """Sort the images by what the ensemble changes.

    Args:
        member_wrong: (M, N), M and N at least 1.
        ensemble_wrong: (N,).
        reference: a row of `member_wrong`; None is the member of fewest errors, the first of several.

    Raises:
        SpecError: an argument breaks its rule.
    """
    _check_members("member_wrong", member_wrong)
    if ensemble_wrong.shape != member_wrong.shape[1:]:
        raise SpecError([Problem("ensemble_wrong", "(N,) for members (M, N)", ensemble_wrong.shape)])
    if reference is None:
        reference = int(np.count_nonzero(member_wrong, axis=1).argmin())
    if not 0 <= reference < len(member_wrong):
        raise SpecError([Problem("reference", f"a member from 0 to {len(member_wrong) - 1}", reference)])
    reference_wrong = member_wrong[reference]
    all_wrong = member_wrong.all(axis=0)
    return EnsembleEffect(
        reference=reference,
        rescued=reference_wrong & ~ensemble_wrong,
        broken=~reference_wrong & ensemble_wrong,
        right_against_all=all_wrong & ~ensemble_wrong,
        wrong_for_all=all_wrong & ensemble_wrong,
    )


def _check_members(field: str, values: NDArray[Any]) -> None:
    if values.ndim != 2 or not values.size:
        raise SpecError([Problem(field, "(M, N), M and N at least 1", values.shape)])
