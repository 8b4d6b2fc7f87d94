"""
Which snapshots the archive shows: a form, and the same in the page's address, so that it can be kept and passed on.
"""

from __future__ import annotations

from collections.abc import Mapping

from nicegui import ui

from cratedb_retention.execution.restoring import RestoreRequest
from cratedb_retention.model.instant import parse_instant
from cratedb_retention.model.tags import parse_tag_filter
from cratedb_retention.ui import links
from cratedb_retention.ui.parts import button, go, link

_FIELDS = (
    ("table", "Table", "name or pattern, like doc.metrics_*"),
    ("repository", "Repository", ""),
    ("from", "From", "like 2024-01-01"),
    ("to", "To", "like 2024-07-01"),
    ("tags", "Tags", "like acme,not:old"),
)


def read_request(query: Mapping[str, str]) -> RestoreRequest:
    """
    What the page's address asks for.

    :raises InvalidInput: if an instant or the tags can't be read.
    """
    given = {name: query.get(name, "").strip() for name, _, _ in _FIELDS}
    schema, _, table = given["table"].rpartition(".")
    first, last = (parse_instant(given[name]) if given[name] else None for name in ("from", "to"))
    return RestoreRequest(
        table_schema=schema or None,
        table_name=table or None,
        start=first,
        end=last,
        repository=given["repository"] or None,
        tags=parse_tag_filter([given["tags"]] if given["tags"] else []),
    )


def address(**given: str) -> str:
    """The page's address with a filter; what is empty is left out."""
    return links.address("/archive", given)


def form(query: Mapping[str, str]) -> None:
    """The form."""
    fields: dict[str, ui.input] = {}

    def submit() -> None:
        go(address(**{name: (field.value or "").strip() for name, field in fields.items()}))

    with ui.element("form").classes("bar filter").props('role=search aria-label="Which snapshots"'):
        for name, label, hint in _FIELDS:
            made = ui.input(label, value=query.get(name, ""), placeholder=hint).props("outlined dense maxlength=200")
            fields[name] = made.on("keydown.enter.prevent", submit)
        button("Filter", submit)
        if any(query.get(name) for name in fields):
            link("Show all", address())
