"""
The journal (audit log): each change of a policy, each run, each step and hold, with its outcome. Rows are only added.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from cratedb_retention.clock import Actor, Clock
from cratedb_retention.engine.database import Database
from cratedb_retention.errors import DiskFull, RetentionError
from cratedb_retention.model.audit import ABOUT_TOKENS, Event, Outcome
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.reasons import Reason, write_subjects
from cratedb_retention.model.tags import TagFilter
from cratedb_retention.store.texts import cut, fits

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """
    One row of the journal, without who and when; see the table's columns.

    :param why: What went wrong, or why it is blocked: columns ``error``, ``reason`` and ``subjects``.
    """

    event: Event
    outcome: Outcome | None = None
    table_schema: str | None = None
    table_name: str | None = None
    policy_id: str | None = None
    strategy: str | None = None
    tags: Sequence[str] | None = None
    operation: str | None = None
    message: str | None = None
    why: Reason | None = None
    partitions: int | None = None
    rows: int | None = None
    bytes: int | None = None
    duration_ms: int | None = None
    cutoff: dt.datetime | None = None
    before: str | None = None
    after: str | None = None
    run_id: str | None = None
    step: int | None = None
    slot: dt.datetime | None = None


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


class Journal:
    """
    Writes and reads the journal.

    :param unplaced: Tells the tables with new shards for which no node has room.
    """

    def __init__(
        self,
        database: Database,
        table: sa.Table,
        clock: Clock,
        actor: Actor,
        unplaced: Callable[[], Collection[TableName]] = tuple,
    ) -> None:
        self._database, self._table, self._clock, self._actor = database, table, clock, actor
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
                raise self._not_written(rows) from error
            logger.warning("no node has room for the shards of %s for this month; it is written later", self.table)
        finally:
            with self._noting:
                self._noted[:0] = kept

    def _has_no_place(self) -> bool:
        return self.table in self._unplaced()

    def _not_written(self, rows: Iterable[Mapping[str, Any]]) -> DiskFull:
        for row in rows:
            told = {name: value for name, value in row.items() if value is not None}
            logger.warning("not in the audit log: %s", json.dumps(told, default=str))
        reason = "no node has room for the shards of this month, so that what was done is only in the program's log"
        return DiskFull(f"table {self.table}", reason, "make room on the nodes' disks")

    def _row(self, entry: Entry) -> dict[str, Any]:
        row = {key: cut(str(value)) if isinstance(value, str) else value for key, value in vars(entry).items()}
        why = entry.why
        del row["why"]
        row.update(error=None, reason=None, subjects=None)
        if why is not None:
            row.update(error=cut(str(why)), reason=why.code, subjects=write_subjects(why))
        # Half a policy is none.
        row.update({key: None for key in ("before", "after") if not fits(getattr(entry, key) or "")})
        if row["tags"] is not None:
            row["tags"] = list(row["tags"])
        return {**row, "time": self._clock.now(), "actor": self._actor.name, "host": self._actor.host}

    def mark(self) -> str:
        """What changes whenever rows are added."""
        self._database.refresh(self._table)
        count, last = self._database.rows(sa.select(sa.func.count(), sa.func.max(self._table.c.time)))[0]
        return f"{count} {last}"

    def read(self, wanted: JournalFilter) -> list[Mapping[str, Any]]:
        """The newest rows that fit, newest first."""
        self._database.refresh(self._table)
        c = self._table.c
        equal = {
            "table_name": wanted.table_name,
            "outcome": wanted.outcome,
            "event": wanted.event,
            "actor": wanted.actor,
        }
        conditions = [c[name] == value for name, value in equal.items() if value is not None]
        if wanted.table is not None:
            whole = c.table_schema.concat(".").concat(c.table_name)
            conditions.append(sa.or_(c.table_name == wanted.table, whole == wanted.table))
        if wanted.outcomes:
            conditions.append(c.outcome.in_(sorted(wanted.outcomes)))
        if not wanted.about_tokens:
            conditions.append(c.event.not_in(sorted(ABOUT_TOKENS)))
        if wanted.policy_id is not None:
            conditions.append(_begins(c.policy_id, wanted.policy_id))
        if wanted.run_id is not None:
            conditions.append(_begins(c.run_id, wanted.run_id))
        if wanted.since is not None:
            conditions.append(c.time >= wanted.since)
        if wanted.until is not None:
            conditions.append(c.time < wanted.until)
        if wanted.tags:
            conditions.append(_tagged(c.tags, wanted.tags))
        if wanted.limited:
            own = sa.and_(c.tags.is_(None), c.actor.in_(sorted(wanted.actors)))
            conditions.append(sa.or_(_tagged(c.tags, wanted.limited), own))
        columns = [column for column in c if column.name != "month"]
        # Rows of one instant keep their places too, or paging would lose some of them.
        order = (c.time.desc(), c.step.desc(), c.event, c.run_id, c.policy_id, c.table_schema, c.table_name, c.message)
        found = sa.select(*columns).where(*conditions).order_by(*order)
        return self._database.query(found.limit(wanted.limit).offset(wanted.offset))


def _tagged(tags: sa.ColumnClause[Any], wanted: TagFilter) -> sa.ColumnElement[bool]:
    """A filter as a condition on a column with tags. Rows without tags fit none: they are about no policy."""
    groups = [
        sa.and_(
            *(sa.literal(tag) == sa.any_(tags) for tag in sorted(group.wanted)),
            *(sa.not_(sa.literal(tag) == sa.any_(tags)) for tag in sorted(group.unwanted)),
            tags.is_not(None),
        )
        for group in wanted.any_of
    ]
    return sa.or_(*groups)


def _begins(column: sa.ColumnElement[Any], text: str) -> sa.ColumnElement[bool]:
    """Whether a column begins with a text. CrateDB knows no other escape character, whatever ESCAPE says."""
    return column.startswith(text, autoescape=True, escape="\\")
