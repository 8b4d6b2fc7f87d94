"""
Graphite's configuration as policies: each section of ``storage-schemas.conf`` becomes one, or one for each
alternative of its pattern; ``storage-aggregation.conf`` says what is kept of the metrics.

Regular expressions on dotted names, as ``^servers\\.www.*\\.busy$``, become table patterns where that is exact: a
pattern that fits more tables would expire data that no user gave up. Dots stand between the parts of a name, and no
table of CrateDB can have one in its name; they become underscores.

Sources of the rules: "Configuring Carbon" in Graphite's documentation, and whisper's ``parseRetentionDef``.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.translation import Archive, Translated, Translation, Wanted, kept_for, length, make_cascade

# whisper takes any beginning of these words, the first one that fits.
_UNITS = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86_400, "weeks": 604_800, "years": 365 * 86_400}
_PART = re.compile(r"([0-9]{1,12})([a-z]*)")
_REMEDY = "write it like 10s:6h,1m:7d,10m:5y"
_AGGREGATES = {
    "average": ["avg"],
    **{name: [name] for name in ("avg", "sum", "min", "max", "last")},
    "avg_zero": ["sum", "count"],
    **{name: ["min", "max"] for name in ("absmax", "absmin")},
}
_CHANGED = {
    "avg_zero": "takes missing values for 0: divide the sum by as many values as a bucket should have",
    "absmax": "is the greater one of abs(min) and abs(max) when you read",
    "absmin": "can't be told from min and max where values have both signs",
}
_LAST_PART = re.compile(r"(?:\^?\.\*)?\\\.\(?(?P<names>[A-Za-z0-9_|-]+)\)?\$")
_EVERYTHING = (".*", "^.*", ".*$", "^.*$", ".+", "^.+$", "^", "")
_LITERAL = re.compile(r"[A-Za-z0-9_\-:@%,=~/#!&;<> ]")
_ANY = {".*": "*", ".*?": "*", ".+": "?*", ".+?": "?*", ".": "?"}
_TOKEN = re.compile(
    r"(?P<any>\.(?:[*+]\??)?)"
    r"|\\(?P<escaped>[^A-Za-z0-9])"
    r"|\[\\?(?P<single>[.\-_])\]"
    r"|\((?:\?:)?(?P<group>[^()]*)\)"
    r"|(?P<literal>.)",
    re.DOTALL,
)
# More alternatives than this are no list of names any more.
_MOST = 50


@dataclass
class Section:
    """A section of a file; its settings' names are in lower case."""

    name: str
    values: dict[str, str] = field(default_factory=dict)

    @property
    def pattern(self) -> str:
        return self.values.get("pattern", "")

    @property
    def method(self) -> str:
        return self.values.get("aggregationmethod", "average").lower()

    @property
    def metrics(self) -> tuple[str, ...]:
        """The last parts of the names that it is for; ``*``: all; none: its pattern says more."""
        match = _LAST_PART.fullmatch(self.pattern)
        return tuple(match["names"].split("|")) if match else ("*",) if self.pattern in _EVERYTHING else ()

    @property
    def missing(self) -> list[str]:
        """What it lacks; Carbon skips it then."""
        return [key for key in ("pattern", "retentions") if not self.values.get(key)]

    def rules(self, section: Section) -> bool:
        """Whether it is a rule for all names of another section."""
        endings = tuple(rf"\.{name}$" for name in self.metrics)
        return "*" in self.metrics or self.pattern == section.pattern or section.pattern.endswith(endings)

    def __str__(self) -> str:
        return f"section [{self.name}]"


def _parse_sections(text: str, file: str) -> list[Section]:
    """Read one of Carbon's files, in its order; raises InvalidInput naming file and line."""
    sections: list[Section] = []
    for number, raw in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        if line[0] == "[" and line.endswith("]"):
            sections.append(Section(line[1:-1].strip()))
            continue
        key, *value = re.split("[=:]", line, maxsplit=1)
        if not value or not sections:
            what = "neither a section nor a setting" if sections else "stands before the first section"
            raise InvalidInput(f"{file}, line {number}", what, "write [name], and below it key = value")
        sections[-1].values[key.strip().lower()] = value[0].strip()
    if not sections:
        raise InvalidInput(file, "has no section", "a section is [name], and below it pattern = and retentions =")
    return sections


def translate_graphite(
    schemas: str, aggregation: str | None, wanted: Wanted, files: tuple[str, str] = ("schemas", "aggregation")
) -> Translation:
    """
    Translate the texts of ``storage-schemas.conf`` and ``storage-aggregation.conf``, whose names are for messages;
    raises InvalidInput naming the section and what is wrong with it.
    """
    sections = _parse_sections(schemas, files[0])
    rules = [] if aggregation is None else _used(_parse_sections(aggregation, files[1]))
    chosen = _chosen(sections, wanted, files[0])
    policies: list[Translated] = []
    before: list[tuple[str, str | None]] = []
    for section in (each for each in sections if not each.missing):
        own = wanted.table_name if section in chosen else None
        # None stands for what the user has to fill in.
        patterns: Sequence[str | None] = [own] if own else table_patterns(section.pattern) or [None]
        for pattern in patterns:
            if section in chosen:
                policies.append(_policy(section, pattern, before, rules, wanted))
            before.append((section.name, pattern))
    factors = dict.fromkeys(rule.values.get("xfilesfactor", "0.5") for rule in rules)
    given = f" ({', '.join(factors)})" if factors else ""
    notes = (
        "A dot of Graphite's names is taken for an underscore of tables' names.",
        f"xFilesFactor{given} has no counterpart: a bucket is made of the rows that there are, and its counts say how "
        "many; ask for enough of them when you read.",
    )
    warnings = [f"{each} has no {' and no '.join(each.missing)}, and is skipped" for each in chosen if each.missing]
    return Translation(tuple(policies), notes, (*warnings, *_unapplied(rules, sections)))


def _chosen(sections: Sequence[Section], wanted: Wanted, file: str) -> list[Section]:
    known = [section.name for section in sections]
    for name in wanted.sections:
        if name not in known:
            raise InvalidInput(f"section [{name}]", f"not in {file}", f"there are: {', '.join(known)}")
    chosen = [section for section in sections if not wanted.sections or section.name in wanted.sections]
    if wanted.table_name and len(chosen) != 1:
        raise InvalidInput("--table-name", f"{len(chosen)} sections can't have one table", "choose one with --section")
    return chosen


def _policy(
    section: Section,
    pattern: str | None,
    before: Sequence[tuple[str, str | None]],
    rules: Sequence[Section],
    wanted: Wanted,
) -> Translated:
    """The policy of a section on one table pattern; ``before`` are the sections before it with theirs."""
    text = section.values["retentions"]
    raw, *coarser = parse_retentions(text, str(section))
    cascade = make_cascade(str(section), raw.retention, coarser, wanted.rounding)
    policy = cascade.policy(pattern, wanted)
    notes = [f"[{section.name}] pattern = {section.pattern}", f"retentions = {text}"]
    warnings = list(cascade.warnings)
    if cascade.levels:
        notes += [f"The raw rows are what Graphite kept one of for each {length(raw.seconds)}.", *cascade.notes]
        if rules:  # The first rule that is for all names of a section wins; else the average.
            kept = next((_AGGREGATES[rule.method] for rule in rules if rule.rules(section)), ["avg"])
            policy["aggregates"] = {"*": kept}
    if pattern is None:
        warnings.append(f"{section}: the pattern {section.pattern} is no table pattern; write the table's name")
    elif not wanted.table_name:
        # What a section without a table pattern fits is not known.
        others = [f"[{name}]" for name, other in before if other is None or overlap(pattern, other)]
        if others:
            policy["enabled"] = False
            warnings.append(
                f"{section}: disabled, since tables of {', '.join(dict.fromkeys(others))} fit it too. In Graphite the "
                "first section wins, but each policy applies; name its tables, and enable it"
            )
    policy["description"] = f"Graphite [{section.name}] {text}"
    return Translated(policy, tuple(notes), tuple(warnings))


def parse_retentions(text: str, where: str) -> list[Archive]:
    """
    Read ``10s:6h,1m:7d`` or the old ``60:1440`` (seconds per point, number of points), finest first; raises
    InvalidInput naming the part that is none. A year of 365 days in Graphite stays a year here, and is never shorter.
    """
    parts = [part.strip() for part in re.split(r"\s[#;]", text)[0].split(",") if part.strip()]
    if not parts:
        raise InvalidInput(where, "has no retentions", _REMEDY)
    archives = []
    for part in parts:
        at = f"{where}, {part}"
        precision, _, points = part.partition(":")
        seconds, _ = _read(precision, at)
        count, unit = _read(points, at, bare=seconds)
        if not seconds or count < seconds:
            raise InvalidInput(at, "keeps no point at all", _REMEDY)
        years = count // _UNITS["years"] if unit == "years" else 0
        archives.append(Archive(seconds=seconds, retention=kept_for(count, years), where=at))
    return sorted(archives, key=lambda archive: archive.seconds)


def _read(text: str, where: str, bare: int = 1) -> tuple[int, str]:
    """Seconds, and the unit; ``bare`` is what a number without one counts."""
    match = _PART.fullmatch(text.strip())
    unit = next((word for word in _UNITS if match and match[2] and word.startswith(match[2])), "")
    if match is None or (match[2] and not unit):
        raise InvalidInput(where, f"{text.strip()!r} is no length of time", _REMEDY)
    return int(match[1]) * (_UNITS[unit] if unit else bare), unit


def _used(rules: Sequence[Section]) -> Sequence[Section]:
    """The rules that names get to: none beyond the first that is for all."""
    for number, rule in enumerate(rules, start=1):
        if rule.method not in _AGGREGATES:
            known = ", ".join(_AGGREGATES)
            raise InvalidInput(f"{rule}, aggregationMethod {rule.method!r}", "unknown", f"there are: {known}")
        if "*" in rule.metrics:
            return rules[:number]
    return rules


def _unapplied(rules: Sequence[Section], sections: Sequence[Section]) -> Iterator[str]:
    """
    Rules for some names of a section, and methods that have no exact counterpart. A policy may only name columns that
    each of its tables has, and which names became columns, only the user knows.
    """
    for rule in rules:
        if not any(map(rule.rules, sections)):
            kept = f"[{', '.join(_AGGREGATES[rule.method])}]"
            names = ", ".join(f"{name}: {kept}" for name in rule.metrics) or kept
            yield (
                f"aggregation {rule} is for names that fit {rule.pattern}; add {names} to the "
                "aggregates of policies whose tables have such columns"
            )
        if rule.method in _CHANGED:
            yield f"aggregation {rule}: {rule.method} {_CHANGED[rule.method]}"


def table_patterns(regex: str) -> tuple[str, ...]:
    """
    The table patterns, one for each alternative, that together fit the same names as a regular expression that is
    searched for; none if there is no exact translation.
    """
    alternatives: list[list[re.Match[str]]] = [[]]
    for token in _TOKEN.finditer(regex):
        if token["literal"] == "|":
            alternatives.append([])
        else:
            alternatives[-1].append(token)
    try:
        found = tuple(dict.fromkeys(text for tokens in alternatives for text in _expanded(tokens)))
    except ValueError:
        return ()
    return found if len(found) <= _MOST and all(found) else ()


def _expanded(tokens: Sequence[re.Match[str]]) -> Iterator[str]:
    """
    The table patterns of a sequence, one for each choice of its groups; what is searched for may stand anywhere, unless
    it is anchored. Raises ValueError if it can't be expressed.
    """
    first = bool(tokens) and tokens[0]["literal"] == "^"
    last = len(tokens) > first and tokens[-1]["literal"] == "$"
    choices = map(_choices, tokens[first : len(tokens) - last])
    for chosen in itertools.islice(itertools.product(*choices), _MOST + 1):
        text = f"{'' if first else '*'}{''.join(chosen)}{'' if last else '*'}"
        yield re.sub(r"\*[*?]*", lambda match: "?" * match[0].count("?") + "*", text)


def _choices(match: re.Match[str]) -> list[str]:
    if match["any"]:
        return [_ANY[match["any"]]]
    if match["group"] is not None:
        # A group within the alternatives, or an anchor, would have met the pattern's last branch, and been refused.
        alternatives = match["group"].split("|")
        return ["".join("".join(_choices(token)) for token in _TOKEN.finditer(each)) for each in alternatives]
    text = match["escaped"] or match["single"] or match["literal"]
    if text != "." and not _LITERAL.fullmatch(text):
        raise ValueError(text)
    return ["_" if text == "." else text]


def overlap(one: str, other: str) -> bool:
    """Whether there is a name that fits both table patterns."""
    seen: set[tuple[int, int]] = set()
    waiting = [(0, 0)]
    while waiting:
        i, j = place = waiting.pop()
        a, b = one[i : i + 1], other[j : j + 1]  # Empty at the end.
        if not a and not b:
            return True
        if place not in seen:
            seen.add(place)
            if a == "*":
                waiting.append((i + 1, j))
            if b == "*":
                waiting.append((i, j + 1))
            if a and b and (a == b or {a, b} & {"*", "?"}):
                waiting.append((i + (a != "*"), j + (b != "*")))
    return False
