"""Simulation: chosen and reported on the same images an error is too low; reported on the other half it is not."""

import numpy as np
import pytest

from ensembles.pools import make_pool
from ensembles.search import search
from tests.made_posteriors import correlated_members
from tests.unit.ensembles.test_search import identity

POPULATION, SAMPLE, MEMBERS, REPETITIONS = 20_000, 300, 7, 150


@pytest.fixture(scope="module")
def errors() -> dict[str, np.ndarray]:
    """By guard, reported less true error of the chosen ensemble, one a repetition; the truth is the population's."""
    members, labels = correlated_members(POPULATION, 10, MEMBERS, lead=1.0)
    population = make_pool(members, labels, identity(MEMBERS), [1.0] * MEMBERS)
    generator = np.random.default_rng(7)
    found: dict[str, list[float]] = {"none": [], "split": [], "crossfit": []}
    for _ in range(REPETITIONS):
        drawn = np.sort(generator.choice(POPULATION, SAMPLE, replace=False))
        mask = np.zeros(POPULATION, dtype=np.bool_)
        mask[drawn] = True
        sample, ids = population.take(mask), [str(image) for image in drawn]
        for guard, gaps in found.items():
            result = search(sample, ids, labels[drawn], guard=guard)
            best = result.best[0]
            true = population.values([best.weights], "top1_error")[0]
            wrong = best.top1_wrong if result.procedure is None else result.procedure.top1_wrong
            gaps.append(wrong / result.n_report - true)
    return {guard: np.array(gaps) for guard, gaps in found.items()}


def standard_errors(gaps: np.ndarray) -> float:
    return float(gaps.mean() / (gaps.std(ddof=1) / np.sqrt(len(gaps))))


def test_what_is_reported_on_the_other_half_is_unbiased(errors):
    assert abs(standard_errors(errors["split"])) < 3


def test_what_is_reported_on_the_images_that_chose_is_too_good(errors):
    assert standard_errors(errors["none"]) < -5


def test_cross_fitting_is_not_too_good(errors):
    assert standard_errors(errors["crossfit"]) > -3
