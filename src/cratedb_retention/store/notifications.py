"""
Of what somebody is told: one row for each failure and each hold that lasts, until it is over.

A row changes only if it still is what was read, so that of several services one tells.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from cratedb_retention.engine.database import Database
from cratedb_retention.errors import Conflict
from cratedb_retention.store.rows import stamp_columns, stamp_of, unchanged


class NoticeState(StrEnum):
    """How far telling is; see the table's column."""

    WAITING = "waiting"
    DUE = "due"
    TOLD = "told"
    OVER = "over"


@dataclass(frozen=True, kw_only=True)
class Notice:
    """
    Something that is the matter with a policy.

    :param kind: ``failed`` or ``held``.
    :param claimed_until: Until this instant one service tries to tell.
    :param stamp: What the database tells versions of the row apart by; None: it is not written yet.
    """

    policy_id: str
    kind: str
    state: NoticeState
    since: dt.datetime
    reason: str | None = None
    claimed_until: dt.datetime | None = None
    version: int = 0
    stamp: tuple[int, ...] | None = None

    @property
    def id(self) -> str:
        """Its key."""
        return f"{self.kind}:{self.policy_id}"


class NoticeStore:
    """Reads and changes notices."""

    def __init__(self, database: Database, table: sa.Table) -> None:
        self._database, self._table = database, table

    def all(self) -> dict[str, Notice]:
        """All notices, by key."""
        self._database.refresh(self._table)
        rows = self._database.query(sa.select(self._table, *stamp_columns(self._database)))
        return {row["id"]: self._notice(row) for row in rows}

    def change(self, before: Notice | None, after: Notice | None) -> Notice | None:
        """
        Add, change or remove a notice.

        :return: It as it is now, or was; None: somebody else was quicker.
        """
        if before is None:
            return self._add(after) if after else None
        where = (self._table.c.id == before.id, *unchanged(self._database, before.stamp or ()))
        if after is None:
            return before if self._database.execute(sa.delete(self._table).where(*where)) == 1 else None
        values = {**self._row(after), "version": before.version + 1}
        values.pop("id")  # A key can't be updated on CrateDB.
        if self._database.execute(sa.update(self._table).where(*where).values(**values)) != 1:
            return None
        return self._again(after)

    def _add(self, notice: Notice) -> Notice | None:
        try:
            self._database.execute(sa.insert(self._table).values(**self._row(notice)))
        except Conflict:
            return None
        return self._again(notice)

    def _again(self, notice: Notice) -> Notice | None:
        """As it is in the database, by its key, which needs no refresh."""
        rows = self._database.query(
            sa.select(self._table, *stamp_columns(self._database)).where(self._table.c.id == notice.id)
        )
        return self._notice(rows[0]) if rows else None

    def _notice(self, row: Mapping[str, Any]) -> Notice:
        values = {column.name: row[column.name] for column in self._table.c if column.name != "id"}
        return Notice(**{**values, "state": NoticeState(row["state"])}, stamp=stamp_of(self._database, row))

    def _row(self, notice: Notice) -> dict[str, Any]:
        return {**{column.name: getattr(notice, column.name) for column in self._table.c}, "state": str(notice.state)}
