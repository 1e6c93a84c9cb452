"""Posteriors against posteriors: exactly the images that moved are found."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ensembles.errors import SpecError
from ensembles.movement import compare_posteriors
from ensembles.predictions import PosteriorPart, PosteriorParts, save_posteriors


def stored(folder: Path, name: str, probs: NDArray[np.float32], cuts: tuple[int, ...] = ()) -> PosteriorParts:
    edges = [0, *cuts, len(probs)]
    parts = []
    for start, stop in pairwise(edges):
        path = folder / f"{name}-{start}.npy"
        save_posteriors(path, probs[start:stop])
        parts.append(PosteriorPart(start, stop, path))
    return PosteriorParts(parts)


def drawn(n: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).dirichlet(np.ones(5), n).astype(np.float32)


def test_the_same_posteriors_have_not_moved_however_they_were_cut(tmp_path: Path) -> None:
    probs = drawn(30)
    probs[7] = np.nan
    found = compare_posteriors(stored(tmp_path, "a", probs, (8,)), stored(tmp_path, "b", probs, (3, 20)), 30)
    assert found.compared == 30
    assert len(found.images) == 0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(moved=st.sets(st.integers(0, 19)), images=st.integers(1, 20))
def test_exactly_the_images_with_another_bit_are_found(tmp_path: Path, moved: set[int], images: int) -> None:
    before = drawn(20)
    now = before.copy()
    for image in moved:
        now[image, 2] = np.nextafter(now[image, 2], np.float32(1))
    found = compare_posteriors(stored(tmp_path, "a", before), stored(tmp_path, "b", now), images)
    assert found.images.tolist() == sorted(image for image in moved if image < images)
    assert (found.differences > 0).all()


def test_a_tolerance_forgives_small_moves_and_never_another_top_1(tmp_path: Path) -> None:
    before = np.array([[0.5, 0.5, 0.0], [0.5004, 0.4996, 0.0], [0.6, 0.4, 0.0]], dtype=np.float32)
    now = np.array([[0.5, 0.5, 0.0], [0.4996, 0.5004, 0.0], [0.599, 0.401, 0.0]], dtype=np.float32)
    sets = stored(tmp_path, "a", before), stored(tmp_path, "b", now)
    found = compare_posteriors(*sets, 3, tolerance=0.01)
    assert found.images.tolist() == [1]
    assert (found.before.tolist(), found.now.tolist(), found.top1_moved.tolist()) == ([0], [1], [True])
    assert compare_posteriors(*sets, 3).images.tolist() == [1, 2]


def test_an_image_that_can_no_longer_be_read_has_moved(tmp_path: Path) -> None:
    before, now = drawn(4), drawn(4)
    now[1] = np.nan
    found = compare_posteriors(stored(tmp_path, "a", before), stored(tmp_path, "b", now), 4, tolerance=1.0)
    assert found.images.tolist() == [1]
    assert found.now.tolist() == [-1]
    assert np.isinf(found.differences).all()


def test_sets_of_other_classes_or_too_few_images_are_refused(tmp_path: Path) -> None:
    a, b = stored(tmp_path, "a", drawn(4)), stored(tmp_path, "b", drawn(4)[:3])
    with pytest.raises(SpecError, match="from 1 to 3"):
        compare_posteriors(a, b, 4)
    wide = np.full((4, 6), 1 / 6, dtype=np.float32)
    with pytest.raises(SpecError, match="5 classes"):
        compare_posteriors(a, stored(tmp_path, "c", wide), 4)
