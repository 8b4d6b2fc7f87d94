"""
What can be done with snapshots: reading them back, and restoring them, which shows first what it would do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from nicegui import ui

from cratedb_retention.errors import InvalidInput
from cratedb_retention.execution.archive import Restored, RestoreRequest, Verified
from cratedb_retention.execution.preview import Restorable
from cratedb_retention.model import words
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.words import plural, short, show_partition, show_size
from cratedb_retention.store.archive import SnapshotRecord
from cratedb_retention.ui.guest import Guest
from cratedb_retention.ui.links import PREFIX
from cratedb_retention.ui.parts import Bit, Cell, Column, button, heading, note, state, table

_OWN, _BESIDE = "Into its own table", "Into another table"
_RESULT = (Column("state", "Result"), Column("table", "Table"), Column("partition", "Partition"))
_VERIFIED = (*_RESULT, Column("found", "What was found"))
_PREVIEW = (
    *_RESULT,
    Column("rows", "Rows", right=True),
    Column("size", "Size", right=True),
    Column("into", "Into"),
    Column("snapshot", "From snapshot"),
)
_RESTORED = (*_RESULT, Column("rows", "Rows", right=True), Column("into", "Into"), Column("hold", "On hold"))


@dataclass
class Tools:
    """
    Buttons, and beneath them what came of it.

    :param wanted: Tells which snapshots are meant now, and whether they were chosen one by one.
    :param changed: Shows the snapshots as they are now.
    """

    guest: Guest
    wanted: Callable[[], tuple[list[SnapshotRecord], bool]]
    changed: Callable[[], Awaitable[None]]

    def __post_init__(self) -> None:
        note("Choose snapshots by the boxes before them; without a choice, all that are listed are meant.")
        with ui.element("div").classes("bar"):
            button("Verify", self.verify)
            button("Restore …", self.restore)
        self.box = ui.element("div").classes("content").props("aria-live=polite")

    async def verify(self) -> None:
        """Read them back, and tell what each is like."""
        request, count = self._request()
        found: list[Verified] = []
        self.box.clear()
        with self.box, _waiting(lambda: f"Reading back: {len(found):,} of {plural(count, 'snapshot')} done …"):
            await self.guest.ask(lambda scoped: scoped.verify_snapshots(request, found.append))
        await self.changed()
        with self.box:
            heading("What reading back found")
            note(verified_words(found))
            table(_VERIFIED, map(verified_cells, found), "What verifying found").classes("archive")

    def restore(self) -> None:
        """Ask where to, and show what would be done."""
        request, count = self._request()
        self.box.clear()
        with self.box:
            Restoring(guest=self.guest, request=request, count=count, changed=self.changed)

    def _request(self) -> tuple[RestoreRequest, int]:
        """Exactly these snapshots, whatever is archived meanwhile."""
        records, _ = self.wanted()
        keys = frozenset((record.archived.repository, record.archived.name) for record in records)
        return RestoreRequest(chosen=keys), len(keys)


@dataclass(kw_only=True)
class Restoring:
    """A restore: where to, what it would do, what came of it."""

    guest: Guest
    request: RestoreRequest
    count: int
    changed: Callable[[], Awaitable[None]]

    def __post_init__(self) -> None:
        heading(f"Restore {plural(self.count, 'snapshot')}")
        with ui.element("div").classes("bar"):
            self.where = ui.radio([_OWN, _BESIDE], value=_OWN, on_change=self.forget).props("inline")
            self.into = ui.input("Other table, as schema.table", on_change=self.forget)
            self.into.props("outlined dense maxlength=255 spellcheck=false").classes("wide")
            self.into.bind_visibility_from(self.where, "value", value=_BESIDE)
        with ui.element("div").classes("bar"):
            button("Show what would be restored", self.preview)
        self.box = ui.element("div").classes("content")

    def forget(self) -> None:
        """What was shown is not what would be done any more."""
        self.box.clear()

    async def preview(self) -> None:
        """Show what would be done; nothing is written."""
        request = self._request()
        self.box.clear()
        with self.box, _waiting(lambda: "Looking …"):
            found = await self.guest.ask(lambda scoped: scoped.restorable(request))
        coming = [item for item in found if item.refusal is None]
        with self.box:
            table(_PREVIEW, map(preview_cells, found), "What would be restored").classes("archive")
            for sentence in preview_words(found, self.count):
                note(sentence, "plain")
            if coming:
                self._ask(coming, request.into)

    def _ask(self, coming: Sequence[Restorable], into: TableName | None) -> None:
        """Only what was shown is done."""
        exactly = RestoreRequest(chosen=frozenset(item.record.key for item in coming), into=into)
        with ui.element("div").classes("bar"):
            button(f"Restore {plural(_partitions(coming), 'partition')}", lambda: self.do(exactly))
            button("Cancel", self.forget, tone="grey-8")

    async def do(self, request: RestoreRequest) -> None:
        """Restore, and tell what came of each."""
        self.box.clear()
        with self.box, _waiting(lambda: "Restoring; this page may be left meanwhile …"):
            found = await self.guest.ask(lambda scoped: scoped.restore(request))
        await self.changed()
        with self.box:
            heading("What was restored")
            note(restored_words(found))
            table(_RESTORED, map(restored_cells, found), "What was restored").classes("archive")

    def _request(self) -> RestoreRequest:
        into = read_table(self.into.value or "") if self.where.value == _BESIDE else None
        return RestoreRequest(chosen=self.request.chosen, into=into)


@contextmanager
def _waiting(words_now: Callable[[], str]) -> Iterator[None]:
    """Show that something goes on, and how far it is."""
    with ui.element("div").classes("bar").props("role=status") as bar:
        ui.spinner(size="1.5em")
        label = ui.label(words_now())
        timer = ui.timer(0.5, lambda: label.set_text(words_now()))
    try:
        yield
    finally:
        timer.cancel()
        bar.delete()


def read_table(text: str) -> TableName:
    """
    Read ``schema.table``.

    :raises InvalidInput: if it is not of that form.
    """
    schema, _, name = text.strip().partition(".")
    if not schema or not name.strip() or "." in name:
        raise InvalidInput(f"table {text.strip()!r}", "not of the form schema.table", "write it like doc.restored")
    return TableName(schema, name)


def verified_words(found: Sequence[Verified]) -> str:
    """How verifying went, in a sentence."""
    bad = sum(item.error is not None for item in found)
    if bad:
        return f"{bad:,} of {plural(len(found), 'snapshot')} can't be relied on."
    return f"All is right with {plural(len(found), 'snapshot')}."


def preview_words(found: Sequence[Restorable], asked: int) -> list[str]:
    """What a restore would do, in sentences."""
    coming = [item for item in found if item.refusal is None]
    rows = sum(item.record.archived.rows or 0 for item in coming)
    size = show_size(sum(item.record.size or 0 for item in coming))
    back, refused = _partitions(coming), _partitions(item for item in found if item.refusal is not None)
    said = [f"{plural(back, 'partition')} with {plural(rows, 'row')} ({size}) would come back."]
    if back < len(coming):
        said.append(f"Partitions with several snapshots come back from all of them: {len(coming):,} in all.")
    if len(found) < asked:
        said.append("Snapshots whose rows are in a later one are left out.")
    if refused:
        said.append(f"{plural(refused, 'partition')} would not; the list says why.")
    if any(item.held for item in coming):
        said.append(
            "What goes back into its own table is put on hold, or the next run would expire it again. "
            "It stays until somebody releases the hold, on the page Holds."
        )
    elif coming:
        said.append("No hold is placed there: policies that are about that table may expire it at their next run.")
    return said


def restored_words(found: Sequence[Restored]) -> str:
    """How restoring went, in a sentence."""
    good = [item for item in found if item.error is None]
    rows = plural(sum(item.rows or 0 for item in good), "row")
    text = f"{plural(_partitions(good), 'partition')} with {rows} came back"
    bad = _partitions(item for item in found if item.error is not None)
    return f"{text}; {bad:,} did not." if bad else f"{text}."


def _partitions(items: Iterable[Restorable | Restored]) -> int:
    return len({item.record.partition for item in items})


def _cells(record: SnapshotRecord) -> dict[str, Cell]:
    archived = record.archived
    return {"table": str(archived.table), "partition": show_partition(archived.columns, archived.values)}


def verified_cells(item: Verified) -> dict[str, Cell]:
    """What reading a snapshot back found, as a row."""
    return {**_cells(item.record), "state": state("failed" if item.error else "verified"), "found": _what(item)}


def _what(item: Verified) -> str:
    return item.error or item.found or ""


def preview_cells(item: Restorable) -> dict[str, Cell]:
    """What would become of a snapshot, as a row."""
    record = item.record
    refused = [state("refused"), Bit(text=item.refusal or "")]
    return {
        **_cells(record),
        "state": refused if item.refusal else state("ready"),
        "rows": words.count(record.archived.rows),
        "size": show_size(record.size),
        "into": str(item.into),
        "snapshot": Bit(text=record.archived.name, tone="mono"),
    }


def restored_cells(item: Restored) -> dict[str, Cell]:
    """What became of a snapshot, as a row."""
    hold = Bit(text=f"hold {short(item.hold_id)}", href=f"{PREFIX}/holds") if item.hold_id else "no"
    return {
        **_cells(item.record),
        "state": [state("failed"), Bit(text=item.error)] if item.error else state("restored"),
        "rows": words.count(item.rows),
        "into": str(item.into),
        "hold": "" if item.error else hold,
    }
