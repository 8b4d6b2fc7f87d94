"""Reads CrateDB's catalog: at most eight statements, ten for downsampling, however many tables there are."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import sqlalchemy as sa

from cratedb_retention.clock import Clock
from cratedb_retention.engine.cratedb.connection import IS_BLOCKED
from cratedb_retention.engine.cratedb.shards import IS_FROZEN, MAX_SEQ_NO, format_token, settled
from cratedb_retention.engine.cratedb.sql import system
from cratedb_retention.engine.database import Database, Statement
from cratedb_retention.engine.expressions import Condition, table_ref
from cratedb_retention.errors import Recovering
from cratedb_retention.model.catalog import (
    Capabilities,
    Catalog,
    Column,
    Grouping,
    Kind,
    Outline,
    Partition,
    Selector,
    Table,
    TableName,
    View,
    outer_names,
)
from cratedb_retention.model.patterns import is_pattern, wanted_by

CAPABILITIES = Capabilities(
    product="CrateDB",
    default_schema="doc",
    partitions=True,
    freezes=True,
    reallocates=True,
    repositories_are_directories=False,
    folds_case=False,
    tokens_recur=False,
    most_columns=1000,
)
_SYSTEM = ("sys", "information_schema", "pg_catalog", "blob")
_BLOBS = "it is a BLOB table, whose files have no rows to expire; disable the policy, and delete them over HTTP"
# Names in one statement; where more are wanted, whole schemas are read.
NAMES = 500
# Far more tables than any cluster ever creates, and far less than almost every hash.
_MOST_TABLES = 2**24
# Stands before the definition of a view while a table or column that it reads is missing.
_CORRUPTED = "/* Corrupted view, needs fix */\n"
# A line of SHOW CREATE TABLE with a column; what is in an object follows on lines of its own.
_COLUMN = re.compile(r'\s*"((?:[^"]|"")*)" (.*?)( AS \()?,?')
_KINDS = {
    **dict.fromkeys(("text", "character varying", "character", "ip"), Kind.TEXT),
    **dict.fromkeys(("smallint", "integer", "bigint", "real", "double precision", "byte", "char"), Kind.NUMBER),
    "numeric": Kind.NUMBER,
    "boolean": Kind.BOOLEAN,
}
_Wanted = Callable[[TableName], bool]
# Restricts a statement to some tables, by its columns with schema and name.
_Within = Callable[[sa.ColumnElement[Any], sa.ColumnElement[Any]], Condition]
_PartitionId = tuple[str, str, str]


@dataclass(kw_only=True)
class _Shards:
    """What the shards of a partition, or of a table without partitions, say."""

    rows: int = 0
    size: int = 0
    token: str = ""
    nodes: set[str] = field(default_factory=set)
    settled: bool = True
    missing: int = 0


_NO_SHARDS = _Shards(settled=False)


def read_catalog(
    database: Database, clock: Clock, selectors: Iterable[Selector], own_schema: str | None = None
) -> Catalog:
    """Read tables, partitions, shards, health, nodes and repositories; of the toolkit's own schema, the health."""
    selectors = list(selectors)
    wanted, within = wanted_by(selectors, CAPABILITIES.default_schema), _within(selectors)
    moves, archives, keyed = (any(getattr(s, need) for s in selectors) for need in ("moves", "tokens", "keys"))
    tables, columns, shards, found, keys, definitions, identities, nodes, repositories = database.together(
        lambda: _read_tables(database, within, wanted, own_schema),
        lambda: _read_columns(database, within, wanted),
        lambda: _read_shards(database, within, moves),
        lambda: _read_partitions(database, within),
        lambda: _read_keys(database, within) if keyed else {},
        lambda: _read_views(database, within) if keyed else None,
        lambda: _read_identities(database, within),
        lambda: _read_nodes(database) if moves else {},
        lambda: _read_repositories(database) if archives else frozenset(),
    )
    if keyed:
        detailed = wanted_by([s for s in selectors if s.keys], CAPABILITIES.default_schema)
        _read_details(database, columns, filter(detailed, tables))
    unwell = _add_health(database, clock, within, own_schema, shards)
    partitions: dict[TableName, list[Partition]] = defaultdict(list)
    for schema, name, *described in found:
        if (schema, name) in tables:
            by = tables[schema, name].partitioned_by
            partitions[TableName(schema, name)].append(_make_partition(by, shards, (schema, name), *described))
    return Catalog(
        capabilities=CAPABILITIES,
        tables={
            name: replace(
                _with_partitions(table, partitions[name], shards.get((*name, ""), _NO_SHARDS)),
                columns=columns[name],
                primary_key=keys.get(name, ()),
                identity=identities.get(name, ""),
            )
            for name, table in tables.items()
        },
        nodes=nodes,
        repositories=repositories,
        unwell=unwell,
        views=None if definitions is None else _make_views(definitions, columns),
    )


def read_named(database: Database, names: Iterable[TableName]) -> Catalog:
    """Read tables with their columns, and views, by their names."""
    names = set(names)
    within = _within([Selector(schema=name.schema, name=name.name) for name in names])
    tables, columns, definitions, identities = database.together(
        lambda: _read_tables(database, within, names.__contains__),
        lambda: _read_columns(database, within, names.__contains__),
        lambda: _read_views(database, within),
        lambda: _read_identities(database, within),
    )
    found = {n: replace(t, columns=columns[n], identity=identities.get(n, "")) for n, t in tables.items()}
    return Catalog(capabilities=CAPABILITIES, tables=found, views=_make_views(definitions, columns))


def read_identity(database: Database, table: TableName) -> str:
    """What tells one table from others of its name; empty: nothing."""
    return _read_identities(database, _within([Selector(schema=table.schema, name=table.name)])).get(table, "")


def read_layout(database: Database, table: TableName) -> tuple[dict[str, Column], tuple[str, ...]]:
    """The columns of one table, and those that partition it; none if it does not exist."""
    within = _within([Selector(schema=table.schema, name=table.name)])
    known = _read_tables(database, within, table.__eq__)
    return _read_columns(database, within, table.__eq__).get(table, {}), known[table].partitioned_by if known else ()


def read_outline(database: Database, selector: Selector) -> Outline:
    """Read the names of tables, nodes' attributes and repositories, and the columns of the chosen tables."""
    wanted = wanted_by([selector], CAPABILITIES.default_schema)
    tables, columns, nodes, repositories = database.together(
        lambda: _read_tables(database, lambda schema, name: schema.not_in(_SYSTEM), lambda name: True),
        lambda: _read_columns(database, _within([selector]), wanted),
        lambda: _read_nodes(database),
        lambda: _read_repositories(database),
    )
    return Outline(tables=tuple(sorted(tables)), columns=columns, nodes=nodes, repositories=repositories)


def _within(selectors: Iterable[Selector]) -> _Within:
    """Restrict statements to the schemas and tables that are wanted, as far as they are named without wildcards."""
    names: dict[str, set[str]] = defaultdict(set)
    for selector in selectors:
        names[selector.schema or CAPABILITIES.default_schema].add(selector.name)
    if any(is_pattern(schema) for schema in names):
        return lambda schema, name: schema.not_in(_SYSTEM)
    if any(map(is_pattern, set().union(*names.values()))) or sum(map(len, names.values())) > NAMES:
        return lambda schema, name: schema.in_(sorted(names))
    return lambda schema, name: sa.or_(
        sa.false(), *(sa.and_(schema == key, name.in_(sorted(names[key]))) for key in sorted(names))
    )


def _read_tables(
    database: Database, within: _Within, wanted: _Wanted, own_schema: str | None = None
) -> dict[TableName, Table]:
    """
    The tables that are wanted, as far as they are described in one line. Where not even those of the toolkit's own
    schema are known, the others are not gone: the cluster was just started.
    """
    t = system("information_schema.tables")
    read_only: sa.ColumnElement[Any] = sa.literal_column(IS_BLOCKED)
    limit: sa.ColumnElement[Any] = sa.literal_column("settings['mapping']['total_fields']['limit']")
    columns = (t.table_schema, t.table_name, t.partitioned_by, t.closed, read_only, t.number_of_replicas, limit)
    mine = sa.or_(within(t.table_schema, t.table_name), t.table_schema == own_schema)
    rows = database.rows(sa.select(*columns).where(mine, t.table_type == "BASE TABLE"))
    if own_schema is not None and all(schema != own_schema for schema, *_ in rows):
        raise Recovering("CrateDB", "it was just started and does not know its tables yet", "try again in a minute")
    found = (
        Table(
            name=TableName(schema, name),
            columns={},
            partitioned_by=tuple(by or ()),
            closed=bool(closed),
            read_only=bool(read_only),
            replicas=replicas,
            most_columns=most_columns,
            flaw=_BLOBS if schema == "blob" else "",
        )
        for schema, name, by, closed, read_only, replicas, most_columns in rows
    )
    return {table.name: table for table in found if wanted(table.name)}


def _read_columns(database: Database, within: _Within, wanted: _Wanted) -> dict[TableName, dict[str, Column]]:
    names = ("table_schema", "table_name", "column_name", "data_type", "generation_expression")
    c = system("information_schema.columns")
    statement = sa.select(*(c[name] for name in names), c.character_maximum_length)
    statement = statement.where(within(c.table_schema, c.table_name)).order_by(c.ordinal_position)
    found: dict[TableName, dict[str, Column]] = defaultdict(dict)
    for schema, name, column, data_type, expression, length in database.rows(statement):
        table = TableName(schema, name)
        if wanted(table):
            words = f"bit({length})" if data_type == "bit" else data_type
            found[table][column] = Column(
                name=column, type=words, kind=kind_of(words), expression=expression, grouping=grouping_of(words)
            )
    return {table: dict(_with_parts(columns)) for table, columns in found.items()}


def _with_parts(columns: Mapping[str, Column]) -> Iterator[tuple[str, Column]]:
    """Columns within objects are listed besides these; those within arrays of objects are arrays, whatever is said."""
    parents = {name.rpartition("['")[0] for name in columns if name.endswith("']")}
    for name, column in columns.items():
        outer = [columns[other] for other in outer_names(name) if other in columns]
        if any(other.type.endswith("_array") for other in outer):
            yield name, replace(column, kind=Kind.OTHER, grouping=Grouping.NEVER)
        elif column.type == "object" and name in parents:
            yield name, replace(column, grouping=Grouping.PARTS)
        else:
            yield name, column


def _read_details(
    database: Database, columns: Mapping[TableName, dict[str, Column]], tables: Iterable[TableName]
) -> None:
    """How many digits decimals have, and which objects hold more than is listed: only a table's definition says so."""
    asked = [t for t in tables if any(c.type in ("numeric", "object") for c in columns[t].values())]
    for table, types in zip(asked, database.together(*(partial(_read_types, database, t) for t in asked)), strict=True):
        for name, column in columns[table].items():
            words = types.get(name, "")
            if column.type == "numeric" and words.startswith("NUMERIC("):
                columns[table][name] = replace(column, type=words.lower())
            elif column.type == "object" and words.startswith("OBJECT(") and column.grouping is not Grouping.NEVER:
                # Only what an object ignores is in no column; one that has none is empty.
                ignored = words == "OBJECT(IGNORED)"
                columns[table][name] = replace(column, grouping=Grouping.ASKED if ignored else Grouping.PARTS)


def _read_types(database: Database, table: TableName) -> dict[str, str]:
    """The types of a table's columns as they were declared, such as ``NUMERIC(10, 2)``; the catalog has less."""
    ((text,),) = database.rows(Statement("SHOW CREATE TABLE ", table_ref(table)))
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


def kind_of(data_type: str) -> Kind:
    """What planning needs to know of a CrateDB type."""
    base = data_type.partition("(")[0].strip()
    if base.startswith("timestamp") and not base.endswith("_array"):
        return Kind.TIME
    return _KINDS.get(base, Kind.OTHER)


def grouping_of(data_type: str) -> Grouping:
    """Whether rows are grouped by a type exactly; arrays, shapes and vectors have no place in a level."""
    if data_type.endswith("_array") or data_type in ("geo_point", "geo_shape", "float_vector"):
        return Grouping.NEVER
    return Grouping.EXACT if data_type == "uuid" or data_type.startswith("bit(") else Grouping.ASKED


def _read_shards(database: Database, within: _Within, moves: bool) -> dict[_PartitionId, _Shards]:
    """What the shards say; where it matters on which nodes they are, replicas count, too."""
    s = system("sys.shards")
    writes: sa.ColumnElement[Any] = sa.literal_column(MAX_SEQ_NO) + 1
    key = (s.schema_name, s.table_name, s.partition_ident, s.partition_uuid)
    sums = [sa.func.sum(sa.case((s.primary, value), else_=0)) for value in (s.num_docs, s.size, writes)]
    wanted = within(s.schema_name, s.table_name)
    statement = sa.select(*key, *sums).where(wanted, s.primary).group_by(*key)
    if moves:
        node: sa.ColumnElement[Any] = sa.literal_column("node['name']")
        unsettled = sa.func.sum(sa.case((s.routing_state == "STARTED", 0), else_=1))
        statement = sa.select(*key, *sums, node, unsettled).where(wanted).group_by(*key, node)
    found: dict[_PartitionId, _Shards] = defaultdict(_Shards)
    writes_of: dict[_PartitionId, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for schema, table, ident, uuid, docs, size, seq, *place in database.rows(statement):
        partition = (schema, table, ident or "")
        shards = found[partition]
        shards.rows += docs or 0
        shards.size += size or 0
        writes_of[partition][uuid] += seq or 0
        if place:
            shards.nodes.update(name for name in place[:1] if name)
            shards.settled = shards.settled and not place[1]
    for partition, by_uuid in writes_of.items():
        found[partition].token = format_token(by_uuid)
    return found


def _add_health(
    database: Database, clock: Clock, within: _Within, own_schema: str | None, shards: dict[_PartitionId, _Shards]
) -> frozenset[TableName]:
    """The shards that are missing. Those of a partition that came into being this moment only seem to be."""
    h = system("sys.health")
    statement = sa.select(h.table_schema, h.table_name, h.partition_ident, h.missing_shards).where(
        sa.or_(within(h.table_schema, h.table_name), h.table_schema == own_schema), h.missing_shards > 0
    )
    rows = settled(lambda: database.rows(statement), clock)
    for schema, table, ident, missing in rows:
        shards[schema, table, ident or ""].missing = missing
    return frozenset(TableName(schema, table) for schema, table, _, _ in rows)


def _read_partitions(database: Database, within: _Within) -> list[Sequence[Any]]:
    p = system("information_schema.table_partitions")
    # Settings are large: of 100,000 partitions only what is needed may travel.
    settings = (IS_FROZEN, "settings['routing']['allocation']['require']", IS_BLOCKED)
    columns = (
        p.table_schema,
        p.table_name,
        p.partition_ident,
        p["values"],
        p.closed,
        *map(sa.literal_column, settings),
    )
    return database.rows(sa.select(*columns).where(within(p.table_schema, p.table_name)))


def _make_partition(
    partitioned_by: Sequence[str], of: Mapping[_PartitionId, _Shards], table: tuple[str, str], *described: Any
) -> Partition:
    ident, by_column, closed, frozen, required, read_only = described
    shards = of.get((*table, ident), _NO_SHARDS)
    return Partition(
        values=tuple([by_column[column] for column in partitioned_by]),
        ident=ident,
        rows=None if closed else shards.rows,
        size=shards.size,
        token=shards.token,
        closed=bool(closed),
        frozen=bool(frozen),
        missing_shards=shards.missing,
        requires=tuple(sorted((key, str(value)) for key, value in _flatten(required or {}))),
        nodes=frozenset(shards.nodes),
        settled=shards.settled,
        read_only=bool(read_only),
    )


def _with_partitions(table: Table, partitions: Sequence[Partition], own: _Shards) -> Table:
    if not table.partitioned_by:
        return replace(table, rows=own.rows, size=own.size, missing_shards=own.missing)
    return replace(
        table,
        partitions=tuple(partitions),
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


def _read_keys(database: Database, within: _Within) -> dict[TableName, tuple[str, ...]]:
    """The columns of primary keys."""
    k = system("information_schema.key_column_usage")
    wanted = sa.select(k.table_schema, k.table_name, k.column_name).where(within(k.table_schema, k.table_name))
    keys: dict[TableName, tuple[str, ...]] = defaultdict(tuple)
    for schema, name, column in database.rows(wanted):
        keys[TableName(schema, name)] += (column,)
    return keys


def _read_identities(database: Database, within: _Within) -> dict[TableName, str]:
    """
    The OIDs of tables, which CrateDB counts from 1, and never gives twice. An earlier release has a hash of the name in
    their place, which is the same for another table of that name.
    """
    r, n = system("pg_catalog.pg_class"), system("pg_catalog.pg_namespace")
    wanted = sa.select(n.nspname, r.relname, r.oid).select_from(r.table.join(n.table, r.relnamespace == n.oid))
    rows = database.rows(wanted.where(within(n.nspname, r.relname)))
    return {TableName(schema, name): str(oid) for schema, name, oid in rows if 0 < oid < _MOST_TABLES}


def _read_views(database: Database, within: _Within) -> dict[TableName, str]:
    """The definitions of views; of what else is no table of its own, such as a foreign one, an empty text."""
    t, v = system("information_schema.tables"), system("information_schema.views")
    same = sa.and_(t.table_schema == v.table_schema, t.table_name == v.table_name)
    found = sa.select(t.table_schema, t.table_name, v.view_definition).select_from(t.table.outerjoin(v.table, same))
    rows = database.rows(found.where(within(t.table_schema, t.table_name), t.table_type != "BASE TABLE"))
    return {TableName(schema, name): (text or "").removeprefix(_CORRUPTED) for schema, name, text in rows}


def _make_views(
    definitions: Mapping[TableName, str], columns: Mapping[TableName, Mapping[str, Column]]
) -> dict[TableName, View]:
    return {n: View(name=n, columns=tuple(columns.get(n, ())), definition=text) for n, text in definitions.items()}


def _read_nodes(database: Database) -> dict[str, dict[str, str]]:
    n = system("sys.nodes")
    rows = database.rows(sa.select(n.name, n.attributes))
    return {name: {key: str(value) for key, value in _flatten(attributes or {})} for name, attributes in rows}


def _read_repositories(database: Database) -> frozenset[str]:
    r = system("sys.repositories")
    return frozenset(row[0] for row in database.rows(sa.select(r.name)))
