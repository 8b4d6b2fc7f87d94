"""
The form by which a hold is placed; it says in words what it would mean.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from nicegui import ui

from cratedb_retention.errors import InvalidInput, RetentionError
from cratedb_retention.model.catalog import Value
from cratedb_retention.model.holds import LegalHold, hold_scope
from cratedb_retention.model.pairs import read_pairs
from cratedb_retention.model.time import parse_instant, to_ms
from cratedb_retention.service.scope import Scope
from cratedb_retention.ui.guest import Guest
from cratedb_retention.ui.parts import button, heading, note

LONGEST_REASON = 1000
_EMPTY = "Name a table to see what the hold would mean."


@dataclass(frozen=True, kw_only=True)
class Wish:
    """A hold as it is asked for; instants are aware."""

    schema: str
    table: str
    where: Mapping[str, Value]
    start: dt.datetime | None
    end: dt.datetime | None
    reason: str

    @property
    def words(self) -> str:
        """What it means."""
        start, end = (to_ms(value) if value else None for value in (self.start, self.end))
        hold = LegalHold(id="", table_schema=self.schema, table_name=self.table, where=self.where, start=start, end=end)
        return (
            f"Held: {hold_scope(hold)}. Nothing there is ever expired, moved or archived, whatever the policies say, "
            "until this hold is released."
        )

    def place(self, scoped: Scope) -> tuple[LegalHold, bool]:
        """Place it; tell as well whether there is a table at present that it is on."""
        hold = scoped.place(self.table, self.schema or None, self.where, self.start, self.end, self.reason)
        return hold, bool(scoped.held_tables([hold]).get(hold.id))


def read_wish(given: Mapping[str, str]) -> Wish:
    """
    What the form says.

    :param given: ``schema``, ``table``, ``where`` (a pair in each line), ``from``, ``until``, ``reason``.
    :raises InvalidInput: if something about it is not valid.
    """
    text = {name: (value or "").strip() for name, value in given.items()}
    if not text["table"]:
        raise InvalidInput("table", "no table is named", "name one, or use a pattern such as metrics_*")
    if any("\x00" in value for value in text.values()) or len(text["reason"]) > LONGEST_REASON:
        raise InvalidInput("reason", f"longer than {LONGEST_REASON:,} characters, or not text", "write less")
    pairs = read_pairs("values", [line.strip() for line in text["where"].splitlines() if line.strip()])
    start, end = (parse_instant(text[name]) if text[name] else None for name in ("from", "until"))
    if start and end and start >= end:
        raise InvalidInput("until", "is not after from", "swap the two, or leave one empty")
    return Wish(schema=text["schema"], table=text["table"], where=pairs, start=start, end=end, reason=text["reason"])


class Placing:
    """
    The form.

    :param changed: Shows the holds as they are now.
    """

    def __init__(self, guest: Guest, changed: Callable[[], Awaitable[None]]) -> None:
        self._guest, self._changed = guest, changed
        self._fields: dict[str, ui.input | ui.textarea] = {}
        heading("Place a hold")
        note("Keep data for a case, an audit or an inquiry. * and ? are wildcards in names. Times are in UTC.")
        with ui.element("div").classes("card content"):
            with ui.element("div").classes("fields"):
                self._inputs(guest.context.retention.default_schema)
            self._says = ui.label(_EMPTY).classes("says").props("role=status")
            with ui.element("div").classes("bar"):
                button("Place the hold", self.place)

    def _inputs(self, default_schema: str) -> None:
        self._input("schema", "Schema", f"empty: {default_schema}")
        self._input("table", "Table", "name or pattern, like metrics_*")
        self._input("from", "From", "empty: from the beginning")
        self._input("until", "Until", "empty: without end")
        where = ui.textarea("Only with these values", placeholder="column=value, one in each line")
        reason = ui.textarea("Reason", placeholder="a case number, a name")
        for name, made in (("where", where), ("reason", reason)):
            self._fields[name] = made.props(f"outlined dense autogrow maxlength={LONGEST_REASON}").classes("whole")
            made.on_value_change(self._tell)

    def _input(self, name: str, label: str, hint: str) -> None:
        made = ui.input(label, placeholder=hint).props("outlined dense maxlength=255 spellcheck=false")
        self._fields[name] = made
        made.on_value_change(self._tell)

    def _read(self) -> Wish:
        return read_wish({name: field.value or "" for name, field in self._fields.items()})

    def _tell(self) -> None:
        """Say what it would mean, or what is not right yet."""
        try:
            self._says.set_text(self._read().words)
        except RetentionError as error:
            named = (self._fields["table"].value or "").strip()
            self._says.set_text(f"{error.thing}: {error.reason}" if named else _EMPTY)

    async def place(self) -> None:
        """Place it, and empty the form."""
        wish = self._read()
        hold, somewhere = await self._guest.ask(wish.place)
        for field in self._fields.values():
            field.set_value("")
        await self._changed()
        ui.notify(f"The hold on {hold.table_schema}.{hold.table_name} is in force.", type="positive")
        if not somewhere:
            name = f"{hold.table_schema}.{hold.table_name}"
            ui.notify(f"No table fits {name} now; is the name right?", type="warning", timeout=0, close_button="Close")
