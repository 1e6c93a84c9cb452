import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from ensembles.errors import SpecError
from ensembles.mcnemar import mcnemar_exact
from ensembles.multiplicity import benjamini_hochberg, holm


@pytest.mark.parametrize("tests", [1, 2, 7, 190])
@pytest.mark.parametrize(("adjust", "method"), [(holm, "holm"), (benjamini_hochberg, "fdr_bh")])
def test_adjusted_p_values_agree_with_statsmodels(adjust, method, tests):
    # Rounded, so that ties occur; some exactly 0 and 1.
    p = np.clip(np.round(np.random.default_rng(tests).normal(0.1, 0.2, tests), 2), 0, 1)
    np.testing.assert_allclose(adjust(p), multipletests(p, method=method)[1], rtol=1e-12, atol=1e-300)


@given(st.lists(st.floats(0, 1), max_size=30), st.randoms(use_true_random=False))
@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
def test_adjusting_raises_p_values_keeps_their_order_and_does_not_depend_on_it(adjust, p, random):
    adjusted = adjust(p)
    order = random.sample(range(len(p)), len(p))
    np.testing.assert_array_equal(adjust(np.array(p)[order] if p else p), adjusted[order] if p else adjusted)
    assert (adjusted >= np.array(p) * (1 - 1e-12)).all()
    assert (adjusted <= 1).all()
    by_p = np.argsort(p, kind="stable")
    assert (np.diff(adjusted[by_p]) >= 0).all()


def test_holm_by_hand():
    # Smallest first: 3 x 0.01; then 2 x 0.02, and 1 x 0.03, raised to what came before.
    assert holm([0.02, 0.03, 0.01]).tolist() == pytest.approx([0.04, 0.04, 0.03])


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
def test_one_test_needs_no_adjustment_and_none_gives_none(adjust):
    assert adjust([0.037]).tolist() == pytest.approx([0.037])
    assert adjust([]).tolist() == []


@pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])
@pytest.mark.parametrize("bad", [[0.1, 1.5], [-0.1], [float("nan")], [[0.1]]])
def test_what_is_no_probability_is_refused(adjust, bad):
    with pytest.raises(SpecError, match=r"^p_values: "):
        adjust(bad)


def family_of_p_values(random, candidates, images, flips):
    """p of `candidates` against one base that is exactly as good, sharing its images: dependent tests."""
    base = random.random(images) < 0.25
    # A flip is as likely on a right image as needed for equal error rates: 0.25 * f_wrong = 0.75 * f_right.
    chance = np.where(base, 2 * flips, 2 * flips / 3)
    wrong = base ^ (random.random((candidates, images)) < chance)
    return mcnemar_exact((base & ~wrong).sum(axis=1), (~base & wrong).sum(axis=1))


def test_holm_keeps_the_chance_of_any_false_finding_of_a_family_at_5_percent():
    random, families = np.random.default_rng(1), 1500
    smallest_raw, smallest_adjusted = [], []
    for _ in range(families):
        p = family_of_p_values(random, candidates=8, images=1000, flips=0.05)
        smallest_raw.append(p.min())
        smallest_adjusted.append(holm(p).min())
    rate = np.mean(np.array(smallest_adjusted) <= 0.05)
    assert rate <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / families)
    # Without it, the family of eight would be wrong far more often.
    assert np.mean(np.array(smallest_raw) <= 0.05) > 0.15


def test_benjamini_hochberg_keeps_the_share_of_false_findings_at_5_percent():
    random, families = np.random.default_rng(2), 1500
    true, null = 20, 80
    shares = []
    for _ in range(families):
        p = np.concatenate([random.random(true) ** 6, random.random(null)])
        found = benjamini_hochberg(p) <= 0.05
        shares.append(found[true:].sum() / max(1, found.sum()))
    assert np.mean(shares) <= 0.05 * null / (true + null) + 3 * np.std(shares) / np.sqrt(families)
    assert np.mean(shares) >= 0.02
