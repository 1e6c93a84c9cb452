import datetime as dt

import pytest

from app.dashboard import formatting as fmt

NOON = dt.datetime(2026, 11, 24, 12, 0, 0, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("fraction", "n", "text"),
    [
        (0.0725, 1797, "7.25"),
        (0.0725, 999, "7.2"),
        (0.0725, None, "7.25"),
        (0.0, 50_000, "0.00"),
        (1.0, 10, "100.0"),
        (None, 10, "–"),
    ],
)
def test_percent_has_one_decimal_below_a_thousand_images_and_two_from_there(
    fraction: float | None, n: int | None, text: str
) -> None:
    assert fmt.percent(fraction, n) == text


def test_an_interval_that_is_not_defined_is_empty() -> None:
    assert fmt.interval(0.0614, 0.0855, 1797) == "6.14–8.55"
    assert fmt.interval(None, None) == ""


@pytest.mark.parametrize(
    ("difference", "text"), [(-0.0123, "−1.23"), (0.0123, "+1.23"), (0.0, "0.00"), (-0.00001, "0.00")]
)
def test_points_carry_a_sign_unless_they_round_to_zero(difference: float, text: str) -> None:
    assert fmt.points(difference, 5000) == text


@pytest.mark.parametrize(
    ("done", "total", "text"), [(0, 7, "0 %"), (999, 1000, "99 %"), (1000, 1000, "100 %"), (0, 0, "100 %")]
)
def test_a_share_is_a_hundred_percent_only_when_all_is_done(done: int, total: int, text: str) -> None:
    assert fmt.share(done, total) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0, "0"),
        (7, "7"),
        (999, "999"),
        (1000, "1 k"),
        (12_345, "12.3 k"),
        (999_499, "999 k"),
        (999_950, "1 M"),
        (138_357_544, "138 M"),
        (15.47e9, "15.5 G"),
        (3.2e12, "3.20 T"),
        (5e15, "5,000 T"),
    ],
)
def test_magnitudes_have_three_significant_digits(value: float | None, text: str) -> None:
    assert fmt.magnitude(value) == text


@pytest.mark.parametrize(
    ("size", "text"), [(None, "–"), (0, "0 B"), (999, "999 B"), (2_130_000, "2.13 MB"), (553_433_881, "553 MB")]
)
def test_file_sizes_are_powers_of_ten(size: int | None, text: str) -> None:
    assert fmt.file_size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (-1, "0.0 s"),
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3599.7, "1 h 00 min"),
        (11_520, "3 h 12 min"),
        (200_000, "2 d 07 h"),
    ],
)
def test_durations_name_two_units_and_never_sixty_of_one(seconds: float | None, text: str) -> None:
    assert fmt.duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "now"),
        (0, "now"),
        (1, "1 s ago"),
        (89, "89 s ago"),
        (90, "1 min ago"),
        (7199, "119 min ago"),
        (7200, "2 h ago"),
        (172_800, "2 d ago"),
    ],
)
def test_an_age_names_one_unit(seconds: int, text: str) -> None:
    assert fmt.age(NOON - dt.timedelta(seconds=seconds), NOON) == text


def test_a_moment_is_shown_in_utc_wherever_it_was_taken() -> None:
    assert fmt.moment(NOON.astimezone(dt.timezone(dt.timedelta(hours=5)))) == "2026-11-24 12:00:00 UTC"


def test_training_scales_are_written_as_in_the_paper() -> None:
    assert fmt.training_scale([256, 512]) == "[256;512]"
    assert fmt.training_scale([384, 384]) == "384"
    assert fmt.training_scale(None) == "–"


@pytest.mark.parametrize(
    ("rate", "text"),
    [(None, "–"), (0.0, "–"), (31.24, "31.2 images/s"), (1200.0, "1,200 images/s"), (0.05, "20 s an image")],
)
def test_a_slow_rate_is_told_as_the_time_of_one_image(rate: float | None, text: str) -> None:
    assert fmt.rate(rate) == text


def test_plurals_follow_the_number() -> None:
    assert [fmt.plural(n, "image") for n in (0, 1, 2000)] == ["0 images", "1 image", "2,000 images"]
    assert fmt.plural(3, "class", "classes") == "3 classes"
