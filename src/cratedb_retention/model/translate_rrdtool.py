"""
Databases of RRDtool as policies: each becomes one, whose raw rows are its values for each step, and whose levels are
its archives; those of one length and different consolidation functions are one level with several aggregates.

Source of the rules: the manual page rrdcreate(1).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.duration import Duration
from cratedb_retention.model.rrdtool_files import Database, RoundRobin, Source, parse_rrdtool
from cratedb_retention.model.translation import (
    PLACEHOLDER,
    Archive,
    Translated,
    Translation,
    Wanted,
    calendar_notes,
    kept_for,
    length,
    make_cascade,
    named,
)

_AGGREGATES = {"AVERAGE": "avg", "MIN": "min", "MAX": "max", "LAST": "last"}
# Raw rows stay at least so long where RRDtool keeps no value for each step, so that late ones still count.
_LEAST_RAW = Duration(seconds=86_400)


def translate_rrdtool(text: str, wanted: Wanted, name: str = "input", step: str | None = None) -> Translation:
    """
    Translate what describes databases of RRDtool.

    :param text: See :func:`parse_rrdtool`.
    :param name: The file's name, for messages.
    :param step: The step where the text does not say it.
    :raises InvalidInput: naming the line or archive, and what is wrong with it.
    """
    databases = parse_rrdtool(text, name, step)
    if wanted.table_name and len(databases) != 1:
        raise InvalidInput("--table-name", f"{len(databases)} databases can't have one table", "give one of them")
    policies = tuple(_policy(database, wanted) for database in databases if database.archives)
    factors = dict.fromkeys(f"{float(one.factor):g}" for d in databases for one in d.archives if _is_number(one.factor))
    return Translation(policies, _notes(list(factors)))


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[0-9]*\.?[0-9]+(e[+-]?[0-9]+)?", text.lower()) is not None


def _notes(factors: Sequence[str]) -> tuple[str, ...]:
    given = f" ({', '.join(factors)})" if factors else ""
    return (
        f"xff{given} has no counterpart: a bucket is made of the rows that there are, and its counts say how many; ask "
        "for enough of them when you read.",
        "Columns are taken to be named like the data sources.",
        "RRDtool spreads values over its steps; here the rows stay as they came in, and are counted where they lie.",
    )


def _policy(database: Database, wanted: Wanted) -> Translated:
    where = database.file or "the database"
    raw = [one for one in database.archives if one.seconds == database.step]
    coarser = [one for one in database.archives if one.seconds != database.step]
    period = max((one.rows * one.seconds for one in raw), default=0)
    warnings = [] if raw else [f"{where}: has no archive of single steps; raw rows are kept for {_LEAST_RAW}"]
    cascade = make_cascade(where, kept_for(period) if raw else _LEAST_RAW, _grouped(coarser), wanted.rounding)
    table = wanted.table_name or _table(database.file)
    policy: dict[str, Any] = {
        "strategy": cascade.strategy,
        **named(table or PLACEHOLDER, wanted),
        **cascade.attributes(),
    }
    notes = [f"{where}, a value for each {length(database.step)}", *_listed(database.archives)]
    warnings += [*cascade.warnings, *_left_out(database, where)]
    if cascade.levels:
        notes += calendar_notes(cascade.levels)
        policy |= _metrics(database.sources, _functions(coarser))
        warnings += _source_warnings(database.sources, where)
    if not table:
        warnings.append(f"{where}: write the table's name, or give --table-name")
    policy["description"] = f"RRDtool {database.file or 'archives'}"
    return Translated(policy, tuple(notes), tuple(warnings))


def _table(file: str) -> str:
    """A table named like the file: ``/var/lib/rrd/power.rrd`` becomes ``power``; empty for what is no plain name."""
    stem = re.sub(r"\.rrd$", "", file.rpartition("/")[2])
    return re.sub(r"[.\-]+", "_", stem).lower() if re.fullmatch(r"[\w.\-]+", stem) else ""


def _grouped(archives: Iterable[RoundRobin]) -> list[Archive]:
    """One archive for each length, kept as long as the longest of them."""
    found = []
    for seconds, group in groupby(sorted(archives, key=lambda one: one.seconds), key=lambda one: one.seconds):
        longest = max(group, key=lambda one: one.rows)
        found.append(Archive(seconds, kept_for(seconds * longest.rows), longest.where))
    return found


def _listed(archives: Iterable[RoundRobin]) -> list[str]:
    """The archives in words, those of one length in one line."""
    found: dict[str, list[str]] = {}
    for one in archives:
        found.setdefault(f"{length(one.seconds)} for {length(one.seconds * one.rows)}", []).append(one.function)
    return [f"{extent}: {', '.join(functions)}" for extent, functions in found.items()]


def _functions(archives: Iterable[RoundRobin]) -> list[str]:
    """The aggregates of all levels together: a policy has the same for each."""
    wanted = {_AGGREGATES[one.function] for one in archives}
    return [name for name in ("min", "max", "last", "avg") if name in wanted]


def _metrics(sources: Sequence[Source], functions: list[str]) -> dict[str, Any]:
    """What is kept of which column. Counters get what counters get by default."""
    stored = [source for source in sources if source.kind != "COMPUTE"]
    counters = [source.name for source in stored if source.only_grows]
    kept = {source.name: _kept(source, functions) for source in stored if not source.only_grows}
    plain = all(aggregates == functions for aggregates in kept.values())
    aggregates = {"*": functions} if plain and not counters else kept
    found: dict[str, Any] = {"metrics": [source.name for source in stored]} if stored else {}
    found |= {"counters": counters} if counters else {}
    return found | ({"aggregates": aggregates} if aggregates else {})


def _kept(source: Source, functions: list[str]) -> list[str]:
    """What is kept of a source: of differences the first and the last value, of what is counted anew the sum."""
    if source.kind in ("DERIVE", "DDERIVE"):
        return ["first", "last"]
    return ["sum", *functions] if source.kind == "ABSOLUTE" else functions


def _source_warnings(sources: Sequence[Source], where: str) -> list[str]:
    """What becomes of sources that RRDtool stores as rates."""
    texts = {
        "a counter: RRDtool stores its rate. Here a row holds the reading, and a bucket's x_increase by its seconds is "
        "the average rate; the least and the greatest rate are not kept": [s for s in sources if s.only_grows],
        "a difference: RRDtool stores its rate. Here a bucket's x_last less x_first by its seconds is the average "
        "rate": [s for s in sources if s.kind in ("DERIVE", "DDERIVE") and not s.only_grows],
        "counted since the last reading: RRDtool stores its rate. Here a bucket's x_sum by its seconds is the average "
        "rate": [s for s in sources if s.kind == "ABSOLUTE"],
        "computed from others: left out, compute it when you read": [s for s in sources if s.kind == "COMPUTE"],
    }
    return [f"{where}, {', '.join(s.name for s in found)}: {text}" for text, found in texts.items() if found]


def _left_out(database: Database, where: str) -> list[str]:
    others = ", ".join(dict.fromkeys(database.others))
    found = [f"{where}: {others} left out, there are no forecasts here"] if others else []
    found += [f"{where}: what its --template says was not read"] if database.template else []
    assumed = f"{where}: nothing says its step; {length(database.step)} is RRDtool's default, --step says another one"
    return found + ([assumed] if database.assumed else [])
