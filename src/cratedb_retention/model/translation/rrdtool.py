"""
Converts databases of RRDtool to policies. The raw rows are the values for each step, and the levels are the archives;
archives of one length with different consolidation functions are one level with several aggregates.

A database is described by the command ``rrdtool create``, or by its ``DS:`` and ``RRA:`` arguments alone, by the output
of ``rrdtool info``, or by that of ``rrdtool dump``.

Sources: the manual pages rrdcreate(1), rrdinfo(1), rrddump(1), and librrd(3) for the units of durations.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.duration import Duration
from cratedb_retention.model.translation import Archive, Translated, Translation, Wanted, kept_for, length, make_cascade

_DEFAULT_STEP = 300
_SCALES = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "M": 31 * 86_400, "y": 366 * 86_400}
_SCALED = re.compile(r"([0-9]{1,12})([smhdwMy]?)")
_FORECASTS = ("HWPREDICT", "MHWPREDICT", "SEASONAL", "DEVSEASONAL", "DEVPREDICT", "FAILURES")
_KINDS = ("GAUGE", "COUNTER", "DERIVE", "DCOUNTER", "DDERIVE", "ABSOLUTE", "COMPUTE")
_REMEDY = "write it like RRA:AVERAGE:0.5:6:700, or give the output of `rrdtool info FILE`"
# Arguments as in a shell script, and in quotes as in Perl or Python.
_ARGUMENT = re.compile(r"(?<![\w:])(?P<kind>DS|RRA):(?P<rest>[^\s\"'`;)\\]+)")
_STEP = re.compile(r"(?<!\S)[\"']?(?:--step|-s)[\"']?(?:\s*[=,\s]\s*|)[\"']?(?P<step>[0-9][^\s\"',;)\\]*)")
_CREATE = re.compile(r"(?:^|[\s/;|&(\"'`])rrdtool\s+create\s+(?P<tail>.*)")
_VALUED = ("--start", "-b", "--step", "-s", "--template", "-t", "--source", "-r", "--daemon", "-d")
_COMMENT = re.compile(r"(^|\s)#.*$")
_SETTING = re.compile(r"\s*(?P<key>[a-z_]+(?:\[(?P<index>[^\]]*)\]\.(?P<name>\w+))?) = (?P<value>.*?)\s*")
_NUMBER = re.compile(r"[0-9]*\.?[0-9]+(e[+-]?[0-9]+)?", re.IGNORECASE)
_AGGREGATES = {"AVERAGE": "avg", "MIN": "min", "MAX": "max", "LAST": "last"}
_RATE = "RRDtool stores its rate. Here"
_ROLES = {
    "counter": f"a counter: {_RATE}, a row has the reading, and the average rate of a bucket is x_increase divided by "
    "its seconds; minimum and maximum rates are not stored",
    "difference": f"a difference: {_RATE}, the average rate of a bucket is x_last less x_first, divided by its seconds",
    "absolute": f"counted since the last reading: {_RATE}, the average rate of a bucket is x_sum divided by "
    "its seconds",
    "compute": "computed from others: omitted, compute it in your queries",
}
# The minimum retention period of raw rows if RRDtool stores no value for each step, so that late rows still count.
_LEAST_RAW = Duration(seconds=86_400)


@dataclass(frozen=True, slots=True)
class Source:
    name: str
    kind: str  # One of `_KINDS`.
    minimum: str = "U"  # The minimum of its rate, as text.

    @property
    def role(self) -> str:
        """The meaning of its values. A difference that cannot be negative is a counter that may reset."""
        differs = self.kind in ("DERIVE", "DDERIVE")
        if self.kind in ("COUNTER", "DCOUNTER") or (differs and re.match(r"[0-9]", self.minimum)):
            return "counter"
        return "difference" if differs else self.kind.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundRobin(Archive):
    """A round-robin archive, with its consolidation function and its xff."""

    function: str
    factor: str


@dataclass(kw_only=True)
class Database:
    file: str = ""  # Its name, if known.
    step: int = _DEFAULT_STEP
    sources: list[Source] = field(default_factory=list)
    archives: list[RoundRobin] = field(default_factory=list)
    others: list[str] = field(default_factory=list)  # Archives of forecasts.
    template: bool = False
    assumed: bool = False  # The step is unknown: there is not even a command that relies on RRDtool's default.

    def forecasts(self, function: str, where: str) -> bool:
        """Whether an archive contains a forecast, which has no counterpart; it is recorded for a warning."""
        if function in _FORECASTS:
            self.others.append(function)
        elif function not in _AGGREGATES:
            remedy = f"available: {', '.join(_AGGREGATES)}"
            raise InvalidInput(where, f"{function!r} is not a consolidation function", remedy)
        return function in _FORECASTS


def translate_rrdtool(text: str, wanted: Wanted, name: str = "input", step: str | None = None) -> Translation:
    """
    Translate descriptions of RRDtool's databases; raises InvalidInput with the line or archive.

    :param step: The default step, in the syntax of RRDtool's ``--step``.
    """
    databases = _parse(text, name, step)
    if wanted.table_name and len(databases) != 1:
        raise InvalidInput("--table-name", f"{len(databases)} databases cannot have one table", "provide one of them")
    policies = tuple(_policy(database, wanted) for database in databases if database.archives)
    numbers = [one.factor for database in databases for one in database.archives if _NUMBER.fullmatch(one.factor)]
    factors = ", ".join(dict.fromkeys(f"{float(number):g}" for number in numbers))
    notes = (
        f"xff{f' ({factors})' if factors else ''} has no counterpart: a bucket is computed from the existing rows, and "
        "counts them; require a minimum count in your queries.",
        "Columns are assumed to have the names of the data sources.",
        "RRDtool distributes values over its steps; here, rows are unchanged, and count in the bucket of their time.",
    )
    return Translation(policies, notes)


def _policy(database: Database, wanted: Wanted) -> Translated:
    where = database.file or "the database"
    raw = [one.retention for one in database.archives if one.seconds == database.step]
    coarser = [one for one in database.archives if one.seconds != database.step]
    # One archive of each length, the one with the longest retention period.
    longest = [
        max((one for one in coarser if one.seconds == seconds), key=lambda one: one.retention.approximate_seconds())
        for seconds in {one.seconds for one in coarser}
    ]
    kept = max(raw, key=Duration.approximate_seconds, default=_LEAST_RAW)
    cascade = make_cascade(where, kept, longest, wanted.rounding)
    extents: dict[str, list[str]] = {}
    for one in database.archives:
        extents.setdefault(f"{length(one.seconds)} for {one.retention}", []).append(one.function)
    notes = [f"{where}, one value per {length(database.step)}"]
    notes += [f"{extent}: {', '.join(functions)}" for extent, functions in extents.items()]
    warnings = [] if raw else [f"{where}: has no archive of single steps; raw rows are kept for {_LEAST_RAW}"]
    warnings += [*cascade.warnings, *_omissions(database, where)]
    # The table has the name of the file if that is simple: ``/var/lib/rrd/power.rrd`` becomes ``power``.
    stem = database.file.rpartition("/")[2].removesuffix(".rrd")
    plain = re.sub(r"[.\-]+", "_", stem).lower() if re.fullmatch(r"[\w.\-]+", stem) else ""
    table = wanted.table_name or plain
    policy = cascade.policy(table, wanted)
    if cascade.levels:
        notes += cascade.notes
        policy |= _metrics(database.sources, coarser)
        for role, text in _ROLES.items():
            names = ", ".join(source.name for source in database.sources if source.role == role)
            warnings += [f"{where}, {names}: {text}"] if names else []
    if not table:
        warnings.append(f"{where}: fill in the table's name, or use --table-name")
    policy["description"] = f"RRDtool {database.file or 'archives'}"
    return Translated(policy, tuple(notes), tuple(warnings))


def _metrics(sources: Iterable[Source], archives: Iterable[RoundRobin]) -> dict[str, Any]:
    """
    The metrics and their aggregates, the same for each level: the first and the last value of differences, the sum of
    values that each reading resets, and the default aggregates of counters.
    """
    wanted = {_AGGREGATES[one.function] for one in archives}
    functions = [name for name in ("min", "max", "last", "avg") if name in wanted]
    of_role = {"difference": ["first", "last"], "absolute": ["sum", *functions]}
    stored = [source for source in sources if source.role != "compute"]
    counters = [source.name for source in stored if source.role == "counter"]
    kept = {source.name: of_role.get(source.role, functions) for source in stored if source.role != "counter"}
    plain = not counters and all(aggregates == functions for aggregates in kept.values())
    found = {
        "metrics": [source.name for source in stored],
        "counters": counters,
        "aggregates": {"*": functions} if plain else kept,
    }
    return {name: value for name, value in found.items() if value}


def _omissions(database: Database, where: str) -> Iterator[str]:
    if database.others:
        yield f"{where}: {', '.join(dict.fromkeys(database.others))} omitted, since forecasts are not supported"
    if database.template:
        yield f"{where}: its --template was not read"
    if database.assumed:
        yield f"{where}: its step is unknown; {length(database.step)} is RRDtool's default, --step sets another one"


def _parse(text: str, name: str, step: str | None) -> list[Database]:
    default = _scaled(step, 1, "--step") if step else _DEFAULT_STEP
    if text.lstrip("\ufeff \t\r\n").startswith("<"):
        found = [_dump(text, name)]
    elif re.search(r"^\s*rra\[[0-9]+\]\.", text, re.MULTILINE):
        parts = re.split(r"^(?=\s*filename = )", text, flags=re.MULTILINE)
        found = [_info(part, name) for part in parts if "rra[" in part]
    else:
        found = list(_commands(text, name, Database(step=default, assumed=step is None)))
    if not any(database.archives for database in found):
        raise InvalidInput(name, "has no round-robin archive", _REMEDY)
    return found


def _scaled(text: str, divisor: int, where: str) -> int:
    """
    A count, or a duration as a number of divisors, at least 1 (librrd's ``rrd_scaled_duration``: a month has 31 days, a
    year 366); raises InvalidInput if it is neither.
    """
    match = _SCALED.fullmatch(text)
    if match is None:
        raise InvalidInput(where, f"{text!r} is neither a count nor a duration", _REMEDY)
    count, rest = divmod(int(match[1]) * _SCALES[match[2]], divisor if match[2] else 1)
    if rest:
        raise InvalidInput(where, f"{text} is not a multiple of {divisor}s", _REMEDY)
    if not count:
        raise InvalidInput(where, f"{text} is not positive", _REMEDY)
    return count


# The command `rrdtool create`


def _commands(text: str, name: str, database: Database) -> Iterator[Database]:
    """One database for each command; arguments before any command belong to the given database."""
    step = database.step
    for number, line in _lines(text):
        if create := _CREATE.search(line):
            if database.archives or database.others:
                yield database
            template = bool(re.search(r"\s(--template|-t)\b", line))
            database = Database(file=_file(create["tail"]), step=step, template=template)
        given = _STEP.search(line) if create or "--step" in line or _ARGUMENT.search(line) else None
        if given:
            database.assumed = False
            database.step = _scaled(given["step"], 1, f"{name}, line {number}, --step")
        for argument in _ARGUMENT.finditer(line):
            _add(database, argument["kind"], argument["rest"].rstrip(","), f"{name}, line {number}")
    yield database


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines without comments, joined after a backslash, with the number of the first line."""
    plain = "\n".join(_COMMENT.sub("", line).rstrip() for line in text.splitlines())
    number = 1
    for line in re.split(r"(?<!\\)\n", plain):
        yield number, line.removesuffix("\\").replace("\\\n", " ")
        number += line.count("\n") + 1


def _file(tail: str) -> str:
    """The first argument of the command that is neither an option nor its value."""
    words = iter(tail.split())
    for word in words:
        if word in _VALUED:
            next(words, None)
        elif not word.startswith("-"):
            return word.strip("\"'")
    return ""


def _add(database: Database, kind: str, rest: str, where: str) -> None:
    where = f"{where}, {kind}:{rest}"
    parts = rest.split(":")
    if kind == "DS":
        if len(parts) < 3 or parts[1] not in _KINDS or not re.fullmatch(r"\w{1,19}(=.*)?", parts[0]):
            raise InvalidInput(where, "not a data source", "write it like DS:temperature:GAUGE:600:U:U")
        database.sources.append(Source(parts[0].partition("=")[0], parts[1], (*parts, "U", "U")[3]))
    elif not database.forecasts(parts[0], where):
        if len(parts) != 4:
            raise InvalidInput(where, "not of the form RRA:CF:xff:steps:rows", _REMEDY)
        function, factor, steps, rows = parts
        seconds = database.step * _scaled(steps, database.step, where)
        kept = kept_for(seconds * _scaled(rows, seconds, where))
        archive = RoundRobin(seconds=seconds, retention=kept, where=where, function=function, factor=factor)
        database.archives.append(archive)


# The output of `rrdtool info` and `rrdtool dump`


def _info(text: str, name: str) -> Database:
    settings: dict[tuple[str, str], dict[str, str]] = {("", ""): {}}
    for line in text.splitlines():
        if match := _SETTING.fullmatch(line):
            kind = match["key"].partition("[")[0] if match["name"] else ""
            found = settings.setdefault((kind, match["index"] or ""), {})
            found[match["name"] or match["key"]] = match["value"].strip('"')
    indexed = settings.items()
    sources = [Source(i, v.get("type", "GAUGE"), v.get("min", "U")) for (kind, i), v in indexed if kind == "ds"]
    archives = {f"{name}, rra[{i}]": values for (kind, i), values in indexed if kind == "rra"}
    return _counted(settings["", ""], sources, archives, name)


def _dump(text: str, name: str) -> Database:
    """Read a dump by its tags, not as XML: dumps are uniform and may be long, and no foreign entity is expanded."""

    def tag(part: str, name: str) -> str:
        match = re.search(rf"<{name}>\s*([^<]*?)\s*</{name}>", part)
        return match[1] if match else ""

    head, *parts = text.split("<rra>")
    sources = [Source(tag(p, "name"), tag(p, "type"), tag(p, "min") or "U") for p in head.split("<ds>")[1:]]
    archives = {
        f"{name}, archive {index}": {
            "rows": str(part.count("<row>")),
            **{key: tag(part, key) for key in ("cf", "pdp_per_row", "xff")},
        }
        for index, part in enumerate(parts)
    }
    return _counted({"step": tag(head, "step")}, sources, archives, name)


def _counted(
    plain: Mapping[str, str], sources: list[Source], archives: Mapping[str, Mapping[str, str]], name: str
) -> Database:
    """Make a database whose steps and rows are counts."""

    def count(values: Mapping[str, str], key: str, where: str) -> int:
        text = values.get(key, "")
        if not re.fullmatch("[0-9]{1,12}", text) or not int(text):
            raise InvalidInput(where, f"{key} is {text!r}" if text else f"{key} is missing", _REMEDY)
        return int(text)

    database = Database(file=plain.get("filename", ""), step=count(plain, "step", name), sources=sources)
    for where, values in archives.items():
        function, factor = values.get("cf", ""), values.get("xff", "")
        if not database.forecasts(function, where):
            at = f"{where}, {function}"
            seconds = database.step * count(values, "pdp_per_row", at)
            kept = kept_for(seconds * count(values, "rows", at))
            archive = RoundRobin(seconds=seconds, retention=kept, where=at, function=function, factor=factor)
            database.archives.append(archive)
    return database
