"""
What somebody who looks around in a cascade is told beside its data: which tables there are, which values.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import replace

from cratedb_retention.engine.base import Engine
from cratedb_retention.model.access import Realm
from cratedb_retention.model.areas import Area, area_of, make_area
from cratedb_retention.model.catalog import TableName, Value
from cratedb_retention.model.exploring import Explorable
from cratedb_retention.model.reading import Cascade, FetchRequest
from cratedb_retention.model.rollup import ROW_COUNT
from cratedb_retention.planning.asking import make_reading


def explorable(tables: Iterable[TableName], realm: Realm) -> list[Explorable]:
    """The tables that a user may read at least a part of, in their order."""
    return [found for table in tables if (found := _seen(table, realm)) is not None]


def _seen(table: TableName, realm: Realm) -> Explorable | None:
    whole = make_area(table.schema, table.name, {}, realm.default_schema)
    if realm.covers(whole):
        return Explorable(table)
    areas = (area_of(policy, realm.default_schema) for policy in realm.policies)
    narrowed = [Area(table.schema, table.name, area.where) for area in areas]
    theirs = [area for area in narrowed if realm.covers(area)]
    fewest = min(theirs, key=lambda area: len(area.where), default=None)
    return Explorable(table, dict(sorted(fewest.where))) if fewest else None


def suggest_values(
    engine: Engine, cascade: Cascade, request: FetchRequest, now: dt.datetime, limit: int
) -> list[Value]:
    """
    Some values of a dimension, from the coarsest level, in one statement.

    :param request: Its range, its filter, and the dimension as ``by``.
    :param now: The present instant, aware.
    :raises InvalidInput: if the request makes no sense.
    """
    asked = replace(request, metrics=(ROW_COUNT,), points=1, step=None)
    reading = make_reading(cascade, asked, now)
    longest = max(reading.stretches, key=lambda stretch: stretch.end - stretch.start, default=None)
    return sorted(engine.read_values(reading, longest, limit), key=str) if longest else []
