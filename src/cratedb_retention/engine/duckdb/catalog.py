"""
Reads DuckDB's catalog: two statements, and one per several hundred tables.

DuckDB has no partitions of its own. A partition is all rows with equal values in the partition columns, which are, in
this order: those that the table's comment names (``COMMENT ON TABLE t IS 'PARTITIONED BY (tenant, month)'``), the one
that a policy names, or the only generated column that divides time into intervals.
"""

from __future__ import annotations

import re
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property, lru_cache
from operator import itemgetter
from typing import Any

import sqlalchemy as sa

from cratedb_retention.engine.database import Database, Query
from cratedb_retention.engine.duckdb.dialect import Dialect
from cratedb_retention.engine.duckdb.files import inexact
from cratedb_retention.engine.duckdb.forecast import read_storage
from cratedb_retention.engine.duckdb.sql import SQL, comment_on, fingerprint, make_column, partition_key, row_hash
from cratedb_retention.engine.expressions import table_ref
from cratedb_retention.engine.plan import ask, chunks, from_text, union, value_texts
from cratedb_retention.errors import RetentionError
from cratedb_retention.model.catalog import (
    Capabilities,
    Catalog,
    Column,
    Grouping,
    Partition,
    Selector,
    Table,
    TableName,
    Value,
    View,
)
from cratedb_retention.model.intervals import read_grid
from cratedb_retention.model.policies.patterns import find_tables, wanted_by
from cratedb_retention.model.time import TimeRange
from cratedb_retention.model.words import show_partition

CAPABILITIES = Capabilities(
    product="DuckDB",
    default_schema="main",
    repositories_are_directories=True,
    dropped_at_once=5000,
    folds_case=True,
    tokens_recur=True,
)
_COMMENT = re.compile(r'\bpartitioned\s+by\s*\((?P<columns>(?:"(?:[^"]|"")*"|[^")])*)\)', re.IGNORECASE)
_BY_NAME = 10  # Tables whose columns are asked for by name.
_OWN = ("internal", "temporary")  # Flags of tables that are not the user's.
# In place of the number and the name of a table in a query, and of rows: no name or text in SQL has this character.
_NUMBER, _TABLE, _ROWS = "\0number", TableName("\0schema", "\0table"), "\0rows"
_DIALECT = Dialect()
_MARK_BEGINS = "[cratedb-retention "
_MARK = re.compile(re.escape(_MARK_BEGINS) + r"(\w+)\]")
_STRUCT = re.compile(r"STRUCT\s*\(.*\)", re.IGNORECASE | re.DOTALL)
_FIELD = re.compile(r'(?:"((?:[^"]|"")*)"|(\S+))\s+(.+)', re.DOTALL)
_NAME = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^",]+?))\s*(?:,|$)')


def _identity(comment: str) -> str:
    found = _MARK.search(comment)
    return found[1] if found else ""


class Reader:
    """
    Reads the catalog.

    :param names: Only tables and views with these names, whatever their case; None: all. A file may have thousands.
    """

    def __init__(self, database: Database, names: Iterable[TableName] | None = None) -> None:
        self._database = database
        self._names = None if names is None else sorted({text for n in names for text in (n.name, n.name.lower())})

    @cached_property
    def _tables(self) -> Sequence[Sequence[Any]]:
        """Without the number of rows, which includes deleted ones."""
        return self._ask("duckdb_tables", ("schema_name", "table_name", "comment", "sql"), _OWN)

    @cached_property
    def _comments(self) -> dict[TableName, str]:
        return {TableName(*row[:2]): row[2] or "" for row in self._tables}

    @cached_property
    def _definitions(self) -> dict[TableName, str]:
        return {TableName(*row[:2]): row[3] or "" for row in self._tables}

    def _ask(
        self, function: str, columns: Sequence[str], flags: Sequence[str] = (), *more: sa.ColumnElement[Any]
    ) -> list[Sequence[Any]]:
        """The rows of a table function for this database, without those that have certain flags."""
        f = getattr(sa.func, function)().table_valued(*columns, *flags, "database_name").c
        mine = [f.database_name == sa.func.current_database(), *(sa.not_(f[flag]) for flag in flags)]
        if self._names is not None:
            name = f.view_name if "view_name" in columns else f.table_name
            mine.append(sa.or_(name.in_(self._names), sa.func.lower(name).in_(self._names)))
        return self._database.rows(sa.select(*(f[name] for name in columns), *more).where(*mine))

    def catalog(self, selectors: Iterable[Selector]) -> Catalog:
        selectors = list(selectors)
        wanted, keyed = wanted_by(selectors, CAPABILITIES), any(s.keys for s in selectors)
        comments = {name: comment for name, comment in self._comments.items() if wanted(name)}
        columns = self._columns_by_name(wanted, views=keyed)
        meant = [(s, find_tables(s.schema, s.name, comments, CAPABILITIES)) for s in selectors]
        named = {table: s.partition_column for s, tables in reversed(meant) if s.partition_column for table in tables}
        bare = [_bare(name, columns[name], comment, named.get(name)) for name, comment in comments.items()]
        within = {table: s.within for s, tables in meant if s.within for table in tables}
        groups, flaws = self._groups(bare, {table for s, tables in meant if s.tokens for table in tables}, within)
        for table, per_row in self._bytes_per_row({table for s, tables in meant if s.sizes for table in tables}):
            groups[table] = [group._replace(size=round((group.rows or 0) * per_row)) for group in groups[table]]
        keys = self._keys() if keyed else {}
        tables = {
            table.name: replace(
                table,
                columns=with_fields(table.columns),
                partitions=tuple(groups[table.name]) if table.partitioned_by else (),
                rows=sum(group.rows or 0 for group in groups[table.name]),
                primary_key=keys.get(table.name, ()),
                flaw=f"its rows cannot be read: {flaws[table.name]}" if table.name in flaws else table.flaw,
                unarchivable=inexact(stored(table.columns)),
                identity=_identity(comments[table.name]),
            )
            for table in bare
        }
        views, others = (self.views(columns), frozenset(self._comments)) if keyed else (None, frozenset[TableName]())
        return Catalog(capabilities=CAPABILITIES, tables=tables, views=views, others=others)

    def named(self, names: Iterable[TableName]) -> Catalog:
        """The tables with these names and their columns, and the views; no rows are read. Mostly there are none."""
        wanted = wanted_by([Selector(schema=name.schema, name=name.name) for name in names], CAPABILITIES)
        columns = self._columns(wanted)
        if not columns:  # All tables and views have columns.
            return Catalog(capabilities=CAPABILITIES, views={})
        identities = {name: _identity(text) for name, text in self._comments.items()}
        tables = {
            name: Table(name=name, columns=with_fields(columns[name]), identity=identity)
            for name, identity in identities.items()
            if wanted(name)
        }
        return Catalog(
            capabilities=CAPABILITIES, tables=tables, views=self.views(columns), others=frozenset(identities)
        )

    def outline(self, selector: Selector) -> Catalog:
        """The names of tables, and the columns of the chosen ones."""
        columns = self._columns(wanted_by([selector], CAPABILITIES))
        tables = {name: Table(name=name, columns=with_fields(columns.get(name, {}))) for name in sorted(self._comments)}
        return Catalog(capabilities=CAPABILITIES, tables=tables)

    def identify(self, table: TableName) -> str:
        """
        Distinguishes a table from others of its name. Its number changes when the file is opened again, so its comment
        gets a mark at the end, which remains if the table is altered, and is not copied with its rows.

        A column's comment is no place for it: for generated columns, DuckDB 1.5 cannot replay that after a crash.
        """
        comment = self._comments[table]
        found = _identity(comment)
        if not found:
            found = uuid.uuid4().hex[:12]
            self._database.execute(comment_on(table, f"{comment} {_MARK_BEGINS}{found}]".strip()))
        return found

    def describe(self, table: TableName) -> tuple[dict[str, Column], str | None]:
        """The columns of a table, none if it does not exist, and its comment without the mark; None for a view."""
        comment = _MARK.sub("", self._comments[table]).strip() if table in self._comments else None
        return self._columns_by_name(table.__eq__, views=comment is None).get(table, {}), comment

    def _columns(self, wanted: Callable[[TableName], bool]) -> dict[TableName, dict[str, Column]]:
        """The columns of tables and views."""
        names = ("column_index", "schema_name", "table_name", "column_name", "data_type", "column_default")
        return self._made(wanted, self._ask("duckdb_columns", names, ["internal"]))

    def _columns_by_name(self, wanted: Callable[[TableName], bool], views: bool) -> dict[TableName, dict[str, Column]]:
        """
        The columns of tables, and of views if these are of use. Those of a few tables are asked for by name: the list
        of all columns takes ten times as long when it is first read, since DuckDB then looks at its own views.
        """
        if self._names is not None and not (views and any(wanted(TableName(*row[:2])) for row in self._views)):
            tables = [name for name in self._comments if wanted(name)]
            if not tables:
                return {}
            if len(tables) <= _BY_NAME:
                with suppress(RetentionError):  # One was dropped just now.
                    return self._made(wanted, self._database.rows(union([_columns_of(name) for name in tables])))
        return self._columns(wanted)

    def _made(
        self, wanted: Callable[[TableName], bool], rows: Iterable[Sequence[Any]]
    ) -> dict[TableName, dict[str, Column]]:
        found: dict[TableName, dict[str, Column]] = defaultdict(dict)
        for _, schema, table, column, data_type, default in sorted(rows, key=itemgetter(0)):
            if wanted(TableName(schema, table)):
                found[TableName(schema, table)][column] = make_column(column, data_type, default)
        for name, columns in found.items():
            definition = self._definitions.get(name, "")
            columns.update({c.name: _without_plain_default(c, columns, definition) for c in columns.values()})
        return found

    @cached_property
    def _views(self) -> Sequence[Sequence[Any]]:
        return self._ask("duckdb_views", ("schema_name", "view_name", "sql"), _OWN, sa.func.version())

    def views(self, columns: Mapping[TableName, Mapping[str, Column]] | None = None) -> dict[TableName, View]:
        """The views, with their columns if these are given."""
        return {
            (name := TableName(schema, view)): View(
                name=name, columns=tuple((columns or {}).get(name, ())), definition=sql or "", release=release
            )
            for schema, view, sql, release in self._views
        }

    def _keys(self) -> dict[TableName, tuple[str, ...]]:
        names = ("schema_name", "table_name", "constraint_type", "constraint_column_names")
        rows = self._ask("duckdb_constraints", names)
        return {TableName(schema, name): tuple(keys) for schema, name, kind, keys in rows if kind == "PRIMARY KEY"}

    def _bytes_per_row(self, tables: Collection[TableName]) -> Iterator[tuple[TableName, float]]:
        """
        Estimates of what a row takes: DuckDB knows the blocks of a table, but not of its partitions. Deleted rows still
        have theirs, so the rows are those that it counts. Tables that are too small for an estimate count as empty.
        """
        if not tables:
            return
        rows = self._ask("duckdb_tables", ("schema_name", "table_name", "estimated_size"), _OWN)
        counted, stored = {TableName(*row[:2]): row[2] for row in rows}, read_storage(self._database, tables)
        for table in tables:
            size = stored[table].size if table in stored else None
            yield table, (size or 0) / max(1, counted.get(table) or 0)

    def _groups(
        self, tables: Sequence[Table], tokens: set[TableName], within: Mapping[TableName, TimeRange]
    ) -> tuple[dict[TableName, list[Partition]], dict[TableName, RetentionError]]:
        """The partitions of tables, and errors of those that cannot be read: a generated column may fail on a value."""
        found: dict[TableName, list[Partition]] = defaultdict(list)
        failed: dict[TableName, RetentionError] = {}
        by_shape: dict[_Shape, list[TableName]] = defaultdict(list)
        for table in tables:
            columns = tuple([(column, column.path) for column in table.columns.values()])
            with_token = table.name in tokens and bool(table.partitioned_by)
            by_shape[columns, table.partitioned_by, with_token, within.get(table.name)].append(table.name)
        values_of = {shape: _Values(_partition_columns(shape)) for shape in by_shape}
        for chunk in chunks([(name, shape) for shape, names in by_shape.items() for name in names]):
            branches = [(number, name, shape) for number, (name, shape) in enumerate(chunk)]
            answers, errors = ask(self._database, branches, _together)
            failed.update({chunk[position][0]: error for position, error in errors.items()})
            known = [(found[name], values_of[shape]) for name, shape in chunk]
            for number, *texts, rows, token in answers:
                partitions, values = known[number]
                own, label = values[tuple(texts)]
                partitions.append(Partition(own, label, rows=rows, token=token or ""))
        return found, failed


def _without_plain_default(column: Column, columns: Mapping[str, Column], definition: str) -> Column:
    """
    DuckDB lists defaults and generation expressions alike; only the latter can refer to other columns. A default may
    contain such a name as a text, a type or a function; the table's definition distinguishes these cases.
    """
    expression = column.expression
    words = set(re.findall(r'"(?:[^"]|"")*"|[^\W\d][\w$]*', expression or ""))
    named = {word[1:-1].replace('""', '"') if word.startswith('"') else word for word in words}
    refers = bool(named & (set(columns) - {column.name}))
    generated = refers and f"DEFAULT({expression})" not in definition
    return column if generated else replace(column, expression=None)


def with_fields(columns: Mapping[str, Column]) -> dict[str, Column]:
    """Columns, and the fields of those that are structs, named as in CrateDB: ``tags['host']``."""
    found: dict[str, Column] = {}
    for column in columns.values():
        fields = {name: inner for name, inner in _fields(column) if name not in columns}
        found[column.name] = replace(column, grouping=Grouping.PARTS) if fields else column
        found.update(with_fields(fields))
    return found


def _fields(column: Column) -> Iterator[tuple[str, Column]]:
    words = column.type.strip()
    if column.expression is not None or not _STRUCT.fullmatch(words):
        return
    for quoted, plain, data_type in _split_fields(words[words.index("(") + 1 : -1]):
        field = quoted.replace('""', '"') or plain
        name, path = f"{column.name}['{field}']", (*(column.path or (column.name,)), field)
        yield name, make_column(name, data_type, path=path)


def _split_fields(text: str) -> Iterator[tuple[str, str, str]]:
    """The fields of a struct: name, quoted or not, and type, which may be a struct of its own."""
    start, depth, quote = 0, 0, ""
    for position, sign in enumerate(f"{text},"):
        if quote or sign in "'\"":
            quote = "" if sign == quote else quote or sign
        elif sign in "([":
            depth += 1
        elif sign in ")]":
            depth -= 1
        elif sign == "," and not depth:
            field = _FIELD.fullmatch(text[start:position].strip())
            if field:
                yield field[1] or "", field[2] or "", field[3]
            start = position + 1


def _bare(name: TableName, columns: Mapping[str, Column], comment: str, named: str | None) -> Table:
    grids = [c.name for c in columns.values() if c.expression and read_grid(c.expression, columns)]
    by = (named,) if named in columns and named else tuple(grids) if len(grids) == 1 else ()
    flaw, declared = "", _COMMENT.search(comment)
    if declared is not None:
        known = {column.lower(): column for column in columns}  # Names are case-insensitive in DuckDB.
        parts = [(a or b).replace('""', '"') for a, b in _NAME.findall(declared["columns"])]
        unknown = [part for part in parts if part.lower() not in known]
        if unknown or not parts:
            lacks = f"the table has no column {unknown[0]!r}" if unknown else "it names no column"
            flaw = f"its comment has {' '.join(declared[0].split())}, but {lacks}; correct the comment"
        else:
            by = tuple(known[part.lower()] for part in parts)
    return Table(name=name, columns=columns, partitioned_by=by, flaw=flaw)


class _Values(dict[tuple[str | None, ...], tuple[tuple[Value, ...], str]]):
    """The values of partitions and their names, by their texts: many tables have partitions of the same days."""

    def __init__(self, columns: Sequence[Column]) -> None:
        super().__init__()
        self._columns = columns

    def __missing__(self, texts: tuple[str | None, ...]) -> tuple[tuple[Value, ...], str]:
        values = tuple([from_text(column, text) for column, text in zip(self._columns, texts, strict=False)])
        found = self[texts] = values, show_partition(self._columns, values)
        return found


# What the query of a table's partitions depends on: its columns, with their paths, without which they are compared; the
# names of its partition columns; whether change tokens are computed; and the time range that is read.
_Shape = tuple[tuple[tuple[Column, tuple[str, ...]], ...], tuple[str, ...], bool, TimeRange | None]


def _partition_columns(shape: _Shape) -> list[Column]:
    columns = {column.name: column for column, _ in shape[0]}
    return [columns[name] for name in shape[1]]


def _together(branches: Sequence[tuple[int, TableName, _Shape]]) -> Query:
    """
    The query of the partitions of tables, with their numbers. For small tables, grouping the rows of those with equal
    columns together takes half the time; constructing a query for each would take as much again.
    """
    width = max(len(shape[1]) for _, _, shape in branches)
    alike: dict[_Shape, list[str]] = defaultdict(list)
    for number, name, shape in branches:
        text = _rows(shape)
        alike[shape].append(text.replace(_NUMBER, str(number)).replace(_quoted(*_TABLE), _quoted(*name)))
    found = (
        _grouped(shape, width).replace(_quoted(_ROWS), f"({' UNION ALL '.join(texts)})")
        for shape, texts in alike.items()
    )
    return Query(" UNION ALL ".join(found))


def _columns_of(table: TableName) -> sa.Select[Any]:
    of = sa.func.pragma_table_info(_quoted(*table)).table_valued("cid", "name", "type", "dflt_value").c
    return sa.select(of.cid, sa.literal(table.schema), sa.literal(table.name), of.name, of.type, of.dflt_value)


def _quoted(*names: str) -> str:
    return ".".join(map(_DIALECT.identifier_preparer.quote_identifier, names))


def _text(select: sa.Select[Any]) -> str:
    return str(select.compile(dialect=_DIALECT, compile_kwargs={"literal_binds": True}))


@lru_cache(1024)
def _rows(shape: _Shape) -> str:
    """
    The rows of a table, with its number and their partition columns, in whose place may be a cheaper expression. Of a
    time range, some rows of partitions outside of it are read as well.
    """
    columns, (definitions, _, with_token, within) = _partition_columns(shape), shape
    every = {column.name: column for column, _ in definitions}
    hashed = row_hash(stored(every)) if with_token else sa.null()
    keys = [partition_key(column, every).label(f"k{i}") for i, column in enumerate(columns)]
    near = [condition for column in columns for condition in (SQL.near(column, within) if within else ())]
    number: sa.Label[int] = sa.literal_column(_NUMBER).label("n")
    return _text(sa.select(number, *keys, hashed.label("h")).select_from(table_ref(_TABLE)).where(*near))


@lru_cache(1024)
def _grouped(shape: _Shape, width: int) -> str:
    """The partitions that rows of tables belong to."""
    keys = [replace(column, name=f"k{i}") for i, column in enumerate(_partition_columns(shape))]
    rows = sa.table(_ROWS, sa.column("n"), sa.column("h")).alias("r")
    token = fingerprint(rows.c.h) if shape[2] else sa.cast(sa.null(), sa.Text())
    select = sa.select(rows.c.n, *value_texts(SQL, keys, width), sa.func.count(), token).select_from(rows)
    return _text(select.group_by(rows.c.n, *(SQL.column(key) for key in keys)))


def stored(columns: Mapping[str, Column]) -> list[Column]:
    """The columns that are stored, rather than generated."""
    return [column for column in columns.values() if column.expression is None]
