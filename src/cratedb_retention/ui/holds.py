"""
Legal holds: what must stay whatever the policies say, and how to place and release it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nicegui import ui

from cratedb_retention.model.access import Role
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.holds import HoldKind, LegalHold, hold_scope
from cratedb_retention.model.words import plural
from cratedb_retention.service.scope import Scope
from cratedb_retention.service.tenant_filter import Release
from cratedb_retention.ui import words
from cratedb_retention.ui.agreeing import confirmed
from cratedb_retention.ui.guest import Guest
from cratedb_retention.ui.holding import Placing
from cratedb_retention.ui.links import Query
from cratedb_retention.ui.parts import Bit, button, note

_KINDS = {HoldKind.LEGAL: "Legal hold", HoldKind.RESTORED: "Restored data"}
# How many tables of a pattern are named.
_NAMED = 5


async def show(guest: Guest, query: Query) -> None:
    """Fill the page."""
    access = await guest.ask(lambda scoped: scoped.access)
    page = Holds(guest, access.role.includes(Role.OPERATOR))
    await page.load()
    if page.acts:
        Placing(guest, page.load)


@dataclass
class Holds:
    """
    The holds in force.

    :param acts: Whether they may place and release holds.
    """

    guest: Guest
    acts: bool

    def __post_init__(self) -> None:
        self.box = ui.element("div").classes("content")

    async def load(self) -> None:
        """Show them as they are now."""
        holds, tables = await self.guest.ask(_read)
        self.box.clear()
        with self.box:
            note(summary(holds))
            if holds:
                with ui.element("ul").classes("holds").props('aria-label="Holds in force"'):
                    for hold in holds:
                        self._item(hold, tables.get(hold.id, []))

    def _item(self, hold: LegalHold, tables: Sequence[TableName]) -> None:
        name = hold_name(hold)
        with ui.element("li").classes("card"):
            with ui.element("div").classes("bar"):
                ui.label(name).classes("name")
                _bits(kind(hold), nowhere(tables))
                if self.acts:
                    made = button("Release …", lambda: self.release(hold, tables), tone="grey-8")
                    made.props["aria-label"] = f"Release the hold on {name}"
            ui.label(hold.reason or "No reason was given.").classes("many" if hold.reason else "muted")
            with ui.element("dl").classes("facts"):
                for word, text in facts(hold, tables):
                    with ui.element("dt"):
                        ui.label(word)
                    with ui.element("dd"):
                        ui.label(text)

    async def release(self, hold: LegalHold, tables: Sequence[TableName]) -> None:
        """Say what would become of the data, ask, and end the hold."""
        found = await self.guest.ask(lambda scoped: scoped.find_release(hold.id))
        name = hold_name(hold)
        with self.box:
            sure = await confirmed("Release this hold?", effect_of_release(hold, found), name, "Release the hold")
        if sure:
            await self.guest.ask(lambda scoped: scoped.release(hold.id))
            await self.load()
            ui.notify(f"The hold on {name} is released.", type="positive")


def _read(scoped: Scope) -> tuple[list[LegalHold], dict[str, list[TableName]]]:
    holds = scoped.holds()
    return holds, scoped.held_tables(holds)


def _bits(*bits: Bit | None) -> None:
    for bit in bits:
        if bit is not None:
            ui.label(bit.text).classes(bit.tone)


def hold_name(hold: LegalHold) -> str:
    """The table or pattern that a hold names."""
    return f"{hold.table_schema}.{hold.table_name}"


def summary(holds: Sequence[LegalHold]) -> str:
    """How many there are, and what that means, in a sentence."""
    if not holds:
        return "No hold is in force: policies alone decide what stays."
    return f"{plural(len(holds), 'hold')} in force. What a hold covers is never expired, moved or archived."


def kind(hold: LegalHold) -> Bit:
    """What kind of hold it is."""
    return Bit(text=_KINDS[hold.kind], tone="badge is-held")


def nowhere(tables: Sequence[TableName]) -> Bit | None:
    """A warning where a hold protects nothing."""
    return None if tables else Bit(text="no such table now", tone="badge is-nowhere")


def facts(hold: LegalHold, tables: Sequence[TableName]) -> list[tuple[str, str]]:
    """What there is to know of a hold: words, and what they are."""
    more = f" and {len(tables) - _NAMED:,} more" if len(tables) > _NAMED else ""
    return [
        ("Covers", hold_scope(hold)),
        ("On these tables", ", ".join(map(str, tables[:_NAMED])) + more if tables else "none at present"),
        ("Placed", f"{words.moment(hold.placed_at)} by {hold.placed_by or 'somebody'}"),
        ("Identifier", hold.id),
    ]


def effect_of_release(hold: LegalHold, found: Release) -> str:
    """What ending a hold does, in sentences."""
    text = f"The hold on {hold_scope(hold)} ends. From the next run on, policies may expire this data again."
    if not found.partitions and not found.rows:
        return f"{text}\nAs things are now, the next run would take nothing more than it does anyway."
    parts = [plural(found.partitions, "partition")] if found.partitions else []
    parts += [plural(found.rows, "row")] if found.rows else []
    return f"{text}\nAs things are now, the next run would take {' with '.join(parts)} more. This can't be undone."
