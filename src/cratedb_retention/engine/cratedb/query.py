"""
Archived rows of CrateDB for DuckDB to read: types, values of partitions, and fields of objects, which are JSON there.

Files that have the same columns are one dataset. The values of a partition are in the manifest, and the time that they
stand for follows, so that conditions on either exclude files without opening them.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial, reduce
from operator import and_
from typing import Any

import sqlalchemy as sa

from cratedb_retention.engine.archive import ArchivedColumn, ArchivedRows
from cratedb_retention.engine.cratedb.sql import SQL
from cratedb_retention.engine.cratedb.values import Stored
from cratedb_retention.engine.expressions import Element, Subscript, Words, as_type, ref
from cratedb_retention.engine.parquet import Manifest, Store
from cratedb_retention.errors import Unsupported
from cratedb_retention.model.catalog import Column, Kind, TableName
from cratedb_retention.model.intervals import read_grid

_INSTANT = "TIMESTAMP WITH TIME ZONE"
# DuckDB's types of columns; others are text.
_TYPES = {
    "boolean": "BOOLEAN",
    "byte": "TINYINT",
    "char": "TINYINT",
    "smallint": "SMALLINT",
    "integer": "INTEGER",
    "bigint": "BIGINT",
    "real": "FLOAT",
    "double precision": "DOUBLE",
    # As in levels: CrateDB's catalog does not show its digits.
    "numeric": "DOUBLE",
    "timestamp with time zone": _INSTANT,
    "timestamp without time zone": "TIMESTAMP",
}


def archived_column(column: Column) -> ArchivedColumn:
    """A column, or the field of an object."""
    found, kind = SQL.column(column), _TYPES.get(column.type.partition("(")[0].strip(), "VARCHAR")
    if not isinstance(found, Subscript):
        return ArchivedColumn(column.name, as_type(ref(column.name), kind), kind)
    pointer = "".join(f"/{part.replace('~', '~0').replace('/', '~1')}" for part in found.path)
    text: Element = sa.func.json_extract_string(ref(found.name), sa.literal(pointer))
    if column.kind is Kind.TIME:  # Milliseconds.
        text = sa.func.make_timestamptz(sa.try_cast(text, sa.BigInteger()).op("*")(sa.literal_column("1000")))
    return ArchivedColumn(found.name, sa.try_cast(text, Words(kind)), kind)


def require_readable(manifest: Manifest) -> None:
    """Unsupported: DuckDB cannot distinguish the columns."""
    names = Counter(name.casefold() for name, *_ in (*manifest.columns, *manifest.partition))
    if alike := [name for name, count in names.items() if count > 1]:
        reason = f"has columns that differ only in case, such as {alike[0]!r}, which DuckDB cannot distinguish"
        raise Unsupported(f"table {TableName(*manifest.table)}", reason, "restore it")


def dataset_rows(table: TableName, store: Store, manifests: Sequence[Manifest]) -> ArchivedRows:
    """The rows of archives of a table that have the same columns."""
    import pyarrow as pa

    stored = [Stored(name, data_type) for name, data_type in manifests[0].columns]
    # Those that are fields of objects are in the files.
    by = [Stored(name, data_type) for name, data_type, *_ in manifests[0].partition if "['" not in name]
    every = [*stored, *by]
    schema = pa.schema([(column.name, column.arrow_type()) for column in every])
    parts = ((manifest.file, [*_values_of(by, manifest), *_times_of(stored, manifest)]) for manifest in manifests)
    dataset = partial(store.dataset, schema, [(file, reduce(and_, holds) if holds else None) for file, holds in parts])
    identity = json.dumps([store.repository, *(manifest.file for manifest in manifests)])
    name = f"archived_{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
    rows = sa.select(*map(_value, every)).select_from(sa.table(name))
    return ArchivedRows(table=table, rows=rows, name=name, dataset=dataset)


def _value(column: Stored) -> Element:
    found = ref(column.name)
    return as_type(found, "JSON").label(found.name) if column.is_json else found


def _values_of(columns: Iterable[Stored], manifest: Manifest) -> Iterator[Any]:
    """What holds for all rows of a partition, as expressions of pyarrow: the values of its columns."""
    from pyarrow.dataset import field

    known = {name: value for name, *_, value in manifest.partition}
    for column in columns:
        value, own = known[column.name], field(column.name)
        yield own.is_null() if value is None else own == column.to_arrow([value])[0]


def _times_of(columns: Iterable[Stored], manifest: Manifest) -> Iterator[Any]:
    """Likewise, the range of times that a value of a column stands for that divides time."""
    from pyarrow.dataset import field

    known = {column.name: column for column in columns}
    expressions = {each[1]: each[3] for each in manifest.generated if not isinstance(each, str)}
    for name, *_, start in manifest.partition:
        grid = read_grid(expressions[name], known) if name in expressions and isinstance(start, int) else None
        time = known[grid.time_column] if grid else None
        if grid and time and grid.unit is None and time.base.startswith("timestamp") and not time.depth:
            end = grid.end(start)
            yield field(time.name) >= time.to_arrow([start])[0]
            if end is not None:
                yield field(time.name) < time.to_arrow([end])[0]
