import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ensembles.canonical import canonical_json, digest

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def test_the_text_is_sorted_compact_and_ascii():
    assert canonical_json({"b": [1, 2.5, None], "a": "é"}) == '{"a":"\\u00e9","b":[1,2.5,null]}'


def test_the_digest_is_the_sha256_of_the_text():
    assert digest({"a": 1}) == hashlib.sha256(b'{"a":1}').hexdigest()


@given(st.dictionaries(st.text(), st.integers(), min_size=2))
def test_the_order_of_keys_does_not_change_the_digest(value):
    backwards = dict(reversed(list(value.items())))
    assert list(backwards) != list(value)
    assert digest(backwards) == digest(value)


@given(JSON_VALUES)
def test_every_value_has_an_ascii_text_without_line_breaks(value):
    text = canonical_json(value)
    assert text.isascii()
    assert text.isprintable() or "\x7f" in text


@pytest.mark.parametrize("value", [1, 1.0, True, "1", [1], None])
def test_values_of_another_type_have_another_digest(value):
    others = [other for other in (1, 1.0, True, "1", [1], None) if type(other) is not type(value)]
    assert digest(value) not in {digest(other) for other in others}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [-float("inf")]])
def test_nan_and_infinity_have_no_canonical_text(value):
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json(value)
