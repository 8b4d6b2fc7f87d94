"""
Which rollups exist, and the ledger of their windows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from cratedb_retention.clock import Clock
from cratedb_retention.engine.database import Database
from cratedb_retention.errors import Conflict
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.instant import from_ms
from cratedb_retention.model.ledger import KnownRollup, Ledger, LedgerRow
from cratedb_retention.model.rollup import RolledUp, Rollup, Window
from cratedb_retention.model.rollup_steps import ViewPart
from cratedb_retention.store.rollup_codec import (
    rollup_to_text,
    row_to_rollup,
    row_to_window,
    text_to_view,
    view_to_text,
)

Rows = list[dict[str, Any]]


class RollupStore:
    """Remembers rollups and their windows."""

    def __init__(self, database: Database, rollup: sa.Table, ledger: sa.Table, clock: Clock) -> None:
        self._database, self._rollup, self._ledger, self._clock = database, rollup, ledger, clock

    def all(self) -> dict[TableName, KnownRollup]:
        """The rollups, by the level's table."""
        self._database.refresh(self._rollup)
        found = {}
        for row in self._database.query(sa.select(self._rollup)):
            rollup = row_to_rollup(row)
            known = KnownRollup(rollup, row["retention_period"], row["policy_id"], text_to_view(row["view"]))
            found[rollup.table] = known
        return found

    def ledger(self, rollups: Mapping[TableName, KnownRollup]) -> Ledger:
        """The rollups together with their windows."""
        if not rollups:
            return Ledger()
        self._database.refresh(self._ledger)
        windows: dict[TableName, dict[int, LedgerRow]] = defaultdict(dict)
        for row in self._database.query(sa.select(self._ledger)):
            window = row_to_window(row)
            windows[TableName(row["table_schema"], row["table_name"])][window.start] = window
        return Ledger(rollups, windows)

    def register(self, rollup: Rollup, retention_period: str, policy_id: str | None) -> None:
        """Note a rollup that is about to be created, or whose definition changed."""
        values = {
            "source_schema": rollup.source.schema,
            "source_name": rollup.source.name,
            "interval": str(rollup.interval),
            "retention_period": retention_period,
            "policy_id": policy_id,
            "definition": rollup_to_text(rollup),
            "changed_at": self._clock.now(),
        }
        self._put(self._rollup, _key(rollup.table), values)

    def set_view(self, finest: TableName, parts: Sequence[ViewPart]) -> None:
        """Note what the view consists of."""
        self._put(self._rollup, _key(finest), {"view": view_to_text(parts), "changed_at": self._clock.now()})

    def record(self, rollup: Rollup, results: Iterable[RolledUp], tokens: Mapping[int, str], run_id: str) -> None:
        """
        Note that windows were computed.

        :param tokens: The change tokens that were read before, by the window's start.
        """
        self._database.refresh(self._ledger)
        c = self._ledger.c
        for result in results:
            window = result.window
            extended = window.since > window.start
            values = {
                "end": from_ms(window.end),
                "until": from_ms(window.until),
                "whole": window.whole,
                "token": tokens[window.start],
                "rows": c.rows + result.source_rows if extended else result.source_rows,
                "groups": c.groups + result.groups if extended else result.groups,
                "computed_at": self._clock.now(),
                "run_id": run_id,
            }
            self._put(self._ledger, {**_key(rollup.table), "start": from_ms(window.start)}, values)

    def seal(self, rollup: Rollup, windows: Iterable[Window]) -> None:
        """Note that the source of windows is about to go (law 4)."""
        c, starts = self._ledger.c, [from_ms(window.start) for window in windows]
        if not starts:
            return
        self._database.refresh(self._ledger)
        of_level = (c.table_schema == rollup.table.schema, c.table_name == rollup.table.name)
        statement = sa.update(self._ledger).where(*of_level, c.start.in_(starts), c.sealed_at.is_(None))
        self._database.execute(statement.values(sealed_at=self._clock.now()))

    def windows(self, table: TableName, starts: Iterable[int]) -> dict[int, LedgerRow]:
        """Some windows of a level as they are now, by start."""
        self._database.refresh(self._ledger)
        c, wanted = self._ledger.c, [from_ms(start) for start in starts]
        of_level = (c.table_schema == table.schema, c.table_name == table.name)
        rows = self._database.query(sa.select(self._ledger).where(*of_level, c.start.in_(wanted)))
        return {window.start: window for window in map(row_to_window, rows)}

    def _put(self, table: sa.Table, key: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        """Change a row, or add it if there is none."""
        where = [table.c[name] == value for name, value in key.items()]
        if self._database.execute(sa.update(table).where(*where).values(**values)) == 1:
            return
        try:
            fresh = {name: value for name, value in values.items() if not isinstance(value, sa.ColumnElement)}
            self._database.execute(sa.insert(table).values(**key, **fresh))
        except Conflict:  # It was there, and not yet visible.
            self._database.execute(sa.update(table).where(*where).values(**values))


def _key(table: TableName) -> dict[str, str]:
    return {"table_schema": table.schema, "table_name": table.name}
