"""
The forms of the page of a table, and what they do. What cannot be undone is confirmed by typing the name of the table;
nothing else is done than what was shown (law 10).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping

from cratedb_retention.errors import Conflict, InvalidInput, NotFound
from cratedb_retention.execution.archive import RestoreRequest
from cratedb_retention.execution.plan.preview import Restorable
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.words import plural
from cratedb_retention.ui import archive, holds
from cratedb_retention.ui.overview.visit import Visit
from cratedb_retention.ui.web import parts
from cratedb_retention.ui.web.html import Child, Markup, el


def _form(do: str, *content: Child, action: str, tone: str, back: str = "") -> Markup:
    ends = (el("button", action, type="submit", class_=tone), el("a", "Cancel", href=back) if back else None)
    fields = (parts.hidden({"do": do}), content, el("div", ends, class_="ends"))
    return el("form", fields, method="post", class_="card form")


def _confirmation(word: str) -> Markup:
    made = el("input", name="confirm", autocomplete="off", spellcheck="false", required=True, autofocus=True)
    return el("label", el("span", f"Type {word} to confirm"), made, class_="field wide")


def _require_word(given: Mapping[str, str], word: str) -> None:
    """Raises InvalidInput unless the word was typed that confirms what cannot be undone."""
    if given.get("confirm", "").strip() != word:
        raise InvalidInput("confirmation", "is not the name of the table", f"type {word}")


def place_form(visit: Visit) -> Markup:
    start, end = (visit.given.get(name, visit.get(name)) for name in ("from", "until"))
    where, reason = (visit.given.get(name, "") for name in ("where", "reason"))
    form = _form(
        "place",
        parts.note("Data under a legal hold is never expired, moved or archived, whatever the policies say."),
        parts.field("from", "From (UTC)", start, "empty: from the beginning"),
        parts.field("until", "Until (UTC)", end, "empty: without end"),
        parts.area("where", "Only with these values", where, "column=value, one in each line"),
        parts.area("reason", "Reason", reason, "a case number, a name"),
        action="Place the hold",
        tone="primary",
    )
    return parts.section("Place a hold", form, identifier="place")


def _place(visit: Visit, given: Mapping[str, str]) -> str:
    asked = {name: given.get(name, "") for name in ("where", "from", "until", "reason")}
    holds.place(visit.scoped, holds.read_wish({**asked, "schema": visit.name.schema, "table": visit.name.name}))
    return "placed"


def release_form(visit: Visit, hold: LegalHold) -> Markup:
    effect = el("p", holds.release_effect(visit.scoped, hold), class_="many")
    content = (effect, parts.hidden({"hold": hold.id}), _confirmation(hold.target))
    form = _form("release", *content, action="Release the hold", tone="danger", back=visit.to("holds"))
    return parts.section("Release this hold?", form, identifier="release")


def _release(visit: Visit, given: Mapping[str, str]) -> str:
    found = next((hold for hold in visit.timeline.holds if hold.id == given.get("hold")), None)
    if found is None:
        raise NotFound("hold", "is not in force", "load the page again")
    _require_word(given, found.target)
    visit.scoped.release(found.id)
    return "released"


def _restorable(visit: Visit) -> tuple[list[Restorable], list[Restorable], str]:
    """What restoring the time range would do, the part of it that can be done, and a digest of that."""
    found = [each for each in visit.scoped.restorable(visit.of_archive) if each.record.archived.table == visit.name]
    coming = [each for each in found if each.refusal is None]
    keys = json.dumps(sorted(each.record.key for each in coming))
    return found, coming, hashlib.sha256(keys.encode()).hexdigest()


def restore_form(visit: Visit) -> Markup:
    found, coming, digest = _restorable(visit)
    said = [parts.note(text) for text in archive.preview_words(found, coming, len(found))]
    columns = [column for column in archive.RESTORABLE if column.label != "Table"]
    rows = parts.table(columns, found, "What would be restored")
    action = f"Restore {archive.partitions(coming)}"
    hidden = parts.hidden({"shown": digest})
    form = _form("restore", said, hidden, action=action, tone="primary", back=visit.to("archive")) if coming else said
    return parts.section("Restore", rows, form, identifier="restore")


def _restore(visit: Visit, given: Mapping[str, str]) -> str:
    """Restore exactly what was shown (law 10)."""
    _, coming, digest = _restorable(visit)
    if given.get("shown") != digest:
        raise Conflict("the archive", "has changed since it was shown", "check again what would be restored")
    exactly = RestoreRequest(chosen=frozenset(each.record.key for each in coming))
    visit.scoped.start_restore(visit.guest.context.operations, exactly)
    return "restoring"


def _disable(visit: Visit, given: Mapping[str, str]) -> str:
    """Disable a policy in the version that was shown; its data stays."""
    version = given.get("version", "")
    if not (version.isascii() and version.isdigit() and len(version) < 10):
        raise InvalidInput("version", "is not a number", "load the page again")
    visit.scoped.change(given.get("policy", ""), {"enabled": False}, int(version))
    return "disabled"


def offer_accepting(visit: Visit) -> Iterator[Child]:
    """How to take a table that was dropped and created again for the earlier one of its name."""
    earlier = visit.scoped.find_earlier(visit.name)
    if earlier is None:
        return
    counts = {"rollup": earlier.rollups, "snapshot": earlier.snapshots, "hold": earlier.holds}
    known = ", ".join(plural(count, word) for word, count in counts.items() if count)
    effect = (
        f"What is known of the earlier table counts for this one from now on: {known}. Rows of a time that was "
        "rolled up and expired count as late; a policy with late: drop deletes them."
    )
    content = (parts.note(effect), _confirmation(str(visit.name)))
    yield parts.section(
        "Another table of this name",
        parts.note(f"{known} of an earlier table with this name. If they belong together, accept the table."),
        _form("accept", *content, action="Accept the table", tone="danger"),
        identifier="accept",
    )


def _accept(visit: Visit, given: Mapping[str, str]) -> str:
    _require_word(given, str(visit.name))
    visit.scoped.accept_tables(visit.name.name, visit.name.schema)
    return "accepted"


# What forms do, by their names; each returns what is said then.
ACTIONS: Mapping[str, Callable[[Visit, Mapping[str, str]], str]] = {
    "place": _place,
    "release": _release,
    "restore": _restore,
    "disable": _disable,
    "accept": _accept,
}
DONE = {
    "placed": "The legal hold is in force.",
    "released": "The legal hold is released.",
    "restoring": "The restore has started. Load this page again to see how far it is.",
    "disabled": "The policy is disabled: runs skip it from now on.",
    "accepted": "The table is accepted.",
}
