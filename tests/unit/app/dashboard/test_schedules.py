"""The pages of schedules: list, editor with fire times, trend, one run."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import pytest
from sqlalchemy import update

from app.db.models import RunState, Schedule, ScheduleRun
from app.db.queries import schedules as queries
from app.runtime import Runtime
from app.services.scheduling import schedules
from tests.history import History
from tests.schedule_builders import add_run, add_schedule
from tests.unit.app.dashboard.conftest import Browser
from tests.unit.app.dashboard.test_pages import text_of

FORM = {
    "name": "nightly",
    "timing": "cron",
    "cron": "30 2 * * *",
    "timezone": "Europe/Berlin",
    "target.dataset": "digits",
    "target": "checkpoints",
    "checkpoint": ["digits-d", "digits-e"],
    "protocol": "center-crop",
    "verify": "full",
    "sample_images": "64",
    "tolerance": "0",
    "metric": "top1_error",
    "margin": "1",
    "alpha": "5",
    "misfire": "skip",
    "max_active": "2",
}


@pytest.fixture
def nightly(digits: History, runtime: Runtime) -> str:
    return add_schedule(runtime, "nightly", ["digits-d"])


def stored(runtime: Runtime) -> Any:
    with runtime.db.read() as session:
        (one,) = queries.list_page(session, cursor=None, limit=10).items
        return one


def test_without_schedules_the_list_names_the_next_step(browser: Browser) -> None:
    assert "/schedules/new" in browser.open("/schedules")


def test_the_editor_says_the_next_five_times_and_the_clock_change(browser: Browser, digits: History) -> None:
    shown = text_of(browser.open("/schedules/new?timing=cron&cron=30+2+*+*+*&timezone=Europe/Berlin"))
    assert "At 02:30 every day" in shown
    assert shown.count(", 02:30 (UTC+0") == 5
    assert "Clocks in Europe/Berlin are put" in shown
    every = text_of(browser.open("/schedules/new?timing=every&every=90&unit=minutes"))
    assert "Every 90 minutes" in every
    for wrong in ("cron=0+0+0+*+*+*", "cron=x", "timezone=Mars", "timing=every&every=0", "timing=every&every=x"):
        assert "stand here as soon as the timing is right" in text_of(browser.open(f"/schedules/new?{wrong}"))


def test_a_schedule_is_made_from_the_form(browser: Browser, digits: History, runtime: Runtime) -> None:
    answer = browser.post("/schedules/new", "/schedules/new", **FORM)
    assert answer.status_code == 303, text_of(answer.text)
    made = stored(runtime)
    assert answer.headers["Location"] == f"/schedules/{made.id}"
    assert (made.cron, made.timezone, made.verify, made.misfire, made.max_active) == (
        "30 2 * * *",
        "Europe/Berlin",
        "full",
        "skip",
        2,
    )
    assert made.target["checkpoints"] == ["digits-d", "digits-e"]
    assert made.gate == {"metric": "top1_error", "margin": 0.01, "alpha": 0.05}
    assert made.notify == ["regression", "drift", "model_change", "dataset_changed", "failed"]
    assert "nightly" in text_of(browser.open("/schedules"))


def test_webhooks_are_told_what_is_ticked_and_the_editor_shows_it(
    browser: Browser, nightly: str, runtime: Runtime
) -> None:
    page = f"/schedules/{nightly}/edit"
    ticked = re.findall(r'name="notify" value="(\w+)" checked', browser.open(page))
    assert ticked == stored(runtime).notify
    fields = {**FORM, "checkpoint": ["digits-d"], "version": "1", "notify_asked": "on", "notify": ["drift"]}
    assert browser.post(page, page, **fields).status_code == 303
    assert stored(runtime).notify == ["drift"]
    none = {**fields, "version": "2", "notify": []}
    assert browser.post(page, page, **none).status_code == 303
    assert stored(runtime).notify == []
    assert re.findall(r'name="notify" value="(\w+)" checked', browser.open(page)) == []


def test_everything_wrong_stands_beside_its_field_and_what_was_typed_is_kept(browser: Browser, digits: History) -> None:
    wrong = {"cron": "0 0 0 * * *", "timezone": "Mars/Olympus", "checkpoint": []}
    answer = browser.post("/schedules/new", "/schedules/new", **{**FORM, **wrong})
    assert answer.status_code == 422
    shown = text_of(answer.text)
    assert "3 things to mend" in shown
    assert "seconds are not one of them" in shown
    assert 'value="Mars/Olympus"' in answer.text
    assert 'id="problem-target.checkpoints"' in answer.text
    empty = browser.post("/schedules/new", "/schedules/new", **{**FORM, "name": "", "margin": "much"})
    assert empty.status_code == 422
    assert "a name is needed" in empty.text


def test_of_two_edits_the_second_is_told(browser: Browser, nightly: str, runtime: Runtime) -> None:
    page = f"/schedules/{nightly}/edit"
    fields = {**FORM, "checkpoint": ["digits-d"], "version": "1"}
    assert browser.post(page, page, **fields).status_code == 303
    assert stored(runtime).cron == "30 2 * * *"
    late = browser.post(page, page, **{**fields, "cron": "0 5 * * *"})
    assert late.status_code == 422
    assert "somebody edited this schedule meanwhile" in late.text
    assert stored(runtime).cron == "30 2 * * *"


def test_the_editor_shows_what_there_is_and_keeps_what_it_cannot_show(
    browser: Browser, nightly: str, runtime: Runtime
) -> None:
    own = {**stored(runtime).target, "protocol": {"scales": [32]}}
    with runtime.db.write() as session:
        session.execute(update(Schedule).values(target=own, cron=None, every_seconds=5400))
    page = f"/schedules/{nightly}/edit"
    html = browser.open(page)
    assert "What is evaluated stays as it is" in html
    assert re.search(r'name="every" value="90"', html)
    fields = {**FORM, "timing": "every", "every": "2", "unit": "hours", "checkpoint": ["digits-d"], "version": "1"}
    answer = browser.post(page, page, **fields)
    assert answer.status_code == 303, text_of(answer.text)
    assert stored(runtime).target == own
    assert stored(runtime).every == 7200


def test_a_schedule_is_paused_resumed_run_and_removed_from_its_page(
    browser: Browser, nightly: str, runtime: Runtime
) -> None:
    page = f"/schedules/{nightly}"
    with runtime.db.write() as session:
        session.execute(update(Schedule).values(max_active=1))
    browser.post(page, f"{page}/pause")
    assert stored(runtime).paused
    assert "Paused: it fires no more" in browser.open(page)
    browser.post(page, f"{page}/resume")
    assert not stored(runtime).paused
    begun = browser.post(page, f"{page}/run")
    assert begun.status_code == 303
    assert "A worker looks at the files" in browser.open(begun.headers["Location"])
    again = browser.post(page, f"{page}/run")
    assert again.headers["Location"] == page
    assert "cannot be run" in browser.open(page)
    assert browser.post(page, f"{page}/nonsense").status_code == 404
    assert browser.post(page, f"{page}/remove").headers["Location"] == "/schedules"
    assert "No schedule yet" in browser.open("/schedules")


def test_the_trend_marks_what_changed_and_each_mark_leads_to_its_run(
    browser: Browser, nightly: str, runtime: Runtime, digits: History
) -> None:
    first = add_run(runtime, digits, nightly, 1, [152], "first")
    drift = add_run(runtime, digits, nightly, 2, [160], "drift")
    worse = add_run(runtime, digits, nightly, 3, [230], "regression")
    html = browser.open(f"/schedules/{nightly}")
    assert html.count('class="mark mark-drift" points="') == 2 + 1
    assert "mark-regression" in html
    for run_id in (first, drift, worse):
        assert f'<a href="/schedules/{nightly}/runs/{run_id}"' in html
    assert "8.90 %" in html
    page = f"/schedules/{nightly}/runs/{drift}"
    shown = text_of(browser.open(page))
    assert "1 of 1,797 images" in shown
    assert "c/3.png 3 5 0.4" in shown
    assert "pillow 1.0 2.0" in shown
    answer = browser.post(page, f"{page}/acknowledge", note="new <decoder>", accept="on")
    assert answer.status_code == 303
    html = browser.open(page)
    assert "new &lt;decoder&gt;" in html
    assert "Later runs are judged against it" in text_of(html)
    assert stored(runtime).reference_run == drift
    assert 'class="run run-seen"' in browser.open(f"/schedules/{nightly}")


def test_the_overview_shows_what_comes_and_what_nobody_has_looked_at(
    browser: Browser, nightly: str, runtime: Runtime, digits: History
) -> None:
    add_run(runtime, digits, nightly, 1, [152], "first")
    run = add_run(runtime, digits, nightly, 2, [230], "regression")
    html = browser.open("/")
    assert f"/schedules/{nightly}/runs/{run}" in html
    assert ", 03:00 (UTC" in text_of(html)
    with runtime.db.write() as session:
        session.execute(update(ScheduleRun).values(acknowledged_at=dt.datetime.now(dt.UTC)))
    assert f"/schedules/{nightly}/runs/{run}" not in browser.open("/")


def test_a_run_that_failed_or_found_other_images_says_so(browser: Browser, nightly: str, runtime: Runtime) -> None:
    run_id = schedules.run_now(runtime.db, nightly)
    detail = {
        "dataset": {
            "name": "digits",
            "counts": {"changed": 1, "missing": 0, "new": 0, "relabelled": 0},
            "images": {"changed": ["a/<b>.png"], "missing": [], "new": [], "relabelled": []},
        }
    }
    ended = {"state": RunState.DONE, "verdict": "dataset_changed", "detail": detail, "findings": ["Other images."]}
    with runtime.db.write() as session:
        session.execute(
            update(ScheduleRun).where(ScheduleRun.id == run_id).values(finished_at=dt.datetime.now(dt.UTC), **ended)
        )
    html = browser.open(f"/schedules/{nightly}/runs/{run_id}")
    assert "a/&lt;b&gt;.png" in html
    assert "1 changed" in text_of(html)
