"""Which images choose and which report."""

import hashlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ensembles.errors import SpecError
from ensembles.selection import deal, select_half


def test_images_of_a_class_alternate_by_the_hash_of_their_ids():
    ids = [f"cat/{n}.jpg" for n in range(10)]
    half = select_half(ids, np.zeros(10, dtype=np.int64))
    by_hash = sorted(ids, key=lambda image_id: hashlib.sha256(image_id.encode()).hexdigest())
    assert {image_id for image_id, chosen in zip(ids, half, strict=True) if chosen} == set(by_hash[::2])


@given(st.lists(st.integers(0, 4), min_size=5, max_size=60), st.integers(2, 5))
def test_every_class_and_the_whole_are_dealt_evenly(classes, hands):
    labels = np.array(classes)
    dealt = deal([str(n) for n in range(len(labels))], labels, hands)
    for group in (np.ones(len(labels), bool), *(labels == label for label in set(classes))):
        counts = Counter(dealt[group].tolist())
        sizes = [counts[hand] for hand in range(hands)]
        assert max(sizes) - min(sizes) <= 1


def test_an_image_is_dealt_the_same_way_in_whatever_order_images_come():
    generator = np.random.default_rng(0)
    ids, labels = [f"{n}.jpg" for n in range(50)], generator.integers(0, 3, 50)
    order = generator.permutation(50)
    np.testing.assert_array_equal(deal([ids[i] for i in order], labels[order], 5), deal(ids, labels, 5)[order])


@pytest.mark.parametrize(
    ("ids", "labels", "hands"),
    [(["a"], [0], 2), (["a", "b"], [0], 2), (["a", "b"], [0, 0], 1), (["a"] * 4, [0] * 4, 5)],
)
def test_what_cannot_be_dealt_is_refused(ids, labels, hands):
    with pytest.raises(SpecError):
        deal(ids, np.array(labels), hands)
