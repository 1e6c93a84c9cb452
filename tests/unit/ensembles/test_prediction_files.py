"""Predictions of other frameworks: every format both ways, and everything that does not fit, named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ensembles.errors import PredictionsFileError
from ensembles.prediction_files import GivenPredictions, Kind, read_predictions
from ensembles.prediction_join import join_predictions
from ensembles.prediction_writers import ArchivedArray, write_archive, write_table

IDS = ("cat/a, b.jpg", 'dog/"q".jpg', "dog/ü\u2028.jpg", "=cow/1.jpg", "cow/2.jpg")
CLASSES = ("cat", "dog", "cow")
LABELS = np.array([0, 1, 1, 2, 2])
PROBS = np.random.default_rng(7).dirichlet(np.ones(3), size=5).astype(np.float32)


def joined(given: GivenPredictions, kind: Kind | None = "probs", **options: Any) -> NDArray[np.float32]:
    return join_predictions("file", given, IDS, CLASSES, LABELS, kind, **options)


def given(probs: NDArray[np.floating[Any]] = PROBS, ids: tuple[str, ...] = IDS, **fields: Any) -> GivenPredictions:
    return GivenPredictions(ids, probs, **fields)


@pytest.mark.parametrize("suffix", [".npy", ".csv", ".parquet"])
def test_a_table_that_was_written_reads_as_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    hard = PROBS.copy()
    hard[0] = np.float32(1) / 3, np.nextafter(np.float32(1) / 3, np.float32(1)), np.float32(1e-38)
    hard[1] = np.float32(1e-45), 0, 1
    write_table(path, IDS, CLASSES, hard)
    again = read_predictions(path)
    assert again.ids == IDS
    assert again.values.astype(np.float32).tobytes() == hard.tobytes()
    assert again.classes == (None if suffix == ".npy" else CLASSES)
    assert again.kind is None
    assert {one.name for one in tmp_path.iterdir()} == {path.name} | ({"out.ids.txt"} if suffix == ".npy" else set())


def test_an_archive_that_was_written_reads_as_the_same_bytes_and_is_one_that_numpy_opens(tmp_path: Path) -> None:
    path = tmp_path / "out.npz"
    other = PROBS[::-1].copy()

    def blocks(array: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        return [array[:2], array[2:]]

    arrays = [
        ArchivedArray("probs/a/b/dense/256", PROBS.shape, blocks(PROBS)),
        ArchivedArray("probs/vit/imported", PROBS.shape, blocks(other)),
    ]
    write_archive(path, IDS, LABELS, CLASSES, arrays)
    with np.load(path, allow_pickle=False) as archive:
        assert set(archive.files) == {"ids", "labels", "classes", "probs/a/b/dense/256", "probs/vit/imported"}
        assert archive["ids"].tolist() == list(IDS)
        assert archive["labels"].tolist() == LABELS.tolist()
    for member, expected in (("a/b", PROBS), ("vit", other)):
        again = read_predictions(path, member=member)
        assert (again.ids, again.classes, again.kind) == (IDS, CLASSES, "probs")
        assert joined(again, None).tobytes() == expected.tobytes()
    with pytest.raises(PredictionsFileError, match=r"one of its checkpoints to be chosen; got \['a/b', 'vit'\]"):
        read_predictions(path)
    with pytest.raises(PredictionsFileError, match="one of its checkpoints, a/b, vit; got vgg"):
        read_predictions(path, member="vgg")


def test_the_same_numbers_are_the_same_archive(tmp_path: Path) -> None:
    for name in ("one.npz", "two.npz"):
        write_archive(tmp_path / name, IDS, LABELS, CLASSES, [ArchivedArray("probs/a/dense/32", PROBS.shape, [PROBS])])
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


def test_several_views_of_a_checkpoint_are_averaged_over_scales_then_modes(tmp_path: Path) -> None:
    views = np.random.default_rng(1).dirichlet(np.ones(3), size=(3, 5)).astype(np.float32)
    names = ("dense/32", "dense/48", "crops/32")
    arrays = {f"probs/a/{name}": view for name, view in zip(names, views, strict=True)}
    np.savez(tmp_path / "a.npz", ids=np.array(IDS), **arrays)
    expected = ((views[0].astype(np.float64) + views[1]) / 2 + views[2]) / 2
    assert joined(read_predictions(tmp_path / "a.npz"), None) == pytest.approx(expected, abs=1e-7)


def test_rows_come_in_any_order_and_are_matched_by_id() -> None:
    order = [3, 0, 4, 2, 1]
    shuffled = given(PROBS[order], tuple(IDS[i] for i in order), labels=LABELS[order])
    assert joined(shuffled).tobytes() == PROBS.tobytes()


def test_columns_come_in_any_order_and_are_matched_by_name() -> None:
    order = [2, 0, 1]
    names = tuple(CLASSES[k] for k in order)
    labels = np.array([order.index(label) for label in LABELS])
    assert joined(given(PROBS[:, order], classes=names, labels=labels)).tobytes() == PROBS.tobytes()
    assert joined(given(classes=("0", "1", "2"))).tobytes() == PROBS.tobytes()
    with pytest.raises(PredictionsFileError, match="others for 5 images, first cat/a"):
        joined(given(PROBS[:, order], classes=names, labels=(labels + 1) % 3))


def test_classes_that_are_named_by_numbers_are_matched_like_other_names() -> None:
    swapped = join_predictions("f", given(classes=("1", "0", "2")), IDS, ("0", "1", "2"), LABELS, "probs")
    assert swapped.tobytes() == PROBS[:, [1, 0, 2]].tobytes()


def test_logits_become_their_softmax() -> None:
    logits = np.array([[1000, 0, -1000], [0, 0, 0], [1, 2, 3], [-5, 5, 0], [1e-3, 0, 0]], dtype=np.float32)
    probs = joined(given(logits), "logits")
    assert probs[0].tolist() == [1, 0, 0]
    assert probs[1] == pytest.approx([1 / 3] * 3, abs=1e-7)
    assert probs[2] == pytest.approx(np.exp([1, 2, 3]) / np.exp([1, 2, 3]).sum(), abs=1e-7)


def test_what_the_values_are_is_declared_and_never_guessed(tmp_path: Path) -> None:
    with pytest.raises(PredictionsFileError, match="declared, never guessed"):
        joined(given(), None)
    np.savez(tmp_path / "a.npz", ids=np.array(IDS), logits=PROBS)
    assert read_predictions(tmp_path / "a.npz").kind == "logits"
    with pytest.raises(PredictionsFileError, match="probs, as it was said; got logits"):
        joined(read_predictions(tmp_path / "a.npz"), "probs")
    with pytest.raises(PredictionsFileError, match=r"logits are declared as such; got 5 images, first cat/a, b.jpg"):
        joined(given(PROBS * 2))


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        ((*IDS[:4], IDS[0]), r"1 duplicate \(cat/a, b.jpg\); 1 missing \(cow/2.jpg\)"),
        ((*IDS[:4], "cow/3.jpg"), r"1 unknown to the data set \(cow/3.jpg\); 1 missing \(cow/2.jpg\)"),
        (tuple(f"x{i}" for i in range(5)), r"5 unknown to the data set \(x0, x1, x2, x3, x4\); 5 missing"),
    ],
)
def test_missing_extra_and_duplicate_ids_are_named(ids: tuple[str, ...], said: str) -> None:
    with pytest.raises(PredictionsFileError, match=said):
        joined(given(ids=ids))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["probs", "logits"])
def test_a_row_that_is_not_finite_is_named(value: float, kind: Kind) -> None:
    broken = PROBS.copy()
    broken[2, 1] = value
    with pytest.raises(PredictionsFileError, match="each row finite numbers; got 1 image, first dog/ü"):
        joined(given(broken), kind)
    with pytest.raises(PredictionsFileError, match="each row finite numbers"):
        joined(given(broken), kind, partial=True)


@pytest.mark.parametrize("row", [[0.5, 0.4, 0.0], [1.2, -0.2, 0.0], [0.0, 0.0, 0.0]])
def test_a_row_that_is_no_distribution_is_named(row: list[float]) -> None:
    broken = PROBS.copy()
    broken[4] = row
    with pytest.raises(PredictionsFileError, match=r"sum 1; .* got 1 image, first cow/2.jpg"):
        joined(given(broken))


def test_images_may_be_left_out_where_this_is_said() -> None:
    holes = PROBS.copy()
    holes[1] = np.nan
    partial = joined(given(holes[:4], IDS[:4]), partial=True)
    assert np.isnan(partial).all(axis=1).tolist() == [False, True, False, False, True]
    assert partial[[0, 2, 3]].tobytes() == PROBS[[0, 2, 3]].tobytes()
    with pytest.raises(PredictionsFileError, match="at least one image"):
        joined(given(np.full((5, 3), np.nan)), partial=True)


def test_another_number_of_classes_or_other_names_are_refused() -> None:
    with pytest.raises(PredictionsFileError, match=r"one column a class \(3\); got \(5, 2\)"):
        joined(given(PROBS[:, :2]))
    with pytest.raises(PredictionsFileError, match=r"in any order; .* got without cow"):
        joined(given(classes=("cat", "dog", "sheep")))


def test_files_that_are_none_are_refused_by_name(tmp_path: Path) -> None:
    def refused(name: str, content: bytes, rule: str) -> None:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(PredictionsFileError, match=rule) as error:
            read_predictions(tmp_path / name)
        assert str(error.value).startswith(f"{name}: ")

    refused("a.txt", b"", "a name that ends with")
    refused("a.npz", b"PK no", "an .npz archive")
    refused("a.csv", b"", "a line of column names")
    refused("b.csv", b"image,cat\nx,1\n", "the columns id")
    refused("c.csv", b"id,cat,cat\nx,1,0\n", "each column once")
    refused("d.csv", b"id,cat,dog\nx,1\n", "3 values in line 2; got 2")
    refused("e.csv", b"id,cat,dog\nx,1,zero\n", "numbers after the id in line 2")
    refused("f.csv", b"id,cat\n", "a line for each image")
    refused("g.csv", b"id,cat\n\xff,1\n", "a CSV file in UTF-8")
    refused("a.parquet", b"PAR1", "a Parquet file")
    refused("a.npy", b"\x93NUMPY", "a file with one image id a line")
    (tmp_path / "a.ids.txt").write_text("x\n")
    refused("a.npy", b"\x93NUMPY", "an .npy array")
    np.savez(tmp_path / "b.npz", ids=np.array(["x"], dtype=object), probs=PROBS)
    with pytest.raises(PredictionsFileError, match="without pickled objects"):
        read_predictions(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", ids=np.array(IDS), probs=PROBS, logits=PROBS)
    with pytest.raises(PredictionsFileError, match="either `probs` or `logits`"):
        read_predictions(tmp_path / "c.npz")
    np.savez(tmp_path / "d.npz", ids=np.array(IDS), scores=PROBS)
    with pytest.raises(PredictionsFileError, match="an array `probs`"):
        read_predictions(tmp_path / "d.npz")
    np.savez(tmp_path / "e.npz", probs=PROBS)
    with pytest.raises(PredictionsFileError, match="an array `ids`"):
        read_predictions(tmp_path / "e.npz")
    np.savez(tmp_path / "f.npz", ids=np.array(IDS), probs=(PROBS * 100).astype(np.int64))
    with pytest.raises(PredictionsFileError, match=r"probs of shape \(N, K\), of a float type; got int64"):
        read_predictions(tmp_path / "f.npz")


def test_what_a_format_cannot_hold_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(PredictionsFileError, match="ids without line breaks"):
        write_table(tmp_path / "a.npy", ("a\nb",), CLASSES, PROBS[:1])
    with pytest.raises(PredictionsFileError, match="name of the first column"):
        write_table(tmp_path / "a.csv", ("a",), ("id", "x", "y"), PROBS[:1])
    with pytest.raises(PredictionsFileError, match="a name that ends with"):
        write_table(tmp_path / "a.xlsx", ("a",), CLASSES, PROBS[:1])
    assert list(tmp_path.iterdir()) == []
