"""Telling the architecture from names and shapes: exact for every network of table 1, or an error that explains."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ensembles.configurations import CONFIGURATIONS, Architecture
from ensembles.errors import CheckpointUnrecognisedError
from ensembles.recognition import recognise_shapes


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize(
    ("width", "classes", "crop"), [(1.0, 1000, 224), (0.125, 10, 32), (1 / 3, 1, 96), (2.0, 2, 64)]
)
def test_every_architecture_is_recognised_from_its_own_shapes(
    configuration: str, batch_norm: bool, width: float, classes: int, crop: int
) -> None:
    architecture = Architecture(configuration, batch_norm, width, classes, crop)
    assert recognise_shapes(architecture.tensor_shapes()) == architecture


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(CONFIGURATIONS)), st.integers(1, 128), st.integers(1, 64))
def test_widths_that_are_simple_fractions_come_back_as_they_were(name: str, numerator: int, denominator: int) -> None:
    width = min(numerator / denominator, 4.0)
    assert recognise_shapes(Architecture(name, width=width, crop=32).tensor_shapes()).width == width


@settings(max_examples=60, deadline=None)
@given(st.floats(0.0002, 4.0))
def test_any_width_comes_back_as_one_with_the_same_shapes(width: float) -> None:
    shapes = Architecture("D", width=width, crop=32).tensor_shapes()
    assert recognise_shapes(shapes).tensor_shapes() == shapes


def test_files_from_before_batch_norm_counted_batches_are_recognised() -> None:
    architecture = Architecture("D", batch_norm=True)
    shapes = {n: s for n, s in architecture.tensor_shapes().items() if not n.endswith("num_batches_tracked")}
    assert recognise_shapes(shapes) == architecture


def refused(shapes: dict[str, tuple[int, ...]]) -> CheckpointUnrecognisedError:
    with pytest.raises(CheckpointUnrecognisedError) as caught:
        recognise_shapes(shapes)
    return caught.value


def test_f38_a_missing_layer_is_named_with_the_nearest_network() -> None:
    shapes = Architecture("D").tensor_shapes()
    del shapes["features.28.weight"], shapes["features.28.bias"]
    error = refused(shapes)
    assert error.nearest == "vgg16 (configuration D): missing features.28.weight, features.28.bias"
    assert error.seen.startswith("30 tensors: features.0.weight 64×3×3×3")
    assert "A, A-LRN, B, B-5x5, C, D, E" in error.expected


def test_f38_a_missing_or_extra_tensor_of_a_known_layer_is_named() -> None:
    shapes = Architecture("A").tensor_shapes()
    del shapes["features.0.bias"]
    shapes["extra.weight"] = (3,)
    assert refused(shapes).nearest == "vgg11 (configuration A): missing features.0.bias; unexpected extra.weight"


def test_f38_a_tensor_of_another_shape_is_named_with_both_shapes() -> None:
    shapes = Architecture("A").tensor_shapes()
    shapes["features.3.weight"] = (128, 32, 3, 3)
    expected = "vgg11 (configuration A): shape features.3.weight 128×32×3×3 instead of 128×64×3×3"
    assert refused(shapes).nearest == expected


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"features.0.weight": (63, 3, 3, 3)}, "no common multiple"),
        ({"classifier.0.weight": (4096,)}, "three FC layers"),
        ({"classifier.6.weight": (0, 4096)}, "three FC layers"),
        ({"features.0.weight": (0, 3, 3, 3)}, "three FC layers"),
        ({"classifier.0.weight": (4096, 100)}, "architecture.crop"),
        ({"classifier.0.weight": (4096, 512 * 48)}, "classifier.0.weight 4096×24576 instead of 4096×18432"),
    ],
)
def test_sizes_that_fit_no_width_or_crop_are_refused(changes: dict[str, tuple[int, ...]], said: str) -> None:
    assert said in str(refused(Architecture("A").tensor_shapes() | changes))


def test_another_family_has_no_nearest_network_and_a_short_summary() -> None:
    error = refused({f"layer{i}." + "x" * 500: (64, 3, 7, 7) for i in range(5000)})
    assert error.nearest is None
    assert "and 4996 more" in error.seen
    assert len(str(error)) < 700


def test_no_tensors_at_all_are_refused() -> None:
    assert refused({}).seen.startswith("0 tensors")
