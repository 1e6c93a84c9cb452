from app.services import evaluations
from tests.history import History
from tests.unit.app.dashboard.conftest import Browser


def queued(digits: History) -> str:
    return digits.submit(dataset="digits", checkpoints=["digits-a", "digits-d"], protocol={"scales": [32]})


def test_the_fragment_is_only_the_live_part(browser: Browser, digits: History) -> None:
    html = browser.open(f"/evaluations/{queued(digits)}/live")
    assert html.strip().startswith('<section id="live"')
    assert html.strip().endswith("</section>")
    assert "<html" not in html


def test_what_has_not_changed_is_not_sent_again(browser: Browser, digits: History) -> None:
    path = f"/evaluations/{queued(digits)}/live"
    first = browser.client.get(path)
    assert first.headers["Cache-Control"] == "no-cache, private"
    again = browser.client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert again.status_code == 304
    assert again.data == b""
    digits.macs_per_second = 1e9
    digits.predict(1)
    moved = browser.client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert moved.status_code == 200
    assert moved.headers["ETag"] != first.headers["ETag"]


def test_the_page_is_told_to_load_again_when_the_evaluation_has_ended(browser: Browser, digits: History) -> None:
    key = queued(digits)
    path = f"/evaluations/{key}/live"
    first = browser.client.get(path)
    assert "HX-Refresh" not in first.headers
    evaluations.cancel(digits.runtime.db, key)
    ended = browser.client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert ended.headers["HX-Refresh"] == "true"


def test_the_fragment_of_an_unknown_evaluation_is_not_found(browser: Browser) -> None:
    browser.open("/evaluations/nothing/live", 404)


def test_what_was_handed_out_is_shown_with_who_has_it(browser: Browser, digits: History) -> None:
    key = queued(digits)
    digits.macs_per_second = 1e9
    assert "Handed out" not in browser.open(f"/evaluations/{key}/live")
    digits.back_off("io_error", "the disk hiccuped")
    html = browser.open(f"/evaluations/{key}/live")
    assert "Handed out and not done" in html
    assert "status-pending" in html
    assert "io_error: the disk hiccuped" in html
