"""
Copies of archived partitions in the toolkit's own schema, where no policy and no other tool takes them for a table.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial

import sqlalchemy as sa

from cratedb_retention.engine.cratedb.disk import unblock
from cratedb_retention.engine.cratedb.sql import system
from cratedb_retention.engine.database import Database
from cratedb_retention.engine.ddl import drop_table
from cratedb_retention.model.catalog import TableName

COPY, MERGED = "retention_verify_", "retention_restore_"
# A run verifies beside commands that do, and neither drops what the other is at.
OF_RUN = f"{COPY}run_"


@contextmanager
def copy_of(database: Database, schema: str, snapshot: str, prefix: str = COPY) -> Iterator[TableName]:
    """The name of a copy, which is not there before, nor after."""
    copy = named(schema, snapshot, prefix)
    _drop(database, copy)
    try:
        yield copy
    finally:
        _drop(database, copy)


def named(schema: str, snapshot: str, prefix: str) -> TableName:
    """What a copy is called."""
    # Names that cratedb-toolkit gave, with a dot, end in a time that other tables have as well.
    digest = hashlib.sha256(snapshot.encode()).hexdigest()[:12] if "." in snapshot else snapshot[-12:]
    return TableName(schema, f"{prefix}{digest}")


def tidy(database: Database, schema: str, in_use: Callable[[], Collection[str]] | None) -> None:
    """
    Drop what an interruption left in a schema: of commands, or of runs.

    :param in_use: The names of snapshots that runs may be verifying; None: it is about commands.
    """
    t = system("information_schema.tables")
    beginnings = (COPY, MERGED) if in_use is None else (OF_RUN,)
    begun = sa.or_(*(t.table_name.startswith(prefix, autoescape=True) for prefix in beginnings))
    left = database.brief().rows(sa.select(t.table_name).where(t.table_schema == schema, begun))
    copies = {TableName(schema, name) for (name,) in left if name.startswith(OF_RUN) == (in_use is not None)}
    spared = {named(schema, snapshot, OF_RUN) for snapshot in in_use()} if copies and in_use else set()
    for copy in copies - spared:
        _drop(database, copy)


def _drop(database: Database, copy: TableName) -> None:
    """Where a disk is full, CrateDB refuses even that."""
    drop_table(database.unblocking(partial(unblock, database, [copy])), copy)


def renamed(table: TableName, into: TableName) -> dict[str, str]:
    """
    Options to restore a table as another.

    The pattern is a regular expression, and the replacement knows groups; the names are meant literally.
    """
    return {
        "schema_rename_pattern": _exactly(table.schema),
        "schema_rename_replacement": _replacement(into.schema),
        "table_rename_pattern": _exactly(table.name),
        "table_rename_replacement": _replacement(into.name),
    }


def _exactly(name: str) -> str:
    return f"^{re.escape(name)}$"


def _replacement(name: str) -> str:
    return name.replace("\\", "\\\\").replace("$", "\\$")
