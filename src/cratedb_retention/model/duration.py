"""
Durations, such as retention periods: ``90d``, ``36h``, ``3 months``, ``1y6mo``, ``P1Y``, ``forever``; a plain number
means days. Seconds to weeks are fixed lengths; months and years are calendar units of a time zone.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.time import MONTH_MS, parse_instant, shift_months

# Seconds and months of each unit, with all accepted spellings; the first one is used for output.
_UNITS: tuple[tuple[tuple[str, ...], int, int], ...] = (
    (("y", "yr", "yrs", "year", "years"), 0, 12),
    (("mo", "mon", "mons", "month", "months"), 0, 1),
    (("w", "wk", "wks", "week", "weeks"), 604_800, 0),
    (("d", "day", "days"), 86_400, 0),
    (("h", "hr", "hrs", "hour", "hours"), 3_600, 0),
    (("m", "min", "mins", "minute", "minutes"), 60, 0),
    (("s", "sec", "secs", "second", "seconds"), 1, 0),
)
_BY_NAME = {name: (seconds, months) for names, seconds, months in _UNITS for name in names}
_PART = re.compile(r"\s*([0-9]+)\s*([a-z]+)\s*,?")
_ISO = re.compile(
    r"P(?:([0-9]+)Y)?(?:([0-9]+)M)?(?:([0-9]+)W)?(?:([0-9]+)D)?"
    r"(?:T(?:([0-9]+)H)?(?:([0-9]+)M)?(?:([0-9]+)S)?)?"
)
_ISO_UNITS = ("y", "mo", "w", "d", "h", "m", "s")
FOREVER_TEXT = "forever"
_LONGEST_YEARS = 9999
_DIGITS = 20
_REMEDY = "write it like 90d, 36h, 3 months, P1Y or forever; a plain number means days"


@dataclass(frozen=True, slots=True)
class Duration:
    """
    A length of time: whole calendar months plus whole seconds.

    :param months: Calendar months, at least 0.
    :param seconds: Fixed seconds, at least 0.
    :param forever: Whether the duration has no end; the other two are 0 then.
    """

    months: int = 0
    seconds: int = 0
    forever: bool = False

    def before(self, instant: dt.datetime, zone: dt.tzinfo = dt.UTC) -> dt.datetime | None:
        """
        The instant this long before an aware one, in UTC, subtracting calendar units of ``zone`` first; None if it is
        before the year 1, as for ``forever``.

        A day that the shorter month lacks counts as its last moment: 31 March less a month is the end of 28 or 29
        February. A later instant therefore never gives an earlier limit.
        """
        return self._shifted(instant, zone, -1)

    def after(self, instant: dt.datetime, zone: dt.tzinfo = dt.UTC) -> dt.datetime | None:
        """
        The instant this long after an aware one, in UTC; None if it is after the year 9999. A day that the shorter
        month lacks counts as the start of the next month, for which :meth:`before` is not before the instant.
        """
        return self._shifted(instant, zone, 1)

    def _shifted(self, instant: dt.datetime, zone: dt.tzinfo, sign: int) -> dt.datetime | None:
        if self.forever:
            return None
        try:
            moment = shift_months(instant.astimezone(zone), sign * self.months) if self.months else instant
            return moment.astimezone(dt.UTC) + dt.timedelta(seconds=sign * self.seconds)
        except (OverflowError, ValueError):
            return None

    def __str__(self) -> str:
        if self.forever:
            return FOREVER_TEXT
        text, months, seconds = "", self.months, self.seconds
        for names, unit_seconds, unit_months in _UNITS:
            if names[0] == "w":  # Days are easier to read.
                continue
            count = months // unit_months if unit_months else seconds // unit_seconds
            months -= count * unit_months
            seconds -= count * unit_seconds
            text += f"{count}{names[0]}" if count else ""
        return text or "0d"

    def approximate_seconds(self) -> float:
        """Its length for comparisons: a month counts as 30.44 days; inf for forever."""
        return float("inf") if self.forever else self.months * MONTH_MS // 1000 + self.seconds


FOREVER = Duration(forever=True)


def parse_duration(value: object) -> Duration:
    """Read a duration: a whole number of days, text, or a :class:`Duration`; InvalidInput if it is invalid."""
    if isinstance(value, Duration):
        return value
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise InvalidInput(f"duration {value!r}", "not a duration", _REMEDY)
    if isinstance(value, int) and abs(value) >= 10**_DIGITS:
        raise InvalidInput("duration", f"longer than {_LONGEST_YEARS} years", "write forever")
    text = str(value).strip()
    if text.lower() == FOREVER_TEXT:
        return FOREVER
    if re.search(r"[0-9]\s*M\b", text) and not text.upper().startswith("P"):
        raise InvalidInput(f"duration {text!r}", "M could mean minutes or months", "write min or mo")
    iso = _ISO.fullmatch(text.upper())
    found = zip(iso.groups(), _ISO_UNITS, strict=True) if iso else ()
    parts = [(_count(digits), unit) for digits, unit in found if digits] or _read_parts(text.lower())
    if not parts:
        raise InvalidInput(f"duration {text!r}", "not a duration", _REMEDY)
    seconds = sum(count * _BY_NAME[unit][0] for count, unit in parts)
    months = sum(count * _BY_NAME[unit][1] for count, unit in parts)
    if months > _LONGEST_YEARS * 12 or seconds > _LONGEST_YEARS * 31_556_952:
        raise InvalidInput(f"duration {text[:40]!r}", f"longer than {_LONGEST_YEARS} years", "write forever")
    return Duration(months=months, seconds=seconds)


def _read_parts(text: str) -> list[tuple[int, str]]:
    if re.fullmatch("[0-9]+", text):
        return [(_count(text), "d")]
    found = list(_PART.finditer(text))
    known = "".join(match[0] for match in found) == text and all(match[2] in _BY_NAME for match in found)
    return [(_count(match[1]), match[2]) for match in found] if known else []


def _count(digits: str) -> int:
    """Read a number, truncated to a length that is still too large; Python rejects thousands of digits."""
    return int(digits.lstrip("0")[:_DIGITS] or "0")


def read_moment(text: str | None, base: dt.datetime) -> dt.datetime:
    """Read an instant: ISO 8601, or relative to a base: ``-7d``, ``now-7d``, ``now``; None is the base itself."""
    relative = (text or "now").strip().removeprefix("now").strip()
    if not relative:
        return base
    if not relative.startswith("-"):
        return parse_instant(relative)
    moment = parse_duration(relative[1:]).before(base)
    if moment is None:
        raise InvalidInput(f"instant {text!r}", "before the year 1", "choose a later one")
    return moment
