from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ensembles.errors import PosteriorsFormatError
from ensembles.predictions import (
    PosteriorPart,
    PosteriorParts,
    Posteriors,
    load_posteriors,
    read_rows,
    save_posteriors,
)


def random_probs(images, classes=5, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(classes), size=images).astype(np.float32)


def write_parts(folder, probs, cuts):
    """Part files of `probs` (N, K), cut before the given images."""
    bounds = [0, *cuts, len(probs)]
    parts = []
    for start, stop in pairwise(bounds):
        path = folder / f"{start}-{stop}.npy"
        save_posteriors(path, probs[start:stop])
        parts.append(PosteriorPart(start, stop, path))
    return parts


def test_a_saved_file_comes_back_bit_for_bit_as_a_read_only_map(tmp_path):
    probs = random_probs(11)
    save_posteriors(tmp_path / "part.npy", probs)
    loaded = load_posteriors(tmp_path / "part.npy")
    np.testing.assert_array_equal(loaded.probs, probs)
    assert isinstance(loaded.probs, np.memmap)
    assert not loaded.probs.flags.writeable
    assert loaded.readable.all()


def test_the_file_is_plain_npy_under_exactly_the_name_given(tmp_path):
    probs = random_probs(3)
    save_posteriors(tmp_path / "part", probs)
    assert [path.name for path in tmp_path.iterdir()] == ["part"]
    np.testing.assert_array_equal(np.load(tmp_path / "part", allow_pickle=False), probs)


def test_unreadable_images_are_the_nan_rows(tmp_path):
    probs = random_probs(4)
    probs[[1, 3]] = np.nan
    save_posteriors(tmp_path / "part.npy", probs)
    assert load_posteriors(tmp_path / "part.npy").readable.tolist() == [True, False, True, False]


def test_float64_and_strided_posteriors_are_stored_as_float32_in_c_order(tmp_path):
    probs = np.asfortranarray(random_probs(6).astype(np.float64))
    save_posteriors(tmp_path / "part.npy", probs)
    loaded = load_posteriors(tmp_path / "part.npy").probs
    assert loaded.dtype == np.float32
    assert loaded.flags.c_contiguous
    np.testing.assert_array_equal(loaded, probs.astype(np.float32))


@pytest.mark.parametrize(
    "row",
    [
        [2.0, 0.0, -1.0],
        [0.5, 0.5, 0.5],
        [1.5, -0.5, 0.0],
        [0.3, 0.3, 0.3],
        [np.nan, 0.5, 0.5],
        [np.inf, 0.0, 0.0],
        [np.inf, -np.inf, 0.0],
    ],
    ids=["logits", "sum above 1", "out of range", "sum below 1", "half NaN", "infinite", "opposite infinities"],
)
def test_a_row_that_is_no_distribution_is_named_and_nothing_is_written(tmp_path, row):
    probs = random_probs(5000, classes=3)
    probs[4321] = row
    with pytest.raises(PosteriorsFormatError, match="row 4321 is not"):
        save_posteriors(tmp_path / "part.npy", probs)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "probs",
    [np.ones(3, np.float32), np.ones((0, 3), np.float32), np.ones((3, 0), np.float32), np.ones((2, 1), np.int64)],
    ids=["one-dimensional", "no image", "no class", "integers"],
)
def test_arrays_of_another_shape_or_type_are_not_saved(tmp_path, probs):
    with pytest.raises(PosteriorsFormatError, match=r"^probs: "):
        save_posteriors(tmp_path / "part.npy", probs)


@pytest.mark.parametrize(
    "array",
    [
        np.ones((2, 3), np.float64),
        np.ones((2, 3), ">f4"),
        np.asfortranarray(np.ones((2, 3), np.float32)),
        np.ones(3, np.float32),
        np.array([{"a": 1}], dtype=object),
    ],
    ids=["float64", "big-endian", "Fortran order", "one-dimensional", "pickled objects"],
)
def test_npy_files_of_another_layout_are_refused_by_name(tmp_path, array):
    path = tmp_path / "other.npy"
    np.save(path, array, allow_pickle=True)
    with pytest.raises(PosteriorsFormatError) as caught:
        load_posteriors(path)
    assert caught.value.field == str(path)


def _damage(content: bytes) -> dict[str, bytes]:
    return {
        "empty": b"",
        "no npy file": b"PK\x03\x04 an archive",
        "header cut": content[:40],
        "last byte missing": content[:-1],
        "a byte too many": content + b"\0",
    }


@pytest.mark.parametrize("damage", _damage(b"").keys())
def test_damaged_files_are_refused_by_name(tmp_path, damage):
    path = tmp_path / "part.npy"
    save_posteriors(path, random_probs(8))
    path.write_bytes(_damage(path.read_bytes())[damage])
    with pytest.raises(PosteriorsFormatError) as caught:
        load_posteriors(path)
    assert caught.value.field == str(path)


def test_a_missing_file_stays_an_operating_system_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_posteriors(tmp_path / "absent.npy")


def test_readable_must_agree_with_the_nan_rows():
    probs = random_probs(3)
    with pytest.raises(PosteriorsFormatError, match=r"^readable: "):
        Posteriors(probs, np.array([True, False, True]))
    with pytest.raises(PosteriorsFormatError, match=r"^readable: "):
        Posteriors(probs, np.array([True, True]))


@given(data=st.data())
def test_blocks_line_up_however_the_images_were_cut_into_parts(tmp_path_factory, data):
    images, rows = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 40))
    cuts = sorted(data.draw(st.sets(st.integers(1, images - 1), max_size=6))) if images > 1 else []
    stop = data.draw(st.integers(0, images))
    probs = random_probs(images)
    parts = PosteriorParts(write_parts(tmp_path_factory.mktemp("parts"), probs, cuts))
    blocks = list(parts.blocks(rows, stop))
    assert [start for start, _ in blocks] == list(range(0, stop, rows))
    for start, block in blocks:
        np.testing.assert_array_equal(block, probs[start : min(start + rows, stop)])


def test_parts_in_any_order_are_read_in_image_order(tmp_path):
    probs = random_probs(10)
    parts = PosteriorParts(write_parts(tmp_path, probs, [3, 7])[::-1])
    assert (parts.start, parts.stop, parts.classes) == (0, 10, 5)
    np.testing.assert_array_equal(np.concatenate([block for _, block in parts.blocks(4)]), probs)


def test_a_block_inside_one_part_is_a_view_of_its_file(tmp_path):
    parts = PosteriorParts(write_parts(tmp_path, random_probs(10), [4]))
    assert [isinstance(block, np.memmap) for _, block in parts.blocks(3)] == [True, False, True, True]
    assert [isinstance(block, np.memmap) for _, block in parts.blocks(4)] == [True, True, True]


def test_parts_may_begin_after_the_first_image(tmp_path):
    probs = random_probs(10)
    parts = PosteriorParts(write_parts(tmp_path, probs, [3, 7])[1:])
    assert [(start, len(block)) for start, block in parts.blocks(5)] == [(3, 5), (8, 2)]
    np.testing.assert_array_equal(np.concatenate([block for _, block in parts.blocks(5)]), probs[3:])


def test_a_gap_or_an_overlap_between_parts_is_refused(tmp_path):
    first, second, third = write_parts(tmp_path, random_probs(10), [3, 7])
    with pytest.raises(PosteriorsFormatError, match="a part that starts at 3"):
        PosteriorParts([first, third])
    with pytest.raises(PosteriorsFormatError, match="a part that starts at 7"):
        PosteriorParts([first, second, second, third])
    with pytest.raises(PosteriorsFormatError, match="at least one part"):
        PosteriorParts([])


def test_a_file_with_other_rows_or_classes_than_its_part_is_refused(tmp_path):
    first, second = write_parts(tmp_path, random_probs(10), [3])
    with pytest.raises(PosteriorsFormatError, match="6 rows of 5 classes"):
        PosteriorParts([first, PosteriorPart(3, 9, second.path)])
    save_posteriors(second.path, random_probs(7, classes=4))
    with pytest.raises(PosteriorsFormatError, match="7 rows of 5 classes"):
        PosteriorParts([first, second])


def test_blocks_out_of_range_are_refused(tmp_path):
    parts = PosteriorParts(write_parts(tmp_path, random_probs(10), []))
    with pytest.raises(PosteriorsFormatError, match=r"^rows: "):
        next(parts.blocks(0))
    with pytest.raises(PosteriorsFormatError, match=r"^stop: "):
        next(parts.blocks(4, stop=11))


def test_rows_are_read_in_the_order_asked_for_from_whatever_files_hold_them(tmp_path):
    probs = random_probs(12)
    probs[7] = np.nan
    parts = write_parts(tmp_path, probs, [4, 5, 9])
    wanted = np.array([11, 0, 4, 7, 0])
    np.testing.assert_array_equal(read_rows([parts[3], parts[0], parts[1], parts[2]], wanted), probs[wanted])
    assert read_rows(parts[2:3], np.array([5])).shape == (1, 5)


def test_rows_that_no_part_holds_or_that_are_no_distribution_are_refused(tmp_path):
    probs = random_probs(6)
    parts = write_parts(tmp_path, probs, [3])
    with pytest.raises(PosteriorsFormatError, match=r"one or more images that the parts hold.*\[4\]"):
        read_rows(parts[:1], np.array([1, 4]))
    with pytest.raises(PosteriorsFormatError, match="one or more images"):
        read_rows(parts, np.array([], dtype=np.int64))
    np.save(parts[1].path, probs[:2])
    with pytest.raises(PosteriorsFormatError, match="3 rows, images 3 to 6"):
        read_rows(parts, np.array([3]))
    np.save(parts[1].path, np.full((3, 5), 0.5, dtype=np.float32))
    with pytest.raises(PosteriorsFormatError, match="a row is K numbers"):
        read_rows(parts, np.array([0, 3]))
    np.save(parts[1].path, random_probs(3, classes=4))
    with pytest.raises(PosteriorsFormatError, match="one number of classes"):
        read_rows(parts, np.array([0, 3]))
    parts[0].path.unlink()
    with pytest.raises(FileNotFoundError):
        read_rows(parts, np.array([0]))


def test_a_sequence_may_end_before_its_last_part_does_and_not_beyond(tmp_path):
    probs = np.random.default_rng(0).dirichlet(np.ones(4), 7).astype(np.float32)
    parts = []
    for start, stop in ((0, 4), (4, 7)):
        save_posteriors(tmp_path / f"{start}.npy", probs[start:stop])
        parts.append(PosteriorPart(start, stop, tmp_path / f"{start}.npy"))
    shorter = PosteriorParts(parts, 5)
    assert shorter.stop == 5
    np.testing.assert_array_equal(np.concatenate([block for _, block in shorter.blocks(2)]), probs[:5])
    for stop in (8, -1):
        with pytest.raises(PosteriorsFormatError, match="stop"):
            PosteriorParts(parts, stop)
