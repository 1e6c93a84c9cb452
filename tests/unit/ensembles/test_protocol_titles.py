from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ensembles.protocol_titles import protocol_title
from ensembles.protocols import PRESETS, Protocol

CHANGES = {
    "scales": st.sampled_from([(256,), (224, 256), "single", "multi"]),
    "scale_step": st.integers(1, 64),
    "modes": st.sampled_from([("dense",), ("crops",), ("dense", "crops")]),
    "hflip": st.booleans(),
    "crop_grid": st.sampled_from([3, 5, "center", "ten"]),
    "score_pooling": st.sampled_from(["logits", "probs", "probs_max"]),
    "resize": st.sampled_from(["bilinear", "bicubic", "nearest"]),
    "antialias": st.booleans(),
    "long_side": st.sampled_from(["trunc", "round", "ceil"]),
    "pool_rounding": st.sampled_from(["floor", "ceil"]),
    "decoder": st.sampled_from(["pillow", "torchcodec"]),
    "exif": st.sampled_from(["ignore", "transpose"]),
    "dtype": st.sampled_from(["float32", "bfloat16", "float16"]),
    "exclude": st.sampled_from([None, ("a.jpg",)]),
}


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_called_by_its_name(name):
    assert protocol_title(PRESETS[name]) == name
    assert protocol_title(PRESETS[name].to_dict()) == name


@pytest.mark.parametrize(
    ("fields", "title"),
    [
        ({"preset": "vgg-multi-scale-both", "scale_step": 4}, "vgg-multi-scale-both, scale step 4"),
        ({"scales": [32]}, "vgg-single-scale, scales 32"),
        ({"scales": [32, 40]}, "vgg-multi-scale-dense, scales 32 40"),
        ({"preset": "torchvision", "scales": [232]}, "torchvision, scales 232"),
        ({"preset": "caffe-vgg", "antialias": False}, "caffe-vgg, antialias off"),
        ({"preset": "center-crop", "hflip": True}, "center-crop, hflip on"),
        (
            {"preset": "vgg-single-scale", "pool_rounding": "ceil", "exclude": ["a", "b"]},
            "vgg-single-scale, pool rounding ceil, 2 ids excluded",
        ),
        ({"modes": ["crops"], "crop_grid": 3}, "vgg-multi-scale-crops, crop grid 3"),
    ],
)
def test_any_other_is_called_by_the_nearest_preset_and_what_differs(fields, title):
    assert protocol_title(Protocol.parse(fields)) == title


def test_the_changes_tried_here_cover_every_field():
    assert set(CHANGES) == {field.name for field in fields(Protocol)} - {"name"}


@given(st.fixed_dictionaries(CHANGES), st.fixed_dictionaries(CHANGES))
def test_different_protocols_have_different_titles(ours, theirs):
    ours, theirs = Protocol(**ours), Protocol(**theirs)
    # Titles count excluded images and do not list them.
    if replace(ours, exclude=None) != replace(theirs, exclude=None):
        assert protocol_title(ours) != protocol_title(theirs)
