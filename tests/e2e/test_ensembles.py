"""Saved ensembles in a real Chromium: both widths, both themes, evaluated and renamed by clicks."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from app.representations.ensembles import EnsembleRequest
from app.services import ensembles
from tests.app_builders import make_runtime
from tests.e2e.chromium import DESKTOP, PHONE, serving, visiting
from tests.e2e.conftest import narrow_vgg
from tests.history import History

pytestmark = pytest.mark.browser

PAGES = {
    "ensembles": "/ensembles",
    "ensembles-none": "/ensembles?search=nothing",
    "ensemble-chosen": "/ensembles/{chosen}",
    "ensemble-fixed": "/ensembles/{fixed}",
}


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """A server with ensembles of every kind, and their ids."""
    runtime = make_runtime(tmp_path_factory.mktemp("ensembles") / "home")
    history = History(runtime, macs_per_second=1e18)
    history.dataset("digits", images=1797, classes=tuple("0123456789"))
    for name, configuration in (("digits-a", "A"), ("digits-d-jitter", "D"), ("digits-e-jitter", "E")):
        history.checkpoint(name, narrow_vgg(configuration), (32, 48))
    looked_at = history.submit(
        dataset="digits", checkpoints=["digits-d-jitter", "digits-e-jitter"], protocol={"scales": [40]}
    )
    history.predict()
    history.finish(looked_at, [128, 124, 121])

    def save(name: str, weights: tuple[float, ...], **fields: object) -> str:
        names = ("digits-d-jitter", "digits-e-jitter", "digits-a")[: len(weights)]
        members = [
            {"checkpoint": checkpoint, "scales": [40], "mode": "dense", "weight": weight}
            for checkpoint, weight in zip(names, weights, strict=True)
        ]
        request = EnsembleRequest.model_validate({"name": name, "members": members, **fields})
        return ensembles.create(runtime.db, request)

    ids = {
        "fixed": save("the paper's pair", (1.0, 1.0), notes="Fixed before anybody looked."),
        "cooler": save("cooler", (1.0, 1.0, 1.0), rule="geometric", temperature=0.9),
        "chosen": save("d, e and a little a", (50.0, 35.0, 15.0), chosen_on=looked_at),
    }
    for _ in range(2):
        evaluated = history.submit(dataset="digits", ensemble="d, e and a little a", force=True)
        history.predict()
        history.finish(evaluated, [128, 124, 190, 119])
    with serving(runtime) as address:
        yield address, ids
    runtime.db.dispose()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_pages_of_ensembles_are_clean_at_both_widths_and_in_both_themes(
    chromium: Browser, laboratory: tuple[str, dict[str, str]], size: tuple[int, int], theme: str
) -> None:
    address, ids = laboratory
    faults = {}
    with visiting(chromium, address, size=size, theme=theme) as visit:
        for name, path in PAGES.items():
            visit.open(path.format(**ids))
            found = visit.faults(name)
            if found:
                faults[name] = found
        assert faults == {}
        assert visit.strangers() == set()


def test_an_ensemble_is_found_renamed_evaluated_and_forgotten_by_clicks(
    chromium: Browser, laboratory: tuple[str, dict[str, str]]
) -> None:
    address, _ = laboratory
    with visiting(chromium, address) as visit:
        page = visit.open("/")
        page.get_by_role("navigation", name="Main").get_by_role("link", name="Ensembles").click()
        page.get_by_role("link", name="cooler").click()
        page.get_by_text("Name and notes", exact=True).click()
        page.get_by_role("textbox", name="Name").fill("cooler still")
        page.get_by_role("button", name="Change").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("cooler still")
        page.get_by_role("button", name="Evaluate").click()
        expect(page.get_by_role("alert")).to_contain_text("choose a data set")
        page.get_by_label("Data set").select_option(label="digits: 1,797 images")
        page.get_by_role("button", name="Evaluate").click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("on digits")
        expect(page.get_by_role("main")).to_contain_text("The saved ensemble “cooler still”")
        page.get_by_role("navigation", name="Main").get_by_role("link", name="Ensembles").click()
        page.get_by_role("link", name="cooler still").click()
        page.get_by_text("Forget…").click()
        page.get_by_role("button", name="Forget the ensemble").click()
        expect(page.get_by_role("main")).to_contain_text("Forgotten.")
        expect(page.get_by_role("link", name=re.compile("cooler"))).to_have_count(0)
        assert [line for line in visit.complaints if "422" not in line] == []
