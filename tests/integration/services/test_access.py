"""Users, logins, tokens, set-up links and limits, on both databases, also from several sides at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import delete, func, select

from app.db.models import RateWindow, SetupLink, User, UserSession
from app.db.queries import access as queries
from app.db.session import Database
from app.errors import (
    LastAdminError,
    NameTakenError,
    RateLimitedError,
    ServiceError,
    SetupLinkError,
    UnauthenticatedError,
    WrongLoginError,
)
from app.representations.access import Scope, TokenRequest, UserPatch, UserRequest
from app.services.access import logins, rate_limits, setup_links, tokens, users
from app.services.access.identities import LOCAL
from tests.people import PASSWORD


def add(db: Database, name: str, role: str = "admin") -> str:
    return users.create(db, UserRequest(name=name, role=role, password=PASSWORD), LOCAL)  # type: ignore[arg-type]


def at_once(*actions: Callable[[], object]) -> list[type[ServiceError] | None]:
    """Begin all together; what each failed with, None where it did not."""
    barrier = threading.Barrier(len(actions))

    def act(action: Callable[[], object]) -> type[ServiceError] | None:
        barrier.wait()
        try:
            action()
        except ServiceError as error:
            return type(error)
        return None

    with ThreadPoolExecutor(len(actions)) as threads:
        return list(threads.map(act, actions))


def count(db: Database, table: type[object]) -> int:
    with db.read() as session:
        return session.execute(select(func.count()).select_from(table)).scalar_one()


def test_a_person_logs_in_makes_a_token_and_is_disabled(db: Database) -> None:
    key = add(db, "ada")
    add(db, "eve")
    by = logins.resume(db, logins.log_in(db, "ada", PASSWORD, "192.0.2.1"))
    assert by is not None
    assert (by.user_id, by.scopes) == (key, set(Scope))
    _, text = tokens.create(db, TokenRequest(name="ci", scopes=["read", "run"]), by)
    assert tokens.authenticate(db, text).scopes == {Scope.READ, Scope.RUN}
    with db.read() as session:
        (listed,) = queries.tokens(session, key)
        assert (listed.state, listed.last_used_at is None) == ("active", False)
    users.change(db, "ada", UserPatch(disabled=True), LOCAL)
    with pytest.raises(UnauthenticatedError, match="owner is disabled"):
        tokens.authenticate(db, text)
    assert count(db, UserSession) == 0


@pytest.mark.parametrize("name", ["\x00", "ada\x00", "\ud800", "a" * 100_000, "' OR 1=1 --"])
def test_a_name_that_no_database_takes_is_a_wrong_login(db: Database, name: str) -> None:
    add(db, "ada")
    with pytest.raises(WrongLoginError):
        logins.log_in(db, name, PASSWORD, "192.0.2.1")


def test_two_admins_who_shut_each_other_out_leave_one(db: Database) -> None:
    for name in ("ada", "eve"):
        add(db, name)
    for _ in range(5):
        failed = at_once(
            lambda: users.change(db, "ada", UserPatch(disabled=True), LOCAL),
            lambda: users.change(db, "eve", UserPatch(role="viewer"), LOCAL),
        )
        assert sorted(map(str, failed)) == sorted(map(str, (None, LastAdminError)))
        users.change(db, "ada", UserPatch(disabled=False, role="admin"), LOCAL)
        users.change(db, "eve", UserPatch(disabled=False, role="admin"), LOCAL)


def test_several_links_that_are_used_at_once_make_one_administrator(db: Database) -> None:
    for _ in range(3):
        links = [setup_links.make(db) for _ in range(3)]
        failed = at_once(
            *(lambda link=link, n=n: setup_links.use(db, str(link), f"u{n}", PASSWORD) for n, link in enumerate(links))
        )  # type: ignore[misc]
        assert sorted(map(str, failed)) == sorted(map(str, (None, SetupLinkError, SetupLinkError)))
        assert (count(db, User), count(db, SetupLink)) == (1, 0)
        with db.write() as session:
            session.execute(delete(UserSession))
            session.execute(delete(User))


def test_one_name_is_given_once(db: Database) -> None:
    add(db, "ada")
    failed = at_once(*(lambda: add(db, "eve", "viewer") for _ in range(3)))
    assert sorted(map(str, failed)) == sorted(map(str, (None, NameTakenError, NameTakenError)))


def test_a_limit_holds_for_everybody_together(db: Database) -> None:
    failed = at_once(*(lambda: [rate_limits.spend(db, "tries", "key", 20) for _ in range(5)] for _ in range(5)))
    assert set(failed) <= {None, RateLimitedError}
    assert RateLimitedError in failed
    with db.read() as session:
        tries = session.execute(select(RateWindow.tries)).scalar_one()
    # Each of five stops at its first refusal: twenty were allowed, and no more than five refused.
    assert 20 < tries <= 25
