"""
What the toolkit's own tables say about each policy, in a fixed number of statements however many there are.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from cratedb_retention.engine.database import Database
from cratedb_retention.model.audit import Event, Outcome
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.plan import REMOVES_OR_MOVES
from cratedb_retention.store.tables import Tables

# The operations whose rows and bytes count: others archive, freeze or compute.
_REMOVING = [kind.operation() for kind in REMOVES_OR_MOVES]
# Stands in neither a code nor JSON.
_BETWEEN = "\x1f"
_ABOUT_RUNS = (Event.STEP_FINISHED, Event.HELD, Event.SLOT_FINISHED)


@dataclass(frozen=True, kw_only=True)
class RunOfPolicy:
    """
    What one run did for one policy.

    :param held: Steps that were rightly held.
    :param problems: What somebody has to look at.
    :param failed: Steps that failed.
    :param error: One of the reasons of what failed or is held.
    :param reason: Its code; None: it is older than codes are.
    :param subjects: Of what it tells, as the audit log has it.
    :param rows: Rows that were removed or moved, as far as the database says.
    """

    policy_id: str
    run_id: str
    last: dt.datetime
    held: int
    problems: int
    failed: int
    rows: int
    bytes: int
    error: str | None
    reason: str | None = None
    subjects: str | None = None


@dataclass(frozen=True, kw_only=True)
class LevelState:
    """How far a level of a cascade is: all buckets that end at or before ``until`` are computed."""

    table: TableName
    interval: str
    policy_id: str | None
    until: dt.datetime | None


def runs_of_policies(database: Database, tables: Tables, since: dt.datetime) -> list[RunOfPolicy]:
    """
    What each run since an aware instant did for each policy, oldest first, in one statement.
    """
    database.refresh(tables.journal)
    c = tables.journal.c

    def count(*conditions: sa.ColumnElement[bool]) -> sa.Function[Any]:
        return sa.func.sum(sa.case((sa.and_(*conditions), 1), else_=0))

    def total(column: sa.ColumnElement[Any]) -> sa.Function[Any]:
        return sa.func.sum(sa.case((c.operation.in_(_REMOVING), sa.func.coalesce(column, 0)), else_=0))

    def told(*conditions: sa.ColumnElement[bool]) -> sa.Function[Any]:
        """One error of some rows with its code and subjects, in one text: max_by of texts is wrong on CrateDB."""
        parts = (sa.func.coalesce(c.reason, ""), sa.func.coalesce(c.subjects, ""))
        whole = c.error.concat(_BETWEEN).concat(parts[0]).concat(_BETWEEN).concat(parts[1])
        return sa.func.max(sa.case((sa.and_(c.error.is_not(None), *conditions), whole), else_=None))

    is_held, has_failed = c.event == str(Event.HELD), c.outcome == str(Outcome.FAILED)
    statement = (
        sa.select(
            c.policy_id,
            c.run_id,
            sa.func.max(c.time).label("last"),
            count(is_held, c.outcome == str(Outcome.HELD)).label("held"),
            count(is_held, c.outcome == str(Outcome.PROBLEM)).label("problems"),
            count(c.event == str(Event.STEP_FINISHED), has_failed).label("failed"),
            total(c.rows).label("rows"),
            total(c.bytes).label("bytes"),
            told(has_failed).label("failure"),
            told(is_held).label("blocked"),
        )
        .where(c.time >= since, c.policy_id.is_not(None), c.run_id.is_not(None))
        .where(c.event.in_([str(event) for event in _ABOUT_RUNS]))
        .group_by(c.policy_id, c.run_id)
    )
    found = []
    for row in database.query(statement):
        text = row["failure"] or row["blocked"]
        error, reason, subjects = text.rsplit(_BETWEEN, 2) if text else ("", "", "")
        found.append(
            RunOfPolicy(
                policy_id=row["policy_id"],
                run_id=row["run_id"],
                last=row["last"],
                held=int(row["held"] or 0),
                problems=int(row["problems"] or 0),
                failed=int(row["failed"] or 0),
                rows=int(row["rows"] or 0),
                bytes=int(row["bytes"] or 0),
                error=error or None,
                reason=reason or None,
                subjects=subjects or None,
            )
        )
    return sorted(found, key=lambda run: (run.last, run.run_id))


def level_states(database: Database, tables: Tables) -> list[LevelState]:
    """How far each level is, in two statements."""
    database.refresh(tables.rollup, tables.ledger)
    r, w = tables.rollup.c, tables.ledger.c
    newest = sa.select(w.table_schema, w.table_name, sa.func.max(w.until).label("until"))
    rows = database.query(newest.group_by(w.table_schema, w.table_name))
    until = {(row["table_schema"], row["table_name"]): row["until"] for row in rows}
    statement = sa.select(r.table_schema, r.table_name, r.interval, r.policy_id)
    return [
        LevelState(
            table=TableName(row["table_schema"], row["table_name"]),
            interval=row["interval"],
            policy_id=row["policy_id"],
            until=until.get((row["table_schema"], row["table_name"])),
        )
        for row in database.query(statement.order_by(r.table_schema, r.table_name))
    ]
