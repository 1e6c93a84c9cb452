"""The shipped checkpoints are the recipe's networks, and what the demo evaluates is valid by the paper's rules."""

import json
from pathlib import Path

import pytest

from ensembles.checkpoints import read_metadata, read_tensors, recognise
from ensembles.configurations import Architecture
from ensembles.protocols import Protocol
from ensembles.scales import TrainingScale
from examples.digits.train import CROP, RECIPES, WIDTH

DIGITS = Path(__file__).parents[3] / "examples" / "digits"
CHECKPOINTS = DIGITS / "checkpoints"
DEMO = json.loads((DIGITS / "demo.json").read_text(encoding="utf-8"))


def test_every_recipe_has_its_checkpoint_and_all_are_under_12_megabytes():
    files = sorted(CHECKPOINTS.iterdir())
    assert [file.name for file in files] == sorted(f"{name}.safetensors" for name in RECIPES)
    assert sum(file.stat().st_size for file in files) < 12_000_000


@pytest.mark.parametrize("name", RECIPES)
def test_a_checkpoint_is_the_network_its_recipe_trains(name):
    file = CHECKPOINTS / f"{name}.safetensors"
    recipe, metadata = RECIPES[name], read_metadata(file)
    assert recognise(read_tensors(file)) == Architecture(recipe.configuration, width=WIDTH, classes=10, crop=CROP)
    assert metadata.training_scale == TrainingScale.parse(recipe.scale)
    assert metadata.classes == tuple(f"digit_{digit}" for digit in range(10))


def test_all_networks_read_pixels_the_same_way_as_the_one_they_began_with():
    for name, recipe in RECIPES.items():
        if recipe.begins_with is not None:
            own, first = (read_metadata(CHECKPOINTS / f"{each}.safetensors") for each in (name, recipe.begins_with))
            assert own.preprocessing == first.preprocessing


def test_every_recipe_comes_after_the_one_it_begins_with():
    done: set[str] = set()
    for name, recipe in RECIPES.items():
        assert recipe.begins_with is None or recipe.begins_with in done
        done.add(name)


@pytest.mark.parametrize("evaluation", DEMO["evaluations"], ids=lambda evaluation: evaluation["title"])
def test_an_evaluation_of_the_demo_expands_to_views_of_every_member(evaluation):
    protocol = Protocol.parse(evaluation["protocol"])
    for name in evaluation["checkpoints"]:
        scale = TrainingScale.parse(RECIPES[name].scale)
        views = protocol.views(scale, CROP, name)
        assert {view.scale for view in views} == set(scale.multi_scale(4))


def test_the_demo_fills_tables_three_to_six():
    assert {table for evaluation in DEMO["evaluations"] for table in evaluation["tables"]} == {3, 4, 5, 6}
