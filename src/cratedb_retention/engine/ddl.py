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
    kind = f"{column.type.compile(dialect=database.engine.dialect)}{database.column_options(column)}"
    database.execute_text(f"ALTER TABLE {database.name_of(table)} ADD COLUMN {database.quote(column.name)} {kind}")


def swap_tables(database: Database, one: sa.Table, other: sa.Table) -> None:
    """Exchange two tables in one statement (CrateDB)."""
    database.execute_text(f"ALTER CLUSTER SWAP TABLE {database.name_of(one)} TO {database.name_of(other)}")


def rename_table(database: Database, table: sa.Table, name: str) -> None:
    """``ALTER TABLE ... RENAME TO``."""
    database.execute_text(f"ALTER TABLE {database.name_of(table)} RENAME TO {database.quote(name)}")


def drop_table(database: Database, table: TableName) -> None:
    """``DROP TABLE``, if it is there."""
    database.execute_text(f"DROP TABLE IF EXISTS {database.quote(table.schema)}.{database.quote(table.name)}")


def drop_view(database: Database, view: TableName) -> None:
    """``DROP VIEW``, if it is there."""
    database.execute_text(f"DROP VIEW IF EXISTS {database.quote(view.schema)}.{database.quote(view.name)}")
