"""The state of notifications: a row for each policy that fails, or is blocked for long, until that ends."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

from cratedb_retention.errors import Conflict
from cratedb_retention.model.former import present
from cratedb_retention.store.rows import Records, same


class NoticeState(StrEnum):
    """The state of a notification; see the column of the table."""

    WAITING = "waiting"
    DUE = "due"
    TOLD = "told"
    OVER = "over"


_STATE = "`waiting`: too recent; `due`: about to be sent; `told`: sent; `over`: its end is about to be sent."
_CLAIMED = "Until then one service tries to send it; afterwards another one may."


@dataclass(frozen=True, kw_only=True)
class Notice:
    """A failure or blocked actions of a policy: the columns of the table."""

    policy_id: Annotated[str, "The policy."]
    kind: Annotated[str, "`failed` or `blocked`."]
    state: Annotated[NoticeState, _STATE]
    since: Annotated[dt.datetime, "When it began."]
    reason: Annotated[str | None, "The reason."] = None
    claimed_until: Annotated[dt.datetime | None, _CLAIMED] = None
    version: Annotated[int, "Grows with each change of the row."] = 0
    key: str | None = None  # As stored: `id`, or that of a former kind; None: not written yet
    stamp: tuple[int, ...] | None = None  # See :class:`Records`; None: not written yet

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.policy_id}"


class NoticeStore(Records):
    """A row changes only if it is as it was read, so that only one of several services sends a notification."""

    def all(self) -> dict[str, Notice]:
        """By :attr:`Notice.id`."""
        return {each.id: each for each in map(self._notice, self._read(stamps=True))}

    def change(self, before: Notice | None, after: Notice | None) -> Notice | None:
        """Add, change or remove a notice. Returns its present, or removed, state; None: another service was quicker."""
        where = [self._table.c.id == (before.key or before.id), *self._unchanged(before.stamp)] if before else []
        if after is None:
            return before if before and self._remove(*where) == 1 else None
        values = {**same(after, self._names), "state": str(after.state)}
        try:
            if before is None:
                self._add({"id": after.id, **values})
            elif self._change(*where, **{**values, "version": before.version + 1}) != 1:
                return None
        except Conflict:
            return None
        rows = self._read(self._table.c.id == (after.key or after.id), refresh=False, stamps=True)
        return self._notice(rows[0]) if rows else None

    @property
    def _names(self) -> list[str]:
        """All columns except the key, which CrateDB cannot update."""
        return [column.name for column in self._table.c if column.name != "id"]

    def _notice(self, row: Mapping[str, Any]) -> Notice:
        values = {name: row[name] for name in self._names}
        values |= {"kind": present(row["kind"]), "state": NoticeState(row["state"]), "key": row["id"]}
        return Notice(**values, stamp=self._stamp(row))
