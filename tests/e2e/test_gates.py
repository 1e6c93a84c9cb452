"""Judging and promoting in a real Chromium: both widths, both themes, and the way to the images."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from app.representations.gates import GateRequest
from app.services.comparing import gates
from tests.app_builders import make_runtime
from tests.e2e.chromium import DESKTOP, PHONE, serving, visiting
from tests.e2e.conftest import narrow_vgg
from tests.history import History

pytestmark = pytest.mark.browser

PAGES = {
    "gates": "/gates",
    "gate-fail": "/gates/{fail}",
    "gate-pass": "/gates/{pass}",
    "gate-inconclusive": "/gates/{inconclusive}",
    "gate-nll": "/gates/{nll}",
    "gate-form": "/gates/new?candidate={candidate}&baseline=production",
    "baseline-form": "/baselines/new?reference={candidate}",
    "evaluation-gated": "/evaluations/{candidate}",
}


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """A server with a baseline, verdicts of every kind, and their ids by kind."""
    runtime = make_runtime(tmp_path_factory.mktemp("gates") / "home")
    history = History(runtime, macs_per_second=1e18)
    history.dataset("digits", images=1797, classes=tuple("0123456789"))
    for name, configuration in (("digits-a", "A"), ("digits-d", "D"), ("digits-e", "E")):
        history.checkpoint(name, narrow_vgg(configuration), (32, 48))

    def evaluate(wrong: list[int], *names: str, **protocol: object) -> str:
        key = history.submit(dataset="digits", checkpoints=list(names), protocol=protocol)
        history.predict()
        history.finish(key, wrong)
        return key

    def judge(**fields: object) -> str:
        return gates.judge(runtime.db, runtime.artifacts, GateRequest.model_validate(fields))

    base = evaluate([128], "digits-d", scales=[40])
    worse = evaluate([190], "digits-a", scales=[36], hflip=False)
    candidate = evaluate([128, 124, 121], "digits-d", "digits-e", scales=[40])
    gates.promote(runtime.db, "production", base, "in use since the spring")
    gates.promote(runtime.db, "best ensemble", candidate)
    ids = {
        "candidate": candidate,
        "base": base,
        "fail": judge(baseline="production", candidate=worse),
        "pass": judge(baseline="production", candidate=candidate, margin=0.02),
        "nll": judge(baseline="production", candidate=worse, metric="nll", margin=0.01),
        "inconclusive": judge(baseline="production", candidate=candidate, margin=0.0005),
    }
    judge(baseline="production", candidate=candidate, margin=0.05, classes=["3", "8"])
    with serving(runtime) as address:
        yield address, ids
    runtime.db.dispose()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_gates_are_clean_at_both_widths_and_in_both_themes(
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


def test_a_finished_evaluation_is_judged_promoted_and_forgotten_by_clicks(
    chromium: Browser, laboratory: tuple[str, dict[str, str]]
) -> None:
    address, ids = laboratory
    with visiting(chromium, address) as visit:
        page = visit.open(f"/evaluations/{ids['candidate']}")
        page.get_by_role("link", name="Judge…").click()
        expect(page.get_by_label("Candidate")).to_have_value(ids["candidate"])
        page.get_by_label("Baseline").fill("production")
        page.get_by_label("Margin").fill("3")
        page.get_by_role("button", name="Judge").click()
        expect(page.get_by_role("heading", level=2, name="Pass")).to_be_visible()
        expect(page.get_by_role("heading", level=1)).to_have_text("digits-d + digits-e against production")

        alone = page.get_by_role("link", name="that only the candidate gets wrong")
        count = alone.inner_text()
        alone.click()
        expect(page.get_by_role("main")).to_contain_text(f"{count} image")
        page.go_back()

        page.get_by_role("navigation", name="Main").get_by_role("link", name="Gates").click()
        page.get_by_role("link", name="Promote a baseline…").click()
        page.get_by_label("Name").fill("for a day")
        page.get_by_label("Stands for").fill(f"{ids['candidate']}:digits-e")
        page.get_by_role("button", name="Promote").click()
        row = page.get_by_role("row", name=re.compile("for a day"))
        expect(row.get_by_role("link", name="digits-e")).to_be_visible()
        row.get_by_text("Forget", exact=True).click()
        page.get_by_role("button", name="Forget the name").click()
        expect(page.get_by_role("main")).to_contain_text("Forgotten.")
        expect(row).to_have_count(0)
        assert visit.complaints == []


def test_a_gate_is_judged_without_javascript(chromium: Browser, laboratory: tuple[str, dict[str, str]]) -> None:
    address, ids = laboratory
    with visiting(chromium, address, java_script_enabled=False) as visit:
        page = visit.open("/gates/new")
        page.get_by_label("Candidate").fill(ids["candidate"])
        page.get_by_role("button", name="Judge").click()
        expect(page.get_by_role("alert")).to_contain_text("1 thing to mend")
        expect(page.get_by_label("Candidate")).to_have_value(ids["candidate"])
        page.get_by_label("Baseline").fill(ids["base"])
        page.get_by_role("button", name="Judge").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("digits-d + digits-e against digits-d")
