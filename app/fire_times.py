"""When a schedule fires: cron expressions and intervals in a time zone, clock changes included. Times come out in UTC.

cronsim reads the expression and steps through local time that knows no zone; everything about zones is done here:

* An expression that names its hours and minutes ("30 2 * * *") means wall clock times. One that a clock change skips
  fires at the first instant after the gap; one that comes twice fires at the first of the two.
* An expression whose minute or hour begins with a star ("*/15 * * * *") means a rhythm. It fires at every instant
  whose local time matches: not in a gap, and in both passes of an hour that comes twice.

An interval counts seconds from its start and knows no zone.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from ensembles.errors import Problem, SpecError

_SECOND = dt.timedelta(seconds=1)

#: Shortest and longest interval, seconds.
INTERVALS = range(60, 366 * 86_400 + 1)

#: What each field holds, in the words of a refusal.
FIELDS = {
    "minute": "a minute from 0 to 59",
    "hour": "an hour from 0 to 23",
    "day-of-month": "a day from 1 to 31 that its months have, or L for the last",
    "month": "a month from 1 to 12, or JAN to DEC",
    "day-of-week": "a day from 0 to 7 (0 and 7 are Sunday), or SUN to SAT",
}

_ONE_VALUE = re.compile(r"\b(\w+)-\1/\d+")

#: No expression of five fields that fires at all is silent for longer: the 29th of February of a given weekday.
_LONGEST_SILENCE = dt.timedelta(days=366 * 41)


@dataclass(frozen=True)
class FireTimes:
    """A cron expression in a time zone, or an interval from a start; exactly one of the two.

    Attributes:
        cron: five fields.
        every_seconds: the interval.
        start: from which the interval counts; aware.
        zone: IANA name of the time zone that the expression is meant in, and that times are shown in.
    """

    cron: str | None = None
    every_seconds: int | None = None
    start: dt.datetime | None = None
    zone: str = "UTC"

    def after(self, moment: dt.datetime) -> Iterator[dt.datetime]:
        """Every fire time later than `moment`, ascending, in UTC."""
        if self.cron is None:
            yield from self._intervals(moment)
            return
        names_times = not any(field.startswith("*") for field in self.cron.split()[:2])
        zone = zone_of(self.zone)
        whole = moment.astimezone(dt.UTC).replace(microsecond=0)
        yield from (_wall_clock if names_times else _rhythm)(self.cron, zone, whole)

    def first_after(self, moment: dt.datetime) -> dt.datetime:
        """The first fire time later than `moment`, in UTC."""
        return next(self.after(moment))

    def last_until(self, moment: dt.datetime, since: dt.datetime) -> dt.datetime:
        """The last fire time in [since, moment], of which `since` is one, in UTC."""
        reach = dt.timedelta(hours=1)
        while moment - reach > since:
            found = self._last(moment - reach, moment)
            if found is not None:
                return found
            reach *= 4
        return self._last(since, moment) or since

    def _last(self, after: dt.datetime, until: dt.datetime) -> dt.datetime | None:
        last = None
        for last_candidate in self.after(after):
            if last_candidate > until:
                return last
            last = last_candidate
        return last

    def _intervals(self, moment: dt.datetime) -> Iterator[dt.datetime]:
        if self.every_seconds is None or self.start is None:
            raise ValueError("a cron expression, or an interval with its start")
        step, start = dt.timedelta(seconds=self.every_seconds), self.start.astimezone(dt.UTC)
        count = max(0, (moment - start) // step + 1)
        while True:
            yield start + count * step
            count += 1


@lru_cache(maxsize=64)
def zone_of(name: str) -> ZoneInfo:
    """The time zone of an IANA name that `problems_of` found nothing wrong with."""
    return ZoneInfo(name)


def problems_of(cron: str | None, every_seconds: int | None, zone: str) -> list[Problem]:
    """What is wrong with the timing of a schedule; nothing, where it can fire."""
    problems = []
    if (cron is None) == (every_seconds is None):
        problems.append(Problem("cron", "either a cron expression or an interval (every)", cron))
    elif cron is not None:
        problems += _cron_problems(cron)
    elif every_seconds not in INTERVALS:
        rule = f"whole seconds from {INTERVALS[0]} to {INTERVALS[-1]}"
        problems.append(Problem("every", rule, every_seconds))
    if zone not in known_zones():
        problems.append(Problem("timezone", "the IANA name of a time zone, such as Europe/Berlin", zone))
    return problems


@lru_cache(maxsize=1)
def known_zones() -> frozenset[str]:
    """IANA names that can be read here; without those that are none of a place or of UTC."""
    return frozenset(name for name in available_timezones() if name not in ("localtime", "Factory", "posixrules"))


def check(cron: str | None, every_seconds: int | None, zone: str) -> None:
    """The same as an error.

    Raises:
        SpecError: what `problems_of` finds.
    """
    problems = problems_of(cron, every_seconds, zone)
    if problems:
        raise SpecError(problems)


def in_words(cron: str | None, every_seconds: int | None) -> str:
    """A timing that is right, for people: "At 03:00 every day", "Every 6 hours"."""
    if cron is not None:
        return str(CronSim(cron, dt.datetime(2000, 1, 1)).explain())
    seconds = every_seconds or 0
    for size, unit in ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        if seconds % size == 0:
            count = seconds // size
            return f"Every {unit}" if count == 1 else f"Every {count:,} {unit}s"
    raise ValueError("an interval of whole seconds")


def _cron_problems(cron: str) -> list[Problem]:
    fields = cron.split()
    if len(fields) != len(FIELDS):
        rule = "five fields: minute, hour, day of month, month, day of week"
        if len(fields) == len(FIELDS) + 1:
            rule += "; seconds are not one of them"
        return [Problem("cron", rule, cron)]
    try:
        CronSim(cron, dt.datetime(2000, 1, 1))
        next(_naive(cron, dt.datetime(2000, 1, 1)))
    except CronSimError as error:
        field = str(error).removeprefix("Bad ")
        return [Problem("cron", f"for its {field} {FIELDS.get(field, 'what cron allows')}", cron)]
    except StopIteration:
        return [Problem("cron", "a time that comes", cron)]
    return []


def _naive(cron: str, after: dt.datetime) -> Iterator[dt.datetime]:
    """Matching local times later than `after`; neither has a zone."""
    # cronsim reads 5-5/10 as 5/10, which goes on to the end of the hour; cron(5) means 5 alone.
    for found in CronSim(_ONE_VALUE.sub(r"\1", cron), after):
        if found - after > _LONGEST_SILENCE:
            return
        yield found


def _wall_clock(cron: str, zone: ZoneInfo, after: dt.datetime) -> Iterator[dt.datetime]:
    # A day back: what local time the clock shows may have come twice.
    last = after
    for found in _naive(cron, after.astimezone(zone).replace(tzinfo=None) - dt.timedelta(days=1)):
        instant = _first_instant(found, zone)
        if instant > last:  # several skipped times fire once, at the end of their gap
            last = instant
            yield instant


def _first_instant(local: dt.datetime, zone: ZoneInfo) -> dt.datetime:
    """When the clock shows `local` for the first time, or the first instant after the gap that skips it."""
    instant = local.replace(tzinfo=zone).astimezone(dt.UTC)
    if instant.astimezone(zone).replace(tzinfo=None) == local:
        return instant
    # In a gap the offset from before it is assumed, so the change lies at or before `instant`.
    return _change_between(instant - dt.timedelta(days=2), instant, zone)


def _rhythm(cron: str, zone: ZoneInfo, after: dt.datetime) -> Iterator[dt.datetime]:
    """Stretches of one offset from UTC, one after the other: within each, local time is even."""
    while True:
        offset = _offset(after, zone)
        for found in _naive(cron, after.replace(tzinfo=None) + offset):
            instant = (found - offset).replace(tzinfo=dt.UTC)
            change = _first_change(after, instant, zone)
            if change is not None:
                # The first instant of the next stretch may match itself.
                if _matches(cron, change.replace(tzinfo=None) + _offset(change, zone)):
                    yield change
                after = change
                break
            yield instant
            after = instant
        else:
            return


def _matches(cron: str, local: dt.datetime) -> bool:
    return next(_naive(cron, local - dt.timedelta(seconds=1)), None) == local


def _offset(instant: dt.datetime, zone: ZoneInfo) -> dt.timedelta:
    return instant.astimezone(zone).utcoffset() or dt.timedelta()


def _first_change(after: dt.datetime, until: dt.datetime, zone: ZoneInfo) -> dt.datetime | None:
    """The first instant in (after, until] with another offset than `after`; None where it stays the same."""
    offset = _offset(after, zone)
    # No zone keeps an offset for less than a day and comes back to it; Ramadan in Morocco is a month.
    step, probe = dt.timedelta(days=7), after
    while probe < until:
        following = min(probe + step, until)
        if _offset(following, zone) != offset:
            return _change_between(probe, following, zone)
        probe = following
    return None


def _change_between(low: dt.datetime, high: dt.datetime, zone: ZoneInfo) -> dt.datetime:
    """The first second with the offset of `high`, where `low` has another; both on whole seconds."""
    offset = _offset(high, zone)
    while high - low > _SECOND:
        middle = low + (high - low) // _SECOND // 2 * _SECOND
        if _offset(middle, zone) == offset:
            high = middle
        else:
            low = middle
    return high


def next_clock_change(zone_name: str, after: dt.datetime) -> tuple[dt.datetime, dt.timedelta] | None:
    """When clocks of the zone are next put forward (positive) or back, and by how much; None within 400 days."""
    zone = zone_of(zone_name)
    after = after.replace(microsecond=0)
    change = _first_change(after, after + dt.timedelta(days=400), zone)
    return None if change is None else (change, _offset(change, zone) - _offset(change - _SECOND, zone))


def note_on(cron: str | None, zone_name: str, instant: dt.datetime) -> str | None:
    """What a clock change does to one fire time; None where it does nothing."""
    if cron is None:
        return None
    zone = zone_of(zone_name)
    local = instant.astimezone(zone)
    if any(field.startswith("*") for field in cron.split()[:2]):
        return "clocks were put back: it shows this time for the second time" if local.fold else None
    if not _matches(cron, local.replace(tzinfo=None)):
        return f"clocks are put forward: the time asked for does not come, so it fires at {local:%H:%M}"
    if local.utcoffset() != local.replace(fold=1).utcoffset():
        return f"clocks are put back: {local:%H:%M} comes twice, and it fires the first time"
    return None
