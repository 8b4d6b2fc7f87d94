"""
Why something is done, is blocked, is deferred or failed: a code and typed values. Nothing decides by the text.

A template names its values with their kinds, as in ``{level:table}`` or ``{rows:n row}``; ``{columns:it|them}`` is one
word or the other by how many there are. Some kinds are subjects: users who may not see one of these do not get the
reason. Subjects that a template does not name stand beside it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from string import Formatter
from typing import Any, NamedTuple

from cratedb_retention.errors import RetentionError
from cratedb_retention.model.catalog import Column, TableName
from cratedb_retention.model.duration import Duration
from cratedb_retention.model.holds import HoldKind, LegalHold
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.time import show
from cratedb_retention.model.words import plural


class Sort(Enum):
    POLICY = "policy"
    HOLD = "hold"
    HOLDER = "holder"


class Subject(NamedTuple):
    """What a reason tells of, and not every user may see."""

    sort: Sort
    name: str  # The identifier of a policy or hold; the name of a lease holder.


class Kind(NamedTuple):
    """A kind of value: its type, what makes its text, and what it is if that is a subject."""

    takes: type | tuple[type, ...]
    show: Callable[[Any], str] = str
    subject: Callable[[Any], Subject] | None = None


def _hold(hold: LegalHold) -> str:
    legal = "legal " if hold.kind is HoldKind.LEGAL else ""
    return f"{legal}hold {hold.id[:8]}" + (f" ({hold.reason})" if hold.reason else "")


def _rule(policy: Policy) -> str:
    return f"{policy.strategy} after {policy.retention_period} ({(policy.id or '')[:8]})"


def _line(error: object) -> str:
    return " ".join(str(error).split())


KINDS: Mapping[str, Kind] = {
    "": Kind(str),  # From the definition of the table or policy that the reason is about.
    "n": Kind(int, "{:,}".format),
    "g": Kind((int, float), "{:g}".format),
    "percent": Kind(float, "{:.1f} %".format),
    "quoted": Kind(str, repr),
    "names": Kind(tuple, ", ".join),
    "time": Kind((int, type(None)), show),
    "duration": Kind(Duration),
    "table": Kind(TableName),
    "column": Kind(Column, lambda column: str(column.name)),
    "type": Kind(Column, lambda column: str(column.type)),
    "policy": Kind(str, "policy {}".format, lambda value: Subject(Sort.POLICY, str(value))),
    "rule": Kind(Policy, _rule, lambda policy: Subject(Sort.POLICY, policy.id or "")),
    "hold": Kind(LegalHold, _hold, lambda hold: Subject(Sort.HOLD, hold.id)),
    "holder": Kind(str, str, lambda value: Subject(Sort.HOLDER, str(value))),
    # What the database or the program said; who carries out a policy may read it. Its own reason may have subjects.
    "reason": Kind(object),
    "error": Kind(Exception, _line),
    "raised": Kind(BaseException, repr),
    "mistake": Kind(BaseException, lambda error: f"{type(error).__name__}: {_line(error)}"),
}


_CASCADE = "cascade:policy"
_NOT_ROLLED_UP = "not rolled up into {level:table} yet"
_NO_NODE, _ON_A_NODE = "no node has the attribute {attribute}={value}", "; set node.attr.{attribute} on a node"
_RAISE = "; raise it if that is right"
_NOT_WHOLE = "time_unit: {column:column} is {column:type}, not a whole number"
_NAME_IT = "name it as time_column, with its time_unit (s or ms)"


class Why(Enum):
    """All reasons. Calling one with its values makes a :class:`Reason`."""

    # Due.
    ENDS = "ends {end:time}, kept until {due:time}"
    END = "end {first:time} to {last:time}, the last kept until {due:time}"
    NEWEST_ROW = "newest row of {newest:time}, kept until {due:time}"
    OLDER = "older than {limit:time}, kept for {period:duration}"
    OLDER_ROLLED_UP = OLDER + ", and rolled up"
    OLDER_TOO_LATE = OLDER + ", too late to be rolled up, and dropped, as the policy says (late: drop)"
    OLDER_SOME_TOO_LATE = (
        OLDER_ROLLED_UP + ", but for {late:n row} too late for that, and dropped, as the policy says (late: drop)"
    )
    ROWS_GONE = "their rows are gone, which is noted, so that late ones can be told"
    LEFT_FROZEN = "an interrupted run froze it, and nothing is about to archive it"
    RENEWED = "{first:reason}; written to since the plan was made, and decided again"
    LEVEL_NEW = "it does not exist yet"
    LEVEL_WIDER = "the source or the policy has more than before"
    LEVEL_REBASED = "a level was added or removed beneath it"
    WINDOWS_DUE = "{count:n window}, {start:time} to {end:time}: {states:names}"
    VIEW_CHANGED = "it shows each stretch of time from the finest level"

    # Blocked: others want the data, or it is not known what it is.
    LEGAL_HOLD = "{hold:hold}; it stays until that is released"
    EARLIER_HOLD = "{hold:hold}, placed on an earlier table of this name; it stays until that is released"
    HELD_WINDOWS = "{rows:n row}, in whole windows of the rollup: {hold:reason}"
    ARCHIVED_LATER = (
        "{archiver:policy} archives it after {later:duration}; deleting it after {sooner:duration} would lose it"
    )
    ARCHIVED_WHOLE = "{archiver:policy} archives whole partitions of this table; deleting rows would lose them"
    STALLED = "{stalled:policy} should {verb} this table and can't; deleting would lose what it wants"
    MISSING_SHARDS = "{count:n missing shard}; bring the lost nodes back"
    DISK_FULL = "a disk is full, so CrateDB lets nothing be written to it (blocks.read_only_allow_delete); make room"
    NO_ROWS_GO = "a disk is full, and CrateDB then lets whole partitions go, but no rows; make room"
    CLOSED = "closed, so its rows can't say how old they are; open it"
    EMPTY = "empty, so nothing says which time it covers; if nothing writes to it any more, drop it by SQL"
    UNDATED = "nothing says which time it covers (NULL, no rows, or values that are no time)"
    BEFORE_1980 = (
        "lies before 1980, if {time:column} counts {unit}, as its partition column has it; name the unit as time_unit "
        "(s or ms)"
    )
    ALL_BEFORE_1980 = "all of its data seems to be from before 1980, up to {newest:time}; {remedy:reason}"
    ALL_AHEAD = "all of its data seems to be more than 10 years ahead, from {oldest:time} on; {remedy:reason}"
    CHECK_UNIT = "is {time:column} written in the right unit? correct the data, or delete it by SQL"
    SET_UNIT = "{time:column} seems to count {counts}: set time_unit to {unit}"
    OTHER_UNIT = (
        "{time:column} seems to count {counts}, not {unit}; name a column with seconds, milliseconds or timestamps as "
        "time_column"
    )
    NEEDS_FREEZE = "before they go, partitions of a downsampled table must refuse writes; set freeze=allow"
    NEEDS_WHOLE = (
        "what is left of a window could not be told from rows that come late; delete whole partitions, or all rows"
    )
    TOO_MANY_PARTITIONS = "{due:n} partitions are due, and expected_max.partitions is {most:n}" + _RAISE
    TOO_MANY_ROWS = "{due:n} rows are due, and expected_max.rows is {most:n}" + _RAISE
    UNKNOWN_ROWS = "an unknown number of rows are due, and expected_max.rows is {most:n}" + _RAISE
    TOO_MUCH = "{due:percent} of the table is due, and expected_max.percent is {most:g}" + _RAISE
    UNKNOWN_SHARE = "an unknown share of the table is due, and expected_max.percent is {most:g}" + _RAISE
    NO_NODES = "{product} has no nodes to move partitions between; use another strategy"
    NO_NODE_WITH = _NO_NODE + " (they have {known:names})" + _ON_A_NODE
    NO_NODE_ATTRIBUTES = _NO_NODE + " (no node has any attribute)" + _ON_A_NODE
    NO_REPOSITORY = (
        "repository {repository:quoted} does not exist; create it with CREATE REPOSITORY, or correct the policy"
    )
    VIEW_TAKEN = "{view:table} exists already and is not the toolkit's view; rename or drop it"

    # Blocked: not rolled up, or not yet. The policy that rolls up is the subject of all of these.
    LATE_KEPT = (
        "{rows:n row} came after their time was rolled up and expired; kept, as the policy says (late: keep)",
        _CASCADE,
    )
    WHOLE_WINDOW = "its window in {level:table} lasts until {end:time}, and expires as a whole", _CASCADE
    SOURCE_THERE = "{source:table} still holds what it was computed from", _CASCADE
    SOURCE_OPEN = "{source:table} may still get rows of its time", _CASCADE
    NOT_ROLLED_UP = _NOT_ROLLED_UP + "; its window lasts until {end:time}", _CASCADE
    NOT_ROLLED_UP_AS = _NOT_ROLLED_UP + " ({why:reason})", _CASCADE
    NOT_ROLLED_UP_LOST = _NOT_ROLLED_UP + "; rows beneath it were deleted, and not by the toolkit", _CASCADE
    NOT_ROLLED_UP_HERE = _NOT_ROLLED_UP + "; the policy that does it is not part of this run", _CASCADE
    ROWS_LOST = (
        "{rolled:n row} rolled up into {level:table}, {left:n} left in {source:table}: rows were deleted, and not by "
        "the toolkit; the rollup stays as it is; if these deletions count, set deletions=follow"
    )
    PARTITION_CLOSED = "a partition is closed, which hides its rows; open it"
    SOURCE_BLOCKED = "its source is blocked"

    # A policy can't be applied to a table.
    NO_SUCH_TABLE = "no such table; create it, or correct or disable the policy"
    INVALID_POLICY = "the stored policy is not valid: {mistake}"
    CLOSED_TABLE = "the table is closed, so nothing can be done with its rows; open it, or disable the policy"
    FLAWED_TABLE = "{flaw}"
    UNREADABLE = "the rows of {table:table} can't be read: {error}"
    NOT_PLANNED = "cannot be planned: {error:mistake}; this is a mistake in the program, please report it"
    NO_DIRECTORY = "target_repository_name: {mistake}"
    UNARCHIVABLE = "column {column} can't be archived exactly; change its type, or disable the policy"
    NOT_COMPARABLE = "where: {column:column} is {column:type}, which can't be compared with a value"
    NO_VALUE = "where: {column:column} is {column:type}, and {value:quoted} is no {wanted}"
    NO_BOOLEAN = "where: {column:column} is {column:type}, and {value:quoted} is neither true nor false"
    NO_INSTANT = "where: {column:column} is {column:type}; {error:error}"
    SEVERAL_COLUMNS = "{role}: {name:quoted} may be {columns}; name one of them"
    NO_COLUMN = "{role}: the table has no column {name:quoted}"
    UNIT_NEEDLESS = _NOT_WHOLE + ", and needs no time_unit; leave that out"
    UNIT_OF_NO_TIME = _NOT_WHOLE + ", and can't be a time"
    UNIT_MISSING = (
        "time_column: {column:column} is {column:type}, not a timestamp; if it counts seconds or milliseconds since "
        "1970, say so by time_unit (s or ms)"
    )
    UNIT_OF_NOTHING = "time_unit: nothing says which column counts it; name that as time_column"
    NO_TIMESTAMP = "time_column: {name} is {column:type}, not a timestamp"
    NOT_PARTITIONED = (
        "partition_column: the table is not partitioned by {name:quoted}; leave it out and name the time_column to "
        "expire rows"
    )
    PARTITIONED_OTHERWISE = "partition_column: the table is not partitioned by {name:quoted}, but by {by:names}"
    NO_TIME_COLUMN = (
        "the table has no timestamp column, so nothing says how old its rows are; if a whole number counts seconds or "
        "milliseconds since 1970, name it as time_column, with its time_unit"
    )
    COMPUTED_FROM_NUMBER = "{column:column} is computed from {source}, and nothing says what that counts; " + _NAME_IT
    COMPUTED_FROM_OTHER = (
        "{column:column} is computed from {source:column}, which is {source:type}, not a timestamp; add a column with "
        "the rows' time"
    )
    SEVERAL_TIMES = "several columns could be the rows' time ({columns:names}); name one as time_column"
    NEEDS_PARTITIONS = "{strategy} works on whole partitions, and the table is not partitioned by time"
    NEEDS_PARTITION_COLUMNS = "{strategy} works on whole partitions, and {columns:names} is not a partition column"
    TIME_IS_NONE = "{column:column} is {column:type}, so it can't be told which rows are expired; name a timestamp"
    DOWNSAMPLED_ALREADY = "{other:policy} downsamples it already; remove one of them"
    TIME_UNNAMED = "nothing says which column is the rows' time; name one as time_column"
    NO_ROLLUP = "{there:table} exists already and is no rollup; rename it"
    OTHER_SOURCE = (
        "{source:table} is not the table that its rollups were made from: it was dropped and created again, or "
        "restored or copied; if they belong together, run `cratedb-retention accept-table`; otherwise drop the rollups"
        " with drop_rollups of the Python library"
    )
    MADE_OTHERWISE = (
        "{level:table} was made from {source:table} by its time column {time} in time zone {zone}, and none of these "
        "can be changed; change the policy or the column back, or drop the rollups with drop_rollups of the Python "
        "library"
    )
    AT_LEVEL = "{level:table}: {why:reason}"
    NOT_GROUPABLE = "dimensions: rows can't be grouped by {column:column} ({column:type}); exclude it"
    NOT_A_NUMBER = "metrics: {column:column} is {column:type}, not a number"
    LEFT_OUT = (
        "neither a dimension nor a metric: {columns:names}; leaving {columns:it|them} out would merge series that "
        "differ in nothing else; name {columns:it|them} in exclude, or all dimensions in dimensions"
    )
    NO_SERIES = "counters: {name:quoted} is no dimension with texts; there are: {known:names}"
    NO_METRIC = "{name:quoted} is no metric of it; they are: {known:names}"
    NAMED_TWICE = "two columns of its rollups would be named {name}; rename or exclude the source's column"
    TOO_WIDE = (
        "{level:table} would have {columns:n} columns for {metrics:n} metrics, and {product} takes {most:n} in a "
        "table; keep fewer aggregates of each metric, exclude some metrics"
    )
    TOO_WIDE_NOW = TOO_WIDE + ", or set a higher mapping.total_fields.limit for that table"
    SERIES_MIXED = (
        "{rows:n row} of {source:table} differ from others of the same time and series only in what would be left out "
        "({columns:names}); name that in exclude, or all dimensions in dimensions"
    )
    NOT_SMALLER = (
        "{level:table} would have {groups:n} rows for the newest {rows:n row} of {source:table}, since each value of a"
        " dimension is a series of its own: {causes:names}; leave such columns out by exclude, or name all dimensions "
        "in dimensions"
    )

    # Deferred, or failed.
    LOCKED = "{holder:holder} runs this policy"
    LEVELS_LOCKED = "{holder:holder} runs {cascade:policy}, which rolls up the table"
    HOLD_PLACED = "a hold was placed since the plan was made", "hold:hold"
    LEASE_LOST = "{holder:holder} has it now"
    SKIPPED = "skipped: {cause}"
    FAILED = "{error:error}"
    ENDED_EARLY = "ended early: {error:raised}"

    # Warnings.
    AHEAD_OF_CUTOFF = (
        "{table:table}: holds data of {newest:time}, after the cutoff {cutoff:time}; are the clocks right?"
    )
    ALL_EXPIRED = (
        "{table:table}: everything that {expiring:policy} covers is expired, the newest of it ends {end:time}; has "
        "data stopped arriving, or is the cutoff wrong?"
    )
    EMPTY_PARTITIONS = (
        "{table:table}: {count:n partition} {count:is|are} empty, and {count:keeps its|keep their} shards "
        "({partitions}); if nothing writes to {count:it|them} any more, drop {count:it|them} by SQL"
    )
    FROZEN_BEFORE = (
        "{table:table}: {partition} refuses writes; an interrupted run had frozen it in an earlier table of this name; "
        'if it is to take writes, SET ("blocks.write" = false) for it, or, if this is the same table, run '
        "`cratedb-retention accept-table`"
    )

    # Contradictions of policies.
    KEEPS_NOTHING = "{one:rule} keeps nothing: its retention period is {period:duration}"
    SAME_DELETED = "{one:rule} and {other:rule} delete the same data; one of them is enough"
    SAME_MOVED = "{one:rule} and {other:rule} move the same data to different nodes at the same time"
    TAKEN_BEFORE = "{one:rule} takes the data before {other:rule} gets to it"
    DELETED_BEFORE = "{one:rule} would delete the data before {other:rule} archives it, and is blocked"
    TOO_LATE = "{late:rule} comes too late: {early:rule} has taken the data by then"
    DONE_ALREADY = "{other:policy} does {strategy} there already, after {period:duration}"
    LARGE_ROLLUP = (
        "{level:table} has {groups:n} rows for {rows:n} of {source:table}; exclude dimensions whose values hardly "
        "recur ({dimensions:names}), choose a longer first level, or name all dimensions in dimensions if that is "
        "meant"
    )

    # What stands in place of a reason with a subject that the reader does not see.
    NOT_SAID = "kept by a hold or a policy that this token does not see"

    def __init__(self, template: str, *unsaid: str) -> None:
        self.parts: list[tuple[str, str, Kind, str]] = []  # A literal, then a value by name and kind, and its noun.
        self.kinds: dict[str, Kind] = {}
        for literal, name, spec, _ in Formatter().parse(template):
            kind, _, noun = ("", "", spec) if spec and "|" in spec else (spec or "").partition(" ")
            self.parts.append((literal, name or "", KINDS[kind], noun))
            self.kinds.update({name: KINDS[kind]} if name and "|" not in noun else {})
        self.kinds.update((name, KINDS[kind]) for name, kind in (text.split(":") for text in unsaid))

    @property
    def code(self) -> str:
        """Its name in JSON and in the audit log: ``no-such-table``."""
        return self.name.lower().replace("_", "-")

    def __call__(self, **values: Any) -> Reason:
        """A reason; a TypeError if a value is missing, unknown, or of another type than its kind takes."""
        if values.keys() != self.kinds.keys():
            raise TypeError(f"{self.name} has the values {sorted(self.kinds)}, not {sorted(values)}")
        for name, value in values.items():
            if not isinstance(value, self.kinds[name].takes):
                raise TypeError(f"{self.name}: {name} can't be a {type(value).__name__}")
        return Reason(self, values)


def _shown(value: Any, kind: Kind, noun: str, this: str | None) -> str:
    if "|" in noun:
        one, several = noun.split("|")
        return one if value == 1 or (isinstance(value, tuple) and len(value) == 1) else several
    if noun:
        return plural(value, noun)
    if isinstance(value, Reason):
        return value.about(this)
    if this is not None and kind.subject is not None and kind.subject(value) == Subject(Sort.POLICY, this):
        return "this policy" if kind is KINDS["policy"] else kind.show(value).replace(f"({this[:8]})", "(this policy)")
    return kind.show(value) if value is not None or kind is KINDS["time"] else ""


@dataclass(frozen=True)
class Reason:
    """A reason with its values; equal to another one with the same. ``str`` of it is its text."""

    why: Why
    values: Mapping[str, Any]

    @property
    def code(self) -> str:
        """What tells it from other reasons, for programs; of an error the kind of error: ``disk-full``."""
        error = self.values.get("error")
        if self.why is Why.FAILED and error is not None:
            return "".join(f"-{c.lower()}" if c.isupper() else c for c in type(error).__name__).lstrip("-")
        return self.why.code

    @cached_property
    def subjects(self) -> frozenset[Subject]:
        found: set[Subject] = set()
        for name, value in self.values.items():
            subject = self.why.kinds[name].subject
            found.update({subject(value)} if subject else ())
            inner = getattr(value, "why", None) if isinstance(value, Exception) else value
            found.update(inner.subjects if isinstance(inner, Reason) else ())
        return frozenset(found)

    def about(self, this: str | None) -> str:
        """Its text, with a policy as "this policy" rather than by its identifier."""
        parts = self.why.parts
        return "".join(text + _shown(self.values.get(name), kind, noun, this) for text, name, kind, noun in parts)

    @cached_property
    def _text(self) -> str:
        return self.about(None)

    def __str__(self) -> str:
        return self._text

    def __hash__(self) -> int:
        return hash((self.why, self._text))


def failure(error: BaseException) -> Reason:
    """What went wrong, as a reason; what is no error of this toolkit ended a run early."""
    return Why.FAILED(error=error) if isinstance(error, RetentionError) else Why.ENDED_EARLY(error=error)


def write_subjects(reason: Reason) -> str | None:
    """The subjects of a reason for the audit log, as :func:`read_subjects` reads them; None if it has none."""
    found = sorted((subject.sort.value, subject.name) for subject in reason.subjects)
    return json.dumps(found) if found else None


def read_subjects(text: str | None) -> frozenset[Subject]:
    return frozenset(Subject(Sort(sort), name) for sort, name in json.loads(text or "[]"))
