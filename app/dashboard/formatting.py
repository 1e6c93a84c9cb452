"""How values read on a page: percent, intervals, counts, sizes, durations, times. Below, errors are fractions."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

MISSING = "–"
MINUS = "−"

#: Below this many images a second decimal of a percentage would say nothing: one image is a tenth of a point.
_TWO_DECIMALS_FROM = 1000

_MAGNITUDES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_AGES = ((86_400 * 2, 86_400, "d"), (3600 * 2, 3600, "h"), (90, 60, "min"), (0, 1, "s"))


def percent(fraction: float | None, n: int | None = None) -> str:
    """A fraction as a bare percentage, `7.25`; one decimal where `n` images could not carry two."""
    return MISSING if fraction is None else f"{100 * fraction:.{_decimals(n)}f}"


def interval(low: float | None, high: float | None, n: int | None = None) -> str:
    """A 95 % interval of a fraction in percent, `6.14–8.55`; empty where none is defined."""
    return "" if low is None or high is None else f"{percent(low, n)}–{percent(high, n)}"


def points(difference: float, n: int | None = None) -> str:
    """A difference of two fractions in percentage points with its sign, `−1.23`."""
    digits = f"{abs(100 * difference):.{_decimals(n)}f}"
    if not float(digits):
        return digits
    return f"{MINUS if difference < 0 else '+'}{digits}"


def share(done: int, total: int) -> str:
    """Progress in whole percent, `43 %`; 100 only when all is done."""
    return f"{min(100 * done // total, 100)} %" if total else "100 %"


def share_of(fraction: float) -> str:
    """A part of a whole in percent with a decimal, `37.5 %`."""
    return f"{100 * fraction:.1f} %"


def nats(value: float | None) -> str:
    """A negative log-likelihood, four decimals."""
    return MISSING if value is None else f"{value:.4f}"


def count(value: int | None) -> str:
    """A whole number with thousands separated, `50,000`."""
    return MISSING if value is None else f"{value:,}"


def magnitude(value: float | None) -> str:
    """Three significant digits and a letter, `138 M`, `15.5 G`; whole below a thousand."""
    if value is None:
        return MISSING
    for size, letter in _MAGNITUDES:
        # 999,950 is 1.00 M: rounding comes before the choice of the letter.
        if float(f"{value:.3g}") >= size:
            return f"{_three_digits(value / size)} {letter}"
    return _three_digits(value)


def file_size(size_bytes: int | None) -> str:
    """Bytes in powers of ten, `553 MB`."""
    if size_bytes is None:
        return MISSING
    return f"{size_bytes} B" if size_bytes < 1000 else f"{magnitude(size_bytes)}B"


def duration(seconds: float | None) -> str:
    """A span in its two largest units, `2 min 05 s`, `3 h 12 min`; tenths below ten seconds."""
    if seconds is None:
        return MISSING
    seconds = max(0.0, seconds)
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600:02d} h"


def age(then: dt.datetime, now: dt.datetime) -> str:
    """How long ago, in one unit: `12 s ago`, `5 min ago`, `3 d ago`."""
    seconds = max(0, round((now - then).total_seconds()))
    start, unit, letter = next(step for step in _AGES if seconds >= step[0])
    return f"{seconds // unit} {letter} ago" if seconds or start else "now"


def moment(when: dt.datetime) -> str:
    """A date and time in UTC, to the second."""
    return f"{when.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S} UTC"


def training_scale(scale: Sequence[int] | None) -> str:
    """S as the paper writes it: `256`, or `[256;512]` where it was jittered."""
    if not scale:
        return MISSING
    smallest, largest = scale[0], scale[-1]
    return str(smallest) if smallest == largest else f"[{smallest};{largest}]"


def scales(values: Sequence[int] | None) -> str:
    """Test scales Q in px, `256, 384, 512`."""
    return ", ".join(map(str, values)) if values else MISSING


def rate(images_per_second: float | None) -> str:
    """Throughput, `31.2 images/s`; `18 s an image` where it is slower than one in two seconds."""
    if not images_per_second:
        return MISSING
    if images_per_second < 0.5:
        return f"{duration(1 / images_per_second)} an image"
    return f"{_three_digits(images_per_second)} images/s"


def plural(number: int, noun: str, many: str | None = None) -> str:
    """`1 image`, `2 images`, `3 classes` (where the plural is given)."""
    return f"{count(number)} {noun if number == 1 else many or noun + 's'}"


def _decimals(n: int | None) -> int:
    return 1 if n is not None and n < _TWO_DECIMALS_FROM else 2


def _three_digits(value: float) -> str:
    rounded = float(f"{value:.3g}")
    if rounded >= 100 or rounded == int(rounded):
        return f"{rounded:,.0f}"
    return f"{rounded:.1f}" if rounded >= 10 else f"{rounded:.2f}"
