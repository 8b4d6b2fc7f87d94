"""
One request for the page of a table: the table as the user may see it, and the choices that stand in the address: the
view, its filters, the part of a list, and a time range.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TypeVar

from cratedb_retention.errors import Forbidden, InvalidInput, NotFound, RetentionError
from cratedb_retention.execution.archive import RestoreRequest
from cratedb_retention.model.access import Role
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.time import TimeRange, from_ms, parse_instant, show, to_ms
from cratedb_retention.service.access import Scope
from cratedb_retention.ui import links
from cratedb_retention.ui.access import Guest
from cratedb_retention.ui.links import Query
from cratedb_retention.ui.web import parts
from cratedb_retention.ui.web.html import Markup

T = TypeVar("T")
# What stays in the address from one view to another: the time range.
_KEPT = ("from", "until", "zoom")


class Visit:
    """
    A request by a user.

    :param given: What stood in a form that was refused.
    :raises NotFound: if there is no such table that the user may see.
    """

    def __init__(self, guest: Guest, scoped: Scope, name: TableName, query: Query) -> None:
        self.guest, self.scoped, self.name, self.query = guest, scoped, name, query
        self.now = scoped.now
        self.given: Mapping[str, str] = {}
        try:
            self.timeline, self.line = scoped.table(name)
        except (NotFound, Forbidden):  # The same for both: what others have is not told.
            reason = "does not exist, has no policy, or is not visible to you"
            raise NotFound(f"table {name}", reason, "see the overview") from None
        # What is wrong with the time range in the address.
        self.mistake: RetentionError | None = None
        self.chosen: TimeRange | None = None
        try:
            self.chosen = self._read_time()
        except InvalidInput as error:
            self.mistake = error

    def _read_time(self) -> TimeRange | None:
        given = [self.get(name) for name in ("from", "until")]
        found = TimeRange.of(*(to_ms(parse_instant(text)) if text else None for text in given))
        if found.empty:
            raise InvalidInput("until", "is not after from", "swap the two, or leave one empty")
        return found if any(given) else None

    def get(self, name: str) -> str:
        """A choice, empty if there is none."""
        return self.query.get(name, "").strip()

    def may(self, role: Role) -> bool:
        return self.guest.may(role)

    # Addresses of this page

    def to(self, tab: str, **more: str) -> str:
        """A view of this page, for the same time range."""
        return links.table(self.name, tab=tab, **{**{name: self.get(name) for name in _KEPT}, **more})

    def again(self, **changes: str) -> str:
        """The same view with the same filters, and changes."""
        here = {name: value for name, value in self.query.items() if name != "done"}
        return links.table(self.name, **{**here, **changes})

    def zoom(self, time: TimeRange | None) -> str:
        """The same view, of another time range; None: of all time."""
        chosen = {"from": show(time.start), "until": show(time.end), "zoom": "1"} if time else {}
        return links.table(self.name, tab=self.get("tab"), **chosen)

    def ends(self, until: str = "until") -> dict[str, str]:
        """The time range for the address of another page."""
        start, end = self.chosen.ends if self.chosen else (None, None)
        return {name: show(at) for name, at in (("from", start), (until, end)) if at is not None}

    @property
    def of_archive(self) -> RestoreRequest:
        """The snapshots of the table in the time range."""
        ends = self.chosen.ends if self.chosen else (None, None)
        start, end = (None if each is None else from_ms(each) for each in ends)
        return RestoreRequest(table_schema=self.name.schema, table_name=self.name.name, start=start, end=end)

    # Lists

    @cached_property
    def first(self) -> int:
        """The place of the first row that is shown."""
        return links.read_first(self.query)

    def part(self, items: Sequence[T]) -> tuple[Sequence[T], Markup | None]:
        """The part of a list that the address names, and links to others."""
        return parts.part(items, self.first, self.at)

    def at(self, first: int) -> str:
        """The address of the part of the list that begins at a place."""
        return self.again(first=str(first))

    def filters(self, tab: str, *fields: Markup) -> Markup:
        kept = parts.hidden({"tab": tab, **{name: self.get(name) for name in _KEPT}})
        return parts.filters(links.table(self.name), self.to(tab), kept, fields)
