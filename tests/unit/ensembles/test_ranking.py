import numpy as np
import pytest

from ensembles.errors import SpecError
from ensembles.mcnemar import mcnemar_exact, paired_counts
from ensembles.multiplicity import holm
from ensembles.ranking import better_than, rank_ranges


def wrong_sets(rates, images=2000, seed=0):
    """(M, N) outcomes that mostly share their errors, as those of real classifiers do."""
    difficulty = np.random.default_rng(seed).random(images)
    noise = np.random.default_rng(seed + 1).normal(0, 0.02, (len(rates), images))
    return difficulty + noise > 1 - np.array(rates)[:, np.newaxis]


def test_better_is_what_holm_over_all_pairs_finds():
    wrong = wrong_sets([0.300, 0.297, 0.25, 0.249])
    pairs = [(i, j) for i in range(4) for j in range(i + 1, 4)]
    counts = [paired_counts(wrong[i], wrong[j]) for i, j in pairs]
    p = holm([float(mcnemar_exact(c.only_base_wrong, c.only_candidate_wrong)) for c in counts])
    better = better_than(wrong)
    assert 0 < np.count_nonzero(p <= 0.05) < len(pairs)
    for (i, j), count, adjusted in zip(pairs, counts, p, strict=True):
        found = adjusted <= 0.05
        assert better[i, j] == (found and count.only_base_wrong < count.only_candidate_wrong)
        assert better[j, i] == (found and count.only_base_wrong > count.only_candidate_wrong)
    assert not better.diagonal().any()


def test_rank_ranges_leave_open_what_the_tests_do():
    better = np.zeros((4, 4), dtype=bool)
    better[0, [2, 3]] = True
    better[1, 3] = True
    assert rank_ranges(better) == ((1, 2), (1, 3), (2, 4), (3, 4))


def test_clear_differences_leave_one_rank_each_and_none_leaves_all():
    assert rank_ranges(better_than(wrong_sets([0.5, 0.1, 0.3]))) == ((3, 3), (1, 1), (2, 2))
    assert rank_ranges(better_than(wrong_sets([0.25, 0.25, 0.25]))) == ((1, 3),) * 3
    assert rank_ranges(better_than(wrong_sets([0.25]))) == ((1, 1),)


def test_ranges_of_equal_classifiers_are_full_in_95_of_100_repetitions():
    full = [
        rank_ranges(better_than(wrong_sets([0.25] * 5, images=500, seed=2 * seed))) == ((1, 5),) * 5
        for seed in range(300)
    ]
    assert np.mean(full) >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / len(full))


@pytest.mark.parametrize("wrong", [np.zeros((2, 0), dtype=bool), np.zeros((2, 3)), np.zeros(3, dtype=bool)])
def test_what_are_no_outcomes_is_refused(wrong):
    with pytest.raises(SpecError, match=r"^wrong: "):
        better_than(wrong)
