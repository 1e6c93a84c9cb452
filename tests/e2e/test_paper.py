"""The paper's tables in a real Chromium: both themes and widths, by keyboard, and their downloads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from ensembles.configurations import Architecture
from tests.app_builders import make_runtime
from tests.e2e.chromium import DESKTOP, PHONE, Visit, serving, visiting
from tests.history import History

pytestmark = pytest.mark.browser

#: Wrong of 50,000: six views of D and of E, each mode of each, each network, the ensemble.
WRONG = [12650, 12800, 13100, 12700, 12900, 13000, 12700, 12750, 13200, 12650, 12700, 12800]
WRONG += [12400, 12310, 12550, 12300, 12210, 12150, 11855]


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A server on which D and E were evaluated as in tables 3 to 7; its address and the evaluation's id."""
    runtime = make_runtime(tmp_path_factory.mktemp("paper") / "home")
    history = History(runtime, macs_per_second=1e18)
    history.dataset("imagenet", images=50_000, classes=[f"class {i:04d}" for i in range(1000)], size=(500, 375))
    for name in ("D", "E"):
        history.checkpoint(f"vgg-{name}", Architecture(name), (256, 512))
    key = history.submit(dataset="imagenet", checkpoints=["vgg-D", "vgg-E"], protocol="vgg-multi-scale-both")
    history.predict()
    history.finish(key, WRONG)
    with serving(runtime) as address:
        yield address, key
    runtime.db.dispose()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_papers_tables_are_clean_at_both_widths_and_in_both_themes(
    chromium: Browser, imagenet: tuple[str, str], size: tuple[int, int], theme: str
) -> None:
    address, key = imagenet
    with visiting(chromium, address, size=size, theme=theme) as visit:
        page = visit.open(f"/evaluations/{key}/paper")
        page.get_by_text("Tables 1 and 2").click()
        assert visit.faults("paper") == []
        assert visit.strangers() == set()


def test_from_the_evaluation_to_its_row_in_table_6_and_the_file_of_that_table(
    chromium: Browser, imagenet: tuple[str, str]
) -> None:
    address, key = imagenet
    with visiting(chromium, address) as visit:
        page = visit.open(f"/evaluations/{key}")
        page.get_by_role("link", name="Paper").click()
        expect(page.get_by_role("heading", name="Table 6")).to_be_visible()
        row = page.get_by_role("region", name="Table 6").get_by_role("row").filter(has_text="yours: vgg-D + vgg-E")
        expect(row).to_contain_text("23.7")
        expect(row).to_contain_text("23.71")
        expect(row.get_by_text("equal")).to_be_visible()
        assert visit.page.evaluate("getComputedStyle(document.querySelector('.verdict-equal'), '::before').content")
        with page.expect_download() as download:
            page.get_by_role("link", name="Table 6 as CSV").click()
        assert "D + E" in Path(download.value.path()).read_text()
        assert visit.complaints == []


def test_the_tables_scroll_and_the_folded_ones_open_by_keyboard(chromium: Browser, imagenet: tuple[str, str]) -> None:
    address, key = imagenet
    with visiting(chromium, address, size=PHONE) as visit:
        page = visit.open(f"/evaluations/{key}/paper")
        names = focused_names(visit, 60)
        for number in range(3, 8):
            assert {f"Table {number} as CSV", f"Table {number} as JSON", f"Table {number}"} <= names
        summary = page.get_by_text("Tables 1 and 2")
        summary.focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("region", name="Tables 1 and 2", exact=True)).to_be_visible()


def focused_names(visit: Visit, presses: int) -> set[str]:
    """What the Tab key reaches, by accessible label or text."""
    names = set()
    for _ in range(presses):
        visit.page.keyboard.press("Tab")
        names.add(
            visit.page.evaluate(
                "document.activeElement.getAttribute('aria-label') || document.activeElement.textContent.trim()"
            )
        )
    return names
