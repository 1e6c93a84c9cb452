"""Fire times against an oracle that looks at every minute and knows nothing of cronsim or of offsets' arithmetic."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from functools import cache
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from app.fire_times import FireTimes, check, in_words, known_zones, next_clock_change, note_on, problems_of
from ensembles.errors import SpecError

MINUTE = dt.timedelta(minutes=1)
RANGES = {"minute": (0, 59), "hour": (0, 23), "day": (1, 31), "month": (1, 12), "weekday": (0, 7)}
#: Days around clock changes of three zones: an hour, an hour at another time of the night, half an hour.
CHANGES = {
    "Europe/Berlin": ("2026-03-29", "2026-10-25", "2027-03-28"),
    "America/New_York": ("2026-03-08", "2026-11-01", "2027-03-14"),
    "Australia/Lord_Howe": ("2026-04-05", "2026-10-04", "2027-04-04"),
}
ZONES = (*CHANGES, "UTC", "Asia/Kathmandu", "Africa/Casablanca", "America/St_Johns", "Pacific/Chatham")


# --- The oracle: what cron(5) says of one local minute, asked of every minute.


@cache
def expand(field: str, low: int, high: int) -> frozenset[int]:
    values: set[int] = set()
    for term in field.split(","):
        span, _, step = term.partition("/")
        if span == "*":
            first, last = low, high
        elif "-" in span:
            first, last = map(int, span.split("-"))
        else:
            first = int(span)
            last = high if step else first
        values.update(range(first, last + 1, int(step or 1)))
    return frozenset(values)


def matches(cron: str, local: dt.datetime) -> bool:
    minute, hour, day, month, weekday = cron.split()
    if local.minute not in expand(minute, *RANGES["minute"]) or local.hour not in expand(hour, *RANGES["hour"]):
        return False
    if local.month not in expand(month, *RANGES["month"]):
        return False
    of_month = local.day in expand(day, *RANGES["day"])
    of_week = local.isoweekday() % 7 in {value % 7 for value in expand(weekday, *RANGES["weekday"])}
    both = day.startswith("*") or weekday.startswith("*")
    return (of_month and of_week) if both else (of_month or of_week)


def oracle(cron: str, zone: str, after: dt.datetime, minutes: int) -> list[dt.datetime]:
    """Fire times in the minutes after `after`: minute by minute of real time, with a look at what the clock shows."""
    tz = ZoneInfo(zone)
    rhythm = any(field.startswith("*") for field in cron.split()[:2])
    instant = after.replace(second=0, microsecond=0) - dt.timedelta(days=1)
    shown: set[dt.datetime] = set()
    fires = []
    previous = instant.astimezone(tz).replace(tzinfo=None)
    for _ in range(minutes + 24 * 60):
        instant += MINUTE
        local = instant.astimezone(tz).replace(tzinfo=None)
        skipped = []
        while previous + MINUTE < local:
            previous += MINUTE
            skipped.append(previous)
        previous = local
        fire = matches(cron, local) and (rhythm or local not in shown)
        if not rhythm and any(matches(cron, one) and one not in shown for one in skipped):
            fire = True
        shown.update((local, *skipped))
        if fire and instant > after:
            fires.append(instant)
    return fires


def found(cron: str, zone: str, after: dt.datetime, minutes: int) -> list[dt.datetime]:
    end = after.replace(second=0, microsecond=0) + minutes * MINUTE

    def until() -> Iterator[dt.datetime]:
        for instant in FireTimes(cron=cron, zone=zone).after(after):
            if instant > end:
                return
            yield instant

    return list(until())


def a_field(low: int, high: int) -> st.SearchStrategy[str]:
    value = st.integers(low, high)
    span = st.tuples(value, value).map(lambda pair: f"{min(pair)}-{max(pair)}")
    step = st.integers(1, max(2, (high - low) // 2))
    stepped = st.tuples(st.one_of(st.just("*"), span), step).map(lambda pair: f"{pair[0]}/{pair[1]}")
    listed = st.lists(st.one_of(value.map(str), span), min_size=1, max_size=3).map(",".join)
    return st.one_of(st.just("*"), value.map(str), stepped, listed)


MINUTES = a_field(*RANGES["minute"])
HOURS = st.one_of(a_field(*RANGES["hour"]), st.sampled_from(["1", "2", "1,2", "1-3", "0-4"]))
DAYS = st.one_of(st.just("*"), st.just("*"), a_field(*RANGES["day"]))
WEEKDAYS = st.one_of(st.just("*"), st.just("*"), a_field(*RANGES["weekday"]))
CRONS = st.tuples(MINUTES, HOURS, DAYS, st.just("*"), WEEKDAYS).map(" ".join)


@st.composite
def moments(draw: st.DrawFn, zone: str) -> dt.datetime:
    """Mostly close to a clock change of the zone."""
    if zone in CHANGES and draw(st.integers(0, 3)):
        day = dt.datetime.fromisoformat(draw(st.sampled_from(CHANGES[zone]))).replace(tzinfo=ZoneInfo(zone))
        base = day.astimezone(dt.UTC)
    else:
        base = dt.datetime(2026, 1, 1, tzinfo=dt.UTC) + dt.timedelta(days=draw(st.integers(0, 730)))
    return base + dt.timedelta(minutes=draw(st.integers(-600, 600)), seconds=draw(st.integers(0, 59)))


@given(cron=CRONS, data=st.data(), zone=st.sampled_from(ZONES))
@settings(max_examples=250, deadline=None)
def test_fire_times_are_those_that_a_look_at_every_minute_finds(cron: str, data: st.DataObject, zone: str) -> None:
    after = data.draw(moments(zone))
    note(f"{cron!r} in {zone} after {after}")
    if problems_of(cron, None, zone):
        return  # such as the 31st of February
    assert found(cron, zone, after, 2 * 1440) == oracle(cron, zone, after, 2 * 1440)
    assert in_words(cron, None)


@pytest.mark.parametrize("zone", CHANGES)
@pytest.mark.parametrize("cron", ["30 2 * * *", "0,15,30,45 1-3 * * *", "*/10 * * * *", "15 * * * *", "0 */2 * * *"])
def test_every_clock_change_of_three_zones_is_stepped_over_as_the_oracle_says(zone: str, cron: str) -> None:
    for day in CHANGES[zone]:
        after = dt.datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)).astimezone(dt.UTC) - 7 * 60 * MINUTE
        assert found(cron, zone, after, 3 * 1440) == oracle(cron, zone, after, 3 * 1440)


def fires(cron: str, zone: str, day: str) -> list[str]:
    """What the clock shows, with its offset, at each fire of one local day."""
    tz = ZoneInfo(zone)
    begin = dt.datetime.fromisoformat(day).replace(tzinfo=tz)
    end = begin + dt.timedelta(days=1)
    instants = FireTimes(cron=cron, zone=zone).after(begin.astimezone(dt.UTC) - dt.timedelta(seconds=1))
    shown: list[str] = []
    for instant in instants:
        if instant >= end.astimezone(dt.UTC):
            return shown
        shown.append(f"{instant.astimezone(tz):%H:%M%z}")
    return shown


#: The table of docs/schedules.md.
TABLE = [
    ("30 2 * * *", "Europe/Berlin", "2026-03-29", ["03:00+0200"]),
    ("30 2 * * *", "Europe/Berlin", "2026-10-25", ["02:30+0200"]),
    ("30 2 * * *", "America/New_York", "2026-03-08", ["03:00-0400"]),
    ("30 1 * * *", "America/New_York", "2026-11-01", ["01:30-0400"]),
    ("15 2 * * *", "Australia/Lord_Howe", "2026-10-04", ["02:30+1100"]),
    ("45 1 * * *", "Australia/Lord_Howe", "2026-04-05", ["01:45+1100"]),
    ("0,30 2 * * *", "Europe/Berlin", "2026-03-29", ["03:00+0200"]),
    ("30 1-3 * * *", "Europe/Berlin", "2026-10-25", ["01:30+0200", "02:30+0200", "03:30+0100"]),
    (
        "30 * 29 3 *",
        "Europe/Berlin",
        "2026-03-29",
        [f"{hour:02d}:30+0{1 + (hour > 2)}00" for hour in range(24) if hour != 2],
    ),
]


@pytest.mark.parametrize(("cron", "zone", "day", "expected"), TABLE)
def test_f31_the_documented_fire_times_of_clock_changes(cron: str, zone: str, day: str, expected: list[str]) -> None:
    assert fires(cron, zone, day) == expected


def test_f31_the_29th_of_february_is_waited_for() -> None:
    times = FireTimes(cron="0 0 29 2 *", zone="UTC").after(dt.datetime(2096, 3, 1, tzinfo=dt.UTC))
    assert [f"{one:%Y-%m-%d}" for one in islice(times, 2)] == ["2104-02-29", "2108-02-29"]


def test_a_rhythm_goes_on_through_an_hour_that_comes_twice() -> None:
    shown = fires("*/30 * * * *", "Europe/Berlin", "2026-10-25")
    assert shown[4:8] == ["02:00+0200", "02:30+0200", "02:00+0100", "02:30+0100"]
    assert len(shown) == 50


def test_an_interval_counts_from_its_start_whatever_the_zone() -> None:
    start = dt.datetime(2026, 3, 28, 12, tzinfo=dt.UTC)
    times = FireTimes(every_seconds=6 * 3600, start=start, zone="Europe/Berlin")
    assert list(islice(times.after(start - dt.timedelta(days=9)), 2)) == [start, start + dt.timedelta(hours=6)]
    assert times.first_after(start) == start + dt.timedelta(hours=6)
    assert times.first_after(start + dt.timedelta(hours=5, minutes=59)) == start + dt.timedelta(hours=6)


@given(after=st.integers(0, 400_000), cron=st.sampled_from(["*/5 * * * *", "30 2 * * *", "0 0 1 * *"]))
@settings(max_examples=40, deadline=None)
def test_the_last_slot_until_a_moment_is_the_last_of_all_that_lie_before_it(after: int, cron: str) -> None:
    times = FireTimes(cron=cron, zone="Europe/Berlin")
    since = times.first_after(dt.datetime(2026, 3, 1, tzinfo=dt.UTC))
    until = since + after * MINUTE / 20
    expected = since
    for one in times.after(since):
        if one > until:
            break
        expected = one
    assert times.last_until(until, since) == expected


@pytest.mark.parametrize(
    ("cron", "rule"),
    [
        ("* * * * * *", "five fields: minute, hour, day of month, month, day of week; seconds are not one of them"),
        ("@daily", "five fields"),
        ("", "five fields"),
        ("60 * * * *", "for its minute a minute from 0 to 59"),
        ("0 24 * * *", "for its hour"),
        ("0 0 32 * *", "for its day-of-month"),
        ("0 0 30 2 *", "for its day-of-month a day from 1 to 31 that its months have"),
        ("0 0 * 13 *", "for its month"),
        ("0 0 * * MOX", "for its day-of-week"),
        ("*/0 * * * *", "for its minute"),
        ("5-1 * * * *", "for its minute"),
    ],
)
def test_a_bad_expression_is_refused_with_its_field_and_rule(cron: str, rule: str) -> None:
    (problem,) = problems_of(cron, None, "UTC")
    assert problem.field == "cron"
    assert rule in problem.rule
    assert problem.value == cron


def test_timing_is_one_of_two_and_in_a_known_zone() -> None:
    assert [one.field for one in problems_of(None, None, "UTC")] == ["cron"]
    assert [one.field for one in problems_of("0 0 * * *", 60, "UTC")] == ["cron"]
    assert [one.field for one in problems_of(None, 59, "Mars/Olympus")] == ["every", "timezone"]
    with pytest.raises(SpecError, match="timezone"):
        check("0 0 * * *", None, "../../etc/passwd")
    assert {"Europe/Berlin", "UTC", "Australia/Lord_Howe"} <= known_zones()


def test_words_say_when_it_fires_and_what_a_clock_change_does() -> None:
    assert in_words("0 3 * * 1-5", None) == "At 03:00 on Monday through Friday"
    assert [in_words(None, seconds) for seconds in (60, 5400, 86_400, 172_800)] == [
        "Every minute",
        "Every 90 minutes",
        "Every day",
        "Every 2 days",
    ]
    times = FireTimes(cron="30 2 * * *", zone="Europe/Berlin")
    spring = times.first_after(dt.datetime(2026, 3, 28, 12, tzinfo=dt.UTC))
    autumn = times.first_after(dt.datetime(2026, 10, 24, 12, tzinfo=dt.UTC))
    assert "does not come, so it fires at 03:00" in str(note_on("30 2 * * *", "Europe/Berlin", spring))
    assert "comes twice, and it fires the first time" in str(note_on("30 2 * * *", "Europe/Berlin", autumn))
    assert note_on("30 2 * * *", "Europe/Berlin", times.first_after(spring)) is None
    change, by = next_clock_change("Australia/Lord_Howe", dt.datetime(2026, 5, 1, tzinfo=dt.UTC)) or (None, None)
    assert change == dt.datetime(2026, 10, 3, 15, 30, tzinfo=dt.UTC)
    assert by == dt.timedelta(minutes=30)
    assert next_clock_change("UTC", dt.datetime(2026, 5, 1, tzinfo=dt.UTC)) is None
