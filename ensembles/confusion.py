"""Which classes are taken for which, and the error of each class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensembles.errors import Problem, SpecError
from ensembles.specs import is_whole_number
from ensembles.statistics import wilson_interval


@dataclass(frozen=True)
class ConfusedPair:
    """Images of class `label` that were taken for class `predicted`.

    Attributes:
        label: the true class.
        predicted: another.
        count: images.
        share: of the label's images.
    """

    label: int
    predicted: int
    count: int
    share: float


@dataclass(frozen=True)
class ClassErrors:
    """The top-1 error of one class.

    Attributes:
        label: its number.
        n: its images.
        errors: those of them answered wrongly.
        value: errors / n; None where n is 0.
        low: Wilson limit of `value`; None where n is 0.
        high: the upper one.
    """

    label: int
    n: int
    errors: int
    value: float | None
    low: float | None
    high: float | None


def confusion_counts(
    labels: NDArray[np.integer[Any]], predicted: NDArray[np.integer[Any]], classes: int
) -> NDArray[np.int64]:
    """Images by true class (row) and answered class (column), (K, K); the counts of blocks of images add up.

    Args:
        labels: (N,) in 0..K-1; N may be 0.
        predicted: (N,) in 0..K-1.
        classes: K, at least 1.

    Raises:
        SpecError: an argument breaks its rule.
    """
    _check_answers(labels, predicted, classes)
    cells = labels.astype(np.int64) * classes + predicted
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def most_confused(counts: NDArray[np.int64], limit: int = 20) -> tuple[ConfusedPair, ...]:
    """The `limit` largest cells off the diagonal of (K, K) `confusion_counts`, largest first, then by class numbers."""
    mistakes = counts.copy()
    np.fill_diagonal(mistakes, 0)
    cells = np.flatnonzero(mistakes)
    largest = cells[np.argsort(-mistakes.ravel()[cells], kind="stable")][:limit]
    of_label = counts.sum(axis=1)
    return tuple(
        ConfusedPair(label, predicted, int(counts[label, predicted]), float(counts[label, predicted] / of_label[label]))
        for label, predicted in (divmod(int(cell), len(counts)) for cell in largest)
    )


def confused_pairs(
    labels: NDArray[np.integer[Any]], predicted: NDArray[np.integer[Any]], classes: int
) -> tuple[ConfusedPair, ...]:
    """Every pair of `most_confused`, in its order, without the K x K counts: for thousands of classes.

    Args:
        labels: (N,) in 0..K-1; N may be 0.
        predicted: (N,) in 0..K-1.
        classes: K, at least 1.

    Raises:
        SpecError: an argument breaks its rule.
    """
    _check_answers(labels, predicted, classes)
    wrong = labels != predicted
    cells, counts = np.unique(labels[wrong].astype(np.int64) * classes + predicted[wrong], return_counts=True)
    of_label = np.bincount(labels, minlength=classes)
    return tuple(
        ConfusedPair(cell // classes, cell % classes, count, count / int(of_label[cell // classes]))
        for cell, count in sorted(zip(cells.tolist(), counts.tolist(), strict=True), key=lambda pair: -pair[1])
    )


def class_errors(
    labels: NDArray[np.integer[Any]], wrong: NDArray[np.bool_], classes: int, confidence: float = 0.95
) -> tuple[ClassErrors, ...]:
    """The error of each of K classes with its Wilson interval, in the order of the classes.

    Args:
        labels: (N,) in 0..K-1; N may be 0.
        wrong: (N,).
        classes: K, at least 1.
        confidence: of each interval by itself.

    Raises:
        SpecError: an argument breaks its rule.
    """
    check_classes(labels, classes)
    if wrong.shape != labels.shape or wrong.dtype != np.bool_:
        raise SpecError([Problem("wrong", "bool, one a label", (str(wrong.dtype), wrong.shape))])
    n = np.bincount(labels, minlength=classes)
    errors = np.bincount(labels[wrong], minlength=classes)
    return tuple(_class_errors(label, int(n[label]), int(errors[label]), confidence) for label in range(classes))


def check_classes(numbers: NDArray[np.integer[Any]], classes: int, field: str = "labels") -> None:
    """Refuse anything but (N,) class numbers from 0 to classes - 1.

    Raises:
        SpecError: names `field`.
    """
    if not is_whole_number(classes) or classes < 1:
        raise SpecError([Problem("classes", "a whole number of at least 1", classes)])
    if numbers.ndim != 1 or not np.issubdtype(numbers.dtype, np.integer):
        raise SpecError([Problem(field, "whole numbers (N,)", (str(numbers.dtype), numbers.shape))])
    outside = numbers[(numbers < 0) | (numbers >= classes)]
    if len(outside):
        raise SpecError([Problem(field, f"class numbers from 0 to {classes - 1}", int(outside[0]))])


def _check_answers(labels: NDArray[np.integer[Any]], predicted: NDArray[np.integer[Any]], classes: int) -> None:
    check_classes(labels, classes)
    check_classes(predicted, classes, "predicted")
    if labels.shape != predicted.shape:
        raise SpecError([Problem("predicted", "one a label", (predicted.shape, labels.shape))])


def _class_errors(label: int, n: int, errors: int, confidence: float) -> ClassErrors:
    if not n:
        return ClassErrors(label, 0, 0, None, None, None)
    return ClassErrors(label, n, errors, errors / n, *wilson_interval(errors, n, confidence))
