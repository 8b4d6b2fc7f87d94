"""
Reads what RRDtool says of a database: the command ``rrdtool create``, or only its ``DS:`` and ``RRA:`` arguments, the
output of ``rrdtool info``, and that of ``rrdtool dump``. What it means is no business of this module.

Sources: the manual pages rrdcreate(1), rrdinfo(1), rrddump(1), and librrd(3) for the units of durations.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from cratedb_retention.errors import InvalidInput

DEFAULT_STEP = 300
_SCALES = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "M": 31 * 86_400, "y": 366 * 86_400}
_SCALED = re.compile(r"([0-9]{1,12})([smhdwMy]?)")
_CONSOLIDATING = ("AVERAGE", "MIN", "MAX", "LAST")
_FORECASTS = ("HWPREDICT", "MHWPREDICT", "SEASONAL", "DEVSEASONAL", "DEVPREDICT", "FAILURES")
_KINDS = ("GAUGE", "COUNTER", "DERIVE", "DCOUNTER", "DDERIVE", "ABSOLUTE", "COMPUTE")
_REMEDY = "write it like RRA:AVERAGE:0.5:6:700, or give the output of `rrdtool info FILE`"
# Arguments as they stand in a shell's script, and between quotes in one of Perl or Python.
_ARGUMENT = re.compile(r"(?<![\w:])(?P<kind>DS|RRA):(?P<rest>[^\s\"'`;)\\]+)")
_STEP = re.compile(r"(?<!\S)[\"']?(?:--step|-s)[\"']?(?:\s*[=,\s]\s*|)[\"']?(?P<step>[0-9][^\s\"',;)\\]*)")
_CREATE = re.compile(r"(?:^|[\s/;|&(\"'`])rrdtool\s+create\s+(?P<tail>.*)")
_VALUED = ("--start", "-b", "--step", "-s", "--template", "-t", "--source", "-r", "--daemon", "-d")
_COMMENT = re.compile(r"(^|\s)#.*$")
_SETTING = re.compile(r"\s*(?P<key>[a-z_]+(?:\[(?P<index>[^\]]*)\]\.(?P<name>\w+))?) = (?P<value>.*?)\s*")


@dataclass(frozen=True, slots=True)
class Source:
    """
    A data source.

    :param kind: ``GAUGE``, ``COUNTER``, ``DERIVE``, ``DCOUNTER``, ``DDERIVE``, ``ABSOLUTE`` or ``COMPUTE``.
    :param minimum: The least value of its rate, as it is written.
    """

    name: str
    kind: str
    minimum: str = "U"

    @property
    def only_grows(self) -> bool:
        """Whether a value that is lower than the one before is a counter that began anew."""
        return self.kind in ("COUNTER", "DCOUNTER") or (
            self.kind in ("DERIVE", "DDERIVE") and re.match(r"[0-9]", self.minimum) is not None
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundRobin:
    """
    A round robin archive.

    :param seconds: What one of its values covers.
    :param rows: How many of them are kept.
    :param where: How messages name it.
    """

    function: str
    factor: str
    seconds: int
    rows: int
    where: str


@dataclass(kw_only=True)
class Database:
    """
    One RRD.

    :param file: Its name; empty if it is not known.
    :param others: Archives of forecasts, which consolidate nothing.
    :param assumed: Whether nothing says the step, not even a command that leaves it to RRDtool's default.
    """

    file: str = ""
    step: int = DEFAULT_STEP
    sources: list[Source] = field(default_factory=list)
    archives: list[RoundRobin] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    template: bool = False
    assumed: bool = False


def parse_rrdtool(text: str, name: str, step: str | None = None) -> list[Database]:
    """
    Read whatever describes databases of RRDtool.

    :param name: The file's name, for messages.
    :param step: The step where the text does not say it, as ``--step`` of RRDtool takes it.
    :raises InvalidInput: naming the line or the archive.
    """
    default = scaled(step, 1, "--step") if step else DEFAULT_STEP
    if text.lstrip("\ufeff \t\r\n").startswith("<"):
        found = [_dump(text, name)]
    elif re.search(r"^\s*rra\[[0-9]+\]\.", text, re.MULTILINE):
        parts = re.split(r"^(?=\s*filename = )", text, flags=re.MULTILINE)
        found = [_info(part, name) for part in parts if "rra[" in part]
    else:
        found = list(_commands(text, name, Database(step=default, assumed=step is None)))
    if not any(database.archives for database in found):
        raise InvalidInput(name, "has no round robin archive", _REMEDY)
    return found


def scaled(text: str, divisor: int, where: str) -> int:
    """
    A count, or a duration that is divided by what is counted (librrd's ``rrd_scaled_duration``); at least 1.

    A month has 31 days there, a year 366.

    :raises InvalidInput: if it is neither.
    """
    match = _SCALED.fullmatch(text)
    if match is None:
        raise InvalidInput(where, f"{text!r} is no count, and no duration", _REMEDY)
    seconds = int(match[1]) * _SCALES[match[2]]
    if match[2] and seconds % divisor:
        raise InvalidInput(where, f"{text} is no multiple of {divisor}s", _REMEDY)
    count = seconds // divisor if match[2] else seconds
    if not count:
        raise InvalidInput(where, f"{text} is nothing", _REMEDY)
    return count


# The command `rrdtool create`


def _commands(text: str, name: str, database: Database) -> Iterator[Database]:
    """One database for each command; arguments that stand before any command are one of their own, the given one."""
    step = database.step
    for number, line in _lines(text):
        if create := _CREATE.search(line):
            if database.archives or database.others:
                yield database
            database = Database(file=_file(create["tail"]), step=step)
            database.template = bool(re.search(r"\s(--template|-t)\b", line))
        given = _STEP.search(line) if create or "--step" in line or _ARGUMENT.search(line) else None
        if given:
            database.assumed = False
            database.step = scaled(given["step"], 1, f"{name}, line {number}, --step")
        for argument in _ARGUMENT.finditer(line):
            _add(database, argument["kind"], argument["rest"].rstrip(","), f"{name}, line {number}")
    yield database


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines without comments, those that a backslash continues put together, with the number of the first."""
    begun, held = 0, ""
    for number, raw in enumerate(text.splitlines(), start=1):
        line = _COMMENT.sub("", raw).rstrip()
        begun = begun if held else number
        if line.endswith("\\"):
            held += line[:-1] + " "
            continue
        yield begun, held + line
        held = ""
    if held:
        yield begun, held


def _file(tail: str) -> str:
    """The first argument of the command that is no option, nor the value of one."""
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
            raise InvalidInput(where, "no data source", "write it like DS:temperature:GAUGE:600:U:U")
        database.sources.append(Source(parts[0].partition("=")[0], parts[1], (*parts, "U", "U")[3]))
        return
    if _forecasts(database, parts[0], where):
        return
    if len(parts) != 4:
        raise InvalidInput(where, "not of the form RRA:CF:xff:steps:rows", _REMEDY)
    seconds = database.step * scaled(parts[2], database.step, where)
    rows = scaled(parts[3], seconds, where)
    database.archives.append(RoundRobin(function=parts[0], factor=parts[1], seconds=seconds, rows=rows, where=where))


def _forecasts(database: Database, function: str, where: str) -> bool:
    """Whether an archive holds a forecast, which has no counterpart; it is noted then."""
    if function in _FORECASTS:
        database.others.append(function)
        return True
    if function not in _CONSOLIDATING:
        raise InvalidInput(
            where, f"{function!r} is no consolidation function", f"there are: {', '.join(_CONSOLIDATING)}"
        )
    return False


# The output of `rrdtool info`


def _info(text: str, name: str) -> Database:
    plain: dict[str, str] = {}
    indexed: dict[tuple[str, str], dict[str, str]] = {}
    for line in text.splitlines():
        if match := _SETTING.fullmatch(line):
            value = match["value"].strip('"')
            if match["name"]:
                kind = match["key"].partition("[")[0]
                indexed.setdefault((kind, match["index"]), {})[match["name"]] = value
            else:
                plain[match["key"]] = value
    database = Database(file=plain.get("filename", ""), step=_count(plain, "step", name))
    for (kind, index), values in indexed.items():
        if kind == "ds":
            minimum = values.get("min", "U")
            database.sources.append(Source(index, values.get("type", "GAUGE"), minimum))
        elif kind == "rra":
            _add_counted(database, values, "pdp_per_row", f"{name}, rra[{index}]")
    return database


def _add_counted(database: Database, values: dict[str, str], steps: str, where: str) -> None:
    """An archive whose steps and rows are counts."""
    function = values.get("cf", "")
    if _forecasts(database, function, where):
        return
    where = f"{where}, {function}"
    seconds = database.step * _count(values, steps, where)
    rows = _count(values, "rows", where)
    database.archives.append(
        RoundRobin(function=function, factor=values.get("xff", ""), seconds=seconds, rows=rows, where=where)
    )


def _count(values: dict[str, str], key: str, where: str) -> int:
    text = values.get(key, "")
    if not re.fullmatch("[0-9]{1,12}", text) or not int(text):
        raise InvalidInput(where, f"{key} is {text!r}" if text else f"does not say its {key}", _REMEDY)
    return int(text)


# The output of `rrdtool dump`


def _dump(text: str, name: str) -> Database:
    """
    Read by its tags, not as XML: dumps are of one form and can be long, and no entity of a foreign file is expanded.
    """
    head, *archives = re.split(r"<rra>", text)
    database = Database(step=_count({"step": _tag(head, "step")}, "step", name))
    for part in head.split("<ds>")[1:]:
        database.sources.append(Source(_tag(part, "name"), _tag(part, "type"), _tag(part, "min") or "U"))
    for index, part in enumerate(archives):
        values = {key: _tag(part, key) for key in ("cf", "pdp_per_row", "xff")}
        values["rows"] = str(part.count("<row>"))
        _add_counted(database, values, "pdp_per_row", f"{name}, archive {index}")
    return database


def _tag(text: str, tag: str) -> str:
    match = re.search(rf"<{tag}>\s*([^<]*?)\s*</{tag}>", text)
    return match[1] if match else ""
