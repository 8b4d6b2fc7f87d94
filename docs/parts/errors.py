"""The kinds of errors with their exit codes and HTTP statuses, from their classes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from cratedb_retention.errors import RetentionError
from parts.markdown import from_docstring, one_line, table


def errors() -> str:
    """A table of all kinds of errors."""
    rows = []
    for kind in _kinds(RetentionError):
        rows.append((f"`{kind.__name__}`", str(kind.exit_code), str(kind.http_status), _said(kind)))
    return table(("Error", "Exit code", "HTTP status", "Meaning"), rows)


def _kinds(kind: type[RetentionError]) -> Iterator[type[RetentionError]]:
    yield kind
    for each in kind.__subclasses__():
        if each.__module__ == RetentionError.__module__:
            yield from _kinds(each)


def _said(kind: type[RetentionError]) -> str:
    if kind is RetentionError:
        return "Any other error, and what all of them are."
    return one_line(from_docstring(inspect.getdoc(kind) or ""))
