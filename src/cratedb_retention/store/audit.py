"""The audit log: changes of policies, runs, their steps and blocked actions. Rows are only added."""

from __future__ import annotations

import datetime as dt
import json
import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, NamedTuple

import sqlalchemy as sa

from cratedb_retention.clock import Actor, Clock
from cratedb_retention.engine.database import Database
from cratedb_retention.errors import DiskFull, RetentionError
from cratedb_retention.model.audit import ABOUT_TOKENS, OUTCOMES, Event, Outcome
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.former import present, spellings
from cratedb_retention.model.plan.plan import COUNTED, DeleteRows, DeleteSnapshot, DropArchived, DropPartitions
from cratedb_retention.model.plan.reasons import Reason, write_subjects
from cratedb_retention.model.policies.tags import TagFilter
from cratedb_retention.model.runs import COMPARED, Past, Removed
from cratedb_retention.model.time import EPOCH
from cratedb_retention.store.rows import LISTED, PAGE, Records, cut, fits

logger = logging.getLogger(__name__)
# The operations whose rows and bytes are counted; the others archive, freeze or compute.
_REMOVING = [kind.operation() for kind in COUNTED]
_DROPPING = [kind.operation() for kind in (DropPartitions, DeleteRows, DropArchived)]
# Of a policy and table, how many runs are looked at to find enough that came to their end.
_LATEST = 10
# The attributes of a policy that do not say what it removes.
_BESIDE = {"description", "enabled", "expected_max", "jitter", "misfire", "misfire_grace", "schedule", "tags"}
# How far back the newest rows are looked for, one after the other; then everywhere.
_AGES = (dt.timedelta(days=1), dt.timedelta(days=32))
_MARKED = dt.timedelta(hours=1)
_NO_PLACE = "no node has room for the shards of this month; the entries are only in the program's log"
Unplaced = Callable[[], Collection[TableName]]


_WHY = {
    "error": "The error, or the reason why it is blocked.",
    "reason": "The code of `error`: `legal-hold`, `missing-shards`, `disk-full`, ...",
    "subjects": "Policies, holds and lease holders that `error` mentions, as JSON.",
}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One row of the audit log, without its time. User and host are filled in."""

    event: Annotated[Event, "The kind of entry: about a policy, hold, restore, run or step."]
    outcome: Annotated[Outcome | None, f"The outcome: {OUTCOMES}."] = None
    table_schema: Annotated[str | None, "The schema of the table."] = None
    table_name: Annotated[str | None, "The table, or a pattern."] = None
    policy_id: Annotated[str | None, "The policy."] = None
    strategy: Annotated[str | None, "Its strategy."] = None
    tags: Annotated[tuple[str, ...] | None, "Its tags."] = None
    operation: Annotated[str | None, "The kind of step: `drop_partitions`, `snapshot_partition`, ..."] = None
    message: Annotated[str | None, "A description of what was done, and why."] = None
    why: Annotated[Reason | None, _WHY] = None
    partitions: Annotated[int | None, "Number of partitions."] = None
    rows: Annotated[int | None, "Number of rows removed, moved, archived or restored, if known."] = None
    bytes: Annotated[int | None, "Bytes on disk, if known."] = None
    duration_ms: Annotated[int | None, "Duration of the step, in milliseconds."] = None
    cutoff: Annotated[dt.datetime | None, "The instant that the run took for now."] = None
    before: Annotated[str | None, "The policy before a change, as JSON; NULL if it is too long."] = None
    after: Annotated[str | None, "The policy after a change, as JSON; NULL if it is too long."] = None
    actor: Annotated[str, "The user: of the operating system, of the pages, or an access token."] = ""
    host: Annotated[str, "The machine."] = ""
    run_id: Annotated[str | None, "The identifier of the run."] = None
    step: Annotated[int | None, "The number of the step in the run, from 1."] = None
    slot: Annotated[dt.datetime | None, "The slot of its schedule that a policy was run for."] = None


class Place(NamedTuple):
    """How far the audit log was read, newest rows first."""

    time: dt.datetime  # Of the last row that was read (aware)
    seen: int  # The number of rows of that instant that were read


class Standing(NamedTuple):
    """Since when a policy is as it is (aware)."""

    enabled: dt.datetime
    changed: dt.datetime  # When what it removes was last changed.
    replaces: bool = False  # Whether it continues a deleted one with the same strategy, tables and filter.


def place_after(rows: Sequence[Mapping[str, Any]], before: Place | None = None) -> Place:
    """The place after rows, of which there is at least one; they were read from the place ``before``."""
    last = rows[-1]["time"]
    seen = sum(row["time"] == last for row in rows)
    return Place(last, seen + (before.seen if before and before.time == last else 0))


@dataclass(frozen=True, kw_only=True)
class JournalFilter:
    """
    Selects rows of the audit log; each attribute that is set must match.

    :param tags: Only rows about policies that had these tags at that time.
    :param limited: Only rows about policies with these tags, and rows about no policy that ``actors`` wrote.
    :param limit: Maximum number of rows, newest first; ``offset``: how many of the newest to skip.
    :param after: Only the rows after this place, see :func:`place_after`. Unlike ``offset``, this costs nothing.
    :param policy_id: The beginning of a policy's identifier; ``run_id``: the beginning of a run's.
    :param table: The table's name, or schema and name separated by a dot.
    :param actor: The whole name of a user.
    :param run_ids: Whole identifiers of runs; empty: all. ``policies``: those of policies.
    :param events: Any of these; empty: all. ``without``: none of these.
    :param outcomes: Any of these; empty: all.
    :param about_tokens: Whether to include rows about access tokens.
    :param since: From this aware instant on; ``until``: before this one.
    """

    table_name: str | None = None
    policy_id: str | None = None
    run_id: str | None = None
    outcome: str | None = None
    since: dt.datetime | None = None
    event: str | None = None
    limit: int = 50
    until: dt.datetime | None = None
    tags: TagFilter = field(default_factory=TagFilter)
    limited: TagFilter = field(default_factory=TagFilter)
    actors: frozenset[str] = frozenset()
    offset: int = 0
    table: str | None = None
    actor: str | None = None
    outcomes: frozenset[str] = frozenset()
    run_ids: frozenset[str] = frozenset()
    policies: frozenset[str] = frozenset()
    events: frozenset[str] = frozenset()
    without: frozenset[str] = frozenset()
    about_tokens: bool = True
    after: Place | None = None


@dataclass(frozen=True, kw_only=True)
class Totals:
    """What the runs of a policy did together."""

    policy_id: str
    failed: int  # Steps that failed
    rows: int  # Removed or moved, if the database reports them
    bytes: int


class RunPlace(NamedTuple):
    """A run in the list of runs, whose order is that of their last entries."""

    last: dt.datetime  # The time of its last entry among those that match (aware)
    run_id: str


@dataclass(frozen=True, kw_only=True)
class RunTotals:
    """Entries of a run added up: all of them, or those about one table and policy."""

    run_id: str
    tables: int  # That it was about
    table: TableName | None = None  # The only one of them
    policy_id: str | None = None
    began: dt.datetime  # The first entry about more than a blocked action, if there is one
    ended: dt.datetime  # The last entry, likewise
    scheduled: bool  # Whether it was started by a schedule
    finished: bool  # Whether its end, or that of a slot of a schedule, is among the entries
    steps: int  # Steps that ended
    outcomes: Mapping[str, int]  # How many steps and blocked actions have an outcome, by outcome
    partitions: int  # Removed, moved or compacted, as are rows and bytes, if the database reports them
    rows: int
    bytes: int
    duration_ms: int  # Of all steps together


def reason_values(why: Reason | None) -> dict[str, str | None]:
    """A reason as its three columns."""
    values = (None, None, None) if why is None else (cut(str(why)), why.code, write_subjects(why))
    return dict(zip(_WHY, values, strict=True))


class Journal(Records):
    """Writes and reads the audit log; ``unplaced`` returns the tables with new shards for which no node has room."""

    def __init__(
        self, database: Database, table: sa.Table, clock: Clock, actor: Actor, unplaced: Unplaced = tuple
    ) -> None:
        super().__init__(database, table, clock, actor, self.write)
        self.table = TableName(str(table.schema), table.name)
        self._unplaced, self._waits = unplaced, False
        self._noted: list[dict[str, Any]] = []
        self._noting = threading.Lock()

    def note(self, *entries: Entry) -> None:
        """Keep rows, with the present time, for the next call of :meth:`write`, which adds all in one statement."""
        rows = [*map(self._row, entries)]
        with self._noting:
            self._noted += rows

    def write(self, *entries: Entry, later: bool = False) -> None:
        """
        Add rows, and those that :meth:`note` kept.

        :param later: Whether the rows may wait for a later call if no node has room for the shards of a new month.
        :raises DiskFull: if no node has room and the rows may not wait; they are logged, and added once there is room.
        """
        with self._noting:
            noted, self._noted = self._noted, []
        rows = [*noted, *map(self._row, entries)]
        kept = noted
        try:
            if later and self._waits and self._has_no_place():
                kept = rows
            elif rows:
                self._database.execute(sa.insert(self._table), rows)
                kept, self._waits = [], False
        except RetentionError as error:
            if not self._has_no_place():
                raise
            kept, self._waits = rows, True
            if not later:
                for row in rows:
                    known = {name: value for name, value in row.items() if value is not None}
                    logger.warning("not in the audit log: %s", json.dumps(known, default=str))
                raise DiskFull(f"table {self.table}", _NO_PLACE, "free disk space on the nodes") from error
            logger.warning("no node has room for this month's shards of %s; its entries are written later", self.table)
        finally:
            with self._noting:
                self._noted[:0] = kept

    def _has_no_place(self) -> bool:
        return self.table in self._unplaced()

    def _row(self, entry: Entry) -> dict[str, Any]:
        row = {key: cut(str(value)) if isinstance(value, str) else value for key, value in vars(entry).items()}
        del row["why"]
        row |= reason_values(entry.why)
        # A truncated policy would be invalid JSON.
        row |= {key: None for key in ("before", "after") if not fits(getattr(entry, key) or "")}
        tags = None if entry.tags is None else list(entry.tags)
        return {**row, "tags": tags, "time": self._clock.now(), "actor": self._actor.name, "host": self._actor.host}

    def mark(self) -> str:
        """A text that changes whenever rows are added; and at the full hour, since older rows are not counted."""
        c, hour = self._table.c, self._clock.now().replace(minute=0, second=0, microsecond=0)
        self._visible()
        recent = sa.select(sa.func.count(), sa.func.max(c.time)).where(c.time >= hour - _MARKED)
        count, last = self._database.rows(recent)[0]
        return f"{hour:%d %H} {count} {last}"

    def read(self, wanted: JournalFilter) -> list[Mapping[str, Any]]:
        """The newest rows that match, newest first."""
        return list(self.stream(wanted))

    def stream(self, wanted: JournalFilter) -> Iterator[Mapping[str, Any]]:
        """Like :meth:`read`, a page at a time."""
        self._visible()
        c, left, offset, place = self._table.c, wanted.limit, wanted.offset, wanted.after
        # Rows of one instant are in a stable order too, or paging would skip some.
        names = ("event", "run_id", "policy_id", "table_schema", "table_name", "message", "error")
        found = sa.select(*(column for column in c if column.name != "month")).where(*_conditions(c, wanted))
        found = found.order_by(c.time.desc(), c.step.desc(), *(c[name] for name in names))
        for time in self._times(wanted):
            size = PAGE
            while left and size == PAGE:
                behind = [] if place is None else [c.time <= place.time]
                skipped = offset + (place.seen if place else 0)
                page = found.where(*time, *behind).limit(min(left, PAGE)).offset(skipped)
                rows = self._database.query(page)
                for row in rows:
                    yield {**row, **{name: present(row[name]) for name in ("event", "outcome")}}
                size, left = len(rows), left - len(rows)
                place, offset = (place_after(rows, place), 0) if rows else (place, offset)
            place = None
            if not left:
                return

    def _times(self, wanted: JournalFilter) -> Iterator[list[sa.ColumnElement[bool]]]:
        """Where to look for the newest rows, one after the other: in a day, in a month, and in all before."""
        time, before = self._table.c.time, list[sa.ColumnElement[bool]]()
        for start in () if wanted.offset else self._starts(wanted, wanted.after.time if wanted.after else None):
            yield [*before, time >= start]
            before = [time < start]
        yield before

    def _starts(self, wanted: JournalFilter, before: dt.datetime | None) -> Iterator[dt.datetime]:
        """The beginnings of the last day and the last month of what is wanted, as long as more may be wanted."""
        end = min(each for each in (self._clock.now(), wanted.until, before) if each is not None)
        for age in _AGES:
            if end - EPOCH < age or (wanted.since is not None and wanted.since >= end - age):
                return
            yield end - age

    def runs(self, wanted: JournalFilter, behind: RunPlace | None = None) -> list[RunPlace]:
        """At most ``limit`` runs with matching rows, that with the latest one first, behind a place in the list."""
        c = self._table.c
        last = sa.func.max(c.time)
        found = sa.select(last.label("latest"), c.run_id).where(c.run_id.is_not(None), *_conditions(c, wanted))
        found = found.group_by(c.run_id).order_by(last.desc(), c.run_id).limit(wanted.limit)
        if behind is not None:
            same = sa.and_(last == behind.last, c.run_id > behind.run_id)
            found = found.having(sa.or_(last < behind.last, same))
        self._visible()
        for start in self._starts(wanted, behind.last if behind else None):
            rows = self._database.query(found.where(c.time >= start))
            if len(rows) == wanted.limit:
                break
        else:
            rows = self._database.query(found)
        return [RunPlace(row["latest"], row["run_id"]) for row in rows]

    def run_totals(self, wanted: JournalFilter, by_table: bool = False) -> list[RunTotals]:
        """Matching rows of runs added up, for each run, or for each table and policy in it; in the order of time."""
        c = self._table.c
        ends = _is(c.event, Event.STEP_FINISHED, Event.BLOCKED)
        removing = sa.and_(c.event == str(Event.STEP_FINISHED), c.operation.in_(_REMOVING))
        # A run writes what is blocked when it starts, long before it comes to the steps on that table.
        moving = sa.case((sa.not_(_is(c.event, Event.BLOCKED)), c.time))
        outcomes = {str(each): _total(sa.and_(ends, _is(c.outcome, each))) for each in Outcome}
        sums = {
            "steps": _total(c.event == str(Event.STEP_FINISHED)),
            "partitions": _total(removing, c.partitions),
            "rows": _total(removing, c.rows),
            "bytes": _total(removing, c.bytes),
            "duration_ms": _total(c.event == str(Event.STEP_FINISHED), c.duration_ms),
        }
        of_tables = _is(c.event, Event.STEP_STARTED, Event.STEP_FINISHED, Event.BLOCKED)
        named = [sa.case((of_tables, each)) for each in (c.table_schema, c.table_name, _full_name(c))]
        first_schema, first_name = (sa.func.min(each) for each in named[:2])
        tables = sa.func.count(sa.distinct(named[2]))
        began = sa.func.coalesce(sa.func.min(moving), sa.func.min(c.time)).label("began")
        ended = sa.func.coalesce(sa.func.max(moving), sa.func.max(c.time)).label("ended")
        slots = _total(c.event == str(Event.SLOT_STARTED)).label("slots")
        finished = _total(_is(c.event, Event.RUN_FINISHED, Event.SLOT_FINISHED)).label("finished")
        by = [c.run_id, *((c.table_schema, c.table_name, c.policy_id) if by_table else ())]
        about = (first_schema.label("first_schema"), first_name.label("first_name"), tables.label("tables"))
        counted = (total.label(name) for name, total in {**outcomes, **sums}.items())
        found = sa.select(*by, *about, began, ended, slots, finished, *counted).where(
            c.run_id.is_not(None), *_conditions(c, wanted)
        )
        found = found.group_by(*by).order_by(began, *by).limit(wanted.limit).offset(wanted.offset)
        self._visible()
        return [
            RunTotals(
                run_id=row["run_id"],
                tables=row["tables"],
                table=TableName(row["first_schema"], row["first_name"]) if row["tables"] == 1 else None,
                policy_id=row["policy_id"] if by_table else None,
                began=row["began"],
                ended=row["ended"],
                scheduled=bool(row["slots"]),
                finished=bool(row["finished"]),
                outcomes={name: int(row[name] or 0) for name in outcomes},
                **{name: int(row[name] or 0) for name in sums},
            )
            for row in self._database.query(found)
        ]

    def totals(self, since: dt.datetime) -> list[Totals]:
        """What the runs of each policy did since an aware instant: one row for each policy."""
        c = self._table.c
        removing = c.operation.in_(_REMOVING)
        counts = {
            "failed": _total(c.outcome == str(Outcome.FAILED)),
            "rows": _total(removing, c.rows),
            "bytes": _total(removing, c.bytes),
        }
        columns = (column.label(name) for name, column in counts.items())
        ended = (c.time >= since, c.policy_id.is_not(None), c.event == str(Event.STEP_FINISHED))
        self._visible()
        rows = self._database.query(sa.select(c.policy_id, *columns).where(*ended).group_by(c.policy_id))
        return [Totals(policy_id=row["policy_id"], **{name: int(row[name] or 0) for name in counts}) for row in rows]

    def pasts(
        self, removals: Collection[tuple[str, TableName]], of_archives: bool, cutoff: dt.datetime
    ) -> dict[TableName, dict[str, Past]]:
        """
        What runs with this cutoff (aware) or an earlier one removed from tables, or of their archives, by policy. The
        latest are looked for in the last month, and before that only if it has too few.

        :param removals: The policies that are asked about, with their tables.
        """
        self._visible()
        found: dict[TableName, dict[str, Past]] = {}
        for since in (self._clock.now() - _AGES[-1], EPOCH):
            known = ((table, found.get(table, {}).get(policy)) for policy, table in removals)
            missing = {table for table, past in known if past is None or not past.is_long}
            found |= self._pasts(missing, of_archives, cutoff, since) if missing else {}
        return found

    def _pasts(
        self, tables: Collection[TableName], of_archives: bool, cutoff: dt.datetime, since: dt.datetime
    ) -> dict[TableName, dict[str, Past]]:
        c = self._table.c
        names = sorted({table.name for table in tables})
        removing = c.operation == DeleteSnapshot.operation() if of_archives else c.operation.in_(_DROPPING)
        done, about = sa.and_(removing, _is(c.outcome, Outcome.DONE)), (c.table_schema, c.table_name, c.policy_id)
        of_run = (
            sa.select(
                *about,
                c.run_id,
                sa.func.max(c.cutoff).label("cutoff"),
                sa.func.max(c.time).label("ended"),
                _total(done).label("steps"),
                sa.func.sum(sa.case((done, c.partitions))).label("partitions"),
                sa.func.sum(sa.case((done, c.rows))).label("rows"),
                _total(sa.not_(_is(c.outcome, Outcome.DONE))).label("undone"),
            )
            .where(c.time >= since, c.cutoff <= cutoff, _is(c.event, Event.STEP_FINISHED))
            .where(*([c.table_name.in_(names)] if len(names) <= LISTED else []))
            .group_by(*about, c.run_id)
            .subquery()
        )
        r = of_run.c
        each = [r.table_schema, r.table_name, r.policy_id]
        place = sa.func.row_number().over(partition_by=each, order_by=[r.cutoff.desc(), r.ended.desc()])
        latest = sa.select(*r, place.label("place")).where(r.steps > 0, r.undone == 0).subquery()
        rows = self._database.query(sa.select(latest).where(latest.c.place <= _LATEST).order_by(latest.c.place))
        ended = self._ended({row["run_id"] for row in rows}, since)
        found: dict[TableName, dict[str, Past]] = {table: {} for table in tables}
        for row in (row for row in rows if row["run_id"] in ended):
            of_table = found.get(TableName(row["table_schema"], row["table_name"]))
            if of_table is None:
                continue
            number = int((row["steps"] if of_archives else row["partitions"]) or 0)
            removed = Removed(partitions=number, rows=None if row["rows"] is None else int(row["rows"]))
            past = of_table.get(row["policy_id"]) or Past(cutoff=row["cutoff"], time=row["ended"])
            of_table[row["policy_id"]] = replace(past, removed=(*past.removed, removed)[:COMPARED])
        return found

    def _ended(self, runs: Collection[str], since: dt.datetime) -> set[str]:
        """Those of some runs that came to their end: they were not killed or cancelled, and did not end early."""
        c, ended = self._table.c, set[str]()
        for start in range(0, len(runs), LISTED):
            some = sorted(runs)[start : start + LISTED]
            end = (_is(c.event, Event.RUN_FINISHED), c.error.is_(None), c.run_id.in_(some), c.time >= since)
            ended.update(row[0] for row in self._database.rows(sa.select(c.run_id).where(*end)))
        return ended

    def standings(self, policies: Mapping[str, str]) -> dict[str, Standing]:
        """Since when policies, given with their table names, are enabled and unchanged."""
        if not policies:
            return {}
        self._visible()
        c, names = self._table.c, sorted(set(policies.values()))
        about = sa.or_(c.policy_id.in_(sorted(policies)), c.table_name.in_(names))
        changes = _is(c.event, Event.POLICY_CREATED, Event.POLICY_CHANGED, Event.POLICY_DELETED)
        wanted = sa.select(self._table).where(changes, *([about] if len(policies) <= LISTED else []))
        found = defaultdict[str, Standing](lambda: Standing(EPOCH, EPOCH))
        deleted: dict[tuple[Any, ...], Standing] = {}
        for row in self._database.query(wanted.order_by(c.time)):
            policy, event, time, before, after = (row[n] for n in ("policy_id", "event", "time", "before", "after"))
            known = found[policy]
            if event == Event.POLICY_DELETED and _is_enabled(before):
                deleted[_rule(row, before)] = known
            elif event == Event.POLICY_CREATED:
                earlier = deleted.get(_rule(row, after))
                found[policy] = Standing(earlier.enabled, time, True) if earlier else Standing(time, time)
            elif event == Event.POLICY_CHANGED:
                changed = time if _removes_other_data(before, after) else known.changed
                is_new = _is_enabled(after) and not _is_enabled(before)
                found[policy] = Standing(time, changed) if is_new else known._replace(changed=changed)
        return {policy: found[policy] for policy in policies}

    def last_done(self, cutoff: dt.datetime, between: Standing | None = None) -> Past | None:
        """
        The last run, of any policies, that did everything at this cutoff (aware) or an earlier one.

        :param between: Only runs by hand, after a policy was enabled, and before it was changed.
        """
        c = self._table.c
        done = [_is(c.event, Event.RUN_FINISHED), _is(c.outcome, Outcome.DONE), c.cutoff <= cutoff]
        if between is not None:
            meanwhile = c.time.between(between.enabled, between.changed)
            done += [meanwhile, c.run_id.not_in(sa.select(c.run_id).where(_is(c.event, Event.SLOT_STARTED)))]
        self._visible()
        [(last, time)] = self._database.rows(sa.select(sa.func.max(c.cutoff), sa.func.max(c.time)).where(*done))
        return None if last is None else Past(cutoff=last, time=time)


def _rule(row: Mapping[str, Any], policy: str | None) -> tuple[Any, ...]:
    """What a policy in the audit log does, without how long it keeps data."""
    where = json.dumps(json.loads(policy or "{}").get("where") or {}, sort_keys=True)
    return row["strategy"], row["table_schema"], row["table_name"], where


def _is_enabled(policy: str | None) -> bool:
    """Whether a policy in the audit log was enabled; one that was too long for it is taken for enabled."""
    return policy is None or json.loads(policy).get("enabled") is not False


def _removes_other_data(before: str | None, after: str | None) -> bool:
    """Whether a change of a policy in the audit log was about what it removes; in doubt, it was."""
    if before is None or after is None:
        return True
    was, now = ({k: v for k, v in json.loads(each).items() if k not in _BESIDE} for each in (before, after))
    return was != now


def _total(condition: sa.ColumnElement[bool], value: Any = 1) -> sa.Function[Any]:
    return sa.func.sum(sa.case((condition, value), else_=0))


def _conditions(c: Any, wanted: JournalFilter) -> Iterator[sa.ColumnElement[bool]]:
    for name in ("table_name", "outcome", "event", "actor"):
        if (value := getattr(wanted, name)) is not None:
            yield _is(c[name], value) if name in ("outcome", "event") else c[name] == value
    if wanted.table is not None:
        yield sa.or_(c.table_name == wanted.table, _full_name(c) == wanted.table)
    yield from _among(c, wanted)
    for name in ("policy_id", "run_id"):
        # CrateDB supports no other escape character, whatever ESCAPE names.
        if (begin := getattr(wanted, name)) is not None:
            yield c[name].startswith(begin, autoescape=True, escape="\\")
    if wanted.since is not None:
        yield c.time >= wanted.since
    if wanted.until is not None:
        yield c.time < wanted.until
    if wanted.tags:
        yield _tagged(c.tags, wanted.tags)
    if wanted.limited:
        own = sa.and_(c.tags.is_(None), c.actor.in_(sorted(wanted.actors)))
        yield sa.or_(_tagged(c.tags, wanted.limited), own)


def _full_name(c: Any) -> sa.ColumnElement[str]:
    """The name of the table with its schema."""
    name: sa.ColumnElement[str] = c.table_schema.concat(".").concat(c.table_name)
    return name


def _among(c: Any, wanted: JournalFilter) -> Iterator[sa.ColumnElement[bool]]:
    """The conditions about several values of a column."""
    for column, values in ((c.outcome, wanted.outcomes), (c.event, wanted.events)):
        if values:
            yield _is(column, *values)
    for column, identifiers in ((c.run_id, wanted.run_ids), (c.policy_id, wanted.policies)):
        if identifiers:
            yield column.in_(sorted(identifiers))
    if wanted.without:
        yield sa.not_(_is(c.event, *wanted.without))
    if not wanted.about_tokens:
        yield c.event.not_in(sorted(ABOUT_TOKENS))


def _is(column: sa.ColumnElement[Any], *values: str) -> sa.ColumnElement[bool]:
    """Whether an event or outcome is one of these, by its present or a former name."""
    return column.in_(sorted({name for value in values for name in spellings(value)}))


def _tagged(tags: sa.ColumnClause[Any], wanted: TagFilter) -> sa.ColumnElement[bool]:
    """Rows without tags match no filter, since they are about no policy."""
    groups = (
        sa.and_(
            *(sa.literal(tag) == sa.any_(tags) for tag in sorted(group.wanted)),
            *(sa.not_(sa.literal(tag) == sa.any_(tags)) for tag in sorted(group.unwanted)),
            tags.is_not(None),
        )
        for group in wanted.any_of
    )
    return sa.or_(*groups)
