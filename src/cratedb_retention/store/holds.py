"""Legal holds in the database. A released hold stays in the table, with the user and time of the release."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Collection, Mapping
from typing import Any

from cratedb_retention.errors import NotFound
from cratedb_retention.model.audit import Event
from cratedb_retention.model.holds import HoldKind, LegalHold
from cratedb_retention.model.words import pick
from cratedb_retention.store.audit import Entry
from cratedb_retention.store.rows import LISTED, Records, read_text, same, text_values

_SAME = ("table_schema", "table_name", "start", "end", "kind", "reason", "placed_at", "placed_by")


class HoldStore(Records):
    def active(self, refresh: bool = True, known: Collection[str] = ()) -> list[LegalHold]:
        """The holds in force but ``known`` ones, oldest first. Changes by this class are visible without a refresh."""
        c = self._table.c
        new = [c.id.not_in(sorted(known))] if 0 < len(known) <= LISTED else []
        rows = self._read(c.released_at.is_(None), *new, order=(c.placed_at, c.id), refresh=refresh)
        return [_hold(row) for row in rows if row["id"] not in known]

    def released_since(self, since: dt.datetime) -> list[LegalHold]:
        """The holds that were released at or after an aware instant."""
        c = self._table.c
        return [_hold(row) for row in self._read(c.released_at >= since, order=(c.id,))]

    def place(self, hold: LegalHold) -> None:
        """Put a hold in force, even one that was released. Does nothing if it is in force already."""
        if self._read(self._table.c.id == hold.id, self._table.c.released_at.is_(None)):
            return
        values = {**_values(hold), "released_at": None, "released_by": None}
        if self._change(self._table.c.id == hold.id, **values) != 1:
            self._add({"id": hold.id, **values})
        self._visible()
        self._note(Event.HOLD_PLACED, hold)

    def released(self, identifier: str) -> LegalHold:
        """A hold that was released; NotFound: there is none with this whole identifier."""
        rows = self._read(self._table.c.id == identifier, self._table.c.released_at.is_not(None))
        if not rows:
            raise NotFound(f"hold {identifier}", "was not released", "place a new one")
        return _hold(rows[0])

    def narrow(self, hold: LegalHold) -> None:
        """Reduce the scope of a hold that was just placed."""
        self._change(self._table.c.id == hold.id, **_values(hold))
        self._visible()

    def release(self, identifier: str) -> LegalHold:
        """Release the hold with this whole identifier; NotFound: no hold in force has it."""
        known = {hold.id: hold for hold in self.active()}
        remedy = "`cratedb-retention list-holds` lists them"
        found = pick("hold", identifier, known, remedy, "is not in force", whole=True)
        self._change(self._table.c.id == found.id, released_at=self._clock.now(), released_by=self._actor.name)
        self._visible()
        self._note(Event.HOLD_RELEASED, found)
        return found

    def _note(self, event: Event, hold: LegalHold) -> None:
        message = f"{hold.kind} hold {hold.id[:8]}: {hold.reason}".removesuffix(": ")
        self._write(Entry(event=event, table_schema=hold.table_schema, table_name=hold.table_name, message=message))


def _values(hold: LegalHold) -> dict[str, Any]:
    """A hold as a row without its key, which CrateDB cannot update."""
    where = [dict(values) for values in hold.filters] if hold.partitions else dict(hold.where)
    text = json.dumps(where, ensure_ascii=False) if where else None
    return {**same(hold, _SAME), **text_values("where", text), "table_identity": hold.identity or None}


def _hold(row: Mapping[str, Any]) -> LegalHold:
    where = json.loads(read_text(row, "where") or "{}")
    found = {"partitions": tuple(where)} if isinstance(where, list) else {"where": where}
    found |= {name: row[name] for name in ("id", *_SAME) if row[name] is not None}
    return LegalHold(**{**found, "kind": HoldKind(row["kind"]), "identity": row["table_identity"] or ""})
