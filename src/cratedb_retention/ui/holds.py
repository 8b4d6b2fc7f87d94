"""Legal holds: what must stay whatever the policies say, and how to place and release it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from nicegui import ui

from cratedb_retention.errors import InvalidInput, RetentionError
from cratedb_retention.model import words
from cratedb_retention.model.access import Role
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.holds import HoldKind, LegalHold, hold_scope
from cratedb_retention.model.time import from_ms, parse_instant, to_ms
from cratedb_retention.model.words import plural, read_pairs
from cratedb_retention.service.access import Scope
from cratedb_retention.ui.access import Guest
from cratedb_retention.ui.links import Query
from cratedb_retention.ui.parts import agreed, bar, button, facts, heading, note

LONGEST_REASON = 1000
_EMPTY = "Name a table to see what the hold would mean."
_KINDS = {HoldKind.LEGAL: "Legal hold", HoldKind.RESTORED: "Restored data"}
# How many tables of a pattern are named.
_NAMED = 5


async def show(guest: Guest, query: Query) -> None:
    page = Holds(guest)
    await page.load()
    if page.acts:
        page.offer()


def read_wish(given: Mapping[str, str]) -> LegalHold:
    """
    The hold that the form says; InvalidInput if something about it is not valid.

    :param given: ``schema``, ``table``, ``where`` (a pair in each line), ``from``, ``until``, ``reason``.
    """
    text = {name: (value or "").strip() for name, value in given.items()}
    if not text["table"]:
        raise InvalidInput("table", "no table is named", "name one, or use a pattern such as metrics_*")
    if any("\x00" in value for value in text.values()) or len(text["reason"]) > LONGEST_REASON:
        raise InvalidInput("reason", f"longer than {LONGEST_REASON:,} characters, or not text", "write less")
    pairs = read_pairs("values", [line.strip() for line in text["where"].splitlines() if line.strip()])
    start, end = (to_ms(parse_instant(text[name])) if text[name] else None for name in ("from", "until"))
    if start is not None and end is not None and start >= end:
        raise InvalidInput("until", "is not after from", "swap the two, or leave one empty")
    wish = LegalHold(id="", table_schema=text["schema"], table_name=text["table"], where=pairs, start=start, end=end)
    return replace(wish, reason=text["reason"])


def place(scoped: Scope, wish: LegalHold) -> tuple[LegalHold, list[TableName]]:
    """Place a hold; returns it, with the tables that it covers at present."""
    start, end = (None if at is None else from_ms(at) for at in (wish.start, wish.end))
    placed = scoped.place(wish.table_name, wish.table_schema or None, wish.where, start, end, wish.reason)
    return placed, scoped.held_tables([placed]).get(placed.id, [])


def release_effect(scoped: Scope, hold: LegalHold) -> str:
    """What happens once a hold is released, in sentences."""
    partitions, rows = scoped.find_release(hold.id)
    counts = ((partitions, "partition"), (rows, "row"))
    more = " with ".join(plural(count, noun) for count, noun in counts if count)
    taken = f"{more} more. This can't be undone." if more else "nothing more than it does anyway."
    return (
        f"The hold on {hold_scope(hold)} ends. From the next run on, policies may expire this data again.\n"
        f"As things are now, the next run would take {taken}"
    )


class Holds:
    """The holds in force; and for operators, a form that says in words what one would mean, and places it."""

    def __init__(self, guest: Guest) -> None:
        self._guest, self.acts = guest, guest.may(Role.OPERATOR)
        self._box = ui.element("div").classes("content")

    async def load(self) -> None:
        holds, tables = await self._guest.ask(lambda scoped: ((found := scoped.holds()), scoped.held_tables(found)))
        with self._box.clear():
            if not holds:
                note("No hold is in force: policies alone decide what stays.")
                return
            note(f"{plural(len(holds), 'hold')} in force. What a hold covers is never expired, moved or archived.")
            with ui.element("ul").classes("holds").props('aria-label="Holds in force"'):
                for hold in holds:
                    self._item(hold, tables.get(hold.id, []))

    def _item(self, hold: LegalHold, tables: Sequence[TableName]) -> None:
        more = f" and {len(tables) - _NAMED:,} more" if len(tables) > _NAMED else ""
        with ui.element("li").classes("card"):
            with bar():
                ui.label(hold.target).classes("name")
                ui.label(_KINDS[hold.kind]).classes("badge is-blocked")
                if not tables:
                    ui.label("no such table now").classes("badge is-nowhere")
                if self.acts:
                    made = button("Release …", lambda: self._release(hold), tone="grey-8")
                    made.props["aria-label"] = f"Release the hold on {hold.target}"
            ui.label(hold.reason or "No reason was given.").classes("many" if hold.reason else "muted")
            facts(
                (
                    ("Covers", hold_scope(hold)),
                    ("On these tables", ", ".join(map(str, tables[:_NAMED])) + more if tables else "none at present"),
                    ("Placed", f"{words.moment(hold.placed_at)} by {hold.placed_by or 'an unknown user'}"),
                    ("Identifier", hold.id),
                )
            )

    async def _release(self, hold: LegalHold) -> None:
        effect = await self._guest.ask(lambda scoped: release_effect(scoped, hold))
        with self._box:
            sure = await agreed("Release this hold?", effect, "Release the hold", hold.target)
        if sure:
            await self._guest.ask(lambda scoped: scoped.release(hold.id))
            await self.load()
            ui.notify(f"The hold on {hold.target} is released.", type="positive")

    def offer(self) -> None:
        """The form by which a hold is placed."""
        heading("Place a hold")
        note("Keep data for a case, an audit or an inquiry. * and ? are wildcards in names. Times are in UTC.")
        with ui.element("div").classes("card content"):
            with ui.element("div").classes("fields"):
                default = self._guest.context.retention.default_schema
                self._fields: dict[str, ui.input | ui.textarea] = {
                    "schema": ui.input("Schema", placeholder=f"empty: {default}"),
                    "table": ui.input("Table", placeholder="name or pattern, like metrics_*"),
                    "from": ui.input("From", placeholder="empty: from the beginning"),
                    "until": ui.input("Until", placeholder="empty: without end"),
                    "where": ui.textarea("Only with these values", placeholder="column=value, one in each line"),
                    "reason": ui.textarea("Reason", placeholder="a case number, a name"),
                }
            for made in self._fields.values():
                if isinstance(made, ui.textarea):
                    made.props(f"outlined dense autogrow maxlength={LONGEST_REASON}").classes("whole")
                else:
                    made.props("outlined dense maxlength=255 spellcheck=false")
                made.on_value_change(self._tell)
            self._says = ui.label(_EMPTY).classes("says").props("role=status")
            with bar():
                button("Place the hold", self._place)

    def _read(self) -> LegalHold:
        return read_wish({name: field.value or "" for name, field in self._fields.items()})

    def _tell(self) -> None:
        try:
            self._says.set_text(
                f"Held: {hold_scope(self._read())}. Nothing there is ever expired, moved or archived, whatever the "
                "policies say, until this hold is released."
            )
        except RetentionError as error:
            named = (self._fields["table"].value or "").strip()
            self._says.set_text(f"{error.thing}: {error.reason}" if named else _EMPTY)

    async def _place(self) -> None:
        wish = self._read()
        hold, tables = await self._guest.ask(lambda scoped: place(scoped, wish))
        for field in self._fields.values():
            field.set_value("")
        await self.load()
        ui.notify(f"The hold on {hold.target} is in force.", type="positive")
        if not tables:
            text = f"No table matches {hold.target} at present; check the name."
            ui.notify(text, type="warning", timeout=0, close_button="Close")
