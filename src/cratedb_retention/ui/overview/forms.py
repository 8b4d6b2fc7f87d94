"""
The forms of the page of a table, and what they do. What cannot be undone is confirmed by typing the name of the table;
nothing else is done than what was shown (law 10).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from cratedb_retention.errors import InvalidInput, NotFound
from cratedb_retention.execution.archive import RestoreRequest
from cratedb_retention.model.words import plural
from cratedb_retention.ui import holds
from cratedb_retention.ui.archive.columns import RESTORABLE
from cratedb_retention.ui.archive.operations import Restoration
from cratedb_retention.ui.overview.visit import Visit
from cratedb_retention.ui.web import parts
from cratedb_retention.ui.web.html import Child, Markup


def place_form(visit: Visit) -> Markup:
    wrong = holds.find_mistakes(visit.given, visit.name) if visit.given.get("do") == "place" else {}

    def value(name: str) -> str:
        return visit.given.get(name, visit.get(name) if name in ("from", "until") else "")

    form = parts.form(
        "place",
        parts.note("Data under a legal hold is never expired, moved or archived, whatever the policies say."),
        holds.write_fields(value, wrong),
        action="Place the hold",
        tone="primary",
    )
    return parts.section("Place a hold", form, identifier="place")


def _place(visit: Visit, given: Mapping[str, str]) -> str:
    holds.place(visit.scoped, holds.read_wish(given, visit.name))
    return "placed"


def _release(visit: Visit, given: Mapping[str, str]) -> str:
    found = [hold for hold in visit.timeline.holds if hold.id == given.get("hold")]
    if not found:
        raise NotFound("hold", "is not in force", "load the page again")
    holds.release(visit.scoped, found, given)
    return "released"


def _renew(visit: Visit, given: Mapping[str, str]) -> str:
    visit.scoped.renew(given.get("hold", ""))
    return "renewed"


def _restoration(visit: Visit) -> Restoration:
    """What restoring the time range would do."""
    found = [each for each in visit.scoped.restorable(visit.of_archive) if each.record.archived.table == visit.name]
    return Restoration(RestoreRequest(), found)


def restore_form(visit: Visit) -> Markup:
    columns = [column for column in RESTORABLE if column.label != "Table"]
    return _restoration(visit).section(columns, "restore", "Restore", visit.to("archive"))


def _restore(visit: Visit, given: Mapping[str, str]) -> str:
    _restoration(visit).start(visit.scoped, visit.guest.context.operations, given.get("shown", ""))
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
    content = (parts.note(effect), parts.confirmation(str(visit.name), focus=False))
    yield parts.section(
        "Another table of this name",
        parts.note(f"{known} of an earlier table with this name. If they belong together, accept the table."),
        parts.form("accept", *content, action="Accept the table", tone="danger"),
        identifier="accept",
    )


def _accept(visit: Visit, given: Mapping[str, str]) -> str:
    parts.require_word(given, str(visit.name))
    visit.scoped.accept_tables(visit.name.name, visit.name.schema)
    return "accepted"


# What forms do, by their names; each returns what is said then.
ACTIONS: Mapping[str, Callable[[Visit, Mapping[str, str]], str]] = {
    "place": _place,
    "release": _release,
    "renew": _renew,
    "restore": _restore,
    "disable": _disable,
    "accept": _accept,
}
DONE = {
    "placed": "The legal hold is in force.",
    "released": "The legal hold is released.",
    "renewed": "The legal hold is in force again.",
    "restoring": "The restore has started. Load this page again to see how far it is.",
    "disabled": "The policy is disabled: runs skip it from now on.",
    "accepted": "The table is accepted.",
}
