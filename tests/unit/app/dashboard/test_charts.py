import math
import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from app.dashboard.charts import Axis, Panel, Point, bar_axis, error_by_scale, interval_bar

POINTS = (
    Point("dense", 256, 0.08, 0.07, 0.09),
    Point("dense", 384, 0.07, 0.06, 0.08),
    Point("dense", 512, 0.075, 0.065, 0.085),
    Point("crops", 256, 0.082, 0.072, 0.092),
    Point("crops", 384, 0.069, 0.059, 0.079),
)


def elements(svg: Markup, tag: str) -> list[ET.Element]:
    return list(ET.fromstring(svg).iter(tag))  # noqa: S314


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_an_axis_holds_every_value_between_round_ends(values: list[float]) -> None:
    axis = Axis.around(values)
    assert axis.low <= min(values) + 1e-9
    assert axis.high >= max(values) - 1e-9
    assert axis.ticks[0] == axis.low
    assert axis.ticks[-1] == pytest.approx(axis.high)
    assert 2 <= len(axis.ticks) <= 8


def test_ticks_are_round_percentages_with_no_more_decimals_than_they_need() -> None:
    axis = Axis.around([0.0614, 0.0855])
    assert [axis.tick_text(tick) for tick in axis.ticks] == ["6", "7", "8", "9"]
    fine = Axis.around([0.1001, 0.1004])
    assert [fine.tick_text(tick) for tick in fine.ticks] == ["10.01", "10.02", "10.03", "10.04"]


def test_equal_values_still_make_an_axis() -> None:
    axis = Axis.around([0.0, 0.0])
    assert axis.low == 0.0
    assert axis.high > 0.0


def test_the_bar_puts_value_and_interval_in_proportion() -> None:
    axis = Axis(0.0, 0.1, (0.0, 0.05, 0.1))
    svg = interval_bar(0.05, 0.025, 0.1, axis, width=212)
    (dot,) = elements(svg, "circle")
    whisker = elements(svg, "line")[1]
    assert float(dot.attrib["cx"]) == pytest.approx(106)
    assert (float(whisker.attrib["x1"]), float(whisker.attrib["x2"])) == (56, 206)


def test_a_bar_without_an_interval_has_no_whisker() -> None:
    assert len(elements(interval_bar(0.05, None, None, Axis.around([0.0, 0.1])), "line")) == 1


def test_the_head_of_a_bar_column_leaves_out_labels_that_would_touch() -> None:
    axis = Axis.around([0.0, 0.1])
    assert len(elements(bar_axis(axis, 460), "text")) == len(axis.ticks)
    assert len(elements(bar_axis(axis, 100), "text")) < len(axis.ticks)


def test_every_point_of_every_mode_is_drawn_with_its_numbers_in_a_title() -> None:
    (svg,) = error_by_scale([Panel("net", POINTS, 0.066)], None, 50_000)
    assert len(elements(svg, "circle")) == 3
    assert len(elements(svg, "rect")) == 2
    titles = [title.text for title in elements(svg, "title")]
    assert "dense, Q 384 px: 7.00 % (6.00–8.00)" in titles
    assert "multi-crop, Q 256 px: 8.20 % (7.20–9.20)" in titles


def test_panels_share_their_axes() -> None:
    other = Panel("other", (Point("dense", 320, 0.2, 0.19, 0.21),), 0.2)
    first, second = error_by_scale([Panel("net", POINTS, 0.066), other], 0.06, 50_000)
    grid = [
        [line.attrib["y1"] for line in elements(svg, "line") if line.attrib["class"] == "grid"]
        for svg in (first, second)
    ]
    assert grid[0] == grid[1]
    x_of = {
        t.text: float(t.attrib["x"])
        for svg in (first, second)
        for t in elements(svg, "text")
        if t.attrib.get("text-anchor") == "middle"
    }
    assert x_of["256"] < x_of["320"] < x_of["384"]


def test_a_lower_error_stands_lower() -> None:
    (svg,) = error_by_scale([Panel("net", POINTS[:2], 0.066)], None, 50_000)
    high, low = (float(circle.attrib["cy"]) for circle in elements(svg, "circle"))
    assert high < low


def test_the_ensemble_is_a_line_through_each_panel_and_absent_where_there_is_none() -> None:
    def lines(ensemble: float | None) -> int:
        (svg,) = error_by_scale([Panel("net", POINTS, 0.066)], ensemble, 50_000)
        return sum("level-ensemble" in line.attrib["class"] for line in elements(svg, "line"))

    assert lines(0.06) == 1
    assert lines(None) == 0


def test_the_description_says_what_the_chart_shows() -> None:
    (svg,) = error_by_scale([Panel("net", POINTS[:1], 0.08)], 0.06, 50_000)
    assert 'role="img"' in svg
    assert "dense at Q 256 px 8.00 %" in svg
    assert "the ensemble 6.00 %" in svg


def test_a_hostile_name_stays_text() -> None:
    (svg,) = error_by_scale([Panel('"><script>alert(1)</script>', POINTS, 0.066)], None, 50_000)
    assert "<script" not in svg
    ET.fromstring(svg)  # noqa: S314


def test_labels_of_scales_that_lie_close_are_left_out_rather_than_overprinted() -> None:
    points = tuple(Point("dense", scale, 0.1, 0.09, 0.11) for scale in (32, 33, 34, 512))
    (svg,) = error_by_scale([Panel("net", points, 0.1)], None, 1000)
    shown = [t.text for t in elements(svg, "text") if (t.text or "").isdigit() and t.attrib["text-anchor"] == "middle"]
    assert shown == ["32", "512"]


def test_charts_carry_no_style_attribute_which_the_policy_of_the_pages_forbids() -> None:
    (svg,) = error_by_scale([Panel("net", POINTS, 0.066)], 0.06, 50_000)
    assert not re.search(r"\sstyle=", svg + interval_bar(0.1, 0.0, 0.2, Axis.around([0.0, 0.2])))
    assert not any(math.isnan(float(c.attrib["cy"])) for c in elements(svg, "circle"))
