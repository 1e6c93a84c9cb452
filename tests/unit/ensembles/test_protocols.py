from dataclasses import fields, replace

import pytest

from ensembles.errors import ScaleTooSmallError, SpecError, TrainingScaleMissingError, UnknownNameError
from ensembles.protocols import PRESET_SUMMARIES, PRESETS, FusionSpec, Protocol
from ensembles.recipes import Recipe
from ensembles.scales import TrainingScale
from ensembles.specs import ViewSpec

#: A change of one of these gives every stored evaluation another protocol: it must be wanted.
PRESET_DIGESTS = {
    "vgg-single-scale": "c4d5ab6d8dfed892249df25350addf65ccfa83d95aa9d739c23f6d32a7a5aef7",
    "vgg-multi-scale-dense": "4fb2cd8da4323b30167c2da9c51d685d7ad8694bd02afa93433d7f71af652977",
    "vgg-multi-scale-crops": "81490a23fb711dfa6b0c814cf1dc66a0a9adf95ef376e63273d20bbb4869ec3b",
    "vgg-multi-scale-both": "62c2a56d2e085b00856a834a363c5bc4e8245ab30338194f972ea1aabcec28a1",
    "center-crop": "043e33895576642bc0bd28dd5a35321747fcc0bc9c65da70dc368e2401c44297",
    "ten-crop": "f13c31b5f8efe14c15d5096573e6d74af9c5cba42e1d3c7f6c8f0bfbc8f044c5",
    "torchvision": "269e83825c52dae485f8f0c30786ba42910fba98dc4c9cc51f1bc5432d744c21",
    "caffe-vgg": "d508e5b39f2078019bb37957e41a079ab55d076086308db59d9fc983bec0c640",
}

#: One broken value a field; as JSON would give them.
BROKEN_VALUES = {
    "scales": [[], "both", 256, [256, 256], [0], [True], [[256]], {"q": 256}, None],
    "scale_step": [0, -32, 1.5, True, "32", 4097],
    "modes": [[], "dense", 3, None, ["dense", "dense"], ["flat"], [["dense"]], [["dense"], ["crops"]], {"dense": 1}],
    "hflip": [1, "true", None],
    "crop_grid": [1, 10, "five", [5]],
    "score_pooling": ["max", 1],
    "resize": ["lanczos"],
    "antialias": [0],
    "long_side": ["floor"],
    "pool_rounding": ["round"],
    "decoder": ["opencv"],
    "exif": [True],
    "dtype": ["float64", ["float32"]],
    "exclude": ["ant/1.jpg", 5, [1], {"ant/1.jpg": True}],
}


def test_the_preset_digests_are_pinned():
    assert {name: preset.digest for name, preset in PRESETS.items()} == PRESET_DIGESTS


def test_every_preset_has_a_summary_and_its_own_name():
    assert set(PRESET_SUMMARIES) == set(PRESETS)
    assert all(preset.name == name for name, preset in PRESETS.items())


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_read_by_name_by_reference_and_from_its_own_fields(name):
    for value in (name, {"preset": name}, PRESETS[name].to_dict()):
        protocol = Protocol.parse(value)
        assert protocol == PRESETS[name]
        assert protocol.name == name


def test_an_unknown_preset_suggests_near_names():
    for value in ("vgg-multiscale-dense", {"preset": "vgg-multiscale-dense", "hflip": False}):
        with pytest.raises(UnknownNameError) as caught:
            Protocol.parse(value)
        assert caught.value.near[0] == "vgg-multi-scale-dense"


def test_fields_on_top_of_a_preset_change_only_themselves_and_drop_its_name():
    changed = Protocol.parse({"preset": "caffe-vgg", "hflip": False})
    assert changed == replace(PRESETS["caffe-vgg"], hflip=False)
    assert changed.name is None


def test_no_fields_at_all_are_the_default_protocol():
    assert Protocol.parse({}) == Protocol.parse({"preset": None}) == PRESETS["vgg-multi-scale-dense"]


def test_the_order_of_the_two_modes_carries_no_meaning():
    assert Protocol.parse({"modes": ["crops", "dense"]}) == PRESETS["vgg-multi-scale-both"]


def test_the_values_tried_here_cover_every_field():
    assert set(BROKEN_VALUES) == {field.name for field in fields(Protocol)} - {"name"}


@pytest.mark.parametrize(("field", "value"), [(field, v) for field, values in BROKEN_VALUES.items() for v in values])
def test_a_value_that_breaks_a_rule_is_refused_by_field(field, value):
    with pytest.raises(SpecError) as caught:
        Protocol.parse({field: value})
    assert [problem.field for problem in caught.value.problems] == [field]


def test_all_problems_of_a_protocol_are_reported_at_once():
    broken = {field: values[0] for field, values in BROKEN_VALUES.items()}
    with pytest.raises(SpecError) as caught:
        Protocol.parse({**broken, "scale": 256, "name": "mine"})
    problems = caught.value.problems
    assert sorted(problem.field for problem in problems) == sorted([*broken, "scale", "name"])
    assert {problem.field for problem in problems if problem.code == "unknown_field"} == {"scale", "name"}


@pytest.mark.parametrize("value", [None, 5, ["vgg-single-scale"]])
def test_a_protocol_that_is_neither_name_nor_object_is_refused(value):
    with pytest.raises(SpecError, match=r"^protocol: "):
        Protocol.parse(value)


@pytest.mark.parametrize("value", [5, ["torchvision"], {}])
def test_a_preset_reference_that_is_no_name_is_refused(value):
    with pytest.raises(SpecError, match=r"^protocol\.preset: "):
        Protocol.parse({"preset": value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("scales", (256,)),
        ("scale_step", 16),
        ("modes", ("crops",)),
        ("hflip", False),
        ("crop_grid", 3),
        ("score_pooling", "probs"),
        ("resize", "bicubic"),
        ("antialias", False),
        ("long_side", "ceil"),
        ("pool_rounding", "ceil"),
        ("decoder", "torchcodec"),
        ("exif", "transpose"),
        ("dtype", "bfloat16"),
        ("exclude", ("ant/1.jpg",)),
    ],
)
def test_every_field_but_the_name_changes_the_digest(field, value):
    assert replace(Protocol(), **{field: value}).digest != Protocol().digest
    assert replace(Protocol(), name="mine").digest == Protocol().digest


def test_scales_come_from_the_training_scale_and_the_views_list_mode_by_mode():
    views = PRESETS["vgg-multi-scale-both"].views(TrainingScale.parse("256-512"), crop=224)
    assert [(view.mode, view.scale) for view in views] == [
        ("dense", 256),
        ("dense", 384),
        ("dense", 512),
        ("crops", 256),
        ("crops", 384),
        ("crops", 512),
    ]
    assert sum(view.crops_per_image for view in views) == 150


def test_a_fixed_training_scale_uses_the_protocols_step():
    protocol = Protocol(scale_step=8)
    assert [view.scale for view in protocol.views(TrainingScale.parse(64), crop=32)] == [56, 64, 72]


def test_listed_scales_need_no_training_scale_and_ascend():
    assert Protocol(scales=(384, 256)).test_scales(None) == (256, 384)


def test_every_shared_field_reaches_the_views():
    protocol = Protocol(
        scales=(256,),
        modes=("crops",),
        hflip=False,
        crop_grid="ten",
        score_pooling="probs",
        resize="bicubic",
        antialias=False,
        long_side="ceil",
        pool_rounding="ceil",
        decoder="torchcodec",
        exif="transpose",
        dtype="float16",
    )
    (view,) = protocol.views(None, crop=224)
    shared = {field.name for field in fields(ViewSpec)} & {field.name for field in fields(Protocol)}
    assert {name: getattr(view, name) for name in shared} == {name: getattr(protocol, name) for name in shared}
    assert len(shared) == 10


@pytest.mark.parametrize("name", ["vgg-single-scale", "vgg-multi-scale-dense"])
def test_a_missing_training_scale_names_the_checkpoint(name):
    with pytest.raises(TrainingScaleMissingError, match="vgg16-a has none recorded"):
        PRESETS[name].views(None, crop=224, subject="vgg16-a")


def test_a_scale_below_the_crop_names_both():
    with pytest.raises(ScaleTooSmallError) as caught:
        Protocol().views(TrainingScale.parse(224), crop=224, subject="vgg16-a")
    assert (caught.value.scale, caught.value.crop, caught.value.subject) == (192, 224, "vgg16-a")


def test_a_scale_equal_to_the_crop_is_allowed():
    assert Protocol(scales=(224,)).views(None, crop=224)[0].scale == 224


@pytest.mark.parametrize(
    "weights", [(0.0, 0.0), (-1.0, 2.0), (float("nan"),), (float("inf"),), (), ("1",), "11", 5, (10**400,)]
)
def test_fusion_weights_that_break_their_rule_are_refused(weights):
    with pytest.raises(SpecError, match=r"^fusion\.weights: "):
        FusionSpec(weights=weights)


def test_an_unknown_fusion_rule_is_refused():
    with pytest.raises(SpecError, match=r"^fusion\.rule: "):
        FusionSpec(rule="median")


def test_fusion_in_json_form_lists_its_weights():
    assert FusionSpec().to_dict() == {"rule": "mean", "weights": None}
    assert FusionSpec(weights=(1, 0.5)).to_dict() == {"rule": "mean", "weights": [1, 0.5]}


def test_recipe_is_what_the_checkpoints_published_weights_are_evaluated_with():
    recipe = Recipe(342, "bicubic")
    (view,) = PRESETS["torchvision"].views(None, crop=299, recipe=recipe)
    assert (view.scale, view.resize, view.crop_grid, view.hflip) == (342, "bicubic", "center", False)
    (view,) = PRESETS["torchvision"].views(None, crop=224)
    assert (view.scale, view.resize) == (256, "bilinear")
    (view,) = Protocol(scales=(300,), resize="nearest").views(None, crop=224, recipe=recipe)
    assert (view.scale, view.resize) == (300, "nearest")
    with pytest.raises(ScaleTooSmallError):
        PRESETS["torchvision"].views(None, crop=288)
