"""Users, sessions, tokens and set-up links, on the service's own functions."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from sqlalchemy import select, update

from app.db.base import utc_now
from app.db.models import ApiToken, Event, SetupLink, User, UserSession
from app.db.queries import access as queries
from app.errors import (
    InvalidRequestError,
    LastAdminError,
    NameTakenError,
    NotFoundError,
    RateLimitedError,
    SetupLinkError,
    UnauthenticatedError,
    WrongLoginError,
)
from app.representations.access import Scope, TokenRequest, UserPatch, UserRequest
from app.services.access import logins, rate_limits, setup_links, tokens, users
from app.services.access.identities import LOCAL, Identity
from app.services.access.secret_texts import hashed
from tests.people import PASSWORD, People


def rows(people: People, table: type[Any]) -> list[Any]:
    with people.runtime.db.read() as session:
        return list(session.scalars(select(table)))


def identity(people: People, name: str) -> Identity:
    found = logins.resume(people.runtime.db, people.log_in(name))
    assert found is not None
    return found


def test_a_password_is_kept_as_argon2id_and_a_secret_as_a_hash(people: People) -> None:
    secret, token = people.log_in("ada"), people.token("ada", "read")
    assert all(user.password_hash.startswith("$argon2id$") for user in rows(people, User))
    kept = [str(vars(row)) for table in (User, UserSession, ApiToken, Event) for row in rows(people, table)]
    for text in (PASSWORD, secret, token, token[12:]):
        assert not [row for row in kept if text in row]


@pytest.mark.parametrize("password", ["", "elevenchars", "a" * 201, "x" * 1_000_000, "\ud800" * 12])
def test_a_password_that_breaks_the_rules_is_refused_and_not_repeated(people: People, password: str) -> None:
    with pytest.raises(InvalidRequestError, match="12 to 200 characters") as caught:
        users.create(people.runtime.db, UserRequest(name="new", password=password), LOCAL)
    assert not password or password not in str(caught.value)


def test_a_password_is_not_the_name(people: People) -> None:
    with pytest.raises(InvalidRequestError, match="other than the name"):
        users.create(people.runtime.db, UserRequest(name="maximilian-von", password="Maximilian-Von"), LOCAL)


def test_an_accent_is_the_same_however_the_keyboard_composes_it(people: People) -> None:
    users.create(people.runtime.db, UserRequest(name="zoé".replace("é", "e"), password="cafe\u0301 au lait!"), LOCAL)
    assert logins.log_in(people.runtime.db, "zoe", "caf\u00e9 au lait!", "192.0.2.1")


def test_names_are_unique_and_the_first_user_is_an_admin(people: People) -> None:
    with pytest.raises(NameTakenError):
        people.add("ada", "viewer")
    with people.runtime.db.write() as session:
        session.query(User).delete()
    with pytest.raises(InvalidRequestError, match="admin, for the first user"):
        people.add("first", "viewer")


@pytest.mark.parametrize("name", ["ada", "nobody", "Ada ", "", "\x00", "ad\x00a", "a" * 100_000, "\ud800"])
def test_a_wrong_login_does_not_tell_what_is_wrong(people: People, name: str) -> None:
    with pytest.raises(WrongLoginError, match="name or password is wrong"):
        logins.log_in(people.runtime.db, name, "wrong password", "192.0.2.1")


def test_a_wrong_password_beside_an_unknown_name_takes_the_time_of_a_hash(people: People) -> None:
    def seconds(name: str) -> float:
        started = utc_now()
        with pytest.raises(WrongLoginError):
            logins.log_in(people.runtime.db, name, "wrong password", "192.0.2.1")
        return (utc_now() - started).total_seconds()

    seconds("nobody")  # the hash that stands for nobody is made once
    assert seconds("nobody") > min(seconds("ada") for _ in range(2)) / 5


def test_the_history_says_who_failed_to_log_in_but_no_name_that_nobody_has(people: People) -> None:
    for name in ("ada", "my-password-typed-as-name"):
        with pytest.raises(WrongLoginError):
            logins.log_in(people.runtime.db, name, "wrong password", "192.0.2.1")
    failed = [event.detail for event in rows(people, Event) if event.kind == "login_failed"]
    assert failed == [{"user": "ada"}]


def test_the_sixth_try_for_a_name_in_a_minute_is_refused_and_the_next_minute_begins_anew(people: People) -> None:
    for _ in range(rate_limits.LOGINS_PER_NAME):
        with pytest.raises(WrongLoginError):
            logins.log_in(people.runtime.db, "ada", "wrong password", "192.0.2.1")
    with pytest.raises(RateLimitedError) as caught:
        logins.log_in(people.runtime.db, "ada", PASSWORD, "192.0.2.1")
    assert 0 < caught.value.retry_after <= 60
    assert logins.log_in(people.runtime.db, "ada", PASSWORD, "192.0.2.2")
    people.forget_rates()
    assert logins.log_in(people.runtime.db, "ada", PASSWORD, "192.0.2.1")


def test_one_address_cannot_try_many_names(people: People) -> None:
    for number in range(rate_limits.LOGINS_PER_ADDRESS):
        rate_limits.spend(people.runtime.db, "logins from one address", "192.0.2.9", 20)
        assert number < 20
    with pytest.raises(RateLimitedError):
        logins.log_in(people.runtime.db, "ada", PASSWORD, "192.0.2.9")


@pytest.mark.parametrize(
    ("idle", "age", "alive"),
    [
        (dt.timedelta(hours=7, minutes=59), dt.timedelta(days=6), True),
        (dt.timedelta(hours=8, minutes=1), dt.timedelta(days=1), False),
        (dt.timedelta(minutes=5), dt.timedelta(days=7, minutes=1), False),
    ],
)
def test_a_session_ends_after_eight_idle_hours_or_seven_days(
    people: People, idle: dt.timedelta, age: dt.timedelta, alive: bool
) -> None:
    secret = people.log_in("ada")
    with people.runtime.db.write() as session:
        session.execute(update(UserSession).values(last_seen=utc_now() - idle, created_at=utc_now() - age))
    assert (logins.resume(people.runtime.db, secret) is not None) is alive


def test_use_keeps_a_session_alive(people: People) -> None:
    secret = people.log_in("ada")
    with people.runtime.db.write() as session:
        session.execute(update(UserSession).values(last_seen=utc_now() - dt.timedelta(hours=7)))
    assert logins.resume(people.runtime.db, secret)
    assert rows(people, UserSession)[0].last_seen > utc_now() - dt.timedelta(minutes=1)


def test_logging_out_ends_this_session_alone(people: People) -> None:
    here, there = people.log_in("ada"), people.log_in("ada")
    by = logins.resume(people.runtime.db, here)
    assert by is not None
    logins.log_out(people.runtime.db, by)
    assert logins.resume(people.runtime.db, here) is None
    assert logins.resume(people.runtime.db, there) is not None


@pytest.mark.parametrize("fields", [{"disabled": True}, {"password": "another long password"}])
def test_disabling_and_a_new_password_end_every_session(people: People, fields: dict[str, Any]) -> None:
    secrets = [people.log_in("rob"), people.log_in("rob")]
    people.change("rob", **fields)
    assert [logins.resume(people.runtime.db, secret) for secret in secrets] == [None, None]
    assert rows(people, UserSession) == []


def test_a_lowered_role_holds_in_running_sessions(people: People) -> None:
    secret = people.log_in("rob")
    people.change("rob", role="viewer")
    found = logins.resume(people.runtime.db, secret)
    assert found is not None
    assert found.scopes == {Scope.READ}


def test_ones_own_password_needs_the_present_one_and_ends_every_session(people: People) -> None:
    by = identity(people, "vera")
    with pytest.raises(WrongLoginError):
        users.change_own_password(people.runtime.db, by, "wrong password", "another long password")
    users.change_own_password(people.runtime.db, by, PASSWORD, "another long password")
    assert rows(people, UserSession) == []
    with pytest.raises(WrongLoginError):
        people.log_in("vera")
    assert logins.log_in(people.runtime.db, "vera", "another long password", "192.0.2.1")


def test_a_disabled_user_cannot_log_in_until_enabled(people: People) -> None:
    people.change("rob", disabled=True)
    with pytest.raises(WrongLoginError):
        people.log_in("rob")
    people.change("rob", disabled=False)
    assert people.log_in("rob")


@pytest.mark.parametrize("fields", [{"disabled": True}, {"role": "runner"}])
def test_the_last_admin_stays(people: People, fields: dict[str, Any]) -> None:
    with pytest.raises(LastAdminError, match="'ada' is the last admin"):
        people.change("ada", **fields)
    people.add("eve", "admin")
    people.change("eve", disabled=True)
    with pytest.raises(LastAdminError):
        people.change("ada", **fields)
    people.change("eve", disabled=False)
    people.change("ada", **fields)


def test_a_token_is_known_by_its_text_alone(people: People) -> None:
    text = people.token("rob", "read", "run")
    found = tokens.authenticate(people.runtime.db, text)
    assert (found.kind, found.name, found.scopes) == ("token", "rob", {Scope.READ, Scope.RUN})
    other = people.token("rob", "read")
    for wrong in (text[:-1], text + "x", text[:12] + other[12:], text.upper(), f" {text}", text[3:], "sv__", ""):
        with pytest.raises(UnauthenticatedError, match="not known here"):
            tokens.authenticate(people.runtime.db, wrong)


def test_the_last_use_of_a_token_is_written_once_a_minute(people: People) -> None:
    text = people.token("rob", "read")
    tokens.authenticate(people.runtime.db, text)
    first = rows(people, ApiToken)[0].last_used_at
    assert first is not None
    tokens.authenticate(people.runtime.db, text)
    assert rows(people, ApiToken)[0].last_used_at == first
    people.set_token(text, last_used_at=first - dt.timedelta(minutes=2))
    tokens.authenticate(people.runtime.db, text)
    assert rows(people, ApiToken)[0].last_used_at > first - dt.timedelta(minutes=1)


def test_a_token_has_no_scope_that_its_owner_has_not(people: People) -> None:
    with pytest.raises(InvalidRequestError, match="what the owner's role allows: read; got"):
        people.token("vera", "read", "run")


def test_only_an_admin_makes_or_ends_tokens_of_others(people: People) -> None:
    rob, ada = identity(people, "rob"), identity(people, "ada")
    with pytest.raises(InvalidRequestError, match="your own name, unless you are an admin"):
        tokens.create(people.runtime.db, TokenRequest(name="t", user="ada"), rob)
    of_ada = people.token("ada", "read")
    with pytest.raises(NotFoundError):
        tokens.revoke(people.runtime.db, of_ada[3:11], rob)
    own, _ = tokens.create(people.runtime.db, TokenRequest(name="t"), rob)
    tokens.revoke(people.runtime.db, own, rob)
    of_rob, _ = tokens.create(people.runtime.db, TokenRequest(name="t", user="rob"), ada)
    tokens.revoke(people.runtime.db, of_rob, ada)
    tokens.revoke(people.runtime.db, of_rob, ada)
    states = {token.id: token.state for token in _listed(people)}
    assert states == {of_ada[3:11]: "active", own: "revoked", of_rob: "revoked"}


def test_a_token_ends_itself_and_no_other_of_its_owner(people: People) -> None:
    text, other = people.token("rob", "read"), people.token("rob", "read")
    by = tokens.authenticate(people.runtime.db, text)
    with pytest.raises(NotFoundError):
        tokens.revoke(people.runtime.db, other[3:11], by)
    tokens.revoke(people.runtime.db, text[3:11], by)
    with pytest.raises(UnauthenticatedError, match="was revoked"):
        tokens.authenticate(people.runtime.db, text)


def test_every_step_is_in_the_history_without_a_secret(people: People) -> None:
    ada = identity(people, "ada")
    users.change(people.runtime.db, "rob", UserPatch(role="viewer"), ada)
    users.change(people.runtime.db, "rob", UserPatch(disabled=True), ada)
    users.change(people.runtime.db, "rob", UserPatch(disabled=False), ada)
    users.change(people.runtime.db, "rob", UserPatch(password="another long password"), ada)
    key, _ = tokens.create(people.runtime.db, TokenRequest(name="t"), ada)
    tokens.revoke(people.runtime.db, key, ada)
    logins.log_out(people.runtime.db, ada)
    told = [(event.kind, event.detail.get("by")) for event in rows(people, Event)][3:]
    assert told == [
        ("logged_in", None),
        ("user_role_changed", "ada"),
        ("user_disabled", "ada"),
        ("user_enabled", "ada"),
        ("password_changed", "ada"),
        ("token_created", "ada"),
        ("token_revoked", "ada"),
        ("logged_out", None),
    ]


def test_a_setup_link_is_good_once_for_a_day_and_only_while_there_is_nobody(people: People) -> None:
    db = people.runtime.db
    assert setup_links.make(db) is None
    with db.write() as session:
        session.query(User).delete()
    stale, used, other = (setup_links.make(db) for _ in range(3))
    assert stale
    assert used
    assert other
    with db.write() as session:
        row = session.scalars(select(SetupLink).where(SetupLink.secret_sha256 == hashed(stale))).one()
        row.expires_at = utc_now() - dt.timedelta(seconds=1)
    with pytest.raises(SetupLinkError):
        setup_links.use(db, stale, "eve", PASSWORD)
    with pytest.raises(InvalidRequestError):
        setup_links.use(db, used, "eve", "short")
    found = logins.resume(db, setup_links.use(db, used, "ada", PASSWORD))
    assert found is not None
    assert found.scopes == set(Scope)
    for spent in (used, other):
        with pytest.raises(SetupLinkError):
            setup_links.use(db, spent, "eve", PASSWORD)
    assert rows(people, SetupLink) == []


def _listed(people: People) -> list[Any]:
    with people.runtime.db.read() as session:
        return queries.tokens(session)
