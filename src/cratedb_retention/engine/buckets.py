"""
Buckets of time as SQL: to which one a row belongs, as milliseconds, on any database.
"""

from __future__ import annotations

from typing import Any, Protocol

import sqlalchemy as sa

from cratedb_retention.engine.expressions import Expressions
from cratedb_retention.model.cascade import Interval


class Buckets(Expressions, Protocol):
    """How a dialect cuts time into calendar units of a time zone."""

    def truncate(self, time: sa.ColumnElement[Any], aware: bool, unit: str, zone: str) -> sa.ColumnElement[Any]:
        """
        The start of the calendar unit that a time lies in.

        :param aware: Whether the column's type has a time zone; otherwise its values are UTC.
        :param unit: ``day``, ``week``, ``month`` or ``year``.
        """


def bucket_ms(
    sql: Buckets, time: sa.ColumnElement[Any], aware: bool, interval: Interval, zone: str
) -> sa.ColumnElement[int]:
    """The start of a time's bucket, in milliseconds since the epoch."""
    if interval.unit:
        return sql.epoch_ms(sql.truncate(time, aware, interval.unit, zone))
    length: sa.ColumnElement[float] = sa.literal_column(f"{interval.seconds * 1000}.0", sa.Double())
    # Whole numbers would be rounded towards 1970.
    return sa.cast(sa.func.floor(sa.cast(sql.epoch_ms(time), sa.Double()) / length) * length, sa.BigInteger())


def is_aware(kind: str) -> bool:
    """Whether a column's type, in the words of a database, has a time zone."""
    return "WITH TIME ZONE" in kind.upper() or kind.upper() == "TIMESTAMPTZ"
