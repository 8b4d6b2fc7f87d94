"""
Reads CrateDB's catalog: at most eight statements for any number of tables; two more for downsampling, one for
compacting.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Self

import sqlalchemy as sa

from cratedb_retention.clock import Clock
from cratedb_retention.engine.cratedb.connection import IS_BLOCKED
from cratedb_retention.engine.cratedb.shards import (
    CODEC,
    COMPRESSED,
    IS_FROZEN,
    MAX_SEQ_NO,
    format_token,
    refresh_idents,
    settled,
)
from cratedb_retention.engine.cratedb.sql import system, words
from cratedb_retention.engine.cratedb.values import inexact
from cratedb_retention.engine.database import Database, Statement
from cratedb_retention.engine.expressions import Condition, Element, table_ref
from cratedb_retention.errors import Recovering
from cratedb_retention.model.catalog import (
    Capabilities,
    Catalog,
    Column,
    Grouping,
    Kind,
    Partition,
    Selector,
    Table,
    TableName,
    View,
    outer_names,
)
from cratedb_retention.model.policies.patterns import is_pattern, wanted_by

CAPABILITIES = Capabilities(
    product="CrateDB",
    default_schema="doc",
    partitions=True,
    freezes=True,
    reallocates=True,
    compacts=True,
    most_columns=1000,
)
_SYSTEM = ("sys", "information_schema", "pg_catalog", "blob")
_BLOBS = "a BLOB table has no rows to expire; disable the policy, and delete its files over HTTP"
# Maximum number of names in one statement; beyond that, whole schemas are read.
NAMES = 500
# Far more tables than any cluster ever creates, and far less than almost every hash.
_MOST_TABLES = 2**24
# The prefix of a view's definition while a table or column that it reads is missing.
_CORRUPTED = "/* Corrupted view, needs fix */\n"
# A line of SHOW CREATE TABLE with a column; the fields of an object follow on their own lines.
_COLUMN = re.compile(r'\s*"((?:[^"]|"")*)" (.*?)( AS \()?,?')
_KINDS = {
    **dict.fromkeys(("text", "character varying", "character", "ip"), Kind.TEXT),
    **dict.fromkeys(("smallint", "integer", "bigint", "real", "double precision", "byte", "char"), Kind.NUMBER),
    "numeric": Kind.NUMBER,
    "boolean": Kind.BOOLEAN,
}
_PartitionId = tuple[str, str, str]


@dataclass(kw_only=True)
class _Shards:  # Of a partition, or of a table without partitions.
    rows: int = 0
    size: int = 0
    token: str = ""
    nodes: set[str] = field(default_factory=set)
    settled: bool = True
    missing: int = 0
    merged: bool = True

    @property
    def seems_empty(self) -> bool:
        """Whether it has no visible row, though something was written to it."""
        return not (self.rows or self.missing) and any(not part.endswith(":0") for part in self.token.split("+"))


_NO_SHARDS = _Shards(settled=False)


class Reader:
    """Reads the system tables, limited to names that selectors give without wildcards."""

    def __init__(self, database: Database, selectors: Iterable[Selector], own_schema: str | None = None) -> None:
        self._database, self._selectors, self._own_schema = database, list(selectors), own_schema
        self._wanted = wanted_by(self._selectors, CAPABILITIES)

    @classmethod
    def of(cls, database: Database, names: Iterable[TableName]) -> Self:
        """A reader of these tables."""
        return cls(database, [Selector(schema=name.schema, name=name.name) for name in names])

    def _within(self, schema: Element, name: Element) -> Condition:
        names: dict[str, set[str]] = defaultdict(set)
        for selector in self._selectors:
            names[selector.schema or CAPABILITIES.default_schema].add(selector.name)
        if any(map(is_pattern, names)):
            return schema.not_in(_SYSTEM)
        if any(map(is_pattern, set().union(*names.values()))) or sum(map(len, names.values())) > NAMES:
            return schema.in_(sorted(names))
        return sa.or_(sa.false(), *(sa.and_(schema == key, name.in_(sorted(names[key]))) for key in sorted(names)))

    def _select(self, t: system, *columns: Element) -> sa.Select[Any]:
        return sa.select(*t.place, *columns).where(self._within(*t.place))

    def catalog(self, clock: Clock) -> Catalog:
        """
        Tables, partitions, shards, health, nodes and repositories; of the toolkit's own schema, the health. All are
        read at the same time: whatever a node that is lost meanwhile makes of it, each step checks the health again.
        """
        compacting = [selector for selector in self._selectors if selector.compacts]
        moves, archives, keyed = (any(getattr(s, n) for s in self._selectors) for n in ("moves", "tokens", "keys"))
        tables, columns, shards, found, keys, definitions, identities, nodes, repositories, several, missing = (
            self._database.together(
                self._tables,
                self._columns,
                lambda: self._shards(moves),
                lambda: self._partitions(any(compacting)),
                self._keys if keyed else dict,
                lambda: self._views() if keyed else None,
                self.identities,
                self._nodes if moves else dict,
                self._repositories if archives else frozenset,
                Reader(self._database, compacting)._unmerged if compacting else frozenset,
                lambda: self._missing(clock),
            )
        )
        # The statements are sent at the same time: a table that was created meanwhile is not there yet.
        tables = {name: table for name, table in tables.items() if name in columns}
        for partition, count in missing.items():
            shards[partition].missing = count
        for partition in several:
            shards[partition].merged = False
        if keyed:
            detailed = wanted_by([s for s in self._selectors if s.keys], CAPABILITIES)
            self._read_details(columns, filter(detailed, tables))
            self._recount(set(filter(detailed, tables)), found, shards)
        described: dict[tuple[str, str], list[Sequence[Any]]] = defaultdict(list)
        for schema, name, *partition in found:
            described[schema, name].append(partition)
        return Catalog(
            capabilities=CAPABILITIES,
            tables={
                name: replace(
                    _with_partitions(table, described[name], shards),
                    columns=columns[name],
                    primary_key=keys.get(name, ()),
                    identity=identities.get(name, ""),
                    unarchivable=inexact(columns[name].values()) if archives else (),
                )
                for name, table in tables.items()
            },
            nodes=nodes,
            repositories=repositories,
            unhealthy=frozenset(TableName(schema, table) for schema, table, _ in missing),
            views=None if definitions is None else _make_views(definitions, columns),
        )

    def named(self) -> Catalog:
        """Tables with their columns, and views."""
        tables, columns, definitions, identities = self._database.together(
            self._tables, self._columns, self._views, self.identities
        )
        found = {n: replace(t, columns=columns[n], identity=identities.get(n, "")) for n, t in tables.items()}
        return Catalog(capabilities=CAPABILITIES, tables=found, views=_make_views(definitions, columns))

    def outline(self) -> Catalog:
        """All tables by name, the selected ones with columns; nodes' attributes and repositories."""
        every = Reader(self._database, [Selector(schema="*", name="*")])
        works = (every._tables, self._columns, self._nodes, self._repositories)
        tables, columns, nodes, repositories = self._database.together(*works)
        found = {name: replace(tables[name], columns=columns.get(name, {})) for name in sorted(tables)}
        return Catalog(capabilities=CAPABILITIES, tables=found, nodes=nodes, repositories=repositories)

    def layout(self, table: TableName) -> tuple[dict[str, Column], tuple[str, ...]]:
        """The columns of one table, and those that partition it; none if it does not exist."""
        known = self._tables()
        return self._columns().get(table, {}), known[table].partitioned_by if table in known else ()

    def _tables(self) -> dict[TableName, Table]:
        """If not even the toolkit's own tables are known, the cluster was just started; no table is gone then."""
        t = system("information_schema.tables")
        limit = words("settings['mapping']['total_fields']['limit']")
        columns = (*t.place, t.partitioned_by, t.closed, words(IS_BLOCKED), t.number_of_replicas, limit)
        mine = sa.or_(self._within(*t.place), t.table_schema == self._own_schema)
        rows = self._database.rows(sa.select(*columns).where(mine, t.table_type == "BASE TABLE"))
        if self._own_schema is not None and all(schema != self._own_schema for schema, *_ in rows):
            raise Recovering(
                "CrateDB", "the cluster was just started and does not know its tables yet", "try again in a minute"
            )
        return {
            table: Table(
                name=table,
                columns={},
                partitioned_by=tuple(by or ()),
                closed=bool(closed),
                read_only=bool(read_only),
                replicas=replicas,
                most_columns=most_columns,
                flaw=_BLOBS if schema == "blob" else "",
            )
            for schema, name, by, closed, read_only, replicas, most_columns in rows
            if self._wanted(table := TableName(schema, name))
        }

    def _columns(self) -> dict[TableName, dict[str, Column]]:
        c = system("information_schema.columns")
        read = self._select(c, c.column_name, c.data_type, c.generation_expression, c.character_maximum_length)
        rows = self._database.rows(read.order_by(c.ordinal_position))
        found: dict[TableName, dict[str, Column]] = defaultdict(dict)
        for schema, name, column, data_type, expression, length in rows:
            if self._wanted(table := TableName(schema, name)):
                words = f"bit({length})" if data_type == "bit" else data_type
                found[table][column] = _column(column, words, expression)
        return {table: dict(_with_parts(columns)) for table, columns in found.items()}

    def _shards(self, moves: bool) -> dict[_PartitionId, _Shards]:
        s = system("sys.shards")
        key = (s.partition_ident, s.partition_uuid)
        values = (s.num_docs, s.size, words(MAX_SEQ_NO) + 1)
        statement = self._select(s, *key, *(sa.func.sum(sa.case((s.primary, value), else_=0)) for value in values))
        if moves:
            node = words("node['name']")
            unsettled = sa.func.sum(sa.case((s.routing_state == "STARTED", 0), else_=1))
            statement = statement.add_columns(node, unsettled).group_by(*s.place, *key, node)
        else:
            statement = statement.where(s.primary).group_by(*s.place, *key)
        found: dict[_PartitionId, _Shards] = defaultdict(_Shards)
        writes_of: dict[_PartitionId, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for schema, table, ident, uuid, docs, size, seq, *place in self._database.rows(statement):
            shards = found[schema, table, ident or ""]
            shards.rows += docs or 0
            shards.size += size or 0
            writes_of[schema, table, ident or ""][uuid] += seq or 0
            if place:
                shards.nodes.update(name for name in place[:1] if name)
                shards.settled = shards.settled and not place[1]
        for partition, by_uuid in writes_of.items():
            found[partition].token = format_token(by_uuid)
        return found

    def _recount(
        self, tables: Collection[TableName], partitions: Iterable[Sequence[Any]], to: Mapping[_PartitionId, _Shards]
    ) -> None:
        """
        Count the rows of partitions that seem to be empty, once they are visible: what is not rolled up must not be
        taken for nothing (law 3).
        """
        empty: dict[TableName, list[str]] = defaultdict(list)
        for schema, name, ident, _, closed, *_ in partitions:
            of, table = to.get((schema, name, ident)), TableName(schema, name)
            if of and of.seems_empty and not closed and table in tables:
                empty[table].append(ident)
        s = system("sys.shards")
        counted = sa.select(s.partition_ident, sa.func.sum(s.num_docs)).group_by(s.partition_ident)
        for table, idents in empty.items():
            refresh_idents(self._database, table, idents)
            mine = (s.of(table), s.primary, s.partition_ident.in_(idents))
            for ident, rows in self._database.rows(counted.where(*mine)):
                to[*table, ident].rows = rows or 0

    def _missing(self, clock: Clock) -> dict[_PartitionId, int]:
        """The number of missing shards. Those of a partition that was just created only seem to be missing."""
        h = system("sys.health")
        mine = sa.or_(self._within(*h.place), h.table_schema == self._own_schema)
        statement = sa.select(*h.place, h.partition_ident, h.missing_shards).where(mine, h.missing_shards > 0)
        rows = settled(lambda: self._database.rows(statement), clock)
        return {(schema, table, ident or ""): missing for schema, table, ident, missing in rows}

    def _partitions(self, compacting: bool) -> list[Sequence[Any]]:
        p = system("information_schema.table_partitions")
        # Settings are large: with 100,000 partitions, only what is needed may be transferred.
        settings = map(words, (IS_FROZEN, "settings['routing']['allocation']['require']", IS_BLOCKED))
        stored = (p.number_of_replicas, words(CODEC)) if compacting else ()
        return self._database.rows(self._select(p, p.partition_ident, p["values"], p.closed, *settings, *stored))

    def _unmerged(self) -> frozenset[_PartitionId]:
        """Partitions with a copy of a shard that has several segments; those of a closed one are not known."""
        s = system("sys.segments")
        copy = (*s.place, s.partition_ident, s.shard_id, words("node['id']"))
        read = sa.select(*copy[:3]).where(self._within(*s.place), s.search).group_by(*copy)
        rows = self._database.rows(read.having(sa.func.count() > 1))
        return frozenset((schema, table, ident or "") for schema, table, ident in rows)

    def _keys(self) -> dict[TableName, tuple[str, ...]]:
        k = system("information_schema.key_column_usage")
        keys: dict[TableName, tuple[str, ...]] = defaultdict(tuple)
        for schema, name, column in self._database.rows(self._select(k, k.column_name)):
            keys[TableName(schema, name)] += (column,)
        return keys

    def identities(self) -> dict[TableName, str]:
        """OIDs of tables, which are never reused. Earlier releases have a hash of the name, which is omitted."""
        r, n = system("pg_catalog.pg_class"), system("pg_catalog.pg_namespace")
        read = sa.select(n.nspname, r.relname, r.oid).select_from(r.table.join(n.table, r.relnamespace == n.oid))
        rows = self._database.rows(read.where(self._within(n.nspname, r.relname)))
        return {TableName(schema, name): str(oid) for schema, name, oid in rows if 0 < oid < _MOST_TABLES}

    def _views(self) -> dict[TableName, str]:
        t, v = system("information_schema.tables"), system("information_schema.views")
        joined = t.table.outerjoin(v.table, sa.and_(t.table_schema == v.table_schema, t.table_name == v.table_name))
        read = self._select(t, v.view_definition).select_from(joined)
        rows = self._database.rows(read.where(t.table_type != "BASE TABLE"))
        return {TableName(schema, name): (text or "").removeprefix(_CORRUPTED) for schema, name, text in rows}

    def _nodes(self) -> dict[str, dict[str, str]]:
        n = system("sys.nodes")
        rows = self._database.rows(sa.select(n.name, n.attributes))
        return {name: {key: str(value) for key, value in _flatten(attributes or {})} for name, attributes in rows}

    def _repositories(self) -> frozenset[str]:
        return frozenset(row[0] for row in self._database.rows(sa.select(system("sys.repositories").name)))

    def _read_details(self, columns: dict[TableName, dict[str, Column]], tables: Iterable[TableName]) -> None:
        """Read what only a table's definition has: digits of decimals, and objects with fields that are not listed."""
        asked = [t for t in tables if any(c.type in ("numeric", "object") for c in columns[t].values())]
        works = [partial(self.declared, table) for table in asked]
        for table, types in zip(asked, self._database.together(*works), strict=True):
            columns[table] = {name: _declared(column, types.get(name, "")) for name, column in columns[table].items()}

    def declared(self, table: TableName) -> dict[str, str]:
        """The types of a table's columns as they were declared, such as ``NUMERIC(10, 2)``; the catalog lacks that."""
        ((text,),) = self._database.rows(Statement("SHOW CREATE TABLE ", table_ref(table)))
        found: dict[str, str] = {}
        outer: list[str] = []
        for line in text.splitlines()[1:]:
            column = _COLUMN.fullmatch(line)
            if column is None:
                if line.startswith(")"):
                    break
                outer = outer[:-1]
                continue
            own = column[1].replace('""', '"')
            path = f"{outer[-1]}['{own}']" if outer else own
            found[path] = column[2]
            if column[3]:
                outer.append(path)
        return found


def _column(name: str, data_type: str, expression: str | None) -> Column:
    base, is_array = data_type.partition("(")[0].strip(), data_type.endswith("_array")
    kind = Kind.TIME if base.startswith("timestamp") and not is_array else _KINDS.get(base, Kind.OTHER)
    exact = Grouping.EXACT if data_type == "uuid" or data_type.startswith("bit(") else Grouping.ASKED
    never = is_array or data_type in ("geo_point", "geo_shape", "float_vector")
    grouping = Grouping.NEVER if never else exact
    return Column(name=name, type=data_type, kind=kind, expression=expression, grouping=grouping)


def _declared(column: Column, words: str) -> Column:
    if column.type == "numeric" and words.startswith("NUMERIC("):
        return replace(column, type=words.lower())
    if column.type == "object" and words.startswith("OBJECT(") and column.grouping is not Grouping.NEVER:
        # Only ignored fields of an object are in no column; otherwise an object without columns is empty.
        return replace(column, grouping=Grouping.ASKED if words == "OBJECT(IGNORED)" else Grouping.PARTS)
    return column


def _with_parts(columns: Mapping[str, Column]) -> Iterator[tuple[str, Column]]:
    """Marks objects whose fields are listed, and fields within arrays of objects, which are arrays themselves."""
    parents = {name.rpartition("['")[0] for name in columns if name.endswith("']")}
    for name, column in columns.items():
        if any(columns[outer].type.endswith("_array") for outer in outer_names(name) if outer in columns):
            yield name, replace(column, kind=Kind.OTHER, grouping=Grouping.NEVER)
        elif column.type == "object" and name in parents:
            yield name, replace(column, grouping=Grouping.PARTS)
        else:
            yield name, column


def _with_partitions(table: Table, described: Iterable[Sequence[Any]], shards: Mapping[_PartitionId, _Shards]) -> Table:
    if not table.partitioned_by:
        own = shards.get((*table.name, ""), _NO_SHARDS)
        return replace(table, rows=own.rows, size=own.size, missing_shards=own.missing)
    partitions = tuple(
        Partition(
            values=tuple([by_column[column] for column in table.partitioned_by]),
            ident=ident,
            rows=None if closed else of.rows,
            size=of.size,
            token=of.token,
            closed=bool(closed),
            frozen=bool(frozen),
            missing_shards=of.missing,
            requires=tuple(sorted((key, str(value)) for key, value in _flatten(required or {}))),
            nodes=frozenset(of.nodes),
            settled=of.settled,
            read_only=bool(read_only),
            replicas=stored[0] if stored else "",
            compressed=bool(stored) and stored[1] == COMPRESSED,
            merged=of.merged and not closed,
        )
        for ident, by_column, closed, frozen, required, read_only, *stored in described
        for of in [shards.get((*table.name, ident), _NO_SHARDS)]
    )
    return replace(
        table,
        partitions=partitions,
        rows=sum(p.rows or 0 for p in partitions),
        size=sum(p.size or 0 for p in partitions),
        missing_shards=sum(p.missing_shards for p in partitions),
        read_only=table.read_only or any(p.read_only for p in partitions),
    )


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        elif value is not None:
            yield prefix + key, value


def _make_views(
    definitions: Mapping[TableName, str], columns: Mapping[TableName, Mapping[str, Column]]
) -> dict[TableName, View]:
    return {n: View(name=n, columns=tuple(columns.get(n, ())), definition=text) for n, text in definitions.items()}
