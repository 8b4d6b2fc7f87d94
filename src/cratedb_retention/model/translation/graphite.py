"""
Converts Graphite's configuration to policies: each section of ``storage-schemas.conf`` becomes a policy, or one for
each alternative of its pattern; ``storage-aggregation.conf`` determines the aggregates.

Regular expressions on dotted names, such as ``^servers\\.www.*\\.busy$``, become table patterns only if the conversion
is exact: a pattern that matches more tables would expire the wrong data. The dots between the parts of a name become
underscores, since names of tables in CrateDB contain no dots.

Sources of the rules: "Configuring Carbon" in Graphite's documentation, and whisper's ``parseRetentionDef``.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.translation import Archive, Translated, Translation, Wanted, kept_for, length, make_cascade

# whisper accepts any prefix of these words; the first match counts.
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
    "avg_zero": "counts missing values as 0: divide the sum by the number of values that a bucket should have",
    "absmax": "has to be computed in queries, as the greater one of abs(min) and abs(max)",
    "absmin": "cannot be computed from min and max if values have both signs",
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
# The maximum number of alternatives.
_MOST = 50


@dataclass
class Section:
    """A section of a file; the names of its settings are in lower case."""

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
        """The last parts of the names that it matches; ``*``: all; empty: its pattern is more complex."""
        match = _LAST_PART.fullmatch(self.pattern)
        return tuple(match["names"].split("|")) if match else ("*",) if self.pattern in _EVERYTHING else ()

    @property
    def missing(self) -> list[str]:
        """The required settings that it lacks; if there are any, Carbon skips it."""
        return [key for key in ("pattern", "retentions") if not self.values.get(key)]

    def rules(self, section: Section) -> bool:
        """Whether it applies to all names of another section."""
        endings = tuple(rf"\.{name}$" for name in self.metrics)
        return "*" in self.metrics or self.pattern == section.pattern or section.pattern.endswith(endings)

    def __str__(self) -> str:
        return f"section [{self.name}]"


def _parse_sections(text: str, file: str) -> list[Section]:
    """Read one of Carbon's files; raises InvalidInput with file and line."""
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
            what = "neither a section nor a setting" if sections else "a setting before the first section"
            raise InvalidInput(f"{file}, line {number}", what, "write [name], and below it key = value")
        sections[-1].values[key.strip().lower()] = value[0].strip()
    if not sections:
        raise InvalidInput(file, "has no section", "write [name], and below it pattern = and retentions =")
    return sections


def translate_graphite(
    schemas: str, aggregation: str | None, wanted: Wanted, files: tuple[str, str] = ("schemas", "aggregation")
) -> Translation:
    """
    Translate the texts of ``storage-schemas.conf`` and ``storage-aggregation.conf``, whose names are for messages;
    raises InvalidInput with the invalid section and the reason.
    """
    sections = _parse_sections(schemas, files[0])
    rules = [] if aggregation is None else _used(_parse_sections(aggregation, files[1]))
    chosen = _chosen(sections, wanted, files[0])
    policies: list[Translated] = []
    before: list[tuple[str, str | None]] = []
    for section in (each for each in sections if not each.missing):
        own = wanted.table_name if section in chosen else None
        # None stands for a name that the user has to fill in.
        patterns: Sequence[str | None] = [own] if own else table_patterns(section.pattern) or [None]
        for pattern in patterns:
            if section in chosen:
                policies.append(_policy(section, pattern, before, rules, wanted))
            before.append((section.name, pattern))
    factors = dict.fromkeys(rule.values.get("xfilesfactor", "0.5") for rule in rules)
    given = f" ({', '.join(factors)})" if factors else ""
    notes = (
        "Dots in Graphite's names are assumed to be underscores in the names of tables.",
        f"xFilesFactor{given} has no counterpart: a bucket is computed from the existing rows, and counts them; "
        "require a minimum count in your queries.",
    )
    warnings = [f"{each} has no {' and no '.join(each.missing)}, and is skipped" for each in chosen if each.missing]
    return Translation(tuple(policies), notes, (*warnings, *_unapplied(rules, sections)))


def _chosen(sections: Sequence[Section], wanted: Wanted, file: str) -> list[Section]:
    known = [section.name for section in sections]
    for name in wanted.sections:
        if name not in known:
            raise InvalidInput(f"section [{name}]", f"not in {file}", f"available: {', '.join(known)}")
    chosen = [section for section in sections if not wanted.sections or section.name in wanted.sections]
    if wanted.table_name and len(chosen) != 1:
        raise InvalidInput("--table-name", f"{len(chosen)} sections cannot have one table", "choose one with --section")
    return chosen


def _policy(
    section: Section,
    pattern: str | None,
    before: Sequence[tuple[str, str | None]],
    rules: Sequence[Section],
    wanted: Wanted,
) -> Translated:
    """The policy of a section on one table pattern; ``before`` has the previous sections with their patterns."""
    text = section.values["retentions"]
    raw, *coarser = parse_retentions(text, str(section))
    cascade = make_cascade(str(section), raw.retention, coarser, wanted.rounding)
    policy = cascade.policy(pattern, wanted)
    notes = [f"[{section.name}] pattern = {section.pattern}", f"retentions = {text}"]
    warnings = list(cascade.warnings)
    if cascade.levels:
        notes += [f"Of the raw rows, Graphite kept one for each {length(raw.seconds)}.", *cascade.notes]
        if rules:  # The first rule that applies to all names of a section counts; else the average.
            kept = next((_AGGREGATES[rule.method] for rule in rules if rule.rules(section)), ["avg"])
            policy["aggregates"] = {"*": kept}
    if pattern is None:
        warnings.append(f"{section}: the pattern {section.pattern} is not a table pattern; fill in the table's name")
    elif not wanted.table_name:
        # The matches of a section without a table pattern are unknown.
        others = [f"[{name}]" for name, other in before if other is None or overlap(pattern, other)]
        if others:
            policy["enabled"] = False
            warnings.append(
                f"{section}: disabled, since it also matches tables of {', '.join(dict.fromkeys(others))}. In Graphite "
                "the first section counts, but here each policy applies; name its tables, and enable it"
            )
    policy["description"] = f"Graphite [{section.name}] {text}"
    return Translated(policy, tuple(notes), tuple(warnings))


def parse_retentions(text: str, where: str) -> list[Archive]:
    """
    Read ``10s:6h,1m:7d`` or the old ``60:1440`` (seconds per point, number of points), finest first; raises
    InvalidInput with the invalid part. A year, 365 days in Graphite, becomes a calendar year, which is never shorter.
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
            raise InvalidInput(at, "keeps no points", _REMEDY)
        years = count // _UNITS["years"] if unit == "years" else 0
        archives.append(Archive(seconds=seconds, retention=kept_for(count, years), where=at))
    return sorted(archives, key=lambda archive: archive.seconds)


def _read(text: str, where: str, bare: int = 1) -> tuple[int, str]:
    """Seconds, and the unit; ``bare`` is the unit, in seconds, of a number without one."""
    match = _PART.fullmatch(text.strip())
    unit = next((word for word in _UNITS if match and match[2] and word.startswith(match[2])), "")
    if match is None or (match[2] and not unit):
        raise InvalidInput(where, f"{text.strip()!r} is not a length of time", _REMEDY)
    return int(match[1]) * (_UNITS[unit] if unit else bare), unit


def _used(rules: Sequence[Section]) -> Sequence[Section]:
    """The rules that can match: those up to the first that matches all names."""
    for number, rule in enumerate(rules, start=1):
        if rule.method not in _AGGREGATES:
            known = ", ".join(_AGGREGATES)
            raise InvalidInput(f"{rule}, aggregationMethod {rule.method!r}", "unknown", f"available: {known}")
        if "*" in rule.metrics:
            return rules[:number]
    return rules


def _unapplied(rules: Sequence[Section], sections: Sequence[Section]) -> Iterator[str]:
    """
    Warnings about rules for some names of a section, and about methods without an exact counterpart. A policy may only
    name columns that each of its tables has, and only the user knows which names became columns.
    """
    for rule in rules:
        if not any(map(rule.rules, sections)):
            kept = f"[{', '.join(_AGGREGATES[rule.method])}]"
            names = ", ".join(f"{name}: {kept}" for name in rule.metrics) or kept
            yield (
                f"aggregation {rule} applies to names that match {rule.pattern}; add {names} to the "
                "aggregates of policies whose tables have such columns"
            )
        if rule.method in _CHANGED:
            yield f"aggregation {rule}: {rule.method} {_CHANGED[rule.method]}"


def table_patterns(regex: str) -> tuple[str, ...]:
    """
    The table patterns, one for each alternative, that together match the same names as a regular expression, which is
    not anchored; empty if there is no exact conversion.
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
    The table patterns of a sequence, one for each combination of its groups; unless it is anchored, it may match
    anywhere in a name. Raises ValueError if it cannot be expressed.
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
        # Nested groups and anchors are matched by the pattern's last branch, and rejected.
        alternatives = match["group"].split("|")
        return ["".join("".join(_choices(token)) for token in _TOKEN.finditer(each)) for each in alternatives]
    text = match["escaped"] or match["single"] or match["literal"]
    if text != "." and not _LITERAL.fullmatch(text):
        raise ValueError(text)
    return ["_" if text == "." else text]


def overlap(one: str, other: str) -> bool:
    """Whether some name matches both table patterns."""
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
