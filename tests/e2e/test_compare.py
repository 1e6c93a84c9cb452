"""From the list over the basket to the comparison and the images behind it, in a real Chromium."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, expect

from tests.app_builders import make_runtime
from tests.e2e.chromium import DESKTOP, PHONE, serving, visiting
from tests.e2e.conftest import narrow_vgg
from tests.history import History

pytestmark = pytest.mark.browser

PAGES = {
    "compare-two": "/compare?base={pair}&candidate={alone}",
    "compare-many": "/compare?base={pair}&candidate={alone}&candidate={pair}:digits-d&candidate={pair}:digits-e{more}",
    "compare-nll": "/compare?base={pair}&candidate={pair}:digits-d&candidate={alone}&metric=nll",
    "compare-empty": "/compare",
    "compare-refused": "/compare?base={pair}&candidate={alone}&candidate=000000000000000000000000",
    "evaluations-ticked": "/evaluations?candidate={pair}&candidate={alone}",
}


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """A server with a dozen finished evaluations, two of which the tests know by name; its address and their ids."""
    runtime = make_runtime(tmp_path_factory.mktemp("compare") / "home")
    history = History(runtime, macs_per_second=1e18)
    history.dataset("digits", images=1797, classes=tuple("0123456789"))
    for name, configuration in (("digits-a", "A"), ("digits-d", "D"), ("digits-e", "E")):
        history.checkpoint(name, narrow_vgg(configuration), (32, 48))

    def evaluate(wrong: list[int], *names: str, **protocol: object) -> str:
        key = history.submit(dataset="digits", checkpoints=list(names), protocol=protocol)
        history.predict()
        history.finish(key, wrong)
        return key

    more = [evaluate([80 + 9 * number], "digits-d", scales=[32 + 4 * number]) for number in range(9)]
    ids = {
        "more": "".join(f"&candidate={key}" for key in more),
        "alone": evaluate([190], "digits-a", scales=[36], hflip=False),
        "pair": evaluate([152, 128, 104], "digits-d", "digits-e", scales=[40]),
    }
    history.submit(dataset="digits", checkpoints=["digits-a"], protocol={"scales": [44]})
    with serving(runtime) as address:
        yield address, ids
    runtime.db.dispose()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_comparisons_are_clean_at_both_widths_and_in_both_themes(
    chromium: Browser, laboratory: tuple[str, dict[str, str]], size: tuple[int, int], theme: str
) -> None:
    address, ids = laboratory
    faults = {}
    with visiting(chromium, address, size=size, theme=theme) as visit:
        for name, path in PAGES.items():
            visit.open(path.format(**ids))
            # A refused page is one: the browser says so on its console.
            found = visit.faults(name, expected="404") if name == "compare-refused" else visit.faults(name)
            if found:
                faults[name] = found
        assert faults == {}
        assert visit.strangers() == set()


def test_what_is_ticked_in_the_list_is_compared_and_its_images_are_one_click_away(
    chromium: Browser, laboratory: tuple[str, dict[str, str]]
) -> None:
    address, ids = laboratory
    with visiting(chromium, address) as visit:
        page = visit.open("/evaluations")
        compare = page.get_by_role("button", name="Compare")
        expect(compare).to_be_hidden()
        page.get_by_role("checkbox", name=re.compile(r"Compare digits-d \+ digits-e")).check()
        expect(compare).to_have_text("Compare 1 selected")
        # What is ticked goes along to another part of the list, and back to it.
        page.get_by_role("navigation", name="Status").get_by_role("link", name="queued").click()
        expect(page).to_have_url(re.compile("status=queued"))
        expect(compare).to_have_text("Compare 1 selected")
        page.get_by_role("navigation", name="Status").get_by_role("link", name="succeeded").click()
        page.get_by_role("checkbox", name=re.compile("Compare digits-a on")).check()
        expect(compare).to_have_text("Compare 2 selected")
        compare.click()
        expect(page.get_by_role("heading", level=1)).to_have_text("digits-a against digits-d + digits-e")
        expect(page.get_by_text(re.compile(r"worse by 4\.8 points at n = 1,797"))).to_be_visible()
        assert set(parse_qs(urlsplit(page.url).query)) == {"base", "candidate"}
        # The first one ticked in the list's order is the base; another is chosen on the page.
        page.get_by_label("Base").select_option(ids["alone"])
        expect(page.get_by_role("heading", level=1)).to_have_text("digits-d + digits-e against digits-a")
        page.go_back()
        cell = page.get_by_role("table", name=re.compile("digits-a")).get_by_role(
            "link", name="that only digits-a gets wrong"
        )
        count = int(cell.inner_text())
        cell.click()
        expect(page).to_have_url(re.compile(f"/evaluations/{ids['alone']}/images\\?.*cell=only_candidate_wrong"))
        expect(page.get_by_role("main")).to_contain_text(f"{count} images")


def test_ticks_are_compared_without_javascript(chromium: Browser, laboratory: tuple[str, dict[str, str]]) -> None:
    address, _ = laboratory
    with visiting(chromium, address, java_script_enabled=False) as visit:
        page = visit.open("/evaluations")
        compare = page.get_by_role("button", name="Compare")
        expect(compare).to_be_hidden()
        for box in page.get_by_role("checkbox").all()[:3]:
            box.check()
        compare.click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("2 candidates against")
        page.get_by_role("checkbox").first.uncheck()
        page.get_by_role("button", name="Apply").click()
        expect(page.get_by_role("figure").or_(page.get_by_text("Exact McNemar p"))).to_be_visible()


def test_ticks_outlive_the_refreshing_of_a_list_with_work_in_it(
    chromium: Browser, laboratory: tuple[str, dict[str, str]]
) -> None:
    address, ids = laboratory
    with visiting(chromium, address) as visit:
        page = visit.open(f"/evaluations?candidate={ids['alone']}")
        page.get_by_role("checkbox", name=re.compile(r"Compare digits-d \+ digits-e")).check()
        page.get_by_role("checkbox", name=re.compile("Compare digits-a on")).uncheck()
        with page.expect_response(lambda response: "/evaluations" in response.url, timeout=15_000) as refreshed:
            pass
        assert refreshed.value.ok
        page.wait_for_timeout(300)
        expect(page.get_by_role("checkbox", name=re.compile(r"Compare digits-d \+ digits-e"))).to_be_checked()
        expect(page.get_by_role("checkbox", name=re.compile("Compare digits-a on"))).not_to_be_checked()
        expect(page.get_by_role("button", name="Compare")).to_have_text("Compare 1 selected")
        assert visit.complaints == []
