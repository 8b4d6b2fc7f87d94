"""
Changes to the toolkit's own tables for which SQLAlchemy has no construct.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from cratedb_retention.engine.database import Database
from cratedb_retention.model.catalog import TableName


def add_column(database: Database, table: sa.Table, column: sa.Column[Any]) -> None:
    """``ALTER TABLE ... ADD COLUMN``."""
    kind = column.type.compile(dialect=database.engine.dialect)
    if database.engine.dialect.name == "crate" and column.dialect_options["crate"].get("columnstore") is False:
        kind += " INDEX OFF STORAGE WITH (columnstore = false)"
    database.execute_text(f"ALTER TABLE {_name(database, table)} ADD COLUMN {database.quote(column.name)} {kind}")


def swap_tables(database: Database, one: sa.Table, other: sa.Table) -> None:
    """Exchange two tables in one statement (CrateDB)."""
    database.execute_text(f"ALTER CLUSTER SWAP TABLE {_name(database, one)} TO {_name(database, other)}")


def rename_table(database: Database, table: sa.Table, name: str) -> None:
    """``ALTER TABLE ... RENAME TO``."""
    database.execute_text(f"ALTER TABLE {_name(database, table)} RENAME TO {database.quote(name)}")


def _name(database: Database, table: sa.Table) -> str:
    return database.engine.dialect.identifier_preparer.format_table(table)


def drop_table(database: Database, table: TableName) -> None:
    """``DROP TABLE``, if it is there."""
    database.execute_text(f"DROP TABLE IF EXISTS {database.quote(table.schema)}.{database.quote(table.name)}")


def drop_view(database: Database, view: TableName) -> None:
    """``DROP VIEW``, if it is there."""
    database.execute_text(f"DROP VIEW IF EXISTS {database.quote(view.schema)}.{database.quote(view.name)}")
