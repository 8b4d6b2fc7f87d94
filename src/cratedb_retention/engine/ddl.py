"""
Changes to the toolkit's own tables for which SQLAlchemy has no construct.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from cratedb_retention.engine.database import Database


def add_column(database: Database, table: sa.Table, column: sa.Column[Any]) -> None:
    """``ALTER TABLE ... ADD COLUMN``."""
    kind = column.type.compile(dialect=database.engine.dialect)
    _execute(database, f"ALTER TABLE {_name(database, table)} ADD COLUMN {_quote(database, column.name)} {kind}")


def swap_tables(database: Database, one: sa.Table, other: sa.Table) -> None:
    """Exchange two tables in one statement (CrateDB)."""
    _execute(database, f"ALTER CLUSTER SWAP TABLE {_name(database, one)} TO {_name(database, other)}")


def rename_table(database: Database, table: sa.Table, name: str) -> None:
    """``ALTER TABLE ... RENAME TO``."""
    _execute(database, f"ALTER TABLE {_name(database, table)} RENAME TO {_quote(database, name)}")


def _name(database: Database, table: sa.Table) -> str:
    return database.engine.dialect.identifier_preparer.format_table(table)


def _quote(database: Database, name: str) -> str:
    return database.engine.dialect.identifier_preparer.quote_identifier(name)


def _execute(database: Database, statement: str) -> None:
    # exec_driver_sql, since a colon in a name would look like a parameter to text().
    database.transact(lambda connection: connection.exec_driver_sql(statement))
