"""
Converts configurations of Graphite and RRDtool to policy files: archives become cascades, and comments in the file name
the settings that have no counterpart.

The policies are plain values; their attributes are checked by ``apply``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.duration import FOREVER, Duration, parse_duration
from cratedb_retention.model.policies.file import write_yaml
from cratedb_retention.model.policies.strategies import Strategy
from cratedb_retention.model.rollups.cascade import DAY_SECONDS, Interval, Level, parse_interval

# Not the name of a table: a policy in which it was not replaced does nothing, and `check-policies` reports it.
PLACEHOLDER = "FILL_IN_THE_TABLE"
# Common lengths of buckets, to which intervals are rounded, instead of any divisor of a day such as 32m.
_BUCKETS = "1s 2s 5s 10s 15s 20s 30s 1m 2m 5m 10m 15m 20m 30m 1h 2h 3h 4h 6h 8h 12h 1d 1w 1mo 1y"
_ROUND = [parse_interval(text) for text in _BUCKETS.split()]
# The maximum factor by which rounding may lengthen an interval: 30d become a month, 365d a year.
_TOLERANCE = 1.02
_LONG_YEARS = 1000
_NOTES = {"1w": "Weeks start on Monday, not on Thursday as 1970 did.", "1mo": "Months are calendar months."}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Options of the user."""

    sections: tuple[str, ...] = ()  # Only these sections of the file; empty: all.
    table_name: str | None = None  # The table, if there is only one.
    table_schema: str | None = None  # The schema of all tables.
    rounding: bool = False  # Whether intervals without a counterpart are rounded.


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """An archive of another tool, with one value per interval."""

    seconds: int  # At least 1.
    retention: Duration
    where: str  # Its name in messages: ``section [default], 10m:5y``.


@dataclass(frozen=True, slots=True)
class Cascade:
    """A cascade that keeps at least what the archives kept, with warnings where it differs from them."""

    retention_period: Duration
    levels: tuple[Level, ...]
    warnings: tuple[str, ...]

    def policy(self, table: str | None, wanted: Wanted) -> dict[str, Any]:
        """The attributes of a policy for it; without levels, `delete` is sufficient."""
        attributes = {
            "strategy": str(Strategy.DOWNSAMPLE if self.levels else Strategy.DELETE),
            "table_schema": wanted.table_schema,
            "table_name": table or PLACEHOLDER,
            "retention_period": str(self.retention_period),
            "levels": ",".join(map(str, self.levels)),
        }
        return {name: value for name, value in attributes.items() if value}

    @property
    def notes(self) -> list[str]:
        """Comments on buckets that start at other instants than in other tools, which count from 1970 on."""
        intervals = [str(level.interval) for level in self.levels]
        return [note for interval, note in _NOTES.items() if interval in intervals]


@dataclass(frozen=True, slots=True)
class Translated:
    """One policy as plain values, with comments, and with warnings that are also printed."""

    policy: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Translation:
    """The policies of a configuration, with general comments, and warnings about omitted settings."""

    policies: tuple[Translated, ...]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def all_warnings(self) -> tuple[str, ...]:
        """All warnings, in the order of the file, without duplicates."""
        return tuple(dict.fromkeys((*self.warnings, *(text for one in self.policies for text in one.warnings))))


def make_cascade(where: str, raw: Duration, archives: Iterable[Archive], rounding: bool) -> Cascade:
    """
    Convert archives, in any order, to a cascade; raises InvalidInput if an interval has no counterpart.

    :param where: The name of the configuration in messages.
    :param raw: The retention period of the original values.
    :param rounding: Use the next finer interval instead; if that is the interval of the level before, the archive is
        omitted, and that level is kept for as long.
    """
    levels: list[Level] = []
    warnings: list[str] = []
    for archive in sorted(archives, key=lambda archive: archive.seconds):
        previous = levels[-1] if levels else None
        interval, reason = _exact(archive.seconds, previous)
        if reason:
            interval = _rounded(archive.seconds, previous)
            kept = None if previous is None else previous.interval
            remedy = f"makes it {interval}" if interval else f"omits it, and keeps {kept} for as long"
            if not rounding:
                raise InvalidInput(archive.where, reason, f"--round {remedy}")
            done = f"it became {interval}" if interval else f"it is omitted, and {kept} is kept for as long"
            warnings.append(f"{archive.where}: {reason}; {done}")
        if interval is not None:
            levels.append(Level(interval, archive.retention))
        else:
            levels[-1] = Level(levels[-1].interval, _longer(levels[-1].retention_period, archive.retention))
    periods, lengthened = _lengthened(raw, levels)
    fitted = tuple(Level(level.interval, period) for level, period in zip(levels, periods[1:], strict=True))
    return Cascade(periods[0], fitted, (*warnings, *(f"{where}: {text}" for text in lengthened)))


def kept_for(seconds: int, years: int = 0) -> Duration:
    """A retention period in seconds or calendar years; more than a thousand years are forever."""
    if max(years, seconds // (366 * DAY_SECONDS)) > _LONG_YEARS:
        return FOREVER
    return Duration(months=12 * years) if years else Duration(seconds=seconds)


def length(seconds: int) -> str:
    """Format a fixed length: ``1h30m``."""
    return str(Duration(seconds=seconds))


def _exact(seconds: int, previous: Level | None) -> tuple[Interval | None, str]:
    """The interval of a length, and why it cannot be the next level; empty if it can."""
    week = seconds == 7 * DAY_SECONDS
    if DAY_SECONDS % seconds and not week:
        return None, f"{length(seconds)} does not divide a day, and is not a calendar unit"
    interval = parse_interval("1w" if week else f"{seconds}s")
    if previous is None or previous.interval == interval:
        return interval, f"a level of {interval} already exists" if previous else ""
    return interval, "" if previous.interval.fits_into(interval) else f"{previous.interval} does not divide {interval}"


def _rounded(seconds: int, previous: Level | None) -> Interval | None:
    """The longest common interval that is not longer, and that consists of finer buckets; None if there is none."""
    for one in reversed(_ROUND):
        fits = previous is None or (previous.interval.fits_into(one) and previous.interval != one)
        if fits and one.approximate_seconds <= seconds * _TOLERANCE:
            return one
    return None


def _lengthened(raw: Duration, levels: Sequence[Level]) -> tuple[list[Duration], list[str]]:
    """
    Keep the raw rows and each level for at least one of their own buckets and one of the next level's, and at least as
    long as the finer level. Other tools discard data that is missing then; here, a source is kept until the next level
    contains it.
    """
    wanted = {"the raw rows": raw, **{f"level {level.interval}": level.retention_period for level in levels}}
    buckets = [parse_duration(str(level.interval)) for level in levels]
    periods: list[Duration] = []
    warnings = []
    for number, (name, period) in enumerate(wanted.items()):
        least = _longer(*periods[-1:], *buckets[max(number - 1, 0) : number + 1], period)
        periods.append(least)
        if least != period:
            warnings.append(f"{name} kept for {least} instead of {period}, as the adjacent levels require")
    return periods, warnings


def _longer(*periods: Duration) -> Duration:
    return max(reversed(periods), key=Duration.approximate_seconds)


class _Dumper(yaml.SafeDumper):
    """Writes mappings as blocks, and lists on one line."""


_Dumper.add_representer(
    list, lambda dumper, value: dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=True)
)


def write_policies(translation: Translation, title: str) -> str:
    """Write a policy file, with a title as its first comment."""
    head = "policies:" if translation.policies else "policies: []"
    lines = [*_comments((title, *translation.notes), translation.warnings), head]
    for one in translation.policies:
        text = write_yaml(dict(one.policy), _Dumper, width=10_000)
        lines += ["", *_comments(one.notes, one.warnings), "- " + text.rstrip().replace("\n", "\n  ")]
    return "\n".join(lines) + "\n"


def _comments(notes: Iterable[str], warnings: Iterable[str]) -> Iterator[str]:
    """Comments, one line each. Text of a foreign file must not end a comment, or it would become YAML."""
    for text in (*notes, *(f"WARNING: {text}" for text in warnings)):
        yield "# " + "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
