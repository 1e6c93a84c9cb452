import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from ensembles.class_deltas import class_deltas
from ensembles.errors import SpecError
from ensembles.intervals import tango_interval
from ensembles.mcnemar import mcnemar_exact


def class_outcomes(seed=0):
    """Twelve classes of 150 images; the candidate is much better on class 3, much worse on 5, equal elsewhere."""
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.repeat(np.arange(12), 150))
    base = generator.random(len(labels)) < 0.3
    flips = generator.random(len(labels)) < np.where(base, 0.14, 0.06)
    candidate = base ^ flips
    candidate[labels == 3] &= generator.random(150) < 0.4
    candidate[labels == 5] |= generator.random(150) < 0.3
    return labels, base, candidate


def test_each_class_is_a_paired_comparison_of_its_own():
    labels, base, candidate = class_outcomes()
    deltas = class_deltas(labels, base, candidate, 12)
    adjusted = multipletests([delta.p_exact for delta in deltas], method="fdr_bh")[1]
    for delta, p_adjusted in zip(deltas, adjusted, strict=True):
        mine = labels == delta.label
        b, c = (base & ~candidate & mine).sum(), (candidate & ~base & mine).sum()
        assert (delta.n, delta.only_base_wrong, delta.only_candidate_wrong) == (150, b, c)
        assert delta.difference == pytest.approx(candidate[mine].mean() - base[mine].mean())
        assert (delta.low, delta.high) == tango_interval(int(b), int(c), 150)
        assert delta.p_exact == float(mcnemar_exact(b, c))
        assert delta.p_adjusted == pytest.approx(p_adjusted, rel=1e-12)


def test_classes_that_changed_are_found_and_others_are_not():
    found = {delta.label: delta.verdict for delta in class_deltas(*class_outcomes(), 12)}
    assert {label: verdict for label, verdict in found.items() if verdict != "no difference detectable"} == {
        3: "better",
        5: "worse",
    }


def test_a_level_of_its_own_makes_a_verdict():
    labels, base, candidate = class_outcomes()
    strict = class_deltas(labels, base, candidate, 12, confidence=1 - 1e-12)
    assert {delta.verdict for delta in strict} == {"no difference detectable"}


def test_classes_without_an_image_are_left_out():
    labels, base, candidate = class_outcomes()
    assert [delta.label for delta in class_deltas(labels, base, candidate, 20)] == list(range(12))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"labels": np.array([0, 4])}, "labels"),
        ({"labels": np.array([0])}, "labels"),
        ({"candidate_wrong": np.array([True])}, "candidate_wrong"),
        ({"confidence": 1.0}, "confidence"),
    ],
)
def test_arguments_out_of_range_are_named(changes, field):
    arguments = {
        "labels": np.array([0, 1]),
        "base_wrong": np.array([True, False]),
        "candidate_wrong": np.array([True, False]),
        "classes": 3,
        **changes,
    }
    with pytest.raises(SpecError, match=f"^{field}: "):
        class_deltas(**arguments)
