import numpy as np
import pytest
from hypothesis import given

from ensembles.contender_bytes import from_bytes, to_bytes
from ensembles.contenders import find_contenders
from ensembles.errors import PosteriorsFormatError
from tests.rational_oracle import awkward_members


@given(awkward_members())
def test_a_table_survives_its_bytes(made):
    table = find_contenders(*made)
    again = from_bytes(to_bytes(table))
    assert again.ks == table.ks
    for name in ("always", "images", "starts", "own", "others"):
        expected, found = getattr(table, name), getattr(again, name)
        np.testing.assert_array_equal(found, expected)
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)


def small_table() -> bytes:
    first = np.array([[0.2, 0.8], [0.6, 0.4]], np.float32)
    return to_bytes(find_contenders([first, first[:, ::-1].copy()], np.array([0, 0])))


def test_the_layout_is_the_documented_one():
    data = small_table()
    assert data[:4] == b"SVCT"
    assert np.frombuffer(data, "<u4", 6, 4).tolist() == [1, 2, 2, 2, 2, 2]
    assert list(data[40:42]) == [1, 5]
    assert list(data[48:50]) == [0, 0]
    assert np.frombuffer(data, "<u4", 2, 56).tolist() == [0, 1]
    assert np.frombuffer(data, "<u4", 3, 64).tolist() == [0, 1, 2]
    assert np.frombuffer(data, "<f4", 4, 80).tolist() == np.float32([0.2, 0.8, 0.6, 0.4]).tolist()
    assert np.frombuffer(data, "<f4", 4, 96).tolist() == np.float32([0.8, 0.2, 0.4, 0.6]).tolist()
    assert len(data) == 112


def test_bytes_that_are_no_table_are_refused():
    data = small_table()
    for broken in (b"", b"SVC", b"XXXX" + data[4:], data[:-8], data + bytes(8), data[:4] + b"\2" + data[5:]):
        with pytest.raises(PosteriorsFormatError, match="contenders"):
            from_bytes(broken)
    for offset, value in ((40, 0), (56, 1), (60, 9), (68, 3), (64, 1), (103, 0xFF)):
        changed = bytearray(data)
        changed[offset] = value
        if offset == 103:
            changed[102] = 0x80  # infinity
        with pytest.raises(PosteriorsFormatError, match="not so"):
            from_bytes(bytes(changed))
