"""The audit log: changes of policies, runs, steps and what is blocked, with the outcome. Rows are only added."""

from __future__ import annotations

import datetime as dt
import json
import logging
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import sqlalchemy as sa

from cratedb_retention.clock import Actor, Clock
from cratedb_retention.engine.database import Database
from cratedb_retention.errors import DiskFull, RetentionError
from cratedb_retention.model.audit import ABOUT_TOKENS, OUTCOMES, Event, Outcome
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.former import present, spellings
from cratedb_retention.model.plan.plan import REMOVES_OR_MOVES
from cratedb_retention.model.plan.reasons import Reason, write_subjects
from cratedb_retention.model.policies.tags import TagFilter
from cratedb_retention.store.rows import Records, cut, fits

logger = logging.getLogger(__name__)
# The operations whose rows and bytes count: others archive, freeze or compute.
_REMOVING = [kind.operation() for kind in REMOVES_OR_MOVES]
# Stands in neither a code nor JSON.
_BETWEEN = "\x1f"
_NO_PLACE = "no node has room for the shards of this month, so that what was done is only in the program's log"
Unplaced = Callable[[], Collection[TableName]]


_WHY = {
    "error": "What went wrong, or why it is blocked.",
    "reason": "The code of `error`: `legal-hold`, `missing-shards`, `disk-full`, ...",
    "subjects": "Policies and holds of which `error` tells, and lease holders, as JSON.",
}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One row of the journal: its columns, but for the time. Who did it, and where, is filled in."""

    event: Annotated[Event, "What it is about: a policy, hold, restore, run or step."]
    outcome: Annotated[Outcome | None, f"How it ended: {OUTCOMES}."] = None
    table_schema: Annotated[str | None, "The schema of the table concerned."] = None
    table_name: Annotated[str | None, "The table concerned, or the pattern."] = None
    policy_id: Annotated[str | None, "The policy concerned."] = None
    strategy: Annotated[str | None, "Its strategy."] = None
    tags: Annotated[tuple[str, ...] | None, "Its tags."] = None
    operation: Annotated[str | None, "The kind of step: `drop_partitions`, `snapshot_partition`, ..."] = None
    message: Annotated[str | None, "What was done, and why, in words."] = None
    why: Annotated[Reason | None, _WHY] = None
    partitions: Annotated[int | None, "Partitions concerned."] = None
    rows: Annotated[int | None, "Rows removed, moved, archived or restored, as far as known."] = None
    bytes: Annotated[int | None, "Bytes on disk concerned, as far as known."] = None
    duration_ms: Annotated[int | None, "How long the step took."] = None
    cutoff: Annotated[dt.datetime | None, "The instant that the run took for now."] = None
    before: Annotated[str | None, "The policy before a change, as JSON; NULL if that is too long."] = None
    after: Annotated[str | None, "The policy after a change, as JSON; NULL if that is too long."] = None
    actor: Annotated[str, "Who did it: the operating system's user."] = ""
    host: Annotated[str, "On which machine."] = ""
    run_id: Annotated[str | None, "The run; all of its rows have the same."] = None
    step: Annotated[int | None, "The step's number in the run, from 1."] = None
    slot: Annotated[dt.datetime | None, "The instant of its schedule that a policy was run for."] = None


@dataclass(frozen=True, kw_only=True)
class JournalFilter:
    """
    Which rows of the journal are wanted; each attribute that is set must fit.

    :param tags: Only rows about policies that had these tags then.
    :param limited: Only rows of policies with these tags, and those of no policy that ``actors`` wrote.
    :param offset: So many of the newest are left out.
    :param policy_id: The beginning of a policy's identifier; ``run_id`` that of a run.
    :param table: The table's name, or schema and name with a point between them.
    :param actor: Who did it, exactly.
    :param outcomes: One of these; empty: any.
    :param about_tokens: Whether rows about access tokens are wanted.
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
    about_tokens: bool = True


@dataclass(frozen=True, kw_only=True)
class RunOfPolicy:
    """What one run did for one policy."""

    policy_id: str
    run_id: str
    last: dt.datetime
    blocked: int  # What was blocked as intended
    needs_attention: int
    failed: int  # Steps that failed
    rows: int  # Removed or moved, as far as the database says
    bytes: int
    error: str | None  # One of the reasons of what failed or is blocked
    reason: str | None = None  # Its code; None: it is older than codes are
    subjects: str | None = None  # Of what it tells, as the audit log has it


class Journal(Records):
    """Writes and reads the journal; ``unplaced`` tells the tables with new shards for which no node has room."""

    def __init__(
        self, database: Database, table: sa.Table, clock: Clock, actor: Actor, unplaced: Unplaced = tuple
    ) -> None:
        super().__init__(database, table, clock, actor, self.write)
        self.table = TableName(str(table.schema), table.name)
        self._unplaced, self._waits = unplaced, False
        self._noted: list[dict[str, Any]] = []
        self._noting = threading.Lock()

    def note(self, *entries: Entry) -> None:
        """Add rows with the next that are written, in one statement, with the present time."""
        rows = [*map(self._row, entries)]
        with self._noting:
            self._noted += rows

    def write(self, *entries: Entry, later: bool = False) -> None:
        """
        Add rows, and those that were noted before.

        :param later: Whether they may wait for a later call, if no node has room for the shards of a new month.
        :raises DiskFull: if that is so, and they may not; then they are logged, and added once there is room.
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
                    told = {name: value for name, value in row.items() if value is not None}
                    logger.warning("not in the audit log: %s", json.dumps(told, default=str))
                raise DiskFull(f"table {self.table}", _NO_PLACE, "make room on the nodes' disks") from error
            logger.warning("no node has room for the shards of %s for this month; it is written later", self.table)
        finally:
            with self._noting:
                self._noted[:0] = kept

    def _has_no_place(self) -> bool:
        return self.table in self._unplaced()

    def _row(self, entry: Entry) -> dict[str, Any]:
        row = {key: cut(str(value)) if isinstance(value, str) else value for key, value in vars(entry).items()}
        del row["why"]
        why = entry.why
        told = (None, None, None) if why is None else (cut(str(why)), why.code, write_subjects(why))
        row |= dict(zip(("error", "reason", "subjects"), told, strict=True))
        # Half a policy is none.
        row |= {key: None for key in ("before", "after") if not fits(getattr(entry, key) or "")}
        tags = None if entry.tags is None else list(entry.tags)
        return {**row, "tags": tags, "time": self._clock.now(), "actor": self._actor.name, "host": self._actor.host}

    def mark(self) -> str:
        """What changes whenever rows are added."""
        self._visible()
        count, last = self._database.rows(sa.select(sa.func.count(), sa.func.max(self._table.c.time)))[0]
        return f"{count} {last}"

    def read(self, wanted: JournalFilter) -> list[Mapping[str, Any]]:
        """The newest rows that fit, newest first."""
        self._visible()
        c = self._table.c
        # Rows of one instant keep their places too, or paging would lose some of them.
        order = (c.time.desc(), c.step.desc(), c.event, c.run_id, c.policy_id, c.table_schema, c.table_name, c.message)
        found = sa.select(*(column for column in c if column.name != "month")).where(*_conditions(c, wanted))
        rows = self._database.query(found.order_by(*order).limit(wanted.limit).offset(wanted.offset))
        return [{**row, **{name: present(row[name]) for name in ("event", "outcome")}} for row in rows]

    def runs_of_policies(self, since: dt.datetime) -> list[RunOfPolicy]:
        """What each run since an aware instant did for each policy, oldest first, in one statement."""
        c = self._table.c

        def total(condition: sa.ColumnElement[bool], value: Any = 1) -> sa.Function[Any]:
            return sa.func.sum(sa.case((condition, value), else_=0))

        def told(condition: sa.ColumnElement[bool]) -> sa.Function[Any]:
            """One error of some rows with its code and subjects, in one text: max_by of texts is wrong on CrateDB."""
            code, subjects = (sa.func.coalesce(column, "") for column in (c.reason, c.subjects))
            whole = c.error.concat(_BETWEEN).concat(code).concat(_BETWEEN).concat(subjects)
            return sa.func.max(sa.case((sa.and_(c.error.is_not(None), condition), whole), else_=None))

        is_blocked, has_failed = _is(c.event, Event.BLOCKED), c.outcome == str(Outcome.FAILED)
        removing = c.operation.in_(_REMOVING)
        counts = {
            "blocked": total(sa.and_(is_blocked, _is(c.outcome, Outcome.BLOCKED))),
            "needs_attention": total(sa.and_(is_blocked, _is(c.outcome, Outcome.NEEDS_ATTENTION))),
            "failed": total(sa.and_(c.event == str(Event.STEP_FINISHED), has_failed)),
            "rows": total(removing, c.rows),
            "bytes": total(removing, c.bytes),
        }
        columns = {**counts, "last": sa.func.max(c.time), "failure": told(has_failed), "why": told(is_blocked)}
        events = (Event.STEP_FINISHED, Event.BLOCKED, Event.SLOT_FINISHED)
        statement = (
            sa.select(c.policy_id, c.run_id, *(column.label(name) for name, column in columns.items()))
            .where(c.time >= since, c.policy_id.is_not(None), c.run_id.is_not(None), _is(c.event, *events))
            .group_by(c.policy_id, c.run_id)
        )
        self._visible()
        found = []
        for row in map(dict, self._database.query(statement)):
            failure, why = row.pop("failure"), row.pop("why")
            parts = (failure or why or 2 * _BETWEEN).rsplit(_BETWEEN, 2)
            error, reason, subjects = (part or None for part in parts)
            row |= {name: int(row[name] or 0) for name in counts}
            found.append(RunOfPolicy(**row, error=error, reason=reason, subjects=subjects))
        return sorted(found, key=lambda run: (run.last, run.run_id))


def _conditions(c: Any, wanted: JournalFilter) -> Iterator[sa.ColumnElement[bool]]:
    for name in ("table_name", "outcome", "event", "actor"):
        if (value := getattr(wanted, name)) is not None:
            yield _is(c[name], value) if name in ("outcome", "event") else c[name] == value
    if wanted.table is not None:
        yield sa.or_(c.table_name == wanted.table, c.table_schema.concat(".").concat(c.table_name) == wanted.table)
    if wanted.outcomes:
        yield _is(c.outcome, *wanted.outcomes)
    if not wanted.about_tokens:
        yield c.event.not_in(sorted(ABOUT_TOKENS))
    for name in ("policy_id", "run_id"):
        # CrateDB knows no other escape character, whatever ESCAPE says.
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


def _is(column: sa.ColumnElement[Any], *values: str) -> sa.ColumnElement[bool]:
    """Whether an event or outcome is one of these, by its present or a former name."""
    return column.in_(sorted({name for value in values for name in spellings(value)}))


def _tagged(tags: sa.ColumnClause[Any], wanted: TagFilter) -> sa.ColumnElement[bool]:
    """Rows without tags fit no filter: they are about no policy."""
    groups = (
        sa.and_(
            *(sa.literal(tag) == sa.any_(tags) for tag in sorted(group.wanted)),
            *(sa.not_(sa.literal(tag) == sa.any_(tags)) for tag in sorted(group.unwanted)),
            tags.is_not(None),
        )
        for group in wanted.any_of
    )
    return sa.or_(*groups)
