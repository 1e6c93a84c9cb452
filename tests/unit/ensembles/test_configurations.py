"""Table 1, exact parameter counts and MACs (paper tables 1 and 2; counts of A, B, D, E equal torchvision's)."""

from __future__ import annotations

import pytest

from ensembles.architectures import block_size, view_macs
from ensembles.configurations import CONFIGURATIONS, Architecture
from ensembles.errors import ScaleTooSmallError, SpecError
from ensembles.scales import resized_size
from ensembles.specs import ViewSpec

# name: parameters with 1000 classes, with 10 classes, MACs at 224, convolutional parameters
TOTALS = {
    "A": (132_863_336, 128_807_306, 7_609_090_048, 9_220_480),
    "A-LRN": (132_863_336, 128_807_306, 7_609_090_048, 9_220_480),
    "B": (133_047_848, 128_991_818, 11_308_466_176, 9_404_992),
    "B-5x5": (134_503_528, 130_447_498, 9_356_017_664, 10_860_672),
    "C": (133_638_952, 129_582_922, 11_770_888_192, 9_996_096),
    "D": (138_357_544, 134_301_514, 15_470_264_320, 14_714_688),
    "E": (143_667_240, 139_611_210, 19_632_062_464, 20_024_384),
}
BATCH_NORM_TOTALS = {"A": 132_868_840, "B": 133_053_736, "D": 138_365_992, "E": 143_678_248}
MACS_PER_PIXEL = {
    "A": 149_184,
    "A-LRN": 149_184,
    "B": 222_912,
    "B-5x5": 184_000,
    "C": 232_128,
    "D": 305_856,
    "E": 388_800,
}
DENSE_GMACS_D_E = {
    (224, 224): (15.47, 19.63),
    (256, 256): (20.54, 25.97),
    (288, 288): (26.48, 33.36),
    (352, 352): (40.99, 51.26),
    (384, 384): (49.55, 61.78),
    (416, 416): (58.99, 73.34),
    (512, 512): (92.54, 114.28),
    (336, 224): (23.51, 29.76),
    (384, 256): (31.55, 39.70),
    (432, 288): (40.65, 50.97),
    (528, 352): (63.03, 78.44),
    (576, 384): (76.55, 94.90),
    (624, 416): (90.65, 112.18),
    (768, 512): (142.52, 175.14),
}
DENSE_GMACS_4_TO_3 = {
    (298, 224): (10.24, 15.16, 15.77, 20.64, 26.13),
    (341, 256): (13.90, 20.33, 21.12, 27.50, 34.67),
    (384, 288): (18.72, 26.88, 27.90, 36.05, 45.22),
    (469, 352): (29.42, 41.58, 43.09, 55.18, 68.77),
    (512, 384): (36.75, 51.24, 53.06, 67.55, 83.86),
    (554, 416): (43.73, 60.72, 62.84, 79.74, 98.76),
    (682, 512): (70.43, 96.17, 99.38, 125.01, 153.85),
}
# (width, height): (floor, ceil) map sizes, width first
SCORE_MAPS = {
    (224, 224): ((1, 1), (1, 1)),
    (225, 225): ((1, 1), (2, 2)),
    (255, 255): ((1, 1), (2, 2)),
    (256, 256): ((2, 2), (2, 2)),
    (257, 257): ((2, 2), (3, 3)),
    (288, 288): ((3, 3), (3, 3)),
    (352, 352): ((5, 5), (5, 5)),
    (384, 384): ((6, 6), (6, 6)),
    (416, 416): ((7, 7), (7, 7)),
    (512, 512): ((10, 10), (10, 10)),
    (341, 256): ((4, 2), (5, 2)),
    (342, 256): ((4, 2), (5, 2)),
    (384, 256): ((6, 2), (6, 2)),
    (385, 256): ((6, 2), (7, 2)),
    (512, 384): ((10, 6), (10, 6)),
    (576, 384): ((12, 6), (12, 6)),
    (577, 384): ((12, 6), (13, 6)),
    (682, 512): ((15, 10), (16, 10)),
    (768, 512): ((18, 10), (18, 10)),
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_parameters_and_macs_equal_the_exact_counts(name: str) -> None:
    parameters, ten_classes, macs, convolutional = TOTALS[name]
    architecture = Architecture(name)
    assert architecture.parameters == parameters
    assert Architecture(name, classes=10).parameters == ten_classes
    assert architecture.macs(224, 224) == macs
    assert sum(row.parameters for row in architecture.layers() if row.type.startswith("conv")) == convolutional


@pytest.mark.parametrize(("name", "parameters"), BATCH_NORM_TOTALS.items())
def test_batch_norm_adds_two_parameters_a_channel(name: str, parameters: int) -> None:
    architecture = Architecture(name, batch_norm=True)
    assert architecture.parameters == parameters
    assert parameters - TOTALS[name][0] == 2 * sum(map(sum, architecture.channels))
    assert architecture.macs(224, 224) == TOTALS[name][2]


def test_layer_table_of_d_has_the_known_parameters() -> None:
    rows = Architecture("D").layers()
    learned = [row.parameters for row in rows if row.parameters]
    assert learned[:9] == [1792, 36928, 73856, 147584, 295168, 590080, 590080, 1180160, 2359808]
    assert learned[9:13] == [2359808] * 4
    assert learned[13:] == [102_764_544, 16_781_312, 4_097_000]


@pytest.mark.parametrize("name", CONFIGURATIONS)
@pytest.mark.parametrize("batch_norm", [False, True])
def test_layer_table_sums_to_the_parameters_and_ends_in_the_classes(name: str, batch_norm: bool) -> None:
    architecture = Architecture(name, batch_norm, width=0.3, classes=17, crop=96)
    rows = architecture.layers()
    assert sum(row.parameters for row in rows) == architecture.parameters
    assert rows[0].output_shape == (19, 96, 96)
    assert [row.output_shape for row in rows if row.type == "max pool"] == [
        (19, 48, 48),
        (38, 24, 24),
        (77, 12, 12),
        (154, 6, 6),
        (154, 3, 3),
    ]
    assert rows[-1].output_shape == (17,)
    assert len({row.name for row in rows}) == len(rows)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_dense_macs_follow_the_closed_form_at_multiples_of_32(name: str) -> None:
    head = 119_537_664 + 4096 * 1000
    for height, width in ((224, 224), (256, 384), (512, 672)):
        expected = MACS_PER_PIXEL[name] * height * width + head * (height // 32 - 6) * (width // 32 - 6)
        assert Architecture(name).macs(height, width) == expected


def test_dense_macs_of_d_and_e_equal_the_table() -> None:
    for (width, height), (d, e) in DENSE_GMACS_D_E.items():
        assert round(Architecture("D").macs(height, width) / 1e9, 2) == d
        assert round(Architecture("E").macs(height, width) / 1e9, 2) == e


def test_dense_macs_of_four_to_three_images_equal_the_table() -> None:
    for (width, height), row in DENSE_GMACS_4_TO_3.items():
        assert tuple(round(Architecture(n).macs(height, width) / 1e9, 2) for n in ("A", "B", "C", "D", "E")) == row


def test_macs_with_pooling_rounded_up_count_the_extra_column() -> None:
    # Conv blocks see 341, 171, 86, 43, 22 columns rounded up, 341, 170, 85, 42, 21 rounded down; the map 5 or 4.
    d = Architecture("D")
    first_block = 1728 + 36864
    columns = {"floor": (170, 85, 42, 21, 4), "ceil": (171, 86, 43, 22, 5)}
    for rounding, (c2, c3, c4, c5, positions) in columns.items():
        expected = 256 * 341 * first_block + 128 * c2 * (73728 + 147456) + 64 * c3 * (294912 + 2 * 589824)
        expected += 32 * c4 * (1179648 + 2 * 2359296) + 16 * c5 * 3 * 2359296 + 2 * positions * 123_633_664
        assert d.macs(256, 341, rounding) == expected


@pytest.mark.parametrize(("size", "maps"), SCORE_MAPS.items())
def test_score_map_sizes_equal_the_table(size: tuple[int, int], maps: tuple[tuple[int, int], tuple[int, int]]) -> None:
    width, height = size
    for rounding, (columns, rows) in zip(("floor", "ceil"), maps, strict=True):
        assert Architecture("D").score_map_size(height, width, rounding) == (rows, columns)


def test_an_image_below_the_crop_is_an_error_unless_rounding_up_reaches_it() -> None:
    with pytest.raises(ScaleTooSmallError, match="at least the crop, 224 px for vgg16; got Q = 223"):
        Architecture("D").macs(300, 223)
    assert Architecture("D").score_map_size(300, 223, "ceil") == (4, 1)
    with pytest.raises(ScaleTooSmallError):
        Architecture("D").score_map_size(192, 300, "ceil")


def test_view_macs_count_flips_and_crops() -> None:
    d = Architecture("D")
    dense = ViewSpec("dense", 256)
    assert view_macs(d, dense, 500, 375) == 2 * d.macs(256, 341)
    assert view_macs(d, ViewSpec("dense", 256, hflip=False, long_side="ceil"), 500, 375) == d.macs(256, 342)
    assert view_macs(d, ViewSpec("dense", 256, pool_rounding="ceil"), 500, 375) == 2 * d.macs(256, 341, "ceil")
    assert view_macs(d, ViewSpec("crops", 256), 500, 375) == 50 * 15_470_264_320
    assert view_macs(d, ViewSpec("crops", 256, crop_grid="center", hflip=False), 500, 375) == 15_470_264_320
    with pytest.raises(ScaleTooSmallError):
        view_macs(d, ViewSpec("crops", 223), 500, 375)


def test_one_hundred_and_fifty_crops_cost_the_published_multiple_of_dense() -> None:
    d = Architecture("D")
    dense = sum(view_macs(d, ViewSpec("dense", q), 500, 375) for q in (256, 384, 512))
    crops = sum(view_macs(d, ViewSpec("crops", q), 500, 375) for q in (256, 384, 512))
    assert round(dense / 1e9, 1) == 440.1
    assert round(crops / 1e9, 1) == 2320.5
    assert round(crops / dense, 1) == 5.3


def test_block_sizes_are_the_largest_powers_of_two_within_the_cap() -> None:
    for architecture in (Architecture("D"), Architecture("A"), Architecture("E", width=0.25, crop=64, classes=10)):
        for scale in (architecture.crop, 256, 512, 1024):
            size = block_size(architecture, ViewSpec("dense", scale))
            width, height = resized_size(500, 375, scale)
            cost = architecture.macs(height, width)
            assert size in (1, 2, 4, 8, 16, 32, 64)
            assert size == 1 or size * cost <= 64e9
            assert size == 64 or 2 * size * cost > 64e9
    assert block_size(Architecture("D"), ViewSpec("dense", 224)) == 2
    assert block_size(Architecture("D"), ViewSpec("dense", 512)) == 1
    assert block_size(Architecture("D", width=0.125, crop=32, classes=10), ViewSpec("dense", 40)) == 64
    assert block_size(Architecture("D", width=0.125, crop=32, classes=10), ViewSpec("crops", 40)) == 1


def test_width_scales_channels_and_hidden_units_and_never_to_nothing() -> None:
    architecture = Architecture("C", width=0.1)
    assert architecture.channels == ((6, 6), (13, 13), (26, 26, 26), (51, 51, 51), (51, 51, 51))
    assert architecture.hidden == 410
    assert Architecture("A", width=0.0001).channels == ((1,), (1,), (1, 1), (1, 1), (1, 1))


def test_names_are_torchvision_s_where_it_has_the_network() -> None:
    assert [Architecture(name).name for name in CONFIGURATIONS] == [
        "vgg11",
        "vgg-a-lrn",
        "vgg13",
        "vgg-b-5x5",
        "vgg-c",
        "vgg16",
        "vgg19",
    ]
    assert Architecture("D", batch_norm=True).name == "vgg16_bn"


def test_every_broken_rule_of_an_architecture_is_named_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        Architecture("F", batch_norm=1, width=0, classes=True, crop=225)  # type: ignore[arg-type]
    problems = {problem.field: problem for problem in caught.value.problems}
    assert set(problems) == {
        f"architecture.{field}" for field in ("configuration", "batch_norm", "width", "classes", "crop")
    }
    assert problems["architecture.crop"].value == 225
    assert "multiple of 32" in problems["architecture.crop"].rule


@pytest.mark.parametrize("crop", [0, 16, -32, 8192, 224.0, None])
def test_crop_must_be_a_multiple_of_32_within_bounds(crop: object) -> None:
    with pytest.raises(SpecError, match=r"architecture\.crop"):
        Architecture("D", crop=crop)  # type: ignore[arg-type]


@pytest.mark.parametrize("width", [0, -1, 4.5, float("nan"), float("inf"), "1", True])
def test_width_must_be_a_positive_number_within_bounds(width: object) -> None:
    with pytest.raises(SpecError, match=r"architecture\.width"):
        Architecture("D", width=width)  # type: ignore[arg-type]


def test_architecture_survives_json_and_normalises_its_width() -> None:
    architecture = Architecture("B-5x5", True, 1, 12, 64)
    assert Architecture.from_dict(architecture.to_dict()) == architecture
    assert str(architecture.to_dict()["width"]) == "1.0"
