"""Classes, confusion, calibration and images of a real evaluation in a real Chromium, down to the thumbnails."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from ensembles.configurations import Architecture
from tests.e2e.chromium import DESKTOP, PHONE, serving, visiting
from tests.history import History
from tests.integration.harness import deployment

pytestmark = pytest.mark.browser

PAGES = {
    "evaluation-members": "/evaluations/{pair}",
    "classes": "/evaluations/{pair}/classes",
    "classes-base": "/evaluations/{pair}/classes?base={alone}",
    "classes-1000": "/evaluations/{large}/classes",
    "confusion": "/evaluations/{pair}/confusion",
    "confusion-1000": "/evaluations/{large}/confusion",
    "calibration": "/evaluations/{pair}/calibration?subject=d&bins=mass",
    "images": "/evaluations/{pair}/images?show=all",
    "images-cell": "/evaluations/{pair}/images?base={alone}&candidate={pair}&cell=both_wrong&metric=top1_error",
    "images-none": "/evaluations/{alone}/images?show=rescued",
    "images-damaged": "/evaluations/{large}/images",
    "answers-missing": "/evaluations/{old}/images",
}


@dataclass(frozen=True)
class Answered:
    """A server with evaluations, its address, and where the images lie."""

    address: str
    ids: dict[str, str]
    folder: Path


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answered]:
    """Two real evaluations of tiny networks, a made-up one of 1,000 classes, and one of a release without outcomes."""
    with deployment(tmp_path_factory.mktemp("answers")) as made:
        folder = made.add_images(count=40)
        made.add_checkpoint("a")
        made.add_checkpoint("d", configuration="D", seed=1)
        ids = {"pair": made.submit(["a", "d"]), "alone": made.submit(["d"])}
        for key in ids.values():
            assert made.run(key).status == "succeeded"
        history = History(made.runtime, macs_per_second=1e18)
        history.dataset("imagenet", images=5000, classes=[f"class {i:04d}" for i in range(1000)], size=(500, 375))
        history.checkpoint("vgg", Architecture("D"), (256, 512))
        for name in ("large", "old"):
            ids[name] = history.submit(dataset="imagenet", checkpoints=["vgg"], protocol={"scales": [256]}, force=True)
            history.predict()
            history.finish(ids[name], [1300], answers={} if name == "old" else None)
        with serving(made.runtime) as address:
            yield Answered(address, ids, folder)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_pages_are_clean_at_both_widths_and_in_both_themes(
    chromium: Browser, answered: Answered, size: tuple[int, int], theme: str
) -> None:
    faults = {}
    with visiting(chromium, answered.address, size=size, theme=theme) as visit:
        for name, path in PAGES.items():
            page = visit.open(path.format(**answered.ids))
            if page.locator("summary", has_text="Likeliest five").count():
                page.get_by_text("Likeliest five").first.click()
            found = visit.faults(name)
            if found:
                faults[name] = found
        assert faults == {}
        assert visit.strangers() == set()


def drawn_widths(page: Page) -> list[int]:
    """Pixels across of each picture on the page once it was brought into view; 0 where nothing came."""
    for picture in page.locator(".thumb img").all():
        picture.scroll_into_view_if_needed()
    page.wait_for_function("[...document.querySelectorAll('.thumb img')].every((image) => image.complete)")
    widths: list[int] = page.eval_on_selector_all(".thumb img", "images => images.map((image) => image.naturalWidth)")
    return widths


def test_from_the_scores_to_a_class_to_its_images_and_what_everyone_thought(
    chromium: Browser, answered: Answered
) -> None:
    with visiting(chromium, answered.address) as visit:
        page = visit.open("/evaluations/{pair}".format(**answered.ids))
        page.get_by_role("link", name="Classes").click()
        page.get_by_role("link", name="Wrong", exact=True).click()
        expect(page).to_have_url(re.compile("sort=errors"))
        link = page.get_by_role("link", name=re.compile("wrong images? of")).first
        count = int(link.inner_text())
        link.click()
        expect(page.get_by_role("heading", level=2)).to_have_text(re.compile(f"^{count} images?$"))
        assert set(drawn_widths(page)) <= {40, 44, 48, 56}
        summary = page.locator("summary", has_text="Likeliest five").first
        summary.focus()
        page.keyboard.press("Enter")
        first = page.locator(".card").first
        expect(first.locator(".top").first.get_by_role("listitem")).to_have_count(3)
        assert first.locator(".tops-name").all_inner_texts() == ["ensemble", "a", "d"]
        assert visit.complaints == []


def test_a_choice_of_subject_or_class_is_kept_in_the_address(chromium: Browser, answered: Answered) -> None:
    with visiting(chromium, answered.address, size=PHONE) as visit:
        page = visit.open("/evaluations/{pair}/images?show=all".format(**answered.ids))
        page.get_by_label("Answers of").select_option("d")
        expect(page).to_have_url(re.compile("show=all.*subject=d"))
        page.get_by_label("True class").select_option("class-1")
        expect(page).to_have_url(re.compile("subject=d.*label=1"))
        assert set(page.locator(".card h3").all_inner_texts()) == {"class-1"}
        page.get_by_role("link", name="Confusion").click()
        expect(page.get_by_label("Answers of")).to_have_value("d")
        assert visit.complaints == []


def test_a_count_of_a_comparison_leads_to_its_images(chromium: Browser, answered: Answered) -> None:
    with visiting(chromium, answered.address) as visit:
        page = visit.open("/compare?base={alone}&candidate={pair}:a".format(**answered.ids))
        link = page.get_by_role("link", name=re.compile("that only .* gets wrong")).last
        count = int(link.inner_text())
        link.click()
        if count:
            assert len(drawn_widths(page)) == min(count, 24)
            assert min(drawn_widths(page)) > 0
            expect(page.locator(".card").first).to_contain_text("base: d")
        expect(page.get_by_role("heading", level=2)).to_contain_text(f"{count} image")
        assert visit.complaints == []


def test_a_file_that_changed_has_a_placeholder_and_the_others_their_pictures(
    chromium: Browser, answered: Answered
) -> None:
    victim = sorted(answered.folder.rglob("*.jpg"))[0]
    content = victim.read_bytes()
    victim.write_bytes(content[:-1] + b"\0")
    try:
        with visiting(chromium, answered.address) as visit:
            page = visit.open("/evaluations/{pair}/images?show=all".format(**answered.ids))
            widths = drawn_widths(page)
            following = page.get_by_role("link", name="Next page")
            following.click()
            widths += drawn_widths(page)
            assert len(widths) == 40
            assert widths.count(128) == 1
            assert min(widths) > 0
            assert visit.complaints == []
    finally:
        victim.write_bytes(content)
