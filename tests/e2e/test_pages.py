"""Every page in a real Chromium: both widths, both themes, no complaint of the browser, none of axe-core."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.app_builders import make_runtime
from tests.e2e.chromium import DESKTOP, PHONE, serving, visiting
from tests.e2e.conftest import narrow_vgg
from tests.history import History

pytestmark = pytest.mark.browser

#: A folder for pictures of every page, for a person to look at.
LAUNCH = (
    "/evaluations/new?dataset=digits&checkpoint=digits-d&checkpoint=digits-e&protocol=custom"
    "&protocol.scales=list&protocol.scale_list=32,40,64"
)

PAGES = {
    "overview": "/",
    "evaluations": "/evaluations",
    "evaluations-none": "/evaluations?status=fusing",
    "evaluation-ensemble": "/evaluations/{ensemble}",
    "evaluation-single": "/evaluations/{single}",
    "evaluation-running": "/evaluations/{running}",
    "evaluation-failed": "/evaluations/{failed}",
    "paper-off-imagenet": "/evaluations/{ensemble}/paper",
    "launch": LAUNCH,
    "checkpoints": "/checkpoints",
    "checkpoint": "/checkpoints/digits-d",
    "checkpoint-failed": "/checkpoints/broken",
    "checkpoint-form": "/checkpoints/new",
    "datasets": "/datasets",
    "dataset": "/datasets/digits",
    "dataset-form": "/datasets/new",
    "workers": "/workers",
}


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    runtime = make_runtime(tmp_path_factory.mktemp("pages") / "home")
    yield History(runtime, macs_per_second=1e15)
    runtime.db.dispose()


@pytest.fixture(scope="module")
def ids(history: History) -> dict[str, str]:
    """A week in the life of a laboratory, so that no page is empty; ids of its evaluations."""
    history.dataset("digits", images=1797, classes=tuple("0123456789"))
    for name, configuration, scale in (
        ("digits-a", "A", (32, 32)),
        ("digits-d", "D", (32, 48)),
        ("digits-e", "E", (32, 48)),
    ):
        history.checkpoint(name, narrow_vgg(configuration), scale, tags=["demo"], notes="By the paper's recipe.")
    history.register_checkpoint("broken")
    history.fail_registration("predict", "checkpoint_corrupt", "the header announces 8,310 bytes, the file has 412")
    rates = {"images_per_second": 31.2, "macs_per_second": 4.2e9}
    history.worker("predict@lab-2", state="busy", doing="images 512 to 640 of digits", **rates)
    history.worker("lost@lab-1", last_seen=dt.datetime.now(dt.UTC) - dt.timedelta(hours=3))
    made = {}
    made["ensemble"] = history.submit(
        dataset="digits", checkpoints=["digits-d", "digits-e"], protocol="vgg-multi-scale-both"
    )
    history.predict()
    wrong = [152, 128, 141, 149, 131, 138, 149, 133, 137, 140, 129, 142, 124, 126, 127, 122, 119, 121, 104]
    history.finish(made["ensemble"], wrong)
    made["single"] = history.submit(dataset="digits", checkpoints=["digits-a"], protocol={"scales": [32]}, limit=200)
    history.predict()
    history.finish(made["single"], [19])
    made["failed"] = history.submit(dataset="digits", checkpoints=["digits-a"], protocol={"scales": [36]})
    history.fail_slice("nonfinite_output", "checkpoint 'digits-a' gave a NaN or infinite class score")
    made["running"] = history.submit(dataset="digits", checkpoints=["digits-a", "digits-d"], protocol="ten-crop")
    history.macs_per_second = 1e9
    history.predict(3)
    history.back_off("io_error", "the disk hiccuped")
    return made


@pytest.fixture(scope="module")
def address(history: History, ids: dict[str, str]) -> Iterator[str]:
    with serving(history.runtime) as served:
        yield served


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_every_page_is_clean_at_both_widths_and_in_both_themes(
    chromium: Browser, address: str, ids: dict[str, str], size: tuple[int, int], theme: str
) -> None:
    faults = {}
    with visiting(chromium, address, size=size, theme=theme) as visit:
        for name, path in PAGES.items():
            visit.open(path.format(**ids))
            # Of dark pages on a phone neither the layout nor the colours are new.
            found = visit.faults(name, axe=(size, theme) != (PHONE, "dark"))
            if found:
                faults[name] = found
        assert faults == {}
        assert visit.strangers() == set()


@pytest.mark.parametrize("path", ["/", "/evaluations/new?dataset=digits&checkpoint=digits-d"])
def test_pages_can_be_read_and_used_without_javascript(
    chromium: Browser, address: str, ids: dict[str, str], path: str
) -> None:
    with visiting(chromium, address, java_script_enabled=False) as visit:
        page = visit.open(path)
        assert page.locator("h1").count() == 1
        assert not page.locator("[data-theme-toggle]").is_visible()
        assert not page.locator("[data-copy]").first.is_visible()


def test_an_empty_service_leads_to_its_first_steps(chromium: Browser, tmp_path: Path) -> None:
    runtime = make_runtime(tmp_path / "home")
    with serving(runtime) as address, visiting(chromium, address, size=PHONE) as visit:
        for path in ("/", "/evaluations", "/evaluations/new", "/checkpoints", "/datasets", "/workers"):
            visit.open(path)
            assert visit.grave_findings() == []
            assert visit.too_wide() == 0
        visit.open("/")
        visit.page.get_by_role("link", name="Register a data set").click()
        assert visit.page.get_by_role("heading", name="Register a data set").is_visible()
        assert visit.complaints == []
    runtime.db.dispose()
