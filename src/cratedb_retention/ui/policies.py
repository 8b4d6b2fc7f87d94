"""
All stored policies, with filters that stand in the address, what can be done about each, and policy files.
"""

from __future__ import annotations

from nicegui import ui

from cratedb_retention.errors import InvalidInput
from cratedb_retention.execution.listing import Listing
from cratedb_retention.model.access import Role
from cratedb_retention.model.policyfile import dump_policies
from cratedb_retention.model.words import plural
from cratedb_retention.service.scope import Scope
from cratedb_retention.store.policies import Damaged, StoredPolicy
from cratedb_retention.ui.guest import Guest
from cratedb_retention.ui.links import Query, new_policy
from cratedb_retention.ui.parts import Choice, button, go, heading, note, show_error, table
from cratedb_retention.ui.policy_actions import Actions
from cratedb_retention.ui.policy_import import Import
from cratedb_retention.ui.policy_rows import COLUMNS, damaged_order, damaged_row, order_of, row_of
from cratedb_retention.ui.querying import STRATEGY, TAGS, Field, live_filter_form, read_selection

PATH = "/policies"
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
        rows = [*map(damaged_row, listing.damaged), *(row_of(item.policy, listing) for item in listing.policies)]
        order = [*(damaged_order() for _ in listing.damaged), *(order_of(p.policy, listing) for p in listing.policies)]
        names = [_name(item) for item in self._shown]
        choice = Choice(names, self._choose, found) if self._editor else None
        columns = [c for c in COLUMNS if c.name != "where" or any(item.policy.where for item in listing.policies)]
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
