"""Searches against looking at every candidate, and how honest their numbers are."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from ensembles.errors import SpecError
from ensembles.fusion import average_probs
from ensembles.metrics import negative_log_likelihood, top_k_errors
from ensembles.pools import Pool, make_pool
from ensembles.predictions import PosteriorPart, PosteriorParts, save_posteriors
from ensembles.search import search
from ensembles.selection import deal, select_half
from ensembles.weighting import greedy_selection, likeliest_weights, weight_search
from tests.made_posteriors import correlated_members

N, M = 600, 5
MEMBERS, LABELS = correlated_members(N, 12, M, lead=1.5)
IDS = [f"{n}.jpg" for n in range(N)]
COSTS = [3.0, 1.0, 4.0, 1.0, 5.0]


def identity(members: int) -> list[list[Fraction]]:
    return [[Fraction(int(leaf == unit)) for leaf in range(members)] for unit in range(members)]


@pytest.fixture(scope="module")
def pool() -> Pool:
    return make_pool(MEMBERS, LABELS, identity(M), COSTS)


def wrong(weights, rows=slice(None), k=1) -> int:
    chosen = [member[rows] for member in MEMBERS]
    return int(top_k_errors(average_probs(chosen, weights), LABELS[rows], k).sum())


SUBSETS = [bits for bits in product((0.0, 1.0), repeat=M) if any(bits)]


def test_a_pool_has_the_errors_likelihoods_and_costs_of_its_fusions(pool):
    for weights in (SUBSETS[0], SUBSETS[-1], (0.1, 0.2, 0.3, 0.4, 0.5)):
        fused = average_probs(MEMBERS, weights)
        assert pool.values([weights], "nll")[0] == pytest.approx(negative_log_likelihood(fused, LABELS))
        assert pool.values([weights], "top1_error")[0] == wrong(weights) / N
        assert pool.values([weights], "top5_error")[0] == wrong(weights, k=5) / N
        assert pool.cost(weights) == sum(cost for cost, weight in zip(COSTS, weights, strict=True) if weight)


def test_part_files_and_images_left_out_give_the_pool_of_the_rest(tmp_path, pool):
    leaves = []
    for number, member in enumerate(MEMBERS):
        parts = []
        for start, stop in ((0, 250), (250, N)):
            path = tmp_path / f"{number}-{start}.npy"
            save_posteriors(path, member[start:stop])
            parts.append(PosteriorPart(start, stop, path))
        leaves.append(PosteriorParts(parts))
    scored = np.arange(N) % 3 > 0
    stored, rest = make_pool(leaves, LABELS, identity(M), COSTS, scored), pool.take(scored)
    np.testing.assert_array_equal(stored.own, rest.own)
    np.testing.assert_array_equal(stored.wrong(SUBSETS, 1), rest.wrong(SUBSETS, 1))


def test_the_exhaustive_search_chooses_on_one_half_and_reports_on_the_other(pool):
    result = search(pool, IDS, LABELS, fixed=[(1.0,) * M], within=0.01)
    half = select_half(IDS, LABELS)
    size = int(half.sum())
    by_value = sorted(
        (wrong(bits, half), sum(c for c, b in zip(COSTS, bits, strict=True) if b), sum(bits)) for bits in SUBSETS
    )
    best = result.best[0]
    assert (round(best.chosen_by * size), best.cost, sum(best.weights)) == by_value[0]
    assert [round(one.chosen_by * size) for one in result.best] == [count for count, *_ in by_value[:10]]
    for one in (*result.best, *result.front, *result.fixed, result.cheapest, *result.left_out.values()):
        assert one.chosen_by == wrong(one.weights, half) / size
        assert (one.top1_wrong, one.top5_wrong) == (wrong(one.weights, ~half), wrong(one.weights, ~half, 5))
    assert (result.tried, result.n_select, result.n_report) == (31, size, N - size)
    assert not result.selection_biased
    assert result.procedure is None


def test_the_front_falls_and_the_cheapest_within_a_margin_is_the_cheapest_of_all_subsets(pool):
    result = search(pool, IDS, LABELS, guard="none", within=0.01)
    assert result.selection_biased
    everyone = [(pool.cost(bits), wrong(bits) / N) for bits in SUBSETS]
    bound = min(error for _, error in everyone) + 0.01
    assert (result.cheapest.cost, result.cheapest.chosen_by) == min(one for one in everyone if one[1] <= bound)
    for one in result.front:
        assert all(error > one.chosen_by for cost, error in everyone if cost < one.cost)
    assert result.front[-1].chosen_by == min(error for _, error in everyone)
    assert result.front[0].cost == 1.0


def test_without_each_unit_the_chosen_ensemble_is_counted_again(pool):
    result = search(pool, IDS, LABELS, guard="none")
    chosen = result.best[0].weights
    assert sorted(result.left_out) == [unit for unit, weight in enumerate(chosen) if weight]
    for unit, one in result.left_out.items():
        assert one.weights == tuple(0.0 if i == unit else w for i, w in enumerate(chosen))
        assert one.top1_wrong == wrong(one.weights)


def test_cross_fitting_chooses_each_fold_without_it(pool):
    result = search(pool, IDS, LABELS, guard="crossfit")
    hands, total = deal(IDS, LABELS, 5), 0
    for fold in range(5):
        rank = {
            bits: (wrong(bits, hands != fold), pool.cost(bits), sum(bits), sum(int(b) << i for i, b in enumerate(bits)))
            for bits in SUBSETS
        }
        total += wrong(min(rank, key=rank.__getitem__), hands == fold)
    assert result.procedure is not None
    assert result.procedure.top1_wrong == total
    assert result.selection_biased
    assert result.best == search(pool, IDS, LABELS, guard="none").best


def test_each_greedy_pick_is_the_best_of_all_units(pool):
    tried = greedy_selection(pool, "top1_error", steps=6)
    picks, seen = np.zeros(M), set()
    for _ in range(6):
        options = []
        for unit in range(M):
            option = picks + np.eye(M)[unit]
            seen.add(tuple(option / np.gcd.reduce(option.astype(int))))
            options.append((wrong(tuple(option)), unit))
        picks = picks + np.eye(M)[min(options)[1]]
    expected = tuple(picks / np.gcd.reduce(picks.astype(int)))
    assert expected in tried.candidates
    assert tried.tried == len(seen)
    assert tried.values[tried.candidates.index(expected)] == wrong(expected) / N


def test_the_likeliest_weights_cannot_be_improved(pool):
    weights = likeliest_weights(pool.own)
    assert weights.sum() == pytest.approx(1)
    best = pool.values([tuple(weights)], "nll")[0]
    generator = np.random.default_rng(1)
    others = [tuple(row) for row in generator.dirichlet(np.ones(M), 300)]
    near = [tuple(np.clip(weights + move, 0, None)) for move in generator.normal(0, 0.01, (300, M))]
    assert best <= pool.values([*others, *near], "nll").min() + 2e-7
    assert weight_search(pool, "nll").values[-1] == pytest.approx(best)


def test_the_likeliest_weights_leave_out_a_member_that_knows_nothing_and_images_that_nobody_knows():
    own = np.array([[0.9, 0.1], [0.8, 0.1], [0.0, 0.0]])
    np.testing.assert_allclose(likeliest_weights(own), [1, 0], atol=1e-3)
    np.testing.assert_array_equal(likeliest_weights(np.zeros((2, 2))), [0.5, 0.5])


def test_no_exchange_of_one_part_improves_weights_found_by_error(pool):
    tried = weight_search(pool, "top1_error")
    best = min(range(len(tried.values)), key=tried.values.__getitem__)
    equal = wrong((1.0,) * M) / N
    assert tried.values[best] <= min(equal, *(wrong(bits) / N for bits in np.eye(M)))
    last = np.array(tried.candidates[-1])
    parts = last * 64 / last.sum()
    for source, target in product(range(M), repeat=2):
        moved = parts + np.eye(M)[target] - np.eye(M)[source]
        if moved.min() >= 0:
            assert pool.values([tuple(moved)], "top1_error")[0] >= tried.values[-1]


def test_a_log_pool_is_searched_by_errors_alone():
    pool = make_pool(MEMBERS, LABELS, identity(M), COSTS, rule="geometric")
    assert search(pool, IDS, LABELS, method="greedy").best
    assert search(pool, IDS, LABELS, method="weights").best
    with pytest.raises(SpecError, match="geometric"):
        pool.values([(1.0,) * M], "nll")
    halves = [[Fraction(1, 2), Fraction(1, 2), *[Fraction(0)] * 3]]
    with pytest.raises(SpecError, match="mean of several"):
        make_pool(MEMBERS, LABELS, halves, [1.0], rule="geometric")


@pytest.mark.parametrize(
    "fields", [{"method": "random"}, {"guard": "hope"}, {"metric": "accuracy"}, {"metric": "nll"}, {"within": -1.0}]
)
def test_a_search_that_is_none_is_refused(pool, fields):
    with pytest.raises(SpecError, match=next(iter(fields))):
        search(pool, IDS, LABELS, **fields)


def test_a_pool_needs_images_and_costs():
    with pytest.raises(SpecError, match="image"):
        make_pool(MEMBERS, LABELS, identity(M), COSTS, np.zeros(N, bool))
    with pytest.raises(SpecError, match="costs"):
        make_pool(MEMBERS, LABELS, identity(M), [*COSTS[1:], -1.0])
