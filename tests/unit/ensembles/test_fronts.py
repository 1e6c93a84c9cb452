"""Error against cost, against every pair of candidates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ensembles.errors import SpecError
from ensembles.fronts import cheapest_within, pareto_front

CANDIDATES = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12)


@given(CANDIDATES)
def test_the_front_is_what_nothing_cheaper_or_as_cheap_equals(candidates):
    costs, errors = (np.array(column, dtype=float) for column in zip(*candidates, strict=True))
    front = pareto_front(costs, errors)
    expected = [
        i
        for i, (cost, error) in enumerate(candidates)
        if not any(
            (c < cost and e <= error) or (c == cost and (e < error or (e == error and j < i)))
            for j, (c, e) in enumerate(candidates)
        )
    ]
    assert sorted(front) == expected
    assert costs[front].tolist() == sorted(costs[front])


@given(CANDIDATES, st.integers(0, 5))
def test_the_cheapest_within_a_margin_is_on_the_front_and_within_it(candidates, margin):
    costs, errors = (np.array(column, dtype=float) for column in zip(*candidates, strict=True))
    found = cheapest_within(costs, errors, margin)
    good = [(cost, error) for cost, error in candidates if error <= min(errors) + margin]
    assert (costs[found], errors[found]) == min(good)
    assert found in pareto_front(costs, errors)


def test_no_candidate_and_a_negative_margin_are_refused():
    with pytest.raises(SpecError, match="at least one"):
        pareto_front(np.empty(0), np.empty(0))
    with pytest.raises(SpecError, match="within"):
        cheapest_within(np.ones(1), np.ones(1), -0.1)
    with pytest.raises(SpecError, match="within"):
        cheapest_within(np.ones(1), np.ones(1), float("nan"))
