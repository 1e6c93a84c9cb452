import datetime as dt
import re

import pytest

from app.representations.ensembles import EnsembleMemberRequest, EnsembleRequest
from app.services import ensembles
from tests.history import History
from tests.unit.app.dashboard.conftest import DIGITS, Browser, vgg

PAGES = (
    "/",
    "/evaluations",
    "/evaluations/new",
    "/checkpoints",
    "/checkpoints/new",
    "/datasets",
    "/datasets/new",
    "/workers",
)

HOSTILE = "<img src=x onerror=alert(1)>"


def text_of(html: str) -> str:
    """What a reader sees, in one line."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


@pytest.mark.parametrize("path", PAGES)
def test_every_page_opens_on_an_empty_service(browser: Browser, path: str) -> None:
    html = browser.open(path)
    assert "<title>" in html
    assert len(re.findall(r"<h1[ >]", html)) == 1


def test_empty_lists_name_the_next_step(browser: Browser) -> None:
    assert "Register a data set" in browser.open("/datasets")
    assert "Register a checkpoint" in browser.open("/checkpoints")
    assert "/evaluations/new" in browser.open("/evaluations")
    assert "softvote worker" in browser.open("/workers")
    assert "Register one first" in browser.open("/evaluations/new")


def test_the_first_steps_are_ticked_off_as_they_are_done(browser: Browser, history: History) -> None:
    assert browser.open("/").count('<li class="done">') == 0
    history.dataset("digits", images=10, classes=DIGITS)
    assert browser.open("/").count('<li class="done">') == 1
    history.checkpoint("a", vgg("A"), (32, 32))
    history.worker("w")
    assert browser.open("/").count('<li class="done">') == 3


def test_the_overview_shows_the_best_single_and_the_best_ensemble_with_intervals(
    browser: Browser, digits: History, ensemble: str
) -> None:
    shown = text_of(browser.open("/"))
    assert "digits-d best single checkpoint 6.62 5.56–7.87" in shown
    assert "digits-d + digits-e best ensemble 5.79 4.80–6.96" in shown
    assert "ensemble −0.83 points" in shown


def test_the_overview_shows_what_runs_and_why_it_waits(browser: Browser, digits: History) -> None:
    digits.submit(dataset="digits", checkpoints=["digits-a"], protocol={"scales": [32]})
    shown = text_of(browser.open("/"))
    assert "no live worker serves queue predict" in shown
    assert "no worker is alive" in shown
    digits.worker("gpu0", state="busy")
    assert "1 worker alive , 1 busy" in text_of(browser.open("/"))


def test_a_finished_evaluation_shows_its_headline_gain_and_every_score(browser: Browser, ensemble: str) -> None:
    html = browser.open(f"/evaluations/{ensemble}")
    shown = text_of(html)
    assert "Top-1 error 5.79 % 95 % interval 4.80–6.96" in shown
    assert "Against its best member −0.83 points" in shown
    assert "The ensemble gets 15 images fewer wrong" in shown
    assert html.count('<tr class="row-view') == 12
    assert html.count('<tr class="row-mode') == 4
    assert html.count('<tr class="row-member') == 2
    assert html.count('<tr class="row-ensemble') == 1
    assert html.count('class="chart"') == 2
    assert html.count("lowest of all rows") == 3
    assert f"/api/v1/evaluations/{ensemble}/scores?format=csv" in html
    assert "hx-trigger" not in html


def test_a_single_checkpoint_has_no_gain_and_small_sets_one_decimal(browser: Browser, digits: History) -> None:
    key = digits.submit(
        dataset="digits", checkpoints=["digits-a"], protocol={"scales": [32]}, limit=200, unreadable="skip"
    )
    digits.predict(unreadable=[{"index": 3, "image_id": "3/x.png", "reason": "truncated"}])
    digits.finish(key, [19], n_unreadable=1)
    shown = text_of(browser.open(f"/evaluations/{key}"))
    assert "Top-1 error 9.5 %" in shown
    assert "best member" not in shown
    assert "1 image could not be read and is not counted" in shown


def test_a_running_evaluation_shows_progress_of_every_view_and_can_be_cancelled(
    browser: Browser, digits: History
) -> None:
    key = digits.submit(dataset="digits", checkpoints=["digits-a", "digits-d"], protocol={"scales": [32, 40]})
    html = browser.open(f"/evaluations/{key}")
    assert html.count("<progress") == 1 + 4
    assert 'hx-trigger="every 2s"' in html
    assert f"/evaluations/{key}/cancel" in html
    assert f"/evaluations/{key}/retry" not in html


def test_a_failed_evaluation_says_what_failed_and_what_to_do(browser: Browser, digits: History) -> None:
    key = digits.submit(dataset="digits", checkpoints=["digits-a"], protocol={"scales": [32]})
    digits.fail_slice("nonfinite_output", "checkpoint 'digits-a' gave a NaN")
    html = browser.open(f"/evaluations/{key}")
    assert "nonfinite_output" in html
    assert "gave a NaN" in html
    assert f"/evaluations/{key}/retry" in html
    assert "nonfinite_output" in browser.open("/evaluations")


def test_members_with_protocols_of_their_own_have_the_difference_in_their_table(
    browser: Browser, digits: History
) -> None:
    members = [{"checkpoint": "digits-a", "protocol": "center-crop"}, "digits-d"]
    key = digits.submit(dataset="digits", checkpoints=members, protocol="ten-crop")
    shown = text_of(browser.open(f"/evaluations/{key}"))
    assert "Horizontal flip Crops Weight" in shown
    assert "no center 1" in shown
    assert "yes ten 1" in shown


def test_a_protocol_of_its_own_is_called_by_the_nearest_preset_and_what_differs(
    browser: Browser, digits: History
) -> None:
    protocol = {"preset": "vgg-multi-scale-both", "scale_step": 4}
    key = digits.submit(dataset="digits", checkpoints=["digits-d"], protocol=protocol)
    assert text_of(browser.open(f"/evaluations/{key}")).count("vgg-multi-scale-both, scale step 4") == 2
    assert "vgg-multi-scale-both, scale step 4" in text_of(browser.open("/evaluations"))


def test_the_list_of_evaluations_is_filtered_by_the_url(browser: Browser, digits: History, ensemble: str) -> None:
    waiting = digits.submit(dataset="digits", checkpoints=["digits-a"], protocol="center-crop")
    assert waiting in browser.open("/evaluations?status=queued")
    assert ensemble not in browser.open("/evaluations?status=queued")
    assert ensemble in browser.open("/evaluations?search=digits-e&dataset=digits")
    assert waiting not in browser.open("/evaluations?search=digits-e")
    assert "No evaluation matches." in browser.open("/evaluations?search=nothing-like-it")
    assert ensemble in browser.open("/evaluations?status=no-such-status")


def test_long_lists_are_paged_and_keep_their_filter(browser: Browser, digits: History) -> None:
    ids = [digits.submit(dataset="digits", checkpoints=["digits-a"], protocol="center-crop") for _ in range(51)]
    first = browser.open("/evaluations?status=queued")
    following = re.search(r'href="([^"]+)" rel="next"', first)
    assert following
    target = following[1].replace("&amp;", "&")
    assert "status=queued" in target
    second = browser.open(target)
    assert ids[0] in second
    assert ids[0] not in first
    assert "First page" in second


def test_a_cursor_that_is_none_is_refused_with_a_page(browser: Browser) -> None:
    assert "cursor" in browser.open("/evaluations?cursor=!!", status=422)


def test_a_checkpoint_has_its_layer_table_with_the_exact_total(browser: Browser, digits: History) -> None:
    html = browser.open("/checkpoints/digits-d")
    assert html.count("<code>features.") == 31
    total = re.search(r'<tfoot>.*?class="number">([\d,]+)<', html, re.DOTALL)
    assert total
    assert total[1] == f"{vgg('D').parameters:,}"
    assert "Second seed." in html


def test_checkpoints_are_searched(browser: Browser, digits: History) -> None:
    html = browser.open("/checkpoints?search=jitter")
    assert "digits-d" in html
    assert "digits-a" not in html
    assert "No checkpoint matches." in browser.open("/checkpoints?search=resnet")


def test_what_is_being_registered_is_followed_and_what_failed_explained(browser: Browser, history: History) -> None:
    key = history.register_checkpoint("new")
    assert "hx-trigger" in browser.open(f"/checkpoints/{key}")
    assert "hx-trigger" in browser.open("/checkpoints")
    history.fail_registration("predict", "checkpoint_corrupt", "the file is truncated")
    html = browser.open(f"/checkpoints/{key}")
    assert "hx-trigger" not in html
    assert "the file is truncated" in html
    assert "/checkpoints/new?name=new" in html


def test_a_data_set_shows_what_it_holds(browser: Browser, digits: History) -> None:
    shown = text_of(browser.open("/datasets/digits"))
    assert "Images 1,797 Classes 10" in shown
    assert "0 · 1 · 2" in shown
    assert "Nothing was evaluated on it yet." in shown


def test_a_worker_that_was_not_seen_for_long_is_lost(browser: Browser, history: History) -> None:
    history.worker("alive", doing="images 0 to 64 of digits", images_per_second=31.2)
    history.worker("gone", state="busy", last_seen=dt.datetime.now(dt.UTC) - dt.timedelta(minutes=3))
    html = browser.open("/workers")
    shown = text_of(html)
    assert "images 0 to 64 of digits" in shown
    assert "31.2 images/s" in shown
    assert html.count("status-lost") == 1


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/evaluations/nothing", 404, "no evaluation &#39;nothing&#39;"),
        ("/checkpoints/digits-x", 404, "did you mean"),
        ("/datasets/nothing", 404, "no data set"),
        ("/nowhere", 404, "mistyped"),
        ("/checkpoints/%00", 400, "NUL"),
        ("/evaluations?search=%00", 400, "NUL"),
    ],
)
def test_errors_are_pages_that_say_what_and_what_next(
    browser: Browser, digits: History, path: str, status: int, words: str
) -> None:
    html = browser.open(path, status)
    assert words in html
    assert ">Overview</a>" in html


def test_hostile_names_stay_text_on_every_page(browser: Browser, history: History) -> None:
    history.dataset(HOSTILE, images=100, classes=[HOSTILE, '"><script>alert(2)</script>'])
    history.checkpoint(HOSTILE, vgg("A", 2), (32, 32), tags=[HOSTILE], notes=HOSTILE)
    history.checkpoint("{{ 7 * 7 }}", vgg("B", 2), (32, 32))
    history.worker(HOSTILE, doing=HOSTILE, versions={HOSTILE: HOSTILE}, device=HOSTILE)
    key = history.submit(dataset=HOSTILE, checkpoints=[HOSTILE, "{{ 7 * 7 }}"], protocol={"scales": [32, 40]})
    running = browser.open(f"/evaluations/{key}") + browser.open("/")
    history.predict()
    history.finish(key, [30, 31, 40, 41, 29, 39, 20])
    failing = history.register_checkpoint("broken")
    history.fail_registration("predict", "checkpoint_corrupt", HOSTILE)
    paths = [
        *PAGES,
        f"/evaluations/{key}",
        f"/checkpoints/{failing}",
        "/checkpoints/%3Cimg%20src=x%20onerror=alert(1)%3E",
        "/datasets/%3Cimg%20src=x%20onerror=alert(1)%3E",
        "/evaluations/%3Cimg%20src=x%20onerror=alert(1)%3E",
        "/evaluations?search=%3Cimg%20src=x%20onerror=alert(1)%3E",
        "/evaluations/new?dataset=%3Cimg%20src=x%20onerror=alert(1)%3E&checkpoint=%3Cimg%20src=x%20onerror=alert(1)%3E",
        "/checkpoints/new?name=%22%3E%3Cimg%20src=x%20onerror=alert(1)%3E",
    ]
    html = running + "".join(browser.client.get(path).get_data(as_text=True) for path in paths)
    assert html.count("&lt;img src=x onerror=alert(1)&gt;") > 20
    assert "<img" not in html
    assert "<script>" not in html
    assert "{{ 7 * 7 }}" in html


@pytest.mark.parametrize("path", PAGES)
def test_pages_hold_nothing_inline_and_nothing_from_elsewhere(browser: Browser, digits: History, path: str) -> None:
    html = browser.open(path)
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", html)
    assert not re.findall(r'(?:src|href|action)="(?:https?:)?//[^"]*"', html)
    assert all("src=" in script for script in re.findall(r"<script[^>]*>", html))


def test_assets_are_kept_for_long_under_an_address_that_changes_with_them(browser: Browser) -> None:
    address = re.search(r'href="(/assets/base\.css\?v=[0-9a-f]{12})"', browser.open("/"))
    assert address
    for path, kept in ((address[1], True), ("/assets/base.css", False)):
        with browser.client.get(path) as response:
            assert ("immutable" in response.headers.get("Cache-Control", "")) is kept


def test_an_ensemble_that_was_chosen_on_these_images_is_marked_on_its_page_and_a_fixed_one_is_not(
    browser: Browser, digits: History
) -> None:
    looked_at = digits.submit(dataset="digits", checkpoints=["digits-d", "digits-e"], protocol={"scales": [32]})
    digits.predict()
    digits.finish(looked_at, [30, 40, 20])
    members = [
        EnsembleMemberRequest(checkpoint="digits-d", scales=[32]),
        EnsembleMemberRequest(checkpoint="digits-e", scales=[32]),
    ]
    for name, chosen_on in (("picked", looked_at), ("fixed", None)):
        ensembles.create(
            digits.runtime.db, EnsembleRequest(name=name, members=members, rule="geometric", chosen_on=chosen_on)
        )
    pages = {
        name: browser.open(f"/evaluations/{digits.submit(dataset='digits', ensemble=name)}")
        for name in ("picked", "fixed")
    }
    assert "Selection-biased." in pages["picked"]
    assert f'href="/evaluations/{looked_at}"' in pages["picked"]
    assert "Selection-biased." not in pages["fixed"]
    assert "fixed beforehand" in pages["fixed"]
    assert "normalised geometric mean of members" in pages["fixed"]
