"""
What is done with snapshots: a restore or a deletion as it is shown, and then exactly that (law 10); and what became of
operations.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from cratedb_retention.errors import Conflict
from cratedb_retention.execution.archive import Deletable, Deleted, Restored, RestoreRequest, Verified
from cratedb_retention.execution.plan.preview import Restorable
from cratedb_retention.model.words import plural, show_size
from cratedb_retention.service.access import Scope
from cratedb_retention.service.runs import Operations, OperationState
from cratedb_retention.ui.columns import Column, state
from cratedb_retention.ui.links import address, hold_bit, table_bit
from cratedb_retention.ui.web import parts
from cratedb_retention.ui.web.html import Child, Markup, el

T = TypeVar("T")
_LISTED = 100  # Snapshots of a preview that are shown, the refused ones first.
_RECENT, _REASONS = 5, 10


def fingerprint(keys: Iterable[tuple[str, ...]]) -> str:
    """It identifies what would be done, whichever service shows it or does it."""
    return hashlib.sha256(json.dumps(sorted(keys)).encode()).hexdigest()


def _require_shown(shown: str, digest: str, what: str) -> None:
    if shown != digest:
        raise Conflict("the archive", "has changed since it was shown", f"check again what would be {what}")


@dataclass(frozen=True)
class Restoration:
    """A restore or undo on a page: what it would do, in a form, and then exactly that (law 10)."""

    request: RestoreRequest
    found: Sequence[Restorable]

    @property
    def coming(self) -> list[Restorable]:
        return [each for each in self.found if each.refusal is None]

    @property
    def digest(self) -> str:
        return fingerprint((*each.record.key, *each.into) for each in self.coming)

    def section(
        self,
        columns: Sequence[Column[Restorable]],
        do: str,
        verb: str,
        back: str,
        *above: Child,
        title: str = "",
        asked: int = 0,
    ) -> Markup:
        """
        What would be done.

        :param do: The action of the form, ``verb`` how its button names it.
        :param back: Where its link Cancel leads.
        :param asked: How many snapshots were chosen.
        """
        said = [parts.note(text) for text in preview_words(self.found, self.coming, asked or len(self.found))]
        content = (*said, parts.hidden({"shown": self.digest}))
        action = f"{verb} {partitions(self.coming)}"
        form: Child = (said, el("a", "Back", href=back))
        if self.coming:
            form = parts.form(do, *content, action=action, tone="primary", back=back, focus=True)
        rows = listing(columns, sorted(self.found, key=lambda each: each.refusal is None), "What would be restored")
        return parts.section(title or do.capitalize(), above, form, rows, identifier=do)

    def start(self, scoped: Scope, operations: Operations, shown: str) -> None:
        """Do in the background what was shown; raises Conflict if it would be something else by now."""
        _require_shown(shown, self.digest, "restored")
        exactly = frozenset(each.record.key for each in self.coming)
        scoped.start_restore(operations, replace(self.request, chosen=exactly))


@dataclass(frozen=True)
class Deletion:
    """The same for deleting snapshots, which is confirmed by typing a word."""

    found: Sequence[Deletable]

    @property
    def listed(self) -> list[Deletable]:
        """All of them, first those that stay."""
        return sorted(self.found, key=lambda each: each.why_not is None)

    @property
    def going(self) -> list[Deletable]:
        return [each for each in self.found if each.why_not is None]

    @property
    def digest(self) -> str:
        return fingerprint(each.record.key for each in self.going)

    @property
    def words(self) -> str:
        going = self.going
        rows = plural(sum(each.record.archived.rows or 0 for each in going), "row")
        size = show_size(sum(each.record.archived.size or 0 for each in going))
        said = (
            f"{plural(len(going), 'snapshot')} with {rows} ({size}) would be deleted for good. This cannot be undone."
        )
        staying = len(self.found) - len(going)
        return said + (f" {plural(staying, 'snapshot')} would stay; the list says why." if staying else "")

    def start(self, scoped: Scope, operations: Operations, given: Mapping[str, str]) -> None:
        _require_shown(given.get("shown", ""), self.digest, "deleted")
        parts.require_word(given, "delete")
        scoped.start_delete(operations, RestoreRequest(chosen=frozenset(each.record.key for each in self.going)))


def listing(columns: Sequence[Column[T]], items: Sequence[T], caption: str) -> list[Child]:
    """The beginning of a list that may be long."""
    more = len(items) - _LISTED
    return [parts.table(columns, items[:_LISTED], caption), parts.note(f"And {more:,} more.") if more > 0 else None]


def partitions(items: Iterable[Restorable | Restored]) -> str:
    return plural(len({item.record.partition for item in items}), "partition")


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
            "They stay until a user releases the hold: one for each table."
        )
    elif coming:
        said.append("No hold is placed there: policies for that table may expire the rows in their next run.")
    return said


def recent_operations(operations: Sequence[OperationState], acts: bool) -> Markup | None:
    """
    Restores and the like of this service, which it remembers for a while: the latest of them, and what they did.

    :param acts: Whether those that go on can be cancelled.
    """
    found = operations[:_RECENT]
    actions = _cancel if acts and any(each.finished_at is None for each in found) else None
    caption = "Recent operations of this service"
    return parts.table(_OPERATIONS, found, caption, actions, below=_results) if found else None


def _cancel(operation: OperationState) -> Markup | None:
    """A button that ends an operation before its next snapshot."""
    if operation.finished_at is not None:
        return None
    given = parts.hidden({"do": "cancel", "operation": operation.operation_id})
    button = el("button", "Cancel", type="submit", class_="link", title="It ends before its next snapshot")
    return el("form", given, button, method="post", action=address("/archive", {}))


def _results(operation: OperationState) -> Markup | None:
    """What an operation did so far, with the holds that it placed, and each failure with its reason."""
    good, bad = (tuple(each for each in operation.results if bool(each.error) is wrong) for wrong in (False, True))
    said = [el("li", _did(good))] if good else []
    said += [el("li", operation.error, class_="bad many")] if operation.error else []
    for each in bad[:_REASONS]:
        archived = each.record.archived
        said.append(el("li", f"{archived.table} {archived.partition}: ", el("span", each.error, class_="bad many")))
    said += [el("li", f"{len(bad) - _REASONS:,} more failed.")] if len(bad) > _REASONS else []
    return el("ul", said, class_="reasons") if said else None


def _did(good: Sequence[Restored | Verified | Deleted]) -> Iterator[Child]:
    """What went well."""
    restored = [each for each in good if isinstance(each, Restored)]
    if not restored:
        result = "verified: as they were archived." if isinstance(good[0], Verified) else "deleted."
        yield f"{plural(len(good), 'snapshot')} {result}"
        return
    rows = plural(sum(each.rows or 0 for each in restored), "row")
    yield f"{partitions(restored)} with {rows} restored into "
    yield from ((parts.bit(table_bit(each)), " ") for each in sorted({each.into for each in restored}))
    held = sorted({each.hold_id for each in restored if each.hold_id})
    yield ("under ", *((parts.bit(hold_bit(each)), " ") for each in held)) if held else "without a hold."


_OPERATIONS: Sequence[Column[OperationState]] = (
    Column("Started", lambda each: parts.moment(each.started_at)),
    Column("Operation", lambda each: each.kind.capitalize()),
    Column("State", lambda each: state(each.state)),
    Column("Snapshots", lambda each: f"{len(each.results):,} of {each.total:,}"),
)
