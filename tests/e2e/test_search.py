"""Searching in a real Chromium, on posteriors that real workers made: from the builder and back, and saving."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from app.dashboard.formatting import percent
from app.representations.ensembles import SearchRequest
from app.services.searching import searches
from tests.e2e.chromium import DESKTOP, PHONE, serving, visiting
from tests.integration.harness import Deployment, deployment

pytestmark = pytest.mark.browser

IMAGES = 240
CHECKPOINTS = {"vgg-a": ("A", 1), "vgg-b": ("B", 2), "vgg-d": ("D", 3)}


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Deployment, str, str]]:
    """A deployment, its address, and an evaluation that succeeded."""
    with deployment(tmp_path_factory.mktemp("search")) as made:
        made.add_images(count=IMAGES)
        for name, (configuration, seed) in CHECKPOINTS.items():
            made.add_checkpoint(name, configuration=configuration, seed=seed)
        key = made.submit(list(CHECKPOINTS), fusion={"weights": [1.0, 2.0, 1.0]})
        assert made.run(key).status == "succeeded"
        with serving(made.runtime) as address:
            yield made, address, key


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_searches_are_clean_at_both_widths_and_in_both_themes(
    chromium: Browser, laboratory: tuple[Deployment, str, str], size: tuple[int, int], theme: str
) -> None:
    _, address, key = laboratory
    faults = {}
    with visiting(chromium, address, size=size, theme=theme) as visit:
        for name, query in {
            "search-form": "",
            "search-views": "&method=greedy&over=views&guard=crossfit&within=2",
            "search-modes": "&method=exhaustive&over=modes&within=1",
            "search-unguarded": "&method=weights&guard=none&cost=seconds",
        }.items():
            visit.open(f"/ensembles/search?evaluation={key}{query}")
            found = visit.faults(name)
            if found:
                faults[name] = found
        assert faults == {}
        assert visit.strangers() == set()


def test_a_search_leads_from_the_builder_to_a_result_back_into_the_builder_and_to_a_saved_ensemble(
    chromium: Browser, laboratory: tuple[Deployment, str, str]
) -> None:
    made, address, key = laboratory
    asked = SearchRequest(over="modes", guard="none")
    found = searches.run(made.runtime.db, made.runtime.artifacts, key, asked)
    with visiting(chromium, address) as visit:
        page = visit.open(f"/ensembles/new?evaluation={key}&over=modes")
        page.get_by_role("link", name="Search…").click()
        expect(page.get_by_label("Fuse")).to_have_value("modes")
        page.get_by_label("Images that choose").select_option("none")
        page.get_by_role("button", name="Search").click()
        expect(page.locator("#chosen-title")).to_be_visible()
        chosen = page.get_by_role("row", name=re.compile("^chosen "))
        expect(chosen).to_contain_text(percent(found.best[0].top1_error, IMAGES))
        chosen.get_by_role("link", name="in the builder").click()
        # What the search counted on the server, the browser counts again.
        expect(page.locator("#builder[data-state=ready][data-answered]")).to_have_count(1)
        expect(page.locator("#top1-count")).to_have_text(str(round(found.best[0].top1_error * IMAGES)))
        page.go_back()
        page.get_by_role("textbox", name="Name").fill("found by search")
        page.get_by_role("button", name="Save the ensemble").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("found by search")
        expect(page.get_by_role("main")).to_contain_text("Chosen by search on")
        assert visit.complaints == []
