"""What the search page makes of a search: whole weights for the builder, names, commands, the drawing."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.dashboard import searching
from app.dashboard.cost_plot import CostPlot, CostPoint
from app.representations.ensembles import SearchRequest
from app.representations.searches import FusedMemberDocument, FusionDocument


def fusion(*members: tuple[str, list[int], str, float]) -> FusionDocument:
    names = ("checkpoint", "scales", "mode", "weight")
    return FusionDocument(
        members=[FusedMemberDocument.model_validate(dict(zip(names, member, strict=True))) for member in members],
        top1_error=0.25,
        top5_error=0.1,
        low=0.2,
        high=0.3,
        selected_by=0.24,
        gmacs=2.0,
        seconds=None,
        selection_biased=False,
    )


@given(st.lists(st.integers(1, 100), min_size=1, max_size=9))
def test_whole_weights_that_fit_keep_their_ratios_exactly(weights: list[int]) -> None:
    whole, exact = searching.whole_weights([float(weight) for weight in weights])
    assert exact
    assert 50 < max(whole) <= 100
    assert [Fraction(one, sum(whole)) for one in whole] == [Fraction(one, sum(weights)) for one in weights]


@given(st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=9))
def test_other_weights_are_rounded_and_said_to_be(weights: list[float]) -> None:
    whole, exact = searching.whole_weights(weights)
    assert exact == all(weight == 1.0 for weight in weights)
    assert max(whole) == 100
    assert all(one >= 1 and abs(one - 100 * w / max(weights)) <= 1 for one, w in zip(whole, weights, strict=True))


def test_units_that_are_not_in_a_fusion_weigh_nothing_in_the_builder() -> None:
    units = [("a", (32,), "dense"), ("a", (48,), "dense"), ("b", (32,), "crops")]
    found = fusion(("b", [32], "crops", 2.0), ("a", [32], "dense", 1.0))
    shown = searching.shown("views", found, units)
    assert (shown.builder, shown.exact) == ((50, 0, 100), True)
    assert shown.names == ("b multi-crop 32", "a dense 32")
    assert shown.shares == (2 / 3, 1 / 3)


def test_units_that_nothing_tells_apart_lead_nowhere() -> None:
    units = [("a", (32,), "dense"), ("a", (32,), "dense")]
    assert searching.shown("views", fusion(("a", [32], "dense", 1.0)), units).builder is None


def test_a_member_is_called_by_as_much_as_tells_it_apart() -> None:
    member = FusedMemberDocument(checkpoint="a", scales=[32, 48], mode="dense", weight=1.0)
    assert [searching.member_name(member, over) for over in ("checkpoints", "modes", "views")] == [
        "a",
        "a dense",
        "a dense 32, 48",
    ]


@pytest.mark.parametrize(
    ("request_fields", "words"),
    [
        ({}, ["softvote ensemble search ID"]),
        ({"within": 0.005, "over": "modes"}, ["softvote ensemble search ID", "--over modes", "--within 0.5"]),
        (
            {"metric": "nll", "method": "greedy", "within": 0.01},
            ["softvote ensemble search ID", "--method greedy", "--metric nll", "--within 0.01"],
        ),
        # Of nats the command line's default of 0.2 is another one.
        ({"metric": "nll", "method": "greedy"}, ["--within 0.002"]),
    ],
)
def test_the_command_says_what_differs_from_its_defaults(request_fields: dict[str, object], words: list[str]) -> None:
    lines = searching.cli_command("ID", SearchRequest.model_validate(request_fields)).split(" \\\n  ")
    assert lines[-len(words) :] == words


def points(*pairs: tuple[str, float, float]) -> CostPlot:
    found = tuple(CostPoint(kind, cost, error, error - 0.01, error + 0.01, error) for kind, cost, error in pairs)
    return CostPlot(found, 1000, seconds=False, stepped=True)


def centres(svg: str, kind: str) -> list[tuple[float, float]]:
    marks = re.findall(rf'<g class="cost-{kind}">.*?<circle class="dot" cx="([\d.]+)" cy="([\d.]+)"', svg)
    return [(float(x), float(y)) for x, y in marks]


def test_cost_is_drawn_logarithmic_and_error_upwards() -> None:
    svg = str(points(("front", 1.0, 0.30), ("front", 10.0, 0.25), ("front", 100.0, 0.20), ("chosen", 100.0, 0.2)).svg())
    (x1, y1), (x2, y2), (x3, y3) = centres(svg, "front")
    assert x2 - x1 == pytest.approx(x3 - x2, abs=0.2)
    assert y1 < y2 < y3
    assert y2 - y1 == pytest.approx(y3 - y2, abs=0.2)
    assert centres(svg, "chosen") == [(x3, y3)]
    assert "the front: 1 G 30.00 %; 10 G 25.00 %; 100 G 20.00 %" in svg


@pytest.mark.parametrize("cost", [0.0, 0.0031, 1.0, 7.0, 15_000.0])
def test_one_point_of_any_cost_is_drawn_inside(cost: float) -> None:
    svg = str(points(("front", cost, 0.3), ("chosen", cost, 0.3)).svg())
    ((x, y),) = centres(svg, "front")
    assert 0 < x < 720
    assert 0 < y < 320
    assert len(re.findall(r'y="291"', svg)) >= 2
