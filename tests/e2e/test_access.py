"""The way in, in a real Chromium: set up, log in, people, tokens, log out; both widths, both themes."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import delete

from app.access import first_start
from app.db.base import utc_now
from app.db.models import UserSession
from app.runtime import Runtime
from ensembles.configurations import Architecture
from tests.e2e.chromium import DESKTOP, PHONE, serving, visiting
from tests.history import History
from tests.people import PASSWORD, People, make_guarded_runtime

pytestmark = pytest.mark.browser


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    runtime = make_guarded_runtime(tmp_path / "home")
    yield runtime
    runtime.db.dispose()


@pytest.fixture
def people(runtime: Runtime) -> People:
    """Four people, and tokens in every state."""
    made = People(runtime)
    for name, role in (
        ("ada", "admin"),
        ("rob", "runner"),
        ("vera.lindqvist@example.org", "viewer"),
        ("gone", "viewer"),
    ):
        made.add(name, role)  # type: ignore[arg-type]
    made.change("gone", disabled=True)
    made.log_in("rob")
    made.token("rob", "read", "run")
    made.set_token(made.token("ada", "read"), expires_at=utc_now() - dt.timedelta(days=1))
    made.set_token(made.token("ada", "read", "run", "admin"), revoked_at=utc_now())
    made.set_token(made.token("vera.lindqvist@example.org", "read"), last_used_at=utc_now() - dt.timedelta(hours=3))
    return made


def log_in(page: Page, name: str, password: str = PASSWORD) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_pages_of_access_are_clean_at_both_widths_and_in_both_themes(
    chromium: Browser, people: People, size: tuple[int, int], theme: str
) -> None:
    with serving(people.runtime) as address, visiting(chromium, address, size=size, theme=theme) as visit:
        page = visit.open("/users")
        assert page.url.endswith("/login?next=/users")
        assert visit.faults("login") == []
        log_in(page, "ada", "wrong password")
        expect(page.get_by_role("alert")).to_contain_text("name or password is wrong")
        assert visit.faults("login-wrong", expected="401") == []
        log_in(page, "ada")
        expect(page.get_by_role("heading", name="Users")).to_be_visible()
        assert visit.faults("users") == []
        page.get_by_label(re.compile("Account of ada")).click()
        expect(page.get_by_role("button", name="Log out")).to_be_visible()
        assert visit.faults("menu") == []
        for name, path in (("tokens", "/tokens"), ("user", "/users/rob"), ("account", "/account"), ("overview", "/")):
            visit.open(path)
            assert visit.faults(name) == []
        visit.open("/tokens")
        page.get_by_label("Name").fill("nightly gate")
        page.get_by_role("button", name="Make the token").click()
        expect(page.locator("#new-token")).to_contain_text(re.compile(r"^sv_[a-z2-7]{8}_\S{43}$"))
        assert visit.faults("token-made") == []
        visit.open("/users")
        page.get_by_role("button", name="Add").click()
        expect(page.locator("#problems")).to_contain_text("a name is needed")
        assert visit.faults("users-problems", expected="422") == []
        visit.open("/tokens")
        page.get_by_label(re.compile("Account of ada")).click()
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_role("heading", name="Log in")).to_be_visible()


@pytest.mark.parametrize(("size", "theme"), [(DESKTOP, "light"), (PHONE, "dark")])
def test_the_first_administrator_comes_in_by_the_link(
    chromium: Browser, runtime: Runtime, size: tuple[int, int], theme: str
) -> None:
    notice = first_start.notice(runtime)
    assert notice
    link = re.findall(r"/setup/\S+", notice)[0]
    with serving(runtime) as address, visiting(chromium, address, size=size, theme=theme) as visit:
        page = visit.open(link)
        assert visit.faults("set-up") == []
        page.get_by_label("Name").fill("ada")
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_label("Password once more").fill(PASSWORD)
        page.get_by_role("button", name="Become the administrator").click()
        expect(page.get_by_text("You are the first administrator")).to_be_visible()
        assert visit.faults("set-up-done") == []
        visit.open(link)
        expect(page.get_by_text("setup_link_invalid")).to_be_visible()
        assert visit.faults("set-up-spent", expected="404") == []


def test_a_token_that_was_made_on_the_page_works_until_it_is_revoked_there(chromium: Browser, people: People) -> None:
    with serving(people.runtime) as address, visiting(chromium, address) as visit:
        page = visit.open("/tokens")
        log_in(page, "rob")
        page.get_by_label("Name").fill("laptop")
        page.get_by_role("button", name="Make the token").click()
        text = page.locator("#new-token").inner_text()
        headers = {"Authorization": f"Bearer {text}"}
        assert httpx.get(f"{address}/api/v1/evaluations", headers=headers).status_code == 200
        assert httpx.post(f"{address}/api/v1/evaluations", headers=headers, json={}).status_code == 403
        visit.open("/tokens")
        assert text not in page.content()
        page.get_by_role("button", name="Revoke laptop").click()
        expect(page.get_by_text("Whoever shows it is refused")).to_be_visible()
        assert httpx.get(f"{address}/api/v1/evaluations", headers=headers).status_code == 401
        assert visit.complaints == []


def test_the_masthead_of_a_phone_is_one_row_although_somebody_is_logged_in(chromium: Browser, people: People) -> None:
    with serving(people.runtime) as address, visiting(chromium, address, size=PHONE) as visit:
        page = visit.open("/")
        log_in(page, "ada")
        banner = page.get_by_role("banner")
        words = banner.get_by_role("link", name="New evaluation"), banner.get_by_role("button", name="Theme: system")
        brand = banner.get_by_role("link", name="Softvote").bounding_box()
        assert brand
        for word in words:
            box = word.bounding_box()
            assert box
            assert brand["y"] <= box["y"] < brand["y"] + brand["height"]


def test_a_viewer_reads_and_is_offered_nothing_that_is_refused(chromium: Browser, people: People) -> None:
    with serving(people.runtime) as address, visiting(chromium, address) as visit:
        page = visit.open("/")
        log_in(page, "vera.lindqvist@example.org")
        expect(page.get_by_role("link", name="New evaluation")).to_have_count(0)
        visit.open("/checkpoints")
        expect(page.get_by_role("link", name="Register a checkpoint")).to_have_count(0)
        page.get_by_label(re.compile("Account of vera")).click()
        expect(page.get_by_role("link", name="Users")).to_have_count(0)
        visit.open("/users")
        expect(page.get_by_text("Ask an admin for the role")).to_be_visible()
        assert visit.faults("forbidden", expected="403") == []


def test_a_live_page_whose_session_has_ended_leads_to_the_login_and_back(chromium: Browser, people: People) -> None:
    history = History(people.runtime, macs_per_second=1e12)
    history.dataset("digits", images=1797, classes=tuple("0123456789"))
    history.checkpoint("digits-a", Architecture("A", width=0.125, classes=10, crop=32), (32, 32))
    key = history.submit(dataset="digits", checkpoints=["digits-a"], protocol={"scales": [32]})
    with serving(people.runtime) as address, visiting(chromium, address) as visit:
        page = visit.open(f"/evaluations/{key}")
        log_in(page, "rob")
        expect(page.get_by_role("heading", name="digits-a")).to_be_visible()
        with people.runtime.db.write() as session:
            session.execute(delete(UserSession))
        expect(page.get_by_role("heading", name="Log in")).to_be_visible()
        people.forget_rates()
        log_in(page, "rob")
        expect(page.get_by_role("heading", name="digits-a")).to_be_visible()
        assert page.url == f"{address}/evaluations/{key}"


def test_requests_are_tried_with_the_browsers_login_to_read_and_with_a_token_to_change(
    chromium: Browser, people: People
) -> None:
    with serving(people.runtime) as address, visiting(chromium, address) as visit:
        page = visit.open("/api/docs")
        assert page.url.endswith("/login?next=/api/docs")
        log_in(page, "ada")
        operations = {name: page.locator(f"#{name}") for name in ("list_users", "create_user")}
        for operation in operations.values():
            operation.locator("summary").click()
        operations["list_users"].get_by_role("button", name="Send").click()
        expect(operations["list_users"].locator("output")).to_contain_text("200")
        assert visit.complaints == []
        operations["create_user"].get_by_role("button", name="Send").click()
        expect(operations["create_user"].locator("output")).to_contain_text("unauthenticated")
        page.get_by_label("token").first.fill(people.token("ada", "admin"))
        operations["create_user"].get_by_role("button", name="Send").click()
        expect(operations["create_user"].locator("output")).to_contain_text("201")
        assert visit.faults("api-docs", expected="401") == []
