from dataclasses import FrozenInstanceError, fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ensembles.errors import SpecError
from ensembles.specs import PREPROCESSING_PRESETS, Preprocessing, ViewSpec

CHOICES = {
    "mode": ["dense", "crops"],
    "scale": [256, 384],
    "hflip": [True, False],
    "resize": ["bilinear", "bicubic", "nearest"],
    "antialias": [True, False],
    "long_side": ["trunc", "round", "ceil"],
    "pool_rounding": ["floor", "ceil"],
    "score_pooling": ["logits", "probs", "probs_max"],
    "crop_grid": [5, 3, "center", "ten"],
    "decoder": ["pillow", "torchcodec"],
    "exif": ["ignore", "transpose"],
    "dtype": ["float32", "bfloat16", "float16"],
    "max_pixels": [16_000_000, 1],
}


@st.composite
def views(draw):
    return ViewSpec(**{name: draw(st.sampled_from(values)) for name, values in CHOICES.items()})


def irrelevant_fields(view):
    """Fields that cannot change the posterior, said here once more and independently."""
    names = {"crop_grid"} if view.mode == "dense" else {"score_pooling", "pool_rounding"}
    return names | ({"antialias"} if view.resize == "nearest" else set())


def test_the_choices_here_cover_every_field():
    assert set(CHOICES) == {field.name for field in fields(ViewSpec)}


@given(views(), st.data())
def test_every_relevant_field_changes_the_digest_and_no_irrelevant_one_does(view, data):
    for name, values in CHOICES.items():
        other = data.draw(st.sampled_from([value for value in values if value != getattr(view, name)]), label=name)
        changed = replace(view, **{name: other})
        assert (changed.digest == view.digest) == (name in irrelevant_fields(view)), name


@given(views())
def test_a_view_comes_back_from_its_dictionary_with_the_same_digest(view):
    assert ViewSpec.from_dict(view.to_dict()).digest == view.digest


def test_view_digests_are_pinned():
    # Another digest would orphan every stored prediction set.
    assert ViewSpec("dense", 384).digest == "4f08a368b99239d8495053a933886496801c0324c6a292d5e7a63acb603e58cd"
    assert ViewSpec("crops", 384).digest == "fd579e52feee5a856bdbca87dd36a1e9c0cbde4dc9ce2f6a9b772f8c347a1da4"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mode", "both"),
        ("mode", ["dense"]),
        ("scale", 0),
        ("scale", 4097),
        ("scale", 256.0),
        ("scale", True),
        ("scale", "256"),
        ("hflip", 1),
        ("antialias", None),
        ("resize", "lanczos"),
        ("long_side", "floor"),
        ("pool_rounding", "round"),
        ("score_pooling", "max"),
        ("crop_grid", 1),
        ("crop_grid", 10),
        ("crop_grid", True),
        ("crop_grid", "five"),
        ("decoder", "opencv"),
        ("exif", True),
        ("dtype", "int8"),
        ("max_pixels", 0),
        ("max_pixels", 1.5),
    ],
)
def test_a_value_that_breaks_a_rule_is_refused_by_field_with_the_value(field, value):
    with pytest.raises(SpecError) as caught:
        ViewSpec(**{"mode": "dense", "scale": 256, field: value})
    assert [(problem.field, problem.value) for problem in caught.value.problems] == [(field, value)]


def test_all_broken_rules_of_a_view_are_reported_at_once():
    with pytest.raises(SpecError) as caught:
        ViewSpec("both", 0, hflip="yes", crop_grid=99, max_pixels=0)
    assert {problem.field for problem in caught.value.problems} == {"mode", "scale", "hflip", "crop_grid", "max_pixels"}


def test_a_view_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        ViewSpec("dense", 256).scale = 384


@pytest.mark.parametrize(
    ("view", "crops"),
    [
        (ViewSpec("crops", 256), 50),
        (ViewSpec("crops", 256, hflip=False), 25),
        (ViewSpec("crops", 256, crop_grid="ten"), 10),
        (ViewSpec("crops", 256, crop_grid="center", hflip=False), 1),
        (ViewSpec("dense", 256), 0),
    ],
)
def test_crops_are_counted_with_their_flips(view, crops):
    assert view.crops_per_image == crops


def test_the_preprocessing_presets_differ_in_mean_order_and_range():
    torchvision, rgb, bgr = (PREPROCESSING_PRESETS[name] for name in ("torchvision", "vgg-mean", "caffe-vgg"))
    assert torchvision == Preprocessing("rgb", 1, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert rgb == Preprocessing("rgb", 255, (123.68, 116.779, 103.939), (1.0, 1.0, 1.0))
    assert bgr == Preprocessing("bgr", 255, (103.939, 116.779, 123.68), (1.0, 1.0, 1.0))


@pytest.mark.parametrize("name", PREPROCESSING_PRESETS)
def test_preprocessing_comes_back_from_its_dictionary(name):
    preset = PREPROCESSING_PRESETS[name]
    assert Preprocessing.from_dict(preset.to_dict()) == preset


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("channel_order", "grb"),
        ("value_range", 256),
        ("mean", (0.5, 0.5)),
        ("mean", ("a", "b", "c")),
        ("std", (1.0, 0.0, 1.0)),
        ("std", (1.0, 1.0, -1.0)),
        ("std", (1.0,)),
    ],
)
def test_preprocessing_that_breaks_a_rule_is_refused_by_field(field, value):
    with pytest.raises(SpecError) as caught:
        Preprocessing(**{field: value})
    assert [problem.field for problem in caught.value.problems] == [f"preprocessing.{field}"]
