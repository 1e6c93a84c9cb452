"""What the builder reads from its address."""

import pytest

from app.dashboard.building import read_on, read_weights
from app.services.searching.weightings import MAX_WEIGHT


@pytest.mark.parametrize(
    ("text", "weight"),
    [("7", 7), ("2.6", 3), ("-4", 0), ("101", MAX_WEIGHT), ("", 0), ("many", 0), ("nan", 0), ("1e999", 0)],
)
def test_weights_of_an_address_are_brought_into_range(text, weight):
    assert read_weights([text, "1"], 2) == [weight, 1]


def test_weights_that_are_not_one_a_unit_are_none():
    assert read_weights([], 2) is None
    assert read_weights(["1", "2", "3"], 2) is None


def test_units_are_off_only_where_others_are_named():
    assert read_on([], 3) == [True, True, True]
    assert read_on(["2", "0"], 3) == [True, False, True]
    assert read_on(["x"], 3) == [True, True, True]
    assert read_on(["7"], 3) == [False, False, False]
