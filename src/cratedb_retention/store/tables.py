"""
The toolkit's own tables, in a schema of their own (``ext`` unless told otherwise).

Column names are the names of the attributes in code, options and files. A column added here is added to an existing
table by ``setup``.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

DEFAULT_SCHEMA = "ext"


class Instant(sa.types.TypeDecorator[dt.datetime]):
    """An instant: aware datetimes in UTC towards Python, whatever the driver returns."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> dt.datetime | None:
        """CrateDB's driver returns naive UTC, DuckDB's an aware value."""
        if value is None:
            return None
        found: dt.datetime = value
        return found.replace(tzinfo=dt.UTC) if found.tzinfo is None else found.astimezone(dt.UTC)


@dataclass(frozen=True)
class Tables:
    """All tables of one schema."""

    metadata: sa.MetaData
    policy: sa.Table
    journal: sa.Table
    hold: sa.Table
    snapshot: sa.Table
    freeze: sa.Table


def make_tables(schema: str, dialect: str) -> Tables:
    """
    Describe the tables.

    :param dialect: ``crate`` or ``duckdb``; only on CrateDB is the journal partitioned, by month.
    """
    metadata = sa.MetaData(schema=schema)
    return Tables(
        metadata,
        policy_table(metadata),
        _journal(metadata, dialect == "crate"),
        _hold(metadata),
        _snapshot(metadata),
        _freeze(metadata),
    )


def policy_table(metadata: sa.MetaData, name: str = "retention_policy") -> sa.Table:
    """Retention policies; read a row like a sentence."""
    return sa.Table(
        name,
        metadata,
        sa.Column("strategy", sa.Text, nullable=False),
        sa.Column("table_schema", sa.Text),
        sa.Column("table_name", sa.Text, nullable=False),
        sa.Column("retention_period", sa.Text, nullable=False),
        sa.Column("time_zone", sa.Text),
        sa.Column("partition_column", sa.Text),
        sa.Column("time_column", sa.Text),
        sa.Column("where", sa.Text),
        sa.Column("tags", sa.ARRAY(sa.Text)),
        sa.Column("reallocation_attribute_name", sa.Text),
        sa.Column("reallocation_attribute_value", sa.Text),
        sa.Column("target_repository_name", sa.Text),
        sa.Column("expected_max", sa.Text),
        sa.Column("enabled", sa.Boolean),
        sa.Column("description", sa.Text),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("changed_at", Instant),
        sa.Column("changed_by", sa.Text),
        crate_number_of_shards=1,
    )


def _journal(metadata: sa.MetaData, partitioned: bool) -> sa.Table:
    month = [sa.Column("month", Instant, sa.Computed("date_trunc('month', \"time\")"))] if partitioned else []
    options: dict[str, Any] = {"crate_partitioned_by": "month"} if partitioned else {}
    return sa.Table(
        "jobs_log",
        metadata,
        sa.Column("time", Instant, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text),
        sa.Column("table_schema", sa.Text),
        sa.Column("table_name", sa.Text),
        sa.Column("policy_id", sa.Text),
        sa.Column("strategy", sa.Text),
        sa.Column("tags", sa.ARRAY(sa.Text)),
        sa.Column("operation", sa.Text),
        sa.Column("message", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("partitions", sa.BigInteger),
        sa.Column("rows", sa.BigInteger),
        sa.Column("bytes", sa.BigInteger),
        sa.Column("duration_ms", sa.BigInteger),
        sa.Column("cutoff", Instant),
        sa.Column("before", sa.Text),
        sa.Column("after", sa.Text),
        sa.Column("actor", sa.Text),
        sa.Column("host", sa.Text),
        sa.Column("run_id", sa.Text),
        sa.Column("step", sa.Integer),
        *month,
        crate_number_of_shards=1,
        **options,
    )


def _hold(metadata: sa.MetaData) -> sa.Table:
    return sa.Table(
        "retention_hold",
        metadata,
        sa.Column("table_schema", sa.Text),
        sa.Column("table_name", sa.Text, nullable=False),
        sa.Column("where", sa.Text),
        sa.Column("start", Instant),
        sa.Column("end", Instant),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("placed_at", Instant),
        sa.Column("placed_by", sa.Text),
        sa.Column("released_at", Instant),
        sa.Column("released_by", sa.Text),
        sa.Column("id", sa.Text, primary_key=True),
        crate_number_of_shards=1,
    )


def _snapshot(metadata: sa.MetaData) -> sa.Table:
    return sa.Table(
        "retention_snapshot",
        metadata,
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("repository", sa.Text, primary_key=True),
        sa.Column("table_schema", sa.Text, nullable=False),
        sa.Column("table_name", sa.Text, nullable=False),
        sa.Column("partition", sa.Text, nullable=False),
        sa.Column("start", Instant),
        sa.Column("end", Instant),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("rows", sa.BigInteger),
        sa.Column("bytes", sa.BigInteger),
        sa.Column("policy_id", sa.Text),
        sa.Column("tags", sa.ARRAY(sa.Text)),
        sa.Column("run_id", sa.Text),
        sa.Column("changed_at", Instant),
        crate_number_of_shards=1,
    )


def _freeze(metadata: sa.MetaData) -> sa.Table:
    return sa.Table(
        "retention_freeze",
        metadata,
        sa.Column("table_schema", sa.Text, nullable=False),
        sa.Column("table_name", sa.Text, nullable=False),
        sa.Column("partition", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text),
        sa.Column("frozen_at", Instant),
        sa.Column("id", sa.Text, primary_key=True),
        crate_number_of_shards=1,
    )
