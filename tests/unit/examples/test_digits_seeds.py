"""The comparison of seeds: what its tables say of the numbers."""

import pytest

from examples.digits.demo import HERE
from examples.digits.seeds import SHIPPED, table, top1_errors
from examples.digits.train import RECIPES
from workers.training.command import train

PROTOCOL = "single scale, dense"


@pytest.mark.parametrize(("shipped", "place"), [(0.05, "yes"), (0.041, "yes"), (0.04, "lower"), (0.071, "higher")])
def test_a_row_has_every_error_their_mean_and_spread_and_where_the_shipped_one_lies(shipped: float, place: str) -> None:
    errors = {
        SHIPPED: {("digits-a", PROTOCOL): shipped, ("digits-a", "other"): 0.9},
        "seed 1": {("digits-a", PROTOCOL): 0.041},
        "seed 2": {("digits-a", PROTOCOL): 0.07},
        "seed 3": {("digits-a", PROTOCOL): 0.057},
    }
    header, rule, row = table(PROTOCOL, errors)
    assert header.split(" | ")[1:5] == [SHIPPED, "seed 1", "seed 2", "seed 3"]
    assert header.count("|") == rule.count("|") == row.count("|")
    assert row == f"| `digits-a` | {shipped:.1%} | 4.1% | 7.0% | 5.7% | 5.6% ± 1.5% | {place} |".replace("%", " %")


def test_a_network_that_a_seed_has_not_trained_is_said_to_be_so() -> None:
    errors = {SHIPPED: {("digits-e", PROTOCOL): 0.05}, "seed 1": {("digits-e", PROTOCOL): 0.06}, "seed 2": {}}
    *_, row = table(PROTOCOL, errors)
    assert row == "| `digits-e` | 5.0 % | 6.0 % | not trained |  | lower |"


def test_single_scale_and_three_scales_are_told_apart() -> None:
    def score(scales: list[int], mode: str, value: float, metric: str = "top1_error") -> dict[str, object]:
        name = "seed-1-digits-d-jitter"
        return {
            "subject": "checkpoint",
            "subject_name": name,
            "metric": metric,
            "scales": scales,
            "mode": mode,
            "value": value,
        }

    scores = [
        score([36], "dense", 0.9),
        score([54], "dense", 0.1),
        score([54], "crops", 0.9),
        score([36, 54, 72], "dense", 0.2),
        score([36, 54, 72], "crops", 0.3),
        score([36, 54, 72], "both", 0.4),
        score([36, 54, 72], "both", 0.9, "nll"),
    ]
    assert dict(top1_errors(scores, "seed 1")) == {
        ("digits-d-jitter", "single scale, dense"): 0.1,
        ("digits-d-jitter", "three scales, dense"): 0.2,
        ("digits-d-jitter", "three scales, multi-crop"): 0.3,
        ("digits-d-jitter", "three scales, multi-crop & dense"): 0.4,
    }


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_a_command_that_exists(name: str) -> None:
    options = RECIPES[name].options(HERE / "train", HERE / "checkpoints", name, seed=7)
    context = train.make_context("train", options)
    assert context.params["configuration"] == RECIPES[name].configuration
    assert context.params["output"] == HERE / "checkpoints" / f"{name}.safetensors"
    assert (context.params["seed"], context.params["threads"], context.params["epochs"]) == (
        7,
        1,
        RECIPES[name].epochs,
    )
