"""The pages of schedules in a real Chromium: clean at both widths and in both themes; fire times as one types."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from app.runtime import Runtime
from tests.app_builders import make_runtime
from tests.e2e.chromium import DESKTOP, PHONE, serving, visiting
from tests.e2e.conftest import narrow_vgg
from tests.history import History
from tests.schedule_builders import add_run, add_schedule

pytestmark = pytest.mark.browser

PAGES = {
    "schedules": "/schedules",
    "schedule": "/schedules/{key}",
    "schedule-empty": "/schedules/weekly",
    "schedule-form": "/schedules/new?timing=cron&cron=30+2+*+*+*&timezone=Europe/Berlin&name=nightly",
    "schedule-edit": "/schedules/{key}/edit",
    "schedule-run-drift": "/schedules/{key}/runs/{drift}",
    "schedule-run-regression": "/schedules/{key}/runs/{regression}",
    "overview-schedules": "/",
}
#: Wrong of 1,797 images, and the verdict, night by night.
NIGHTS = (
    (152, "first"),
    (152, "ok"),
    (152, "ok"),
    (155, "drift"),
    (155, "ok"),
    (155, "ok"),
    (149, "model_change"),
    (149, "ok"),
    (149, "ok"),
    (149, "ok"),
    (214, "regression"),
    (214, "ok"),
)


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    runtime = make_runtime(tmp_path_factory.mktemp("schedules") / "home")
    yield runtime
    runtime.db.dispose()


@pytest.fixture(scope="module")
def ids(runtime: Runtime) -> dict[str, str]:
    history = History(runtime, macs_per_second=1e15)
    history.dataset("digits", images=1797, classes=tuple("0123456789"))
    history.checkpoint("digits-d", narrow_vgg("D"), (32, 48), tags=["nightly"])
    key = add_schedule(runtime, "every night", ["digits-d"])
    add_schedule(runtime, "weekly", ["digits-d"])
    runs = {
        verdict: add_run(runtime, history, key, night, [wrong], verdict)
        for night, (wrong, verdict) in enumerate(NIGHTS)
    }
    return {"key": key, **runs}


@pytest.fixture(scope="module")
def address(runtime: Runtime, ids: dict[str, str]) -> Iterator[str]:
    with serving(runtime) as served:
        yield served


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_every_page_of_schedules_is_clean_at_both_widths_and_in_both_themes(
    chromium: Browser, address: str, ids: dict[str, str], size: tuple[int, int], theme: str
) -> None:
    faults = {}
    with visiting(chromium, address, size=size, theme=theme) as visit:
        for name, path in PAGES.items():
            visit.open(path.format(**ids))
            found = visit.faults(name, axe=(size, theme) != (PHONE, "dark"))
            if found:
                faults[name] = found
        assert faults == {}
        assert visit.strangers() == set()


def test_fire_times_follow_what_is_typed_and_a_mark_leads_to_its_run(
    chromium: Browser, address: str, ids: dict[str, str]
) -> None:
    with visiting(chromium, address) as visit:
        page = visit.open("/schedules/new")
        page.get_by_label("Cron expression").fill("*/15 8-17 * * 1-5")
        page.get_by_label("Time zone").fill("America/New_York")
        expect(page.locator("#fires li")).to_have_count(5)
        expect(page.locator("#fires")).to_contain_text("Clocks in America/New_York")
        page.get_by_label("Cron expression").fill("61 * * * *")
        expect(page.locator("#fires")).to_contain_text("as soon as the timing is right")
        page.get_by_label("At an interval").check()
        page.locator("#field-every").fill("36")
        expect(page.locator("#fires")).to_contain_text("Every 36 hours")

        page = visit.open(f"/schedules/{ids['key']}")
        page.locator(".wide a.run", has=page.locator(".mark-drift")).click()
        expect(page.get_by_role("heading", name="Images that moved")).to_be_visible()
        page.get_by_label("Note").fill("the new decoder")
        page.get_by_role("button", name="Acknowledge").click()
        expect(page.locator("#verdict")).to_contain_text("the new decoder")
        assert visit.complaints == []
