"""
All stored policies, with filters that stand in the address, what can be done about each, and policy files.
"""

from __future__ import annotations

from collections.abc import Mapping

from nicegui import ui

from cratedb_retention.errors import InvalidInput
from cratedb_retention.execution.overview import Listing
from cratedb_retention.model import words
from cratedb_retention.model.access import Role
from cratedb_retention.model.policy import Policy
from cratedb_retention.model.policyfile import dump_policies
from cratedb_retention.model.words import plural, write_pairs
from cratedb_retention.service.scope import Scope
from cratedb_retention.store.policies import Damaged, StoredPolicy
from cratedb_retention.ui import links
from cratedb_retention.ui.guest import Guest
from cratedb_retention.ui.links import Query, new_policy
from cratedb_retention.ui.parts import Bit, Cell, Choice, Column, button, go, heading, note, show_error, state, table
from cratedb_retention.ui.policy_actions import Actions
from cratedb_retention.ui.policy_import import Import
from cratedb_retention.ui.querying import STRATEGY, TAGS, Field, live_filter_form, read_selection

PATH = "/policies"
# The cells of a row by column, and what it is sorted by where that is not the text of a cell.
Row = tuple[dict[str, Cell], Mapping[str, float]]
_COLUMNS = (
    Column("state", "State"),
    Column("strategy", "Strategy"),
    Column("table", "Table"),
    Column("where", "Where"),
    Column("kept", "Kept for"),
    Column("schedule", "Schedule"),
    Column("tags", "Tags"),
    Column("description", "Description"),
)
# What sorts behind every number: forever, never.
_LAST = 1e18
_FIELDS = (Field(name="q", label="Search", hint="Table, description, …"), TAGS, STRATEGY)


async def show(guest: Guest, query: Query) -> None:
    """Fill the page."""
    access = await guest.ask(lambda scoped: scoped.access)
    await PolicyList(guest, query, access.role.includes(Role.EDITOR)).build()


class PolicyList:
    """
    The list, and what is around it.

    :param editor: Whether who looks may change policies.
    """

    def __init__(self, guest: Guest, wanted: Query, editor: bool) -> None:
        self._guest, self._wanted, self._editor = guest, wanted, editor
        self._asked = 0
        self._shown: list[Damaged | StoredPolicy] = []
        self._table: ui.table | None = None

    async def build(self) -> None:
        """Make the page."""
        live_filter_form(PATH, _FIELDS, self._wanted, self._filter)
        with ui.element("div").classes("bar"):
            if self._editor:
                button("New policy", lambda: go(new_policy()))
            button("Export as YAML", self._export, "secondary")
            self._count = note("").props("role=status")
        with ui.element("div"):  # The actions stay in sight as long as the table does.
            self._actions = Actions(self._guest, self.load) if self._editor else None
            self._place = ui.element("div")
        await self.load()
        if self._editor:
            heading("Policies as a file")
            Import(self._guest, self.load).build()

    async def _filter(self, wanted: Query) -> None:
        self._wanted = wanted
        await self.load()

    async def load(self, keep: str | None = None) -> None:
        """
        Show what there is now.

        :param keep: The identifier of the policy that stays chosen.
        """
        self._asked += 1
        mine, wanted = self._asked, self._wanted
        try:
            selection = read_selection(wanted)
        except InvalidInput as error:
            self._refuse(error)
            return
        listing = await self._guest.ask(lambda scoped: scoped.listing(selection, wanted.get("q", "")))
        if mine == self._asked:  # Else they have typed on meanwhile.
            self._show(listing, keep)

    def _refuse(self, error: InvalidInput) -> None:
        self._place.clear()
        self._table, self._shown = None, []
        self._choose(None)
        self._count.text = ""
        with self._place:
            show_error(error)

    def _show(self, listing: Listing, keep: str | None) -> None:
        before = self._table.pagination if self._table and keep is not None else None
        self._shown = [*listing.damaged, *listing.policies]
        found = next((n for n, item in enumerate(self._shown) if keep is not None and _id(item) == keep), None)
        self._place.clear()
        self._choose(found)
        self._count.text = _count(listing)
        with self._place:
            if self._shown:
                self._table = self._rows(listing, found)
                if before and before.get("page"):
                    self._table.pagination = before
            else:
                self._table = None
                note(self._nothing())

    def _nothing(self) -> str:
        if any(field.text(self._wanted) for field in _FIELDS):
            return "No policy fits this filter."
        return "There are no policies yet." + (" “New policy” makes the first one." if self._editor else "")

    def _rows(self, listing: Listing, found: int | None) -> ui.table:
        found_rows = [*map(_damaged_row, listing.damaged), *(_row(item.policy, listing) for item in listing.policies)]
        rows, order = [cells for cells, _ in found_rows], [order for _, order in found_rows]
        names = [_name(item) for item in self._shown]
        choice = Choice(names, self._choose, found) if self._editor else None
        columns = [c for c in _COLUMNS if c.name != "where" or any(item.policy.where for item in listing.policies)]
        return table(columns, rows, "Policies", order, choice=choice)

    def _choose(self, number: int | None) -> None:
        if self._actions is not None:
            self._actions.choose(None if number is None else self._shown[number])

    async def _export(self) -> None:
        words, selection = self._wanted.get("q", ""), read_selection(self._wanted)

        def read(scoped: Scope) -> str:
            return dump_policies(item.policy for item in scoped.listing(selection, words).policies)

        text = await self._guest.ask(read)
        ui.download.content(text, "policies.yaml", "application/yaml")


def _id(item: Damaged | StoredPolicy) -> str | None:
    return item.id if isinstance(item, Damaged) else item.policy.id


def _name(item: Damaged | StoredPolicy) -> str:
    return f"damaged {item.id}" if isinstance(item, Damaged) else f"{item.policy.strategy} {item.policy.target}"


def _count(listing: Listing) -> str:
    said = plural(len(listing.policies), "policy", "policies")
    return f"{said}, {len(listing.damaged):,} damaged" if listing.damaged else said


def _row(policy: Policy, listing: Listing) -> Row:
    time = listing.times.get(policy.id or "")
    order = {
        "kept": min(policy.retention_period.approximate_seconds(), _LAST),
        "schedule": time.timestamp() if time else _LAST,
    }
    cells: dict[str, Cell] = {
        "state": state("enabled" if policy.enabled else "disabled"),
        "strategy": Bit(text=str(policy.strategy), tone="whole"),
        "table": Bit(text=policy.table, href=links.policy(policy.id or ""), hint="Look at this policy"),
        "where": Bit(text=write_pairs(policy.where, "\n"), tone="many"),
        "kept": _kept(policy),
        "schedule": _schedule(policy, listing),
        "tags": [
            Bit(text=tag, href=links.tagged(tag), tone="tag", hint=f"All policies with the tag {tag}")
            for tag in policy.tags
        ],
        "description": Bit(text=policy.description or "", tone="many"),
    }
    return cells, order


def _damaged_row(damaged: Damaged) -> Row:
    """The row of what is no valid policy."""
    said = damaged.row
    cells: dict[str, Cell] = {
        "state": state("damaged"),
        "strategy": str(said["strategy"] or ""),
        "table": str(damaged.target),
        "kept": str(said["retention_period"] or ""),
        "description": Bit(text=f"No valid policy: {damaged.reason}", tone="bad many"),
    }
    return cells, {"kept": -1, "schedule": -1}


def _kept(policy: Policy) -> Cell:
    levels = "\n".join(f"{level.interval}: {level.retention_period}" for level in policy.levels)
    period = Bit(text=str(policy.retention_period), tone="whole")
    return (
        [period, Bit(text=levels, tone="muted many line", hint="Rollups, and how long each is kept")]
        if levels
        else period
    )


def _schedule(policy: Policy, listing: Listing) -> Cell:
    if not policy.schedule:
        return Bit(text="by hand", tone="muted")
    time = listing.times.get(policy.id or "")
    named = Bit(text=policy.schedule, hint=f"Time zone {policy.time_zone}")
    if time is None:
        return named
    said = "due now" if time <= listing.now else f"next {words.moment(time)}"
    return [
        named,
        Bit(text=said, tone="muted line whole", hint=f"{words.exact(time)} UTC, {words.ago(time, listing.now)}"),
    ]
