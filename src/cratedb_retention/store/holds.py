"""
Legal holds in the database. A released hold stays in the table, with who released it and when.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from cratedb_retention.clock import Actor, Clock
from cratedb_retention.engine.database import Database
from cratedb_retention.model.audit import Event
from cratedb_retention.model.holds import HoldKind, LegalHold
from cratedb_retention.model.identifiers import pick
from cratedb_retention.model.time import from_ms, to_ms
from cratedb_retention.store.audit import Entry, Journal
from cratedb_retention.store.rows import read_text, text_values


class HoldStore:
    """Places and releases holds."""

    def __init__(self, database: Database, table: sa.Table, journal: Journal, clock: Clock, actor: Actor) -> None:
        self._database, self._table, self._journal = database, table, journal
        self._clock, self._actor = clock, actor

    def active(self, refresh: bool = True) -> list[LegalHold]:
        """
        The holds in force, oldest first.

        :param refresh: Whether what others wrote may not be visible yet; what this class wrote is.
        """
        if refresh:
            self._database.refresh(self._table)
        c = self._table.c
        statement = sa.select(self._table).where(c.released_at.is_(None)).order_by(c.placed_at, c.id)
        return [row_to_hold(row) for row in self._database.query(statement)]

    def place(self, hold: LegalHold) -> None:
        """Put a hold in force, one that was released too. Placing one that is in force changes nothing."""
        if any(existing.id == hold.id for existing in self.active()):
            return
        row = hold_to_row(hold)
        values = {**row, "released_at": None, "released_by": None}
        values.pop("id")  # A key can't be updated on CrateDB.
        again = sa.update(self._table).where(self._table.c.id == hold.id).values(**values)
        if self._database.execute(again) != 1:
            self._database.execute(sa.insert(self._table).values(**row))
        self._database.refresh(self._table)
        self._write(Event.HOLD_PLACED, hold)

    def narrow(self, hold: LegalHold) -> None:
        """Let a hold that was just placed cover less."""
        values = hold_to_row(hold)
        values.pop("id")
        self._database.execute(sa.update(self._table).where(self._table.c.id == hold.id).values(**values))
        self._database.refresh(self._table)

    def release(self, identifier: str) -> LegalHold:
        """
        End a hold.

        :param identifier: Its whole identifier.
        :raises NotFound: if no hold in force has it.
        """
        known = {hold.id: hold for hold in self.active()}
        remedy = "`cratedb-retention list-holds` shows them"
        found = pick("hold", identifier, known, remedy, "is not in force", whole=True)
        values = {"released_at": self._clock.now(), "released_by": self._actor.name}
        self._database.execute(sa.update(self._table).where(self._table.c.id == found.id).values(**values))
        self._database.refresh(self._table)
        self._write(Event.HOLD_RELEASED, found)
        return found

    def _write(self, event: Event, hold: LegalHold) -> None:
        message = f"{hold.kind} hold {hold.id[:8]}: {hold.reason}".removesuffix(": ")
        entry = Entry(event=event, table_schema=hold.table_schema, table_name=hold.table_name, message=message)
        self._journal.write(entry)


def hold_to_row(hold: LegalHold) -> dict[str, Any]:
    """A hold as a row."""
    where = json.dumps(_values_of(hold), ensure_ascii=False) if hold.where or hold.partitions else None
    return {
        "id": hold.id,
        "table_schema": hold.table_schema,
        "table_name": hold.table_name,
        **text_values("where", where),
        "start": None if hold.start is None else from_ms(hold.start),
        "end": None if hold.end is None else from_ms(hold.end),
        "kind": str(hold.kind),
        "reason": hold.reason,
        "placed_at": from_ms(hold.placed_at),
        "placed_by": hold.placed_by,
        "table_identity": hold.identity or None,
    }


def _values_of(hold: LegalHold) -> Any:
    return [dict(values) for values in hold.filters] if hold.partitions else dict(hold.where)


def row_to_hold(row: Mapping[str, Any]) -> LegalHold:
    """A row as a hold."""
    values = json.loads(read_text(row, "where") or "{}")
    several = isinstance(values, list)
    return LegalHold(
        id=row["id"],
        table_schema=row["table_schema"],
        table_name=row["table_name"],
        where={} if several else values,
        partitions=tuple(values) if several else (),
        start=None if row["start"] is None else to_ms(row["start"]),
        end=None if row["end"] is None else to_ms(row["end"]),
        reason=row["reason"] or "",
        kind=HoldKind(row["kind"]),
        placed_by=row["placed_by"] or "",
        placed_at=to_ms(row["placed_at"]),
        identity=row["table_identity"] or "",
    )
