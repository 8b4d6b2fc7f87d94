"""
The archive: the snapshots that the toolkit made, how well they are, and what can be done with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nicegui import ui

from cratedb_retention.errors import RetentionError
from cratedb_retention.execution.archive import RestoreRequest
from cratedb_retention.execution.preview import ArchiveLine
from cratedb_retention.model import words
from cratedb_retention.model.access import Role
from cratedb_retention.model.time import parse_instant
from cratedb_retention.model.words import plural, show_partition, show_size
from cratedb_retention.store.archive import SnapshotRecord, SnapshotStage
from cratedb_retention.ui import links
from cratedb_retention.ui.guest import Guest
from cratedb_retention.ui.links import Query
from cratedb_retention.ui.parts import Bit, Cell, Column, choosable, chosen, note, show_error, state, table
from cratedb_retention.ui.querying import TAGS, Field, filter_form, read_tags
from cratedb_retention.ui.restoring import Tools

PATH = "/archive"
_FIELDS = (
    Field(name="table", label="Table", hint="name or pattern, like doc.metrics_*"),
    Field(name="repository", label="Repository"),
    Field(name="from", label="From", hint="like 2024-01-01"),
    Field(name="to", label="To", hint="like 2024-07-01"),
    TAGS,
)
# More rows than this are too many for a browser, and for people.
MOST = 2_000
COLUMNS = (
    Column("condition", "State"),
    Column("table", "Table"),
    Column("partition", "Partition"),
    Column("rows", "Rows", right=True),
    Column("size", "Size", right=True),
    Column("stage", "Stage"),
    Column("since", "Since"),
    Column("verified", "Verified"),
    Column("snapshot", "Snapshot"),
    Column("repository", "Repository"),
)
_STAGES = {
    SnapshotStage.CREATED: ("created", "It was made; its partition is still in the table"),
    SnapshotStage.ARCHIVED: ("archived", "It was checked, and its partition was dropped from the table"),
    SnapshotStage.RESTORED: ("restored", "Its partition was brought back into the table"),
    SnapshotStage.DROPPING: ("dropping", "It was checked, and its partition is being dropped from the table"),
    SnapshotStage.RESTORING: ("restoring", "Its partition is being brought back, or that was interrupted"),
    SnapshotStage.SUPERSEDED: ("superseded", "A later snapshot of the partition holds its rows as well"),
}


async def show(guest: Guest, query: Query) -> None:
    """Fill the page."""
    filter_form(PATH, _FIELDS, query, "Filter")
    try:
        request = read_request(query)
    except RetentionError as error:
        show_error(error)
        return
    access = await guest.ask(lambda scoped: scoped.access)
    await Archive(guest, request, access.role.includes(Role.OPERATOR)).build()


def read_request(query: Query) -> RestoreRequest:
    """
    Which snapshots the page is about.

    :raises InvalidInput: if an instant or the tags can't be read.
    """
    given = {name: query.get(name, "").strip() for name in ("table", "repository", "from", "to")}
    schema, _, table = given["table"].rpartition(".")
    first, last = (parse_instant(given[name]) if given[name] else None for name in ("from", "to"))
    return RestoreRequest(
        table_schema=schema or None,
        table_name=table or None,
        start=first,
        end=last,
        repository=given["repository"] or None,
        tags=read_tags(query),
    )


@dataclass
class Archive:
    """
    The snapshots that fit, and the tools beneath them.

    :param acts: Whether they may verify and restore.
    """

    guest: Guest
    request: RestoreRequest
    acts: bool

    def __post_init__(self) -> None:
        self.box = ui.element("div").classes("content")
        self.lines: list[ArchiveLine] = []
        self.made: ui.table | None = None

    async def build(self) -> None:
        """Show them, and the tools if there is anything to use them on."""
        await self.load()
        if self.acts and self.lines:
            Tools(self.guest, self.wanted, self.load)

    async def load(self) -> None:
        """Show them as they are now."""
        self.lines = await self.guest.ask(lambda scoped: scoped.archive(self.request))
        self.box.clear()
        with self.box:
            self._fill()

    def _fill(self) -> None:
        note(summary(self.lines))
        if not self.lines:
            note("Policies with the strategy snapshot archive partitions before they drop them.")
            return
        shown = self.lines[:MOST]
        if len(shown) < len(self.lines):
            note(f"The first {len(shown):,} are shown; narrow it down to see others.")
        order = [
            {"name_of_row_": snapshot_name(line.record), "rows": line.record.archived.rows, "size": line.record.size}
            for line in shown
        ]
        self.made = table(COLUMNS, map(cells, shown), "Snapshots that the toolkit made", order).classes("archive")
        if self.acts:
            choosable(self.made)

    def wanted(self) -> tuple[list[SnapshotRecord], bool]:
        """The snapshots that were chosen, or all that are shown; and whether any was chosen."""
        numbers = chosen(self.made) if self.made else []
        lines = [self.lines[number] for number in numbers] or self.lines
        return [line.record for line in lines], bool(numbers)


def snapshot_name(record: SnapshotRecord) -> str:
    """A snapshot for people: ``doc.metrics month=2024-01-01``."""
    archived = record.archived
    return f"{archived.table} {show_partition(archived.columns, archived.values)}"


def summary(lines: Sequence[ArchiveLine]) -> str:
    """How many there are, and how well they are, in a sentence."""
    if not lines:
        return "No snapshot fits."
    tables = {line.record.archived.table for line in lines}
    size = show_size(sum(line.record.size or 0 for line in lines))
    sick = sum(line.condition != "complete" for line in lines)
    text = f"{plural(len(lines), 'snapshot')} of {plural(len(tables), 'table')}, {size}"
    return f"{text}; {sick:,} with a problem, shown first." if sick else f"{text}; all are complete."


def cells(line: ArchiveLine) -> dict[str, Cell]:
    """A snapshot as a row."""
    record, archived = line.record, line.record.archived
    stage, hint = _STAGES[record.stage]
    return {
        "condition": _condition(line),
        "table": Bit(text=str(archived.table), href=links.archived(str(archived.table))),
        "partition": show_partition(archived.columns, archived.values),
        "rows": words.count(archived.rows),
        "size": show_size(record.size),
        "stage": Bit(text=stage, hint=hint),
        "since": words.moment(record.changed_at),
        "verified": _verified(line),
        "snapshot": Bit(text=archived.name, tone="mono"),
        "repository": Bit(text=archived.repository, tone="mono"),
    }


def _condition(line: ArchiveLine) -> Cell:
    if line.state is None:
        return state("missing", "Its repository does not have it any more")
    if line.condition == "incomplete":
        return [state("incomplete"), Bit(text=line.state.detail)]
    if line.condition == "damaged":
        return [state("damaged"), Bit(text=line.record.damage or "")]
    return state("complete", line.state.detail)


def _verified(line: ArchiveLine) -> Cell:
    if line.record.verified_at is not None:
        result = "failed " if line.record.damage else ""
        return Bit(
            text=f"{result}{words.moment(line.record.verified_at)}",
            hint=line.record.damage or "It was read back, and was right",
        )
    if line.record.stage is SnapshotStage.CREATED:
        return Bit(text="not yet", tone="muted")
    return Bit(
        text="when archived", tone="muted", hint="It was checked before its partition was dropped, and not since"
    )
