"""What pages do: the theme, the keyboard, the launch form that follows what is typed, the page that follows a run."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from app.services import evaluations
from tests.e2e.conftest import OpenTab
from tests.history import History

pytestmark = pytest.mark.browser


def background_of(page: object) -> str:
    return page.evaluate("getComputedStyle(document.body).backgroundColor")  # type: ignore[attr-defined, no-any-return]


def test_the_theme_follows_the_system_until_one_is_chosen_which_stays(open_tab: OpenTab) -> None:
    visit = open_tab(theme="dark")
    page = visit.open("/")
    dark = background_of(page)
    page.get_by_role("button", name="Theme").click()
    expect(page.get_by_role("button", name="Theme")).to_contain_text("light")
    light = background_of(page)
    assert light != dark
    visit.open("/workers")
    assert background_of(page) == light
    page.get_by_role("button", name="Theme").click()
    page.get_by_role("button", name="Theme").click()
    expect(page.get_by_role("button", name="Theme")).to_contain_text("system")
    assert background_of(page) == dark


def test_the_keyboard_reaches_the_content_and_closes_what_it_opened(open_tab: OpenTab, digits: History) -> None:
    key = digits.submit(dataset="digits", checkpoints=["digits-a"], protocol="center-crop")
    page = open_tab().open(f"/evaluations/{key}")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    summary = page.locator("summary", has_text="Cancel")
    summary.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Cancel the evaluation")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Cancel the evaluation")).to_be_hidden()
    expect(summary).to_be_focused()


def test_the_launch_form_follows_what_is_chosen_and_keeps_it_in_the_address(open_tab: OpenTab, digits: History) -> None:
    visit = open_tab()
    page = visit.open("/evaluations/new")
    plan = page.locator("#plan")
    expect(plan).to_contain_text("choose a data set")
    page.get_by_label("Data set").select_option("digits")
    expect(page.locator("#fit")).to_contain_text("Those with 10 classes fit digits")
    page.get_by_label("digits-d-jitter", exact=True).check()
    page.get_by_label("digits-e-jitter", exact=True).check()
    page.get_by_label("vgg-multi-scale-both").check()
    page.get_by_label("Limit").fill("100")
    expect(plan).to_contain_text("dense and multi-crop at Q 32, 40, 48 px")
    expect(plan.locator("dd").first).to_have_text("100")
    expect(page).to_have_url(re.compile("limit=100"))
    fields = parse_qs(urlsplit(page.url).query)
    assert fields["checkpoint"] == ["digits-e-jitter", "digits-d-jitter"]
    assert "csrf_token" not in fields
    assert "submission" not in fields
    page.reload()
    expect(page.get_by_label("digits-d-jitter", exact=True)).to_be_checked()
    expect(page.get_by_label("Limit")).to_have_value("100")


def test_launching_leads_to_the_evaluation_and_a_refusal_back_to_the_fields(open_tab: OpenTab, digits: History) -> None:
    visit = open_tab()
    page = visit.open("/evaluations/new?dataset=digits&checkpoint=flowers-b&protocol=center-crop")
    page.get_by_role("button", name="Start the evaluation").click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("1 thing to mend")
    # Chromium reports the status of every page that is not a success.
    assert [complaint for complaint in visit.complaints if "422" not in complaint] == []
    visit.complaints.clear()
    expect(page.get_by_label("flowers-b", exact=True)).to_be_checked()
    alert.get_by_role("link", name="flowers-b").click()
    page.get_by_label("flowers-b", exact=True).uncheck()
    page.get_by_label("digits-a", exact=True).check()
    page.get_by_role("button", name="Start the evaluation").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile(r"digits-a\s+on\s+digits"))
    expect(page.locator("#live")).to_contain_text("queued")


def test_the_commands_can_be_copied(open_tab: OpenTab, digits: History) -> None:
    visit = open_tab(permissions=["clipboard-read", "clipboard-write"])
    page = visit.open("/evaluations/new?dataset=digits&checkpoint=digits-a&protocol=center-crop")
    page.get_by_text("As a command").click()
    page.get_by_role("button", name="Copy").first.click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("softvote evaluate --dataset digits")
    assert f"{visit.address}/api/v1/evaluations" in page.locator("#command-curl").inner_text()


def test_the_page_of_a_run_follows_it_to_its_result(open_tab: OpenTab, digits: History) -> None:
    key = digits.submit(dataset="digits", checkpoints=["digits-a", "digits-d-jitter"], protocol={"scales": [32, 40]})
    visit = open_tab()
    page = visit.open(f"/evaluations/{key}")
    live = page.locator("#live")
    expect(live).to_contain_text("0 of 7,188 posteriors")
    digits.macs_per_second = 1e9
    digits.predict(1)
    expect(live).not_to_contain_text("0 of 7,188 posteriors")
    digits.macs_per_second = 1e15
    digits.predict()
    expect(live).to_contain_text("fusing")
    digits.finish(key, [160, 150, 140, 130, 141, 124, 110])
    expect(page.get_by_role("heading", name="Ensemble of 2")).to_be_visible()
    expect(page.locator("tr.row-ensemble")).to_contain_text("6.12")
    assert page.locator("svg.chart").count() == 2


def test_polling_sends_nothing_again_that_has_not_changed(open_tab: OpenTab, digits: History) -> None:
    key = digits.submit(dataset="digits", checkpoints=["digits-a"], protocol="center-crop")
    visit = open_tab()
    page = visit.open(f"/evaluations/{key}")
    with page.expect_response(re.compile("/live$")):
        pass
    with page.expect_response(re.compile("/live$")) as second:
        pass
    sizes = second.value.request.sizes()
    # The body comes from the browser's own cache after a 304.
    assert sizes["responseBodySize"] == 0
    evaluations.cancel(digits.runtime.db, key)
    expect(page.get_by_role("button", name="Retry")).to_be_visible()


def test_ages_are_told_in_words_and_exactly_on_hover(open_tab: OpenTab, digits: History) -> None:
    page = open_tab().open("/datasets/digits")
    age = page.locator("time[data-age]").first
    expect(age).to_have_text(re.compile(r"^(now|\d+ s ago)$"))
    before = age.inner_text()
    expect(age).not_to_have_text(before)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", age.get_attribute("title") or "")


def test_a_filter_of_the_list_is_sent_as_soon_as_it_is_chosen(open_tab: OpenTab, digits: History) -> None:
    page = open_tab().open("/evaluations")
    page.get_by_label("Data set").select_option("flowers")
    expect(page.get_by_text("No evaluation matches.")).to_be_visible()
    expect(page).to_have_url(re.compile("dataset=flowers"))


def test_a_server_that_went_away_leaves_the_page_as_it_was(open_tab: OpenTab, digits: History) -> None:
    key = digits.submit(dataset="digits", checkpoints=["digits-a"], protocol="center-crop")
    visit = open_tab()
    page = visit.open(f"/evaluations/{key}")
    page.route(
        re.compile("/live$"), lambda route: route.fulfill(status=503, body="<p>down</p>", content_type="text/html")
    )
    with page.expect_response(re.compile("/live$")):
        pass
    expect(page.locator("#live")).to_contain_text("queued")
    expect(page.get_by_text("down")).to_have_count(0)
    visit.complaints.clear()
