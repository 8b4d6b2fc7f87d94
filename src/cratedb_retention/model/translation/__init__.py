"""
Configurations of Graphite and RRDtool as policy files: archives become a cascade, and the policies a file for ``apply``
whose comments say what could not be taken over.

The policies are plain values, so that a file can be written for attributes that only ``apply`` checks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.cascade import DAY_SECONDS, Interval, Level
from cratedb_retention.model.duration import FOREVER, Duration
from cratedb_retention.model.policyfile import can_be_plain
from cratedb_retention.model.strategies import Strategy

# A name that no table has; who forgets to fill it in has a policy that does nothing, and `check-policies` says so.
PLACEHOLDER = "FILL_IN_THE_TABLE"
# Lengths of buckets that people choose; to these, and not to any divisor of a day (32m), is rounded.
_ROUND_SECONDS = (1, 2, 5, 10, 15, 20, 30, *(60 * n for n in (1, 2, 5, 10, 15, 20, 30)))
_ROUND_HOURS = (1, 2, 3, 4, 6, 8, 12)
_ROUND = (
    *(Interval(seconds) for seconds in _ROUND_SECONDS),
    *(Interval(3600 * hours) for hours in _ROUND_HOURS),
    *(Interval(unit=unit) for unit in ("day", "week", "month", "year")),
)
# So much longer than what is rounded a bucket may be: 30d count as a month, 365d as a year.
_TOLERANCE = 1.02
_LONG_YEARS = 1000
_NOTES = {"week": "Weeks begin on Monday, not on Thursday as 1970 did.", "month": "Months are those of the calendar."}
_LENGTHS = {
    "day": Duration(seconds=86_400),
    "week": Duration(seconds=604_800),
    "month": Duration(1),
    "year": Duration(12),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the user chose."""

    sections: tuple[str, ...] = ()  # Only these of a file; empty: all.
    table_name: str | None = None  # The table, where there is one.
    table_schema: str | None = None  # Of all tables.
    rounding: bool = False  # Whether intervals that have no counterpart are rounded.


@dataclass(frozen=True, slots=True)
class Archive:
    """What another tool keeps: values of one length, for so long."""

    seconds: int  # At least 1.
    retention: Duration
    where: str  # How messages name it: ``section [default], 10m:5y``.


@dataclass(frozen=True, slots=True)
class Cascade:
    """A cascade that keeps at least what the archives kept, with warnings where it differs from them."""

    retention_period: Duration
    levels: tuple[Level, ...]
    warnings: tuple[str, ...]

    def policy(self, table: str | None, wanted: Wanted) -> dict[str, Any]:
        """The attributes of a policy that keeps to it; without levels, `delete` says all of it."""
        return {
            "strategy": str(Strategy.DOWNSAMPLE if self.levels else Strategy.DELETE),
            **({"table_schema": wanted.table_schema} if wanted.table_schema else {}),
            "table_name": table or PLACEHOLDER,
            "retention_period": str(self.retention_period),
            **({"levels": ",".join(map(str, self.levels))} if self.levels else {}),
        }

    @property
    def notes(self) -> list[str]:
        """Comments on buckets that begin at other instants than those of other tools, which count from 1970 on."""
        units = [level.interval.unit for level in self.levels]
        return [note for unit, note in _NOTES.items() if unit in units]


@dataclass(frozen=True, slots=True)
class Translated:
    """One policy as plain values, with comments; warnings are those that the user is told of beside the file."""

    policy: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Translation:
    """The policies of a configuration, with comments on the whole, and what was left out."""

    policies: tuple[Translated, ...]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def all_warnings(self) -> tuple[str, ...]:
        """All warnings, in the order of the file, each once."""
        return tuple(dict.fromkeys((*self.warnings, *(text for one in self.policies for text in one.warnings))))


def make_cascade(where: str, raw: Duration, archives: Sequence[Archive], rounding: bool) -> Cascade:
    """
    Turn archives, in any order, into a cascade; raises InvalidInput naming one whose interval has no counterpart.

    :param where: How messages name the whole.
    :param raw: How long values are kept as they came in.
    :param rounding: Take the next finer interval that there is instead; where that is the interval of the level before,
        the archive is left out, and that level kept for as long.
    """
    levels: list[Level] = []
    warnings: list[str] = []
    for archive in sorted(archives, key=lambda archive: archive.seconds):
        previous = levels[-1] if levels else None
        interval = _exact(archive.seconds)
        if reason := _unfit(archive, interval, previous):
            interval = _rounded(archive.seconds, previous)
            if interval is None:
                kept = levels[-1].interval
                remedy = f"leaves it out, and keeps {kept} for as long"
                done = f"it is left out, and {kept} kept for as long"
            else:
                remedy, done = f"makes it {interval}", f"it became {interval}"
            if not rounding:
                raise InvalidInput(archive.where, reason, f"--round {remedy}")
            warnings.append(f"{archive.where}: {reason}; {done}")
        if interval is not None:
            levels.append(Level(interval, archive.retention))
        else:
            levels[-1] = Level(levels[-1].interval, _longer(levels[-1].retention_period, archive.retention))
    raw, fitted, lengthened = _lengthened(raw, levels)
    return Cascade(raw, fitted, (*warnings, *(f"{where}: {text}" for text in lengthened)))


def kept_for(seconds: int, years: int = 0) -> Duration:
    """How long something is kept: for so many seconds, or years of the calendar; more than a thousand are forever."""
    if max(years, seconds // (366 * DAY_SECONDS)) > _LONG_YEARS:
        return FOREVER
    return Duration(months=12 * years) if years else Duration(seconds=seconds)


def length(seconds: int) -> str:
    """A fixed length for people: ``1h30m``."""
    return str(Duration(seconds=seconds))


def _exact(seconds: int) -> Interval | None:
    """The interval of a length, if there is one: what divides a day, a day, seven days."""
    if seconds in (DAY_SECONDS, 7 * DAY_SECONDS):
        return Interval(unit="day" if seconds == DAY_SECONDS else "week")
    return Interval(seconds) if DAY_SECONDS % seconds == 0 else None


def _unfit(archive: Archive, interval: Interval | None, previous: Level | None) -> str:
    """Why an interval can't be a level after the one before it; empty if it can."""
    if interval is None:
        return f"{length(archive.seconds)} does not divide a day, and is no calendar unit"
    if previous is None:
        return ""
    if previous.interval == interval:
        return f"there is a level of {interval} already"
    return "" if previous.interval.fits_into(interval) else f"{previous.interval} does not divide {interval}"


def _rounded(seconds: int, previous: Level | None) -> Interval | None:
    """The longest of the round intervals that is not longer, and consists of those before; None if there is none."""
    fitting = [
        one
        for one in _ROUND
        if one.approximate_seconds <= seconds * _TOLERANCE
        and (previous is None or (previous.interval.fits_into(one) and previous.interval != one))
    ]
    return fitting[-1] if fitting else None


def _lengthened(raw: Duration, levels: Sequence[Level]) -> tuple[Duration, tuple[Level, ...], list[str]]:
    """
    Keep each level for at least one of its own and of the next level's buckets, and at least as long as the finer one.
    The other tools throw away what they then lack; here a source stays until the next level has it.
    """
    names = ["the raw rows", *(f"level {level.interval}" for level in levels)]
    wanted = [raw, *(level.retention_period for level in levels)]
    buckets = [_LENGTHS.get(level.interval.unit, Duration(seconds=level.interval.seconds)) for level in levels]
    periods: list[Duration] = []
    warnings = []
    for number, period in enumerate(wanted):
        least = _longer(*periods[-1:], *buckets[max(number - 1, 0) : number + 1], period)
        periods.append(least)
        if least != period:
            warnings.append(f"{names[number]} kept for {least}, not {period}: what lies beside it needs that")
    fitted = tuple(Level(level.interval, period) for level, period in zip(levels, periods[1:], strict=True))
    return periods[0], fitted, warnings


def _longer(*periods: Duration) -> Duration:
    """The longest; of equal ones the last."""
    return max(reversed(periods), key=Duration.approximate_seconds)


def write_policies(translation: Translation, title: str) -> str:
    """Write a policy file, with a title as its first comment."""
    lines = [*_comments([title, *translation.notes]), *_comments(_marked(translation.warnings)), "policies:"]
    for one in translation.policies:
        lines += ["", *_comments([*one.notes, *_marked(one.warnings)])]
        lines.append(_yaml(one.policy))
    return "\n".join(lines) + "\n"


class _Dumper(yaml.SafeDumper):
    """Writes mappings as blocks, and lists on one line."""


_Dumper.add_representer(
    list, lambda dumper, value: dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=True)
)


def _yaml(policy: Mapping[str, Any]) -> str:
    """A policy as an item of a list."""
    plain = can_be_plain(policy)
    text: str = yaml.dump(dict(policy), Dumper=_Dumper, sort_keys=False, allow_unicode=plain, width=10_000)
    return "- " + text.rstrip().replace("\n", "\n  ")


def _marked(warnings: Sequence[str]) -> list[str]:
    return [f"WARNING: {text}" for text in warnings]


def _comments(texts: Sequence[str]) -> Iterator[str]:
    """Comments, one line each: what a foreign file holds must not end a comment and become YAML."""
    for text in texts:
        yield "# " + "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
