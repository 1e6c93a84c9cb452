"""The page to read and try the REST interface, in a real Chromium."""

import json

import pytest
from playwright.sync_api import expect

from tests.e2e.chromium import DESKTOP, PHONE
from tests.e2e.conftest import OpenTab
from tests.history import History

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(("size", "theme"), [(DESKTOP, "light"), (PHONE, "dark")])
def test_every_operation_can_be_read_at_any_width(open_tab: OpenTab, size: tuple[int, int], theme: str) -> None:
    visit = open_tab(size=size, theme=theme)
    page = visit.open("/api/docs")
    for details in page.locator("details").all():
        details.evaluate("element => { element.open = true; }")
    assert visit.grave_findings() == []
    assert visit.too_wide() == 0


def test_an_address_with_an_operation_opens_it(open_tab: OpenTab) -> None:
    page = open_tab().open("/api/docs#list_evaluations")
    expect(page.locator("#list_evaluations form")).to_be_visible()
    expect(page.locator("#get_evaluation form")).to_be_hidden()


def test_operations_can_be_tried(open_tab: OpenTab, digits: History) -> None:
    page = open_tab().open("/api/docs#submit_evaluation")
    submit = page.locator("#submit_evaluation")
    request = {"dataset": "digits", "checkpoints": ["digits-a"], "protocol": {"scales": [40]}}
    submit.locator("textarea").fill(json.dumps(request))
    submit.get_by_role("button", name="Send").click()
    expect(submit.locator("output")).to_contain_text("202")
    expect(submit.locator("output")).to_contain_text("location: /api/v1/evaluations/")

    # Its form has an input named "dataset", as every form element has a property.
    listing = page.locator("#list_evaluations")
    listing.locator("summary").click()
    listing.locator("input[name=dataset]").fill("digits")
    listing.locator("input[name=limit]").fill("1")
    listing.get_by_role("button", name="Send").click()
    expect(listing.locator("output")).to_contain_text('"checkpoints": [\n        "digits-a"')

    one = page.locator("#get_checkpoint")
    one.locator("summary").click()
    one.locator("input[name=key]").fill("digits-e-jitter")
    one.get_by_role("button", name="Send").click()
    expect(one.locator("output")).to_contain_text('"architecture": "vgg19"')
