"""
Configurations of Graphite and RRDtool as policy files: archives become a cascade, and the policies a file for ``apply``
whose comments say what could not be taken over.

The policies are plain values, so that a file can be written for attributes that only ``apply`` checks.
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

# A name that no table has: a policy in which it was not replaced does nothing, and `check-policies` says so.
PLACEHOLDER = "FILL_IN_THE_TABLE"
# Lengths of buckets that people choose; to these, and not to any divisor of a day (32m), is rounded.
_BUCKETS = "1s 2s 5s 10s 15s 20s 30s 1m 2m 5m 10m 15m 20m 30m 1h 2h 3h 4h 6h 8h 12h 1d 1w 1mo 1y"
_ROUND = [parse_interval(text) for text in _BUCKETS.split()]
# A bucket may be longer than what is rounded by this factor: 30d count as a month, 365d as a year.
_TOLERANCE = 1.02
_LONG_YEARS = 1000
_NOTES = {"1w": "Weeks begin on Monday, not on Thursday as 1970 did.", "1mo": "Months are those of the calendar."}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the user chose."""

    sections: tuple[str, ...] = ()  # Only these of a file; empty: all.
    table_name: str | None = None  # The table, where there is one.
    table_schema: str | None = None  # Of all tables.
    rounding: bool = False  # Whether intervals that have no counterpart are rounded.


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """Values of one length that another tool keeps."""

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
        """The attributes of a policy for it; without levels, `delete` is enough."""
        said = {
            "strategy": str(Strategy.DOWNSAMPLE if self.levels else Strategy.DELETE),
            "table_schema": wanted.table_schema,
            "table_name": table or PLACEHOLDER,
            "retention_period": str(self.retention_period),
            "levels": ",".join(map(str, self.levels)),
        }
        return {name: value for name, value in said.items() if value}

    @property
    def notes(self) -> list[str]:
        """Comments on buckets that begin at other instants than those of other tools, which count from 1970 on."""
        intervals = [str(level.interval) for level in self.levels]
        return [note for interval, note in _NOTES.items() if interval in intervals]


@dataclass(frozen=True, slots=True)
class Translated:
    """One policy as plain values, with comments, and warnings that the user gets beside the file."""

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


def make_cascade(where: str, raw: Duration, archives: Iterable[Archive], rounding: bool) -> Cascade:
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
        interval, reason = _exact(archive.seconds, previous)
        if reason:
            interval = _rounded(archive.seconds, previous)
            kept = None if previous is None else previous.interval
            remedy = f"makes it {interval}" if interval else f"leaves it out, and keeps {kept} for as long"
            if not rounding:
                raise InvalidInput(archive.where, reason, f"--round {remedy}")
            done = f"it became {interval}" if interval else f"it is left out, and {kept} kept for as long"
            warnings.append(f"{archive.where}: {reason}; {done}")
        if interval is not None:
            levels.append(Level(interval, archive.retention))
        else:
            levels[-1] = Level(levels[-1].interval, _longer(levels[-1].retention_period, archive.retention))
    periods, lengthened = _lengthened(raw, levels)
    fitted = tuple(Level(level.interval, period) for level, period in zip(levels, periods[1:], strict=True))
    return Cascade(periods[0], fitted, (*warnings, *(f"{where}: {text}" for text in lengthened)))


def kept_for(seconds: int, years: int = 0) -> Duration:
    """How long something is kept: seconds, or years of the calendar; more than a thousand years are forever."""
    if max(years, seconds // (366 * DAY_SECONDS)) > _LONG_YEARS:
        return FOREVER
    return Duration(months=12 * years) if years else Duration(seconds=seconds)


def length(seconds: int) -> str:
    """A fixed length for people: ``1h30m``."""
    return str(Duration(seconds=seconds))


def _exact(seconds: int, previous: Level | None) -> tuple[Interval | None, str]:
    """The interval of a length, and why it can't be a level after the one before it; empty if it can."""
    week = seconds == 7 * DAY_SECONDS
    if DAY_SECONDS % seconds and not week:
        return None, f"{length(seconds)} does not divide a day, and is no calendar unit"
    interval = parse_interval("1w" if week else f"{seconds}s")
    if previous is None or previous.interval == interval:
        return interval, f"there is a level of {interval} already" if previous else ""
    return interval, "" if previous.interval.fits_into(interval) else f"{previous.interval} does not divide {interval}"


def _rounded(seconds: int, previous: Level | None) -> Interval | None:
    """The longest of the round intervals that is not longer, and consists of those before; None if there is none."""
    for one in reversed(_ROUND):
        fits = previous is None or (previous.interval.fits_into(one) and previous.interval != one)
        if fits and one.approximate_seconds <= seconds * _TOLERANCE:
            return one
    return None


def _lengthened(raw: Duration, levels: Sequence[Level]) -> tuple[list[Duration], list[str]]:
    """
    Keep the raw rows and each level for at least one of their own and of the next level's buckets, and at least as long
    as the finer one. The other tools throw away what they then lack; here a source stays until the next level has it.
    """
    wanted = {"the raw rows": raw, **{f"level {level.interval}": level.retention_period for level in levels}}
    buckets = [parse_duration(str(level.interval)) for level in levels]
    periods: list[Duration] = []
    warnings = []
    for number, (name, period) in enumerate(wanted.items()):
        least = _longer(*periods[-1:], *buckets[max(number - 1, 0) : number + 1], period)
        periods.append(least)
        if least != period:
            warnings.append(f"{name} kept for {least}, not {period}: what lies beside it needs that")
    return periods, warnings


def _longer(*periods: Duration) -> Duration:
    """The longest; of equal ones the last."""
    return max(reversed(periods), key=Duration.approximate_seconds)


class _Dumper(yaml.SafeDumper):
    """Writes mappings as blocks, and lists on one line."""


_Dumper.add_representer(
    list, lambda dumper, value: dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=True)
)


def write_policies(translation: Translation, title: str) -> str:
    """Write a policy file, with a title as its first comment."""
    lines = [*_comments((title, *translation.notes), translation.warnings), "policies:"]
    for one in translation.policies:
        text = write_yaml(dict(one.policy), _Dumper, width=10_000)
        lines += ["", *_comments(one.notes, one.warnings), "- " + text.rstrip().replace("\n", "\n  ")]
    return "\n".join(lines) + "\n"


def _comments(notes: Iterable[str], warnings: Iterable[str]) -> Iterator[str]:
    """Comments, one line each: what a foreign file holds must not end a comment and become YAML."""
    for text in (*notes, *(f"WARNING: {text}" for text in warnings)):
        yield "# " + "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
