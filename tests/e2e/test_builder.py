"""The ensemble builder in a real Chromium, on posteriors that real workers made: its numbers are the server's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from app.db.queries import ensembles
from app.services.searching import contender_tables, weightings
from tests.e2e.chromium import DESKTOP, PHONE, serving, visiting
from tests.integration.harness import Deployment, deployment

pytestmark = pytest.mark.browser

IMAGES = 240
CHECKPOINTS = {"vgg-a": ("A", 1), "vgg-b": ("B", 2), "vgg-d": ("D", 3)}


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Deployment, str, str]]:
    """A deployment, its address, and an evaluation that succeeded."""
    with deployment(tmp_path_factory.mktemp("builder")) as made:
        made.add_images(count=IMAGES)
        for name, (configuration, seed) in CHECKPOINTS.items():
            made.add_checkpoint(name, configuration=configuration, seed=seed)
        key = made.submit(list(CHECKPOINTS), fusion={"weights": [1.0, 2.0, 1.0]})
        assert made.run(key).status == "succeeded"
        with serving(made.runtime) as address:
            yield made, address, key


def of_server(made: Deployment, key: str, over: str, weights: list[int], rule: str = "mean") -> dict[str, str]:
    """What the page says about a weighting, by the service."""
    searchable = contender_tables.find(made.runtime.db, made.runtime.artifacts, key, over)  # type: ignore[arg-type]
    found = weightings.weigh(made.runtime.artifacts, searchable, weights, rule)  # type: ignore[arg-type]
    best = found.singles[found.best]
    return {
        "top1-count": str(found.chosen.top1_wrong),
        "top5-count": str(found.chosen.top5_wrong),
        "best-fixed": str(best.fixed),
        "best-broken": str(best.broken),
        "equal-fixed": str(found.equal.fixed),
        "equal-broken": str(found.equal.broken),
        "changes": "|".join(f"{one.fixed} / {one.broken}" if one else "–" for one in found.without),
    }


def on_page(page: Page) -> dict[str, str]:
    ids = ("top1-count", "top5-count", "best-fixed", "best-broken", "equal-fixed", "equal-broken")
    shown = {name: page.locator(f"#{name}").inner_text() for name in ids}
    return {**shown, "changes": "|".join(page.locator("[data-changes]").all_inner_texts())}


def texts(page: Page) -> str:
    """The numbers as text, without what only a script shows."""
    return page.locator(".builder-result").inner_text() + page.locator(".builder-table").inner_text()


def ready(page: Page) -> Page:
    expect(page.locator("#builder[data-state=ready][data-answered]")).to_have_count(1)
    return page


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_builder_is_clean_at_both_widths_and_in_both_themes(
    chromium: Browser, laboratory: tuple[Deployment, str, str], size: tuple[int, int], theme: str
) -> None:
    _, address, key = laboratory
    faults = {}
    with visiting(chromium, address, size=size, theme=theme) as visit:
        for name, path in {
            "builder": f"/ensembles/new?evaluation={key}&w=50&w=80&w=20",
            "builder-views": f"/ensembles/new?evaluation={key}&over=views",
            "builder-off": f"/ensembles/new?evaluation={key}&w=50&w=0&w=20&on=1",
            "builder-none": "/ensembles/new",
        }.items():
            page = visit.open(path)
            if name in ("builder", "builder-views"):
                ready(page)
            found = visit.faults(name)
            if found:
                faults[name] = found
        assert faults == {}
        assert visit.strangers() == set()


@pytest.mark.parametrize(("over", "rule"), [("checkpoints", "mean"), ("views", "mean"), ("views", "geometric")])
def test_what_a_moved_slider_shows_is_what_the_server_counts(
    chromium: Browser, laboratory: tuple[Deployment, str, str], over: str, rule: str
) -> None:
    made, address, key = laboratory
    with visiting(chromium, address) as visit:
        page = ready(visit.open(f"/ensembles/new?evaluation={key}&over={over}&rule={rule}"))
        sliders = page.locator("[data-slider]")
        moves = [(0, 13), (1, 100), (2, 37), (0, 0), (2, 0), (0, 1)]
        weights = [int(box.input_value()) for box in page.locator("[name=w]").all()]
        for unit, value in moves:
            sliders.nth(unit).fill(str(value))
            weights[unit] = value
            expected = of_server(made, key, over, weights, rule)
            expect(page.locator("#top1-count")).to_have_text(expected["top1-count"])
            expect(page.locator("[data-changes]")).to_have_text(expected["changes"].split("|"))
            assert on_page(page) == expected
        # The address keeps what was moved, and the server says the same about it, word for word.
        moved = texts(page)
        page.reload()
        assert texts(ready(page)) == moved
        with visiting(chromium, address, java_script_enabled=False) as plain:
            shown = plain.open(page.url.removeprefix(address))
            assert on_page(shown) == expected
            assert texts(shown) == moved
        assert visit.complaints == []


def test_members_are_switched_off_and_weighed_by_the_keyboard(
    chromium: Browser, laboratory: tuple[Deployment, str, str]
) -> None:
    made, address, key = laboratory
    with visiting(chromium, address) as visit:
        page = ready(visit.open(f"/ensembles/new?evaluation={key}&w=50&w=50&w=50"))
        page.get_by_role("checkbox", name="vgg-b").press("Space")
        expect(page.locator("#top1-count")).to_have_text(of_server(made, key, "checkpoints", [50, 0, 50])["top1-count"])
        slider = page.get_by_role("slider", name="Weight of vgg-a").first
        slider.press("ArrowRight")
        slider.press("ArrowRight")
        expect(page.get_by_role("spinbutton", name="Weight of vgg-a").first).to_have_value("52")
        expected = of_server(made, key, "checkpoints", [52, 0, 50])
        expect(page.locator("#top1-count")).to_have_text(expected["top1-count"])
        assert page.url.endswith("w=52&w=50&w=50&on=0&on=2")
        page.get_by_role("checkbox", name="vgg-a").press("Space")
        page.get_by_role("checkbox", name="vgg-d").press("Space")
        expect(page.get_by_text("Give at least one a weight.")).to_be_visible()
        expect(page.get_by_role("button", name="Save the ensemble")).to_be_disabled()
        # A slider that is moved switches its unit on.
        page.get_by_role("slider", name="Weight of vgg-d").first.press("ArrowLeft")
        expect(page.get_by_role("checkbox", name="vgg-d")).to_be_checked()
        alone = of_server(made, key, "checkpoints", [0, 0, 49])
        expect(page.locator("#top1-count")).to_have_text(alone["top1-count"])
        assert visit.complaints == []


def test_what_was_built_is_saved_with_its_weights_and_that_a_hand_chose_it(
    chromium: Browser, laboratory: tuple[Deployment, str, str]
) -> None:
    made, address, key = laboratory
    with visiting(chromium, address) as visit:
        page = ready(visit.open(f"/ensembles/new?evaluation={key}&w=50&w=50&w=50"))
        page.locator("[data-slider]").nth(0).fill("20")
        page.locator("[data-slider]").nth(1).fill("0")
        page.get_by_role("button", name="Save the ensemble").click()
        expect(page.get_by_role("alert")).to_contain_text("a name is needed")
        expect(page.locator("[name=w]").nth(0)).to_have_value("20")
        page.get_by_label("Name").fill("by hand")
        page.get_by_role("button", name="Save the ensemble").click()
        expect(page.get_by_role("main")).to_contain_text("Saved as by hand.")
    with made.runtime.db.read() as session:
        saved = ensembles.get(session, "by hand")
    assert [(member.checkpoint, member.weight) for member in saved.members] == [("vgg-a", 20), ("vgg-d", 50)]
    assert saved.chosen is not None
    assert (saved.chosen.method, saved.chosen.evaluation) == ("hand", key)


def test_without_an_evaluation_those_that_have_finished_are_offered_and_its_own_page_leads_there(
    chromium: Browser, laboratory: tuple[Deployment, str, str]
) -> None:
    _, address, key = laboratory
    with visiting(chromium, address) as visit:
        page = visit.open("/ensembles/new")
        page.get_by_role("link", name="vgg-a + vgg-b + vgg-d").click()
        ready(page)
        page = visit.open(f"/evaluations/{key}")
        page.get_by_role("navigation", name="This evaluation").get_by_role("link", name="Builder").click()
        ready(page)
        assert page.url.endswith(f"/ensembles/new?evaluation={key}")
        assert visit.complaints == []


def test_a_table_that_does_not_come_is_said_and_the_server_is_still_asked(
    chromium: Browser, laboratory: tuple[Deployment, str, str]
) -> None:
    made, address, key = laboratory
    with visiting(chromium, address) as visit:
        visit.page.route("**/contenders", lambda route: route.fulfill(status=503, body=""))
        page = visit.open(f"/ensembles/new?evaluation={key}&w=50&w=50&w=50")
        expect(page.get_by_text("The numbers do not follow the sliders")).to_be_visible()
        page.locator("[name=w]").nth(0).fill("3")
        page.get_by_role("button", name="Compute").click()
        expect(page.locator("#top1-count")).to_have_text(of_server(made, key, "checkpoints", [3, 50, 50])["top1-count"])
