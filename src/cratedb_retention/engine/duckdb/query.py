"""
Reads archived rows with DuckDB, in memory and in this process: a view for each table, which has its name.

The rows are read by queries of users as well. DuckDB therefore reads the files of these archives and nothing else,
loads no extensions, and its settings are locked. It keeps at most half a gigabyte in memory, and writes the rest of a
large sort to a temporary directory.
"""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.sql.elements import quoted_name

from cratedb_retention.engine.archive import ArchivedColumn, ArchivedRows
from cratedb_retention.engine.database import Statement
from cratedb_retention.engine.duckdb.connection import DuckConnection
from cratedb_retention.engine.duckdb.files import literal_path
from cratedb_retention.engine.duckdb.sql import SQL
from cratedb_retention.engine.expressions import Sql, as_type, table_ref
from cratedb_retention.engine.query import Partial, read_last, read_stretch
from cratedb_retention.errors import DatabaseError, InvalidInput, RetentionError
from cratedb_retention.model.address import DatabaseAddress
from cratedb_retention.model.catalog import Column, TableName
from cratedb_retention.model.query.answer import Answer
from cratedb_retention.model.query.reading import Cascade, Reading, Stretch
from cratedb_retention.model.rollups.rollup import Metric

if TYPE_CHECKING:
    import pyarrow as pa

# Each thread of a sort keeps some of the memory: DuckDB would fail with more of them, instead of writing to disk.
MEMORY, THREADS = "512MB", 2
_CHUNK = 1000  # Rows that are fetched at once.
_BATCH = 10_000  # Likewise, in Arrow's format.
# Mistakes of users, rather than failures.
_INVALID = (
    "BinderException",
    "CatalogException",
    "ConversionException",
    "NotImplementedException",
    "OutOfMemoryException",
    "OutOfRangeException",
    "ParserException",
    "PermissionException",
)
_REMEDIES = {
    "CatalogException": "`list-snapshots` shows which tables have archives",
    "OutOfMemoryException": "select less, or group by fewer columns",
}
# Functions in place of a table. Others read files, settings or logs, or run a query that was not examined.
_FUNCTIONS = ("generate_series", "json_each", "json_tree", "range", "repeat", "repeat_row", "unnest")
_ONE_SELECT = "write one SELECT"


class ArchiveDatabase(DuckConnection):
    """
    DuckDB with a view for each table that has archived rows.

    :param default_schema: The schema of tables that a query names without one.
    :param limits: More settings of DuckDB.
    """

    def __init__(
        self, default_schema: str, archived: Iterable[ArchivedRows] = (), limits: Mapping[str, str] | None = None
    ) -> None:
        self._closing = contextlib.ExitStack()
        scratch = self._closing.enter_context(tempfile.TemporaryDirectory(prefix="cratedb-retention-"))
        of_table: dict[TableName, list[ArchivedRows]] = defaultdict(list)
        for each in archived:
            of_table[each.table].append(each)
        files = [path for some in of_table.values() for each in some for path in each.files]
        with self._closing_after_failure():
            super().__init__(DatabaseAddress("duckdb:///:memory:"), Path(scratch), read_only=False)
            self._closing.callback(self.engine.dispose)
            self._raw = self.engine.raw_connection()
            self._restrict(scratch, default_schema, files, limits or {})
            for table, some in of_table.items():
                self._create_view(table, some)

    @contextlib.contextmanager
    def _closing_after_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._closing.close()

    @property
    def _driver(self) -> Any:
        return self._raw.driver_connection.raw  # type: ignore[union-attr]

    def _restrict(self, scratch: str, default_schema: str, files: Iterable[str], limits: Mapping[str, str]) -> None:
        """Allow nothing but to read these files."""
        paths = sorted({spelled for path in files for spelled in (path, literal_path(path))})
        for setting, value in {
            "memory_limit": _text(MEMORY),
            "threads": str(THREADS),
            "temp_directory": _text(scratch),
            **{setting: _text(value) for setting, value in limits.items()},
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "python_enable_replacements": "false",  # Otherwise a query could read variables of this program.
            "allowed_directories": f"[{_text(scratch)}]",
            "allowed_paths": f"[{', '.join(map(_text, paths))}]::VARCHAR[]",
            "enable_external_access": "false",
        }.items():
            self.execute_text(f"SET {setting} = {value}")
        self.create_schema(default_schema)
        self.execute_text(f"SET schema = {_text(default_schema)}")
        self.execute_text("SET lock_configuration = true")

    def _create_view(self, table: TableName, archived: Sequence[ArchivedRows]) -> None:
        """All rows of a table, whose columns may have changed between archives."""
        for each in archived:
            if each.dataset is not None:
                self._driver.register(each.name, each.dataset())
        parts = [part for each in archived for part in _united(each)][1:]
        self.create_schema(table.schema)
        self.execute(Statement("CREATE VIEW ", table_ref(table), " AS ", *parts, literal=True))

    def columns_of(self, table: TableName) -> list[str]:
        """The names of a view's columns."""
        nothing: sa.Select[Any] = sa.select(sa.literal_column("*")).select_from(table_ref(table)).limit(0)
        return self.transact(lambda connection: list(connection.execute(nothing).keys()))

    def examine(self, query: str) -> Named:
        """What a query names. InvalidInput: it is not one SELECT, or uses a function that might read something else."""
        parsed = sa.func.json_serialize_sql(sa.cast(sa.literal(query), sa.Text()))
        try:
            found = json.loads(self.rows(sa.select(parsed))[0][0])
        except RecursionError:
            raise InvalidInput("query", "is nested too deeply", "write it with WITH") from None
        if found["error"]:
            is_syntax = str(found["error_type"]).lower() == "parser"
            why = found["error_message"] if is_syntax else "is not a SELECT, or one of a kind that cannot be examined"
            raise InvalidInput("query", why, "" if is_syntax else _ONE_SELECT)
        if len(found["statements"]) != 1:
            raise InvalidInput("query", f"has {len(found['statements'])} statements", _ONE_SELECT)
        return _named(found)

    def ask(self, query: str, notes: Sequence[str] = ()) -> Answer:
        """The answer to a query of a user; closing it closes the database."""
        with self._closing_after_failure(), self._explaining():
            self._driver.execute(query)
            described = self._driver.description
        return Answer(
            columns=tuple(name for name, *_ in described),
            types=tuple(str(kind).upper() for _, kind, *_ in described),
            rows=self._fetch(),
            batches=self._fetch_batches,
            notes=tuple(notes),
            close=self.close,
        )

    def _fetch(self) -> Iterator[tuple[Any, ...]]:
        while True:
            with self._explaining():
                some = self._driver.fetchmany(_CHUNK)
            if not some:
                return
            yield from some

    def _fetch_batches(self) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        with self._explaining():
            # The latter has been deprecated in favour of the former.
            fetch = getattr(self._driver, "to_arrow_reader", None) or self._driver.fetch_record_batch
            reader = fetch(_BATCH)

        def read() -> Iterator[pa.RecordBatch]:
            while True:
                with self._explaining():
                    batch = next(reader, None)
                if batch is None:
                    return
                yield batch

        return reader.schema, read()

    @contextlib.contextmanager
    def _explaining(self) -> Iterator[None]:
        """Turn the driver's errors in a query of a user into those of this toolkit."""
        try:
            yield
        except (KeyboardInterrupt, RetentionError):
            raise
        except Exception as error:
            if isinstance(error, RuntimeError) and "interrupted" in str(error):
                raise KeyboardInterrupt from error
            name = type(error).__name__
            if name not in _INVALID:
                raise DatabaseError("query", _first_lines(error)) from error
            raise InvalidInput("query", _first_lines(error), _REMEDIES.get(name, "")) from None


def _united(archived: ArchivedRows) -> tuple[Sql, Sql]:
    return " UNION ALL BY NAME ", archived.rows


def _text(value: str) -> str:
    quoted = value.replace("'", "''")
    return f"'{quoted}'"


def _first_lines(error: Exception) -> str:
    """A message without what it shows below: a line of the query, or settings that cannot be changed."""
    text = re.split(r"\n\nLINE |\n+Possible solutions:", str(error))[0]
    return " ".join(text.split()).rstrip(".")


class Named(NamedTuple):
    """What a query names."""

    tables: frozenset[TableName]  # with an empty schema if it names none
    local: frozenset[str]  # the names of its common table expressions, which are among the tables


def _named(parsed: dict[str, Any]) -> Named:
    tables, local, waiting = set[TableName](), set[str](), list[Any]([parsed])
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            kind = node.get("type")
            if kind == "BASE_TABLE":
                tables.add(TableName(node["schema_name"], node["table_name"]))
            elif kind == "TABLE_FUNCTION" and (name := node["function"]["function_name"].lower()) not in _FUNCTIONS:
                reason = f"function {name} is not allowed in place of a table"
                raise InvalidInput("query", reason, f"allowed are {', '.join(_FUNCTIONS)}")
            local.update(each["key"] for each in (node.get("cte_map") or {}).get("map", ()))
            node = list(node.values())
        waiting += node if isinstance(node, list) else ()
    return Named(frozenset(tables), frozenset(local))


class ArchivedTable:
    """
    The archived rows of a table, which are read as raw rows of a cascade are.

    :param find: How a column of the table is read from its archived rows.
    """

    def __init__(self, database: ArchiveDatabase, cascade: Cascade, find: Callable[[Column], ArchivedColumn]) -> None:
        self._database = database
        wanted = [cascade.time, *cascade.dimensions, *(metric.column for metric in cascade.metrics)]
        found = {column: find(column) for column in dict.fromkeys(wanted)}
        there = {name.casefold() for name in database.columns_of(cascade.source)}
        # The names stay: a view may have any.
        self._columns = {c: replace(c, type=archived.type, path=()) for c, archived in found.items()}
        values = (
            as_type(a.value if a.name.casefold() in there else sa.null(), a.type).label(quoted_name(c.name, True))
            for c, a in found.items()
        )
        view = TableName(f"{cascade.source.schema} as read", cascade.source.name)
        database.create_schema(view.schema)
        rows = sa.select(*values).select_from(table_ref(cascade.source))
        database.execute(Statement("CREATE VIEW ", table_ref(view), " AS ", rows, literal=True))
        self._cascade = replace(
            cascade,
            source=view,
            time=self._columns[cascade.time],
            dimensions=tuple(self._columns[column] for column in cascade.dimensions),
            metrics=tuple(map(self._metric, cascade.metrics)),
            holdings=tuple(holding for holding in cascade.holdings if holding.archived),
        )

    def _metric(self, metric: Metric) -> Metric:
        return replace(metric, column=self._columns[metric.column])

    def read(self, reading: Reading, stretch: Stretch) -> Iterator[Partial]:
        """The states of a stretch, see :func:`engine.query.read_stretch`."""
        theirs = {self._metric(want.metric): want.metric for want in reading.wanted if want.metric}
        for found in read_stretch(self._database, SQL, self._own(reading), stretch):
            yield replace(found, states={theirs[metric]: state for metric, state in found.states.items()})

    def read_last(self, reading: Reading, end: int) -> list[Sequence[Any]]:
        """The last values of counters before an instant, see :func:`engine.query.read_last`."""
        return read_last(self._database, SQL, self._own(reading), end)

    def _own(self, reading: Reading) -> Reading:
        """A reading of the table as one of the view."""
        return replace(
            reading,
            cascade=self._cascade,
            wanted=tuple(replace(w, metric=self._metric(w.metric) if w.metric else None) for w in reading.wanted),
            by=tuple(self._columns[column] for column in reading.by),
            where=tuple((self._columns[column], value) for column, value in reading.where),
        )
