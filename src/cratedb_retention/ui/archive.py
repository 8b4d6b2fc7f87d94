"""
The archive: the snapshots that the toolkit made, how well they are, and what can be done with them: reading them back,
restoring and deleting them, which both show first what they would do.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from nicegui import ui

from cratedb_retention.errors import Conflict, RetentionError
from cratedb_retention.execution.archive import Deletable, Deleted, Restored, RestoreRequest, Verified
from cratedb_retention.execution.plan.preview import WORST_FIRST, ArchiveLine, Restorable
from cratedb_retention.model import words
from cratedb_retention.model.access import Role
from cratedb_retention.model.archive import SnapshotStage
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.policies.patterns import parse_table
from cratedb_retention.model.time import parse_instant
from cratedb_retention.model.words import plural, short, show_size
from cratedb_retention.service.access import Scope
from cratedb_retention.service.runs import Operations, OperationState
from cratedb_retention.ui.access import Guest
from cratedb_retention.ui.columns import Bit, Cell, Column, counted, sized, state
from cratedb_retention.ui.links import PREFIX, TAGS, Field, Query, address, filter_form, read_tags
from cratedb_retention.ui.parts import agreed, bar, button, heading, note, show_error
from cratedb_retention.ui.tables import table
from cratedb_retention.ui.web import parts
from cratedb_retention.ui.web.html import Markup

PATH = "/archive"
_FIELDS = (
    Field(name="table", label="Table", hint="name or pattern, like doc.metrics_*"),
    Field(name="repository", label="Repository"),
    Field(name="from", label="From", hint="like 2024-01-01"),
    Field(name="to", label="To", hint="like 2024-07-01"),
    TAGS,
)
# More rows than this are too many for a browser, and for people.
MOST = 1_000
_OWN, _BESIDE = "Into its own table", "Into another table"
Item = TypeVar("Item", bound=Verified | Restored | Deletable | Deleted)


async def show(guest: Guest, query: Query) -> None:
    """Fill the page."""
    filter_form(PATH, _FIELDS, query, "Filter")
    try:
        request = read_request(query)
    except RetentionError as error:
        show_error(error)
        return
    page = Archive(guest, request)
    await page.load()
    if page.acts and page.lines:
        page.offer()


def read_request(query: Query) -> RestoreRequest:
    """Which snapshots the page is about; raises InvalidInput if the table, an instant or the tags can't be read."""
    given = {field.name: query.get(field.name, "").strip() for field in _FIELDS}
    table = parse_table(given["table"], default_schema="") if given["table"] else TableName("", "")
    first, last = (parse_instant(given[name]) if given[name] else None for name in ("from", "to"))
    return RestoreRequest(
        table_schema=table.schema or None,
        table_name=table.name or None,
        start=first,
        end=last,
        repository=given["repository"] or None,
        tags=read_tags(query),
    )


class Archive:
    """The snapshots that fit; and below them, for those who may, buttons and what came of these."""

    def __init__(self, guest: Guest, request: RestoreRequest) -> None:
        self._guest, self._request, self.acts = guest, request, guest.may(Role.OPERATOR)
        self._place = ui.element("div").classes("content")
        self.lines: list[ArchiveLine] = []
        self._table: ui.table | None = None

    async def load(self) -> None:
        """Show them as they are now."""
        found = await self._guest.ask(lambda scoped: scoped.snapshots(self._request, MOST + 1))
        self.lines = sorted(found[:MOST], key=lambda line: WORST_FIRST.index(line.condition))
        with self._place.clear():
            note(_summary(self.lines))
            if not self.lines:
                note("Policies with the strategy snapshot archive partitions before they drop them.")
                return
            if len(found) > MOST:
                note(f"These are the first {MOST:,}, by table and time; narrow it down to see others.")
            choose: Literal["multiple"] | None = "multiple" if self.acts else None
            self._table = table(COLUMNS, self.lines, "Snapshots that the toolkit made", named=_name, choose=choose)
            self._table.classes("archive")

    def offer(self) -> None:
        note("Choose snapshots by the boxes before them; without a choice, all that are listed are meant.")
        with bar():
            button("Verify", self._verify)
            button("Restore …", self._restore)
            if self._guest.may(Role.EDITOR):
                button("Delete …", self._delete, tone="negative")
        self._box = ui.element("div").classes("content").props("aria-live=polite")

    def _chosen(self) -> RestoreRequest:
        """Exactly the snapshots that are meant now, whatever is archived meanwhile."""
        lines = [self.lines[row["_"]] for row in self._table.selected] if self._table else []
        return RestoreRequest(chosen=frozenset(line.record.key for line in lines or self.lines))

    async def _verify(self) -> None:
        request, found = self._chosen(), list[Verified]()
        many = plural(len(request.chosen or ()), "snapshot")
        with self._box.clear(), _waiting(lambda: f"Reading back: {len(found):,} of {many} done …"):
            await self._guest.ask(lambda scoped: scoped.verify_snapshots(request, found.append))
        bad, many = sum(item.error is not None for item in found), plural(len(found), "snapshot")
        await self.load()
        with self._box:
            heading("What reading back found")
            note(f"{bad:,} of {many} can't be relied on." if bad else f"All is right with {many}.")
            _results(
                found,
                "What verifying found",
                lambda item: state("failed" if item.error else "verified"),
                Column("What was found", lambda item: item.error or item.found or ""),
            )

    def _restore(self) -> None:
        request = self._chosen()
        count = len(request.chosen or ())

        async def preview() -> None:
            into = parse_table(other.value or "") if where.value == _BESIDE else None
            with shown.clear(), _waiting(lambda: "Looking …"):
                found = await self._guest.ask(lambda scoped: scoped.restorable(replace(request, into=into)))
            coming = [item for item in found if item.refusal is None]
            exactly = RestoreRequest(chosen=frozenset(item.record.key for item in coming), into=into)
            with shown:
                _list_restorable(found, coming, count)
                if coming:
                    with bar():
                        button(f"Restore {partitions(coming)}", lambda: self._bring_back(shown, exactly))
                        button("Cancel", forget, tone="grey-8")

        def forget() -> None:
            """What was shown is not what would be done any more."""
            shown.clear()

        with self._box.clear():
            heading(f"Restore {plural(count, 'snapshot')}")
            with bar():
                where = ui.radio([_OWN, _BESIDE], value=_OWN, on_change=forget).props("inline")
                other = ui.input("Other table, as schema.table", on_change=forget)
                other.props("outlined dense maxlength=255 spellcheck=false").classes("wide")
                other.bind_visibility_from(where, "value", value=_BESIDE)
            with bar():
                button("Show what would be restored", preview)
            shown = ui.element("div").classes("content")

    async def _delete(self) -> None:
        request = self._chosen()
        with self._box.clear(), _waiting(lambda: "Looking …"):
            found = await self._guest.ask(lambda scoped: scoped.deletable(request))
        going = [item for item in found if item.why_not is None]
        exactly = RestoreRequest(chosen=frozenset(item.record.key for item in going))
        rows = plural(sum(item.record.archived.rows or 0 for item in going), "row")
        size, many = show_size(sum(item.record.archived.size or 0 for item in going)), plural(len(going), "snapshot")
        with self._box:
            heading(f"Delete {plural(len(found), 'snapshot')}")
            _results(
                found,
                "What would be deleted",
                lambda item: [state("refused"), Bit(text=item.refusal)] if item.refusal else state("ready"),
                counted("Rows", lambda item: item.record.archived.rows),
                sized(lambda item: item.record.archived.size),
                Column("Snapshot", lambda item: _mono(item.record.archived.name)),
            )
            said = f"{many} with {rows} ({size}) would be deleted for good."
            if len(going) < len(found):
                said += f" {len(found) - len(going):,} would stay; the list says why."
            note(said, "plain")
            shown = ui.element("div").classes("content")

        async def delete() -> None:
            if await agreed(f"Delete {many}?", f"{said} This cannot be undone.", "Delete", "delete"):
                await self._delete_now(shown, exactly)

        def forget() -> None:
            self._box.clear()

        with shown:
            if going:
                with bar():
                    button(f"Delete {many}", delete, tone="negative")
                    button("Cancel", forget, tone="grey-8")

    async def _delete_now(self, place: ui.element, request: RestoreRequest) -> None:
        with place.clear(), _waiting(lambda: "Deleting; this page may be left meanwhile …"):
            found = await self._guest.ask(lambda scoped: scoped.delete_snapshots(request))
        bad = sum(item.error is not None for item in found)
        await self.load()
        with place:
            heading("What was deleted")
            rest = f"; {bad:,} still exist." if bad else "."
            note(f"{plural(len(found) - bad, 'snapshot')} deleted{rest}")
            _results(
                found,
                "What was deleted",
                lambda item: [state("failed"), Bit(text=item.error)] if item.error else state("deleted"),
                Column("Snapshot", lambda item: _mono(item.record.archived.name)),
            )

    async def _bring_back(self, place: ui.element, request: RestoreRequest) -> None:
        with place.clear(), _waiting(lambda: "Restoring; this page may be left meanwhile …"):
            found = await self._guest.ask(lambda scoped: scoped.restore(request))
        await self.load()
        with place:
            _list_restored(found)


@dataclass(frozen=True)
class Restoration:
    """A restore or undo on a server-rendered page: what it would do, in a form, and then exactly that (law 10)."""

    request: RestoreRequest
    found: Sequence[Restorable]

    @property
    def coming(self) -> list[Restorable]:
        return [each for each in self.found if each.refusal is None]

    @property
    def digest(self) -> str:
        """It identifies what would be done, whichever service shows it or does it."""
        keys = json.dumps(sorted(each.record.key for each in self.coming))
        return hashlib.sha256(keys.encode()).hexdigest()

    def section(self, columns: Sequence[Column[Restorable]], do: str, verb: str, back: str) -> Markup:
        said = [parts.note(text) for text in preview_words(self.found, self.coming, len(self.found))]
        content = (*said, parts.hidden({"shown": self.digest}))
        action = f"{verb} {partitions(self.coming)}"
        form = parts.form(do, *content, action=action, tone="primary", back=back) if self.coming else said
        return parts.section(
            do.capitalize(), parts.table(columns, self.found, "What would be restored"), form, identifier=do
        )

    def start(self, scoped: Scope, operations: Operations, shown: str) -> None:
        """Do in the background what was shown; raises Conflict if it would be something else by now."""
        if shown != self.digest:
            raise Conflict("the archive", "has changed since it was shown", "check again what would be restored")
        exactly = frozenset(each.record.key for each in self.coming)
        scoped.start_restore(operations, replace(self.request, chosen=exactly))


def recent_operations(operations: Sequence[OperationState]) -> Markup | None:
    """Restores and the like of this service, which it remembers for a while: the latest of them."""
    found = operations[:_RECENT]
    return parts.table(_OPERATIONS, found, "Recent operations of this service") if found else None


def _failures(operation: OperationState) -> str:
    errors = [operation.error, *(result.error for result in operation.results)]
    return next(filter(None, errors), "")


_RECENT = 5
_OPERATIONS: Sequence[Column[OperationState]] = (
    Column("Started", lambda each: parts.moment(each.started_at)),
    Column("Operation", lambda each: each.kind.capitalize()),
    Column("State", lambda each: state(each.state)),
    Column("Snapshots", lambda each: f"{len(each.results):,} of {each.total:,}"),
    Column("Error", lambda each: Bit(text=_failures(each), tone="bad many")),
)


def _list_restorable(found: Sequence[Restorable], coming: Sequence[Restorable], asked: int) -> None:
    table(RESTORABLE, found, "What would be restored").classes("archive")
    for sentence in preview_words(found, coming, asked):
        note(sentence, "plain")


def _list_restored(found: Sequence[Restored]) -> None:
    good, bad = [item for item in found if item.error is None], [item for item in found if item.error is not None]
    rows = plural(sum(item.rows or 0 for item in good), "row")
    heading("What was restored")
    rest = f"; {len({item.record.partition for item in bad}):,} did not." if bad else "."
    note(f"{partitions(good)} with {rows} came back{rest}")
    _results(
        found,
        "What was restored",
        lambda item: [state("failed"), Bit(text=item.error)] if item.error else state("restored"),
        counted("Rows", lambda item: item.rows),
        Column("Into", lambda item: str(item.into)),
        Column("On hold", _held),
    )


@contextmanager
def _waiting(words_now: Callable[[], str]) -> Iterator[None]:
    with bar().props("role=status") as line:
        ui.spinner(size="1.5em")
        label = ui.label(words_now())
        timer = ui.timer(0.5, lambda: label.set_text(words_now()))
    try:
        yield
    finally:
        timer.cancel()
        line.delete()


def _name(line: ArchiveLine) -> str:
    return f"{line.record.archived.table} {line.record.archived.partition}"


def partitions(items: Iterable[Restorable | Restored]) -> str:
    return plural(len({item.record.partition for item in items}), "partition")


def _summary(lines: Sequence[ArchiveLine]) -> str:
    if not lines:
        return "No snapshot matches."
    tables = plural(len({line.record.archived.table for line in lines}), "table")
    sick = sum(line.condition != "complete" for line in lines)
    size = show_size(sum(line.record.archived.size or 0 for line in lines))
    text = f"{plural(len(lines), 'snapshot')} of {tables}, {size}"
    return f"{text}; {sick:,} with a problem, shown first." if sick else f"{text}; all are complete."


def preview_words(found: Sequence[Restorable], coming: Sequence[Restorable], asked: int) -> list[str]:
    rows = plural(sum(item.record.archived.rows or 0 for item in coming), "row")
    size = show_size(sum(item.record.archived.size or 0 for item in coming))
    refused = [item for item in found if item.refusal is not None]
    said = [f"{partitions(coming)} with {rows} ({size}) would come back."]
    if len({item.record.partition for item in coming}) < len(coming):
        said.append(f"Partitions with several snapshots come back from all of them: {len(coming):,} in all.")
    if len(found) < asked:
        said.append("Snapshots whose rows are in a later one are omitted.")
    if refused:
        said.append(f"{partitions(refused)} would not; the list says why.")
    if any(item.held for item in coming):
        said.append(
            "Partitions that return to their original table get a legal hold, or the next run would expire them again. "
            "They stay until a user releases the hold, on the page Holds."
        )
    elif coming:
        said.append("No hold is placed there: policies for that table may expire the rows in their next run.")
    return said


def _condition(line: ArchiveLine) -> Cell:
    if line.state is None:
        return state("missing", "Its repository does not have it any more")
    if line.condition == "complete":
        return state("complete", line.state.detail)
    found = line.state.detail if line.condition == "incomplete" else line.record.damage
    return [state(line.condition), Bit(text=found or "")]


def _verified(line: ArchiveLine) -> Cell:
    record = line.record
    if record.verified_at is not None:
        failed = "failed " if record.damage else ""
        hint = record.damage or "It was read back, and was right"
        return Bit(text=f"{failed}{words.moment(record.verified_at)}", hint=hint)
    if record.stage is SnapshotStage.CREATED:
        return Bit(text="not yet", tone="muted")
    hint = "It was checked before its partition was dropped, and not since"
    return Bit(text="when archived", tone="muted", hint=hint)


def _ends(line: ArchiveLine) -> Bit:
    if line.ends is None:
        hint = "No run deletes it: see archive_period, or recoverable, of its policy"
        return Bit(text="never", tone="muted", hint=hint)
    undo = "" if line.record.recoverable_until is None else "; deleted, and can be brought back until then"
    return Bit(text=words.moment(line.ends)[:10], hint=f"{words.moment(line.ends)}{undo}")


def _table_bit(line: ArchiveLine) -> Bit:
    name = str(line.record.archived.table)
    return Bit(text=name, href=address(PATH, {"table": name}))


def _mono(text: str) -> Bit:
    return Bit(text=text, tone="mono")


COLUMNS: Sequence[Column[ArchiveLine]] = (
    Column("State", _condition),
    Column("Table", _table_bit),
    Column("Partition", lambda line: line.record.archived.partition),
    counted("Rows", lambda line: line.record.archived.rows),
    sized(lambda line: line.record.archived.size),
    Column("Stage", lambda line: Bit(text=line.record.stage, hint=line.record.stage.label)),
    Column("Since", lambda line: words.moment(line.record.changed_at)),
    Column("Verified", _verified),
    Column("Ends", _ends),
    Column("Snapshot", lambda line: _mono(line.record.archived.name)),
    Column("Repository", lambda line: _mono(line.record.archived.repository)),
)


RESTORABLE: Sequence[Column[Restorable]] = (
    Column("Result", lambda item: [state("refused"), Bit(text=item.refusal)] if item.refusal else state("ready")),
    Column("Table", lambda item: str(item.record.archived.table)),
    Column("Partition", lambda item: item.record.archived.partition),
    counted("Rows", lambda item: item.record.archived.rows),
    sized(lambda item: item.record.archived.size),
    Column("Into", lambda item: str(item.into)),
    Column("From snapshot", lambda item: _mono(item.record.archived.name)),
)


def _results(items: Sequence[Item], caption: str, result: Callable[[Item], Cell], *more: Column[Item]) -> None:
    of = Column[Item]("Table", lambda item: str(item.record.archived.table))
    partition = Column[Item]("Partition", lambda item: item.record.archived.partition)
    table((Column("Result", result), of, partition, *more), items, caption).classes("archive")


def _held(item: Restored) -> Cell:
    hold = Bit(text=f"hold {short(item.hold_id)}", href=f"{PREFIX}/holds") if item.hold_id else "no"
    return "" if item.error else hold
