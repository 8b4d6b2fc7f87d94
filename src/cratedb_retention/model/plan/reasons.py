"""
Reasons why an action is due, blocked, deferred or failed: a code and typed values. No decision depends on the text.

A template names its values with their kinds, as in ``{level:table}`` or ``{rows:n row}``; ``{columns:it|them}`` chooses
a word by the number of values. Values of some kinds are subjects: users who may not see one of them do not get the
reason. Subjects that a template does not name are listed beside it.
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
from cratedb_retention.model.size import Size
from cratedb_retention.model.time import show
from cratedb_retention.model.words import plural


class Sort(Enum):
    POLICY = "policy"
    HOLD = "hold"
    HOLDER = "holder"


class Subject(NamedTuple):
    """An object that a reason is about, and that not every user may see."""

    sort: Sort
    name: str  # The identifier of a policy or hold; the name of a lease holder.


class Kind(NamedTuple):
    """A kind of value: its type, its text, and the subject that it stands for, if any."""

    takes: type | tuple[type, ...]
    show: Callable[[Any], str] = str
    subject: Callable[[Any], Subject] | None = None


def _hold(hold: LegalHold) -> str:
    legal = "legal " if hold.kind is HoldKind.LEGAL else ""
    return f"{legal}hold {hold.id[:8]}" + (f" ({hold.reason})" if hold.reason else "")


def _rule(policy: Policy) -> str:
    return f"{policy.strategy} {policy.when} ({(policy.id or '')[:8]})"


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
    "size": Kind(Size),
    "table": Kind(TableName),
    "column": Kind(Column, lambda column: str(column.name)),
    "type": Kind(Column, lambda column: str(column.type)),
    "policy": Kind(str, "policy {}".format, lambda value: Subject(Sort.POLICY, str(value))),
    "rule": Kind(Policy, _rule, lambda policy: Subject(Sort.POLICY, policy.id or "")),
    "hold": Kind(LegalHold, _hold, lambda hold: Subject(Sort.HOLD, hold.id)),
    "holder": Kind(str, str, lambda value: Subject(Sort.HOLDER, str(value))),
    # Text of the database or the program, visible to all who may see the policy. A nested reason may have subjects.
    "reason": Kind(object),
    "error": Kind(Exception, _line),
    "raised": Kind(BaseException, repr),
    "mistake": Kind(BaseException, lambda error: f"{type(error).__name__}: {_line(error)}"),
}


_CASCADE = "cascade:policy"
_NOT_ROLLED_UP = "not rolled up into {level:table} yet"
_NO_NODE, _ON_A_NODE = "no node has the attribute {attribute}={value}", "; set node.attr.{attribute} on a node"
_ACCEPT = "accept it for one run (`cratedb-retention run --accept`)"
_RAISE = "; if this is intended, raise the limit, or " + _ACCEPT
_NOT_WHOLE = "time_unit: {column:column} is {column:type}, not a whole number"


class Why(Enum):
    """All reasons. Calling one with its values makes a :class:`Reason`."""

    # Due.
    ENDS = "ends {end:time}, kept until {due:time}"
    END = "end {first:time} to {last:time}, the last kept until {due:time}"
    NEWEST_ROW = "newest row of {newest:time}, kept until {due:time}"
    OLDER = "older than {limit:time}, kept for {period:duration}"
    OLDER_ROLLED_UP = OLDER + ", and rolled up"
    OLDER_TOO_LATE = OLDER + "; late rows, dropped as the policy states (late: drop)"
    OLDER_SOME_TOO_LATE = OLDER_ROLLED_UP + ", except {late:n late row}, dropped as the policy states (late: drop)"
    OVER_BUDGET = (
        "{size} in {tables:n table}, more than max_size {budget:size}; the oldest go first, up to {end:time}, and none "
        "younger than min_retention {floor:duration}"
    )
    ROWS_GONE = "their source rows are gone; this is recorded so that late rows can be recognized"
    ARCHIVE_ENDS = "data ends {end:time}, archived until {due:time}"
    RECOVERABLE_ENDS = "deleted, and recoverable until {until:time}"
    LEFT_FROZEN = "frozen by an interrupted run, and no task archives it"
    RENEWED = "{first:reason}; written to since the plan was made, and planned again"
    LEVEL_NEW = "it does not exist yet"
    LEVEL_WIDER = "the source or the policy has additional columns"
    LEVEL_REBASED = "a finer level was added or removed"
    WINDOWS_DUE = "{count:n window}, {start:time} to {end:time}: {states:names}"
    VIEW_CHANGED = "it shows each time range at the finest level available"

    # Blocked: the data is protected or needed by another policy, or its time is unknown.
    LEGAL_HOLD = "{hold:hold}; protected until the hold is released"
    EARLIER_HOLD = "{hold:hold}, placed on an earlier table of this name; protected until the hold is released"
    HELD_WINDOWS = "{rows:n row}, in whole windows of the rollup: {hold:reason}"
    ARCHIVED_LATER = (
        "{archiver:policy} archives it after {later:duration}; deleting it after {sooner:duration} would lose it"
    )
    ARCHIVED_WHOLE = "{archiver:policy} archives whole partitions of this table; deleting rows would lose them"
    STALLED = "{stalled:policy} should {verb} this table but cannot; deleting would lose its data"
    MISSING_SHARDS = "{count:n missing shard}; bring the lost nodes back"
    DISK_FULL = "a disk is full, so CrateDB rejects writes (blocks.read_only_allow_delete); free disk space"
    NO_ROWS_GO = "a disk is full, so CrateDB can drop whole partitions but not delete rows; free disk space"
    CLOSED = "partition is closed; open it so that its age can be determined"
    LEFT_CLOSED = "closed by an interrupted run; this run opens it again, and the next one decides"
    EMPTY = "empty, so its time range is unknown; if it is no longer written to, drop it by SQL"
    UNDATED = "its time range is unknown (NULL, no rows, or invalid times)"
    BEFORE_1980 = "before 1980, if {time:column} counts {unit} as its partition column implies; set time_unit (s or ms)"
    ALL_BEFORE_1980 = "all of its data appears to be from before 1980, up to {newest:time}; {remedy:reason}"
    ALL_AHEAD = "all of its data appears to be more than 10 years ahead, from {oldest:time} on; {remedy:reason}"
    CHECK_UNIT = "check the unit of {time:column}; correct the data, or delete it by SQL"
    SET_UNIT = "{time:column} appears to count {counts}; set time_unit to {unit}"
    OTHER_UNIT = (
        "{time:column} appears to count {counts}, not {unit}; set time_column to a column with seconds, milliseconds or"
        " timestamps"
    )
    NEEDS_FREEZE = "partitions of a downsampled table must be frozen before they are dropped; set freeze=allow"
    NEEDS_WHOLE = (
        "the remaining rows of a window would be indistinguishable from late rows; delete whole partitions, or all rows"
    )
    NOT_RECOVERABLE = (
        "recoverable: only whole partitions are archived, but here rows are deleted one by one; partition the table by "
        "time, name only partition columns in where, or unset recoverable"
    )
    TOO_MANY_PARTITIONS = "{due:n} partitions are due, but expected_max.partitions is {most:n}" + _RAISE
    TOO_MANY_ROWS = "{due:n} rows are due, but expected_max.rows is {most:n}" + _RAISE
    UNKNOWN_ROWS = "an unknown number of rows is due, but expected_max.rows is {most:n}" + _RAISE
    TOO_MUCH = "{due:percent} of the table is due, but expected_max.percent is {most:g}" + _RAISE
    UNKNOWN_SHARE = "an unknown share of the table is due, but expected_max.percent is {most:g}" + _RAISE
    BUDGET_NEEDS_PARTITIONS = (
        "max_size works on whole partitions, but here rows are deleted one by one; partition the table by time, name "
        "only partition columns in where, or remove max_size"
    )
    BUDGET_EXCEEDED = (
        "{size} would be left in {tables:n table}, more than max_size {budget:size}: the rest is younger than "
        "min_retention {floor:duration}, under a legal hold, of unknown age, or blocked; raise max_size, or lower "
        "min_retention"
    )
    SIZES_UNKNOWN = (
        "max_size has no effect: {product} does not tell the size of {count:n partition}; only the retention period "
        "counts"
    )
    FAR_MORE = (
        "{due} are due, {share:percent} of the data; of these, {early} had expired before the last run of {last:time}, "
        "by the present policy, and stayed; {usual}; check what changed: the policy, its tables, or the times in "
        "the data; if this is intended, " + _ACCEPT
    )
    CLOCK_AHEAD = (
        "{due} are due, {share:percent} of the data, but no run took place and no data arrived between {last:time} and "
        "the cutoff {cutoff:time}; check the clock; if this is intended, " + _ACCEPT
    )
    NO_NODES = "{product} has no nodes to move partitions between; use another strategy"
    NOT_COMPACTED = "{product} cannot compact partitions; use another strategy"
    NO_NODE_WITH = _NO_NODE + " (they have {known:names})" + _ON_A_NODE
    NO_NODE_ATTRIBUTES = _NO_NODE + " (no node has any attribute)" + _ON_A_NODE
    NO_REPOSITORY = (
        "repository {repository:quoted} does not exist; create it with CREATE REPOSITORY, or correct the policy"
    )
    VIEW_TAKEN = "{view:table} already exists and is not the toolkit's view; rename or drop it"

    # Blocked: an archive whose period is over.
    ARCHIVE_STAYS = "archive not deleted: {why:reason}"
    IN_TABLE = "its partition is in the table, and needs it until it is archived again or deleted"
    BEING_DROPPED = "its partition is being dropped from the table"
    BEING_RESTORED = "its partition is being restored; if that was interrupted, restore it again"
    ARCHIVED_LONGER = "{archiver:policy} keeps archives of this data for {period:duration}"
    ARCHIVE_NOT_ROLLED_UP = (
        "not rolled up into {level:table}; restore it, or delete it (`cratedb-retention delete-snapshots`)",
        _CASCADE,
    )
    EARLIER_STAYS = "snapshot {earlier} of the same partition, whose rows it contains as well, is not deleted"

    # Blocked: not rolled up, or not yet. The policy that rolls up is the subject of all of these.
    LATE_KEPT = "{rows:n late row}; kept, as the policy states (late: keep)", _CASCADE
    WHOLE_WINDOW = "its window in {level:table} lasts until {end:time}, and expires as a whole", _CASCADE
    SOURCE_THERE = "{source:table} still has the rows that it was computed from", _CASCADE
    SOURCE_OPEN = "{source:table} may still receive rows for its time range", _CASCADE
    NOT_ROLLED_UP = _NOT_ROLLED_UP + "; its window lasts until {end:time}", _CASCADE
    NOT_ROLLED_UP_AS = _NOT_ROLLED_UP + " ({why:reason})", _CASCADE
    NOT_ROLLED_UP_LOST = _NOT_ROLLED_UP + "; source rows were deleted, but not by the toolkit", _CASCADE
    NOT_ROLLED_UP_HERE = _NOT_ROLLED_UP + "; the policy that rolls up is not part of this run", _CASCADE
    ROWS_LOST = (
        "{rolled:n row} rolled up into {level:table}, but {left:n} left in {source:table}: rows were deleted, but not "
        "by the toolkit; the rollup is unchanged; set deletions=follow to apply these deletions to it"
    )
    PARTITION_CLOSED = "a partition is closed, so its rows cannot be read; open it"
    SOURCE_BLOCKED = "its source is blocked"

    # A policy can't be applied to a table.
    NO_SUCH_TABLE = "no such table; create it, or correct or disable the policy"
    INVALID_POLICY = "the stored policy is invalid: {mistake}"
    CLOSED_TABLE = "the table is closed, so its rows cannot be read or changed; open it, or disable the policy"
    FLAWED_TABLE = "{flaw}"
    UNREADABLE = "cannot read the rows of {table:table}: {error}"
    NOT_PLANNED = "cannot be planned: {error:mistake}; this is a bug in the program, please report it"
    READ_ONLY_LEVEL = "a rollup must stay writable; set read_only to false"
    NO_DIRECTORY = "target_repository_name: {mistake}"
    UNARCHIVABLE = "column {column} cannot be archived exactly; change its type, or disable the policy"
    NOT_COMPARABLE = "where: {column:column} is {column:type}, which cannot be compared with a value"
    NO_VALUE = "where: {column:column} is {column:type}, but {value:quoted} is not a {wanted}"
    NO_BOOLEAN = "where: {column:column} is {column:type}, but {value:quoted} is neither true nor false"
    NO_INSTANT = "where: {column:column} is {column:type}; {error:error}"
    SEVERAL_COLUMNS = "{role}: {name:quoted} is ambiguous: {columns}; name one of them"
    NO_COLUMN = "{role}: the table has no column {name:quoted}"
    UNIT_NEEDLESS = _NOT_WHOLE + ", and needs no time_unit; remove it"
    UNIT_OF_NO_TIME = _NOT_WHOLE + ", and cannot be a time"
    UNIT_MISSING = (
        "time_column: {column:column} is {column:type}, not a timestamp; if it counts seconds or milliseconds since "
        "1970, set time_unit (s or ms)"
    )
    UNIT_OF_NOTHING = "time_unit: the column that it applies to is unknown; set time_column"
    NO_TIMESTAMP = "time_column: {name} is {column:type}, not a timestamp"
    NOT_PARTITIONED = (
        "partition_column: the table is not partitioned by {name:quoted}; remove it, and set time_column to expire rows"
    )
    PARTITIONED_OTHERWISE = "partition_column: the table is not partitioned by {name:quoted}, but by {by:names}"
    NO_TIME_COLUMN = (
        "the table has no timestamp column, so the age of its rows is unknown; if a whole number counts seconds or "
        "milliseconds since 1970, set time_column to it, and its time_unit"
    )
    COMPUTED_FROM_NUMBER = (
        "{column:column} is computed from {source}, whose unit is unknown; set time_column to {source}, and its "
        "time_unit (s or ms)"
    )
    COMPUTED_FROM_OTHER = (
        "{column:column} is computed from {source:column}, which is {source:type}, not a timestamp; add a column with "
        "the time of each row"
    )
    SEVERAL_TIMES = "several columns could be the time column ({columns:names}); set time_column to one of them"
    NEEDS_PARTITIONS = "{strategy} works on whole partitions, but the table is not partitioned by time"
    NEEDS_PARTITION_COLUMNS = "{strategy} works on whole partitions, but {columns:names} is not a partition column"
    TIME_IS_NONE = "the age of rows is unknown, since {column:column} is {column:type}; set time_column to a timestamp"
    DOWNSAMPLED_ALREADY = "{other:policy} already downsamples it; remove one of the two policies"
    TIME_UNNAMED = "the time column is unknown; set time_column"
    NO_ROLLUP = "{there:table} already exists and is not a rollup; rename it"
    OTHER_SOURCE = (
        "{source:table} is not the table that its rollups were made from: it was dropped and created again, or "
        "restored or copied; if they belong together, accept the table (`cratedb-retention accept-table`); otherwise "
        "drop the rollups with drop_rollups of the Python library"
    )
    MADE_OTHERWISE = (
        "{level:table} was made from {source:table} with time column {time} and time zone {zone}, which cannot be "
        "changed; revert the policy or the column, or drop the rollups with drop_rollups of the Python library"
    )
    AT_LEVEL = "{level:table}: {why:reason}"
    NOT_GROUPABLE = "dimensions: rows cannot be grouped by {column:column} ({column:type}); exclude it"
    NOT_A_NUMBER = "metrics: {column:column} is {column:type}, not a number"
    LEFT_OUT = (
        "neither a dimension nor a metric: {columns:names}; without {columns:it|them}, series that differ in nothing "
        "else would be merged; add {columns:it|them} to exclude, or list all dimensions in dimensions"
    )
    NO_SERIES = "counters: {name:quoted} is not a text dimension; available: {known:names}"
    NO_METRIC = "{name:quoted} is not one of its metrics; available: {known:names}"
    NAMED_TWICE = "two columns of its rollups would be named {name}; rename or exclude the source's column"
    TOO_WIDE = (
        "{level:table} would have {columns:n} columns for {metrics:n} metrics, but {product} allows {most:n} per "
        "table; keep fewer aggregates of each metric, or exclude some metrics"
    )
    TOO_WIDE_NOW = TOO_WIDE + ", or raise mapping.total_fields.limit of that table"
    SERIES_MIXED = (
        "{rows:n row} of {source:table} differ from others of the same time and series only in columns that are not "
        "dimensions ({columns:names}); add these to exclude, or list all dimensions in dimensions"
    )
    NOT_SMALLER = (
        "{level:table} would have {groups:n} rows for the newest {rows:n row} of {source:table}, since each value of a"
        " dimension is a series of its own: {causes:names}; exclude such columns, or list all dimensions in dimensions"
    )

    # Deferred, or failed.
    LOCKED = "locked by {holder:holder}"
    LEVELS_LOCKED = "{cascade:policy}, which rolls up the table, is locked by {holder:holder}"
    TABLE_LOCKED = "{other:policy}, which is for the same table, is locked by {holder:holder}"
    HOLD_PLACED = "a hold was placed since the plan was made", "hold:hold"
    LEASE_LOST = "taken over by {holder:holder}"
    SKIPPED = "skipped: {cause}"
    FAILED = "{error:error}"
    ENDED_EARLY = "ended early: {error:raised}"

    # Warnings.
    AHEAD_OF_CUTOFF = (
        "{table:table}: has data from {newest:time}, after the cutoff {cutoff:time}; check that the clocks are right"
    )
    ALL_EXPIRED = (
        "{table:table}: all data that {expiring:policy} covers is expired, the newest ends {end:time}; check that data "
        "still arrives, and that the cutoff is right"
    )
    EMPTY_PARTITIONS = (
        "{table:table}: {count:n partition} {count:is|are} empty, but {count:has|have} shards ({partitions}); if no "
        "longer written to, drop {count:it|them} by SQL"
    )
    FROZEN_BEFORE = (
        "{table:table}: {partition} is read-only; an interrupted run froze it in an earlier table of this name; "
        'to make it writable, SET ("blocks.write" = false) for it, or, if this is the same table, accept it '
        "(`cratedb-retention accept-table`)"
    )

    # Contradictions of policies.
    KEEPS_NOTHING = "{one:rule} keeps nothing: its retention period is {period:duration}; set a longer one"
    ENDS_AT_ONCE = (
        "{one:rule} keeps archives for {period:duration}: they end as soon as they are made; set a longer "
        "archive_period"
    )
    ARCHIVES_LONGER = (
        "{longer:rule} keeps archives of the same data for {period:duration}, longer than {shorter:rule}; set the same "
        "archive_period, or narrow one of them with where"
    )
    NO_EFFECT = "{late:rule} has no effect: {early:rule} has done the same by then; one of them is enough"
    SAME_DELETED = "{one:rule} and {other:rule} delete the same data; one of them is enough"
    READ_ONLY_ROWS = (
        "{one:rule} makes partitions read-only, so {other:rule} cannot delete rows in them; set read_only to false"
    )
    SAME_MOVED = (
        "{one:rule} and {other:rule} move the same data to different nodes at the same time; remove one of them"
    )
    TAKEN_BEFORE = (
        "{one:rule} removes the data before {other:rule} gets to it; remove one of them, or narrow one with where"
    )
    DELETED_BEFORE = (
        "{one:rule} would delete the data before {other:rule} archives it, and is blocked; swap the order of their "
        "retention periods"
    )
    TOO_MUCH_BEFORE = (
        "if there is too much data, {one:rule} would delete it before {other:rule} archives it, and is blocked; give "
        "the policy that archives the max_size"
    )
    TOO_LATE = "{late:rule} comes too late: {early:rule} has removed the data by then; set a shorter retention period"
    NEVER_RECOVERABLE = (
        "{late:rule} is recoverable to no effect: {early:rule} has deleted the data for good by then; set recoverable "
        "for both, or remove one of them"
    )
    DONE_ALREADY = "{other:policy} already has the strategy {strategy} there, after {period:duration}"
    LARGE_ROLLUP = (
        "{level:table} has {groups:n} rows for {rows:n} of {source:table}; exclude dimensions whose values rarely "
        "recur ({dimensions:names}), choose a longer first level, or list all dimensions in dimensions if this is "
        "intended"
    )

    # Tables beside the policies on them.
    NO_DATA_MATCHES = "no data has {where}; correct where, or delete the policy if no such data is expected"
    OLDER_UNGOVERNED = (
        "{amount} older than {period:duration}; no policy removes all of it: a policy that deletes after "
        "{period:duration} would fit"
    )
    OLDER_KEPT = (
        "{amount} older than {period:duration}; {remover:rule} keeps it longer: a retention period of "
        "{period:duration} would fit"
    )
    OLDER_DUE = (
        "{amount} older than {period:duration}; {remover:rule} removes it in its next run, unless it is blocked: see "
        "the plan (`cratedb-retention plan`)"
    )

    # Archives that are not as recorded.
    REPOSITORY_GONE = "repository {repository:quoted} does not exist, but {count:n snapshot} should be in it"
    NO_PLACE = "nothing can be archived into repository {repository:quoted}: {mistake}"
    SNAPSHOTS_GONE = (
        "{count:n snapshot} {count:is|are} not in repository {repository:quoted} any more, unless it cannot be read: "
        "{names:names}; "
        "`cratedb-retention delete-snapshots` removes {count:it|them} from the list"
    )
    SNAPSHOTS_UNKNOWN = (
        "{count:n snapshot} in repository {repository:quoted} {count:is|are} not in the toolkit's table: "
        "{names:names}; `cratedb-retention adopt-snapshots` records {count:it|them}"
    )
    LEFTOVERS = (
        "{count:n leftover} of interrupted runs or commands in repository {repository:quoted}: {names:names}; if none "
        "is active, delete {count:it|them} there"
    )

    # Replaces a reason with a subject that the reader may not see.
    NOT_SAID = "protected by a legal hold, or needed by a policy, that this token cannot see"

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
        """Make a reason; raises TypeError if a value is missing, unknown or not of the type of its kind."""
        if values.keys() != self.kinds.keys():
            raise TypeError(f"{self.name} has the values {sorted(self.kinds)}, not {sorted(values)}")
        for name, value in values.items():
            if not isinstance(value, self.kinds[name].takes):
                raise TypeError(f"{self.name}: {name} cannot be a {type(value).__name__}")
        return Reason(self, values)


# What is blocked only since earlier runs do not explain it; and what is blocked only since it is more than expected.
UNUSUAL = frozenset({Why.FAR_MORE, Why.CLOCK_AHEAD})
ACCEPTABLE = UNUSUAL | {Why.TOO_MANY_PARTITIONS, Why.TOO_MANY_ROWS, Why.UNKNOWN_ROWS, Why.TOO_MUCH, Why.UNKNOWN_SHARE}


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
    """A reason with its values, by which reasons are compared. ``str`` gives its text."""

    why: Why
    values: Mapping[str, Any]

    @property
    def code(self) -> str:
        """Identifies the reason for programs; for a failure, the kind of error: ``disk-full``."""
        error = self.values.get("error")
        if self.why is Why.FAILED and error is not None:
            return "".join(f"-{c.lower()}" if c.isupper() else c for c in type(error).__name__).lstrip("-")
        return self.why.code

    @property
    def acceptable(self) -> bool:
        """Whether it blocks only until a person accepts it for one run."""
        return self.why in ACCEPTABLE or any(
            each.acceptable for each in self.values.values() if isinstance(each, Reason)
        )

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
        """Its text, in which one policy is called "this policy" instead of its identifier."""
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
    """An error as a reason. One that is not an error of this toolkit ended a run early."""
    return Why.FAILED(error=error) if isinstance(error, RetentionError) else Why.ENDED_EARLY(error=error)


def write_subjects(reason: Reason) -> str | None:
    """The subjects of a reason as JSON for the audit log; None if it has none."""
    found = sorted((subject.sort.value, subject.name) for subject in reason.subjects)
    return json.dumps(found) if found else None


def read_subjects(text: str | None) -> frozenset[Subject]:
    return frozenset(Subject(Sort(sort), name) for sort, name in json.loads(text or "[]"))
