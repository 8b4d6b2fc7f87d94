"""
Reads CrateDB's catalog: at most eight statements, eleven for downsampling, however many tables and policies there are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import sqlalchemy as sa

from cratedb_retention.clock import Clock
from cratedb_retention.engine.cratedb.disk import IS_BLOCKED
from cratedb_retention.engine.cratedb.health import settled
from cratedb_retention.engine.cratedb.keys import (
    Within,
    read_identities,
    read_keys,
    read_settings,
    read_types,
    read_views,
)
from cratedb_retention.engine.cratedb.sql import system
from cratedb_retention.engine.cratedb.tokens import format_token
from cratedb_retention.engine.database import Database
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
    Value,
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
_PartitionId = tuple[str, str, str]
# Names in one statement; where more are wanted, whole schemas are read.
NAMES = 500


def read_catalog(
    database: Database, clock: Clock, selectors: Iterable[Selector], own_schema: str | None = None
) -> Catalog:
    """Read tables, partitions, shards, health, nodes and repositories; of the toolkit's own schema, the health."""
    selectors = list(selectors)
    wanted = wanted_by(selectors, CAPABILITIES.default_schema)
    within = _within(selectors)
    moves, archives, keyed = (any(getattr(s, need) for s in selectors) for need in ("moves", "tokens", "keys"))
    known, columns, facts, found, keys, settings, definitions, identities, nodes, repositories = database.together(
        lambda: _read_tables(database, within, wanted, own_schema),
        lambda: _read_columns(database, within, wanted),
        lambda: _read_shards(database, within, moves),
        lambda: database.rows(_partitions_statement(within)),
        lambda: read_keys(database, within) if keyed else {},
        lambda: read_settings(database, within) if keyed else {},
        lambda: read_views(database, within) if keyed else None,
        lambda: read_identities(database, within),
        lambda: _read_nodes(database) if moves else {},
        lambda: _read_repositories(database) if archives else frozenset(),
    )
    partitioned_by = {name: by for name, (by, _, _) in known.items()}
    if keyed:
        _read_details(
            database, columns, partitioned_by, wanted_by([s for s in selectors if s.keys], CAPABILITIES.default_schema)
        )
    unwell = _add_health(database, clock, within, own_schema, facts)
    partitions = _make_partitions(found, partitioned_by, facts)
    tables = {
        name: replace(
            _make_table(name, columns[name], known[name], partitions[name], facts),
            primary_key=keys.get(name, ()),
            replicas=settings[name].replicas if name in settings else None,
            most_columns=settings[name].most_columns if name in settings else None,
            identity=identities.get(name, ""),
        )
        for name in known
    }
    views = None if definitions is None else _make_views(definitions, columns)
    return Catalog(
        capabilities=CAPABILITIES, tables=tables, nodes=nodes, repositories=repositories, unwell=unwell, views=views
    )


def _make_views(
    definitions: Mapping[TableName, str], columns: Mapping[TableName, Mapping[str, Column]]
) -> dict[TableName, View]:
    return {
        name: View(name=name, columns=tuple(columns.get(name, ())), definition=text)
        for name, text in definitions.items()
    }


def read_named(database: Database, names: Iterable[TableName]) -> Catalog:
    """Read tables with their columns, and views, by their names."""
    names = set(names)
    within = _within([Selector(schema=name.schema, name=name.name) for name in names])
    known, columns, definitions, identities = database.together(
        lambda: _read_tables(database, within, names.__contains__),
        lambda: _read_columns(database, within, names.__contains__),
        lambda: read_views(database, within),
        lambda: read_identities(database, within),
    )
    bare = {name: _make_table(name, columns[name], table, (), {}) for name, table in known.items()}
    tables = {name: replace(table, identity=identities.get(name, "")) for name, table in bare.items()}
    return Catalog(capabilities=CAPABILITIES, tables=tables, views=_make_views(definitions, columns))


def read_identity(database: Database, table: TableName) -> str:
    """What tells one table from others of its name; empty: nothing."""
    return read_identities(database, _within([Selector(schema=table.schema, name=table.name)])).get(table, "")


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


def _within(selectors: Iterable[Selector]) -> Within:
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


class _Known(NamedTuple):
    """What is known of a table before its columns and partitions are."""

    partitioned_by: tuple[str, ...]
    closed: bool
    read_only: bool


def _read_tables(
    database: Database, within: Within, wanted: Callable[[TableName], bool], own_schema: str | None = None
) -> dict[TableName, _Known]:
    """
    The tables that are wanted.

    :param own_schema: The schema of the toolkit's tables. Where not even these are known, the others are not gone.
    :raises Recovering: if the cluster was just started and knows no tables yet.
    """
    t = system("information_schema.tables")
    read_only: sa.ColumnElement[Any] = sa.literal_column(IS_BLOCKED)
    statement = sa.select(t.table_schema, t.table_name, t.partitioned_by, t.closed, read_only).where(
        sa.or_(within(t.table_schema, t.table_name), t.table_schema == own_schema), t.table_type == "BASE TABLE"
    )
    found = database.rows(statement)
    if own_schema is not None and all(schema != own_schema for schema, *_ in found):
        raise Recovering("CrateDB", "it was just started and does not know its tables yet", "try again in a minute")
    return {
        TableName(schema, name): _Known(tuple(by or ()), bool(closed), bool(read_only))
        for schema, name, by, closed, read_only in found
        if wanted(TableName(schema, name))
    }


def _read_columns(
    database: Database, within: Within, wanted: Callable[[TableName], bool]
) -> dict[TableName, dict[str, Column]]:
    names = ("table_schema", "table_name", "column_name", "data_type", "generation_expression")
    c = system("information_schema.columns")
    statement = (
        sa.select(*(c[name] for name in names), c.character_maximum_length)
        .where(within(c.table_schema, c.table_name))
        .order_by(c.ordinal_position)
    )
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
    database: Database,
    columns: Mapping[TableName, dict[str, Column]],
    tables: Iterable[TableName],
    wanted: Callable[[TableName], bool],
) -> None:
    """How many digits decimals have, and which objects hold more than is listed: only a table's definition says so."""
    asked = [t for t in tables if wanted(t) and any(c.type in ("numeric", "object") for c in columns[t].values())]
    for table, types in zip(asked, database.together(*(partial(read_types, database, t) for t in asked)), strict=True):
        for name, column in columns[table].items():
            words = types.get(name, "")
            if column.type == "numeric" and words.startswith("NUMERIC("):
                columns[table][name] = replace(column, type=words.lower())
            elif column.type == "object" and words.startswith("OBJECT(") and column.grouping is not Grouping.NEVER:
                # Only what an object ignores is in no column; one that has none is empty.
                ignored = words == "OBJECT(IGNORED)"
                columns[table][name] = replace(column, grouping=Grouping.ASKED if ignored else Grouping.PARTS)


def kind_of(data_type: str) -> Kind:
    """What planning needs to know of a CrateDB type."""
    base = data_type.partition("(")[0].strip()
    if base.endswith("_array"):
        return Kind.OTHER
    if base.startswith("timestamp"):
        return Kind.TIME
    if base in ("text", "character varying", "character", "ip"):
        return Kind.TEXT
    if base in ("smallint", "integer", "bigint", "real", "double precision", "byte", "char", "numeric"):
        return Kind.NUMBER
    return Kind.BOOLEAN if base == "boolean" else Kind.OTHER


def grouping_of(data_type: str) -> Grouping:
    """Whether rows are grouped by a type exactly; arrays, shapes and vectors have no place in a level."""
    if data_type.endswith("_array") or data_type in ("geo_point", "geo_shape", "float_vector"):
        return Grouping.NEVER
    return Grouping.EXACT if data_type == "uuid" or data_type.startswith("bit(") else Grouping.ASKED


@dataclass(kw_only=True)
class _ShardFacts:
    """What the shards of a partition, or of a table without partitions, say."""

    rows: int = 0
    size: int = 0
    token: str = ""
    nodes: set[str] = field(default_factory=set)
    settled: bool = True
    missing: int = 0


_NO_SHARDS = _ShardFacts(settled=False)


def _read_shards(database: Database, within: Within, moves: bool) -> dict[_PartitionId, _ShardFacts]:
    """
    What the shards say.

    :param moves: Whether it matters where they are, so that replicas count too.
    """
    s = system("sys.shards")
    writes: sa.ColumnElement[Any] = sa.literal_column("seq_no_stats['max_seq_no']") + 1
    key = (s.schema_name, s.table_name, s.partition_ident, s.partition_uuid)
    sums = [sa.func.sum(sa.case((s.primary, value), else_=0)) for value in (s.num_docs, s.size, writes)]
    wanted = within(s.schema_name, s.table_name)
    statement = sa.select(*key, *sums).where(wanted, s.primary).group_by(*key)
    if moves:
        node: sa.ColumnElement[Any] = sa.literal_column("node['name']")
        unsettled = sa.func.sum(sa.case((s.routing_state == "STARTED", 0), else_=1))
        statement = sa.select(*key, *sums, node, unsettled).where(wanted).group_by(*key, node)
    found: dict[_PartitionId, _ShardFacts] = defaultdict(_ShardFacts)
    writes_of: dict[_PartitionId, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for schema, table, ident, uuid, docs, size, seq, *place in database.rows(statement):
        partition = (schema, table, ident or "")
        facts = found[partition]
        facts.rows += docs or 0
        facts.size += size or 0
        writes_of[partition][uuid] += seq or 0
        if place:
            facts.nodes.update(name for name in place[:1] if name)
            facts.settled = facts.settled and not place[1]
    for partition, by_uuid in writes_of.items():
        found[partition].token = format_token(by_uuid)
    return found


def _add_health(
    database: Database, clock: Clock, within: Within, own_schema: str | None, facts: dict[_PartitionId, _ShardFacts]
) -> frozenset[TableName]:
    """The shards that are missing. Those of a partition that came into being this moment only seem to be."""
    h = system("sys.health")
    statement = sa.select(h.table_schema, h.table_name, h.partition_ident, h.missing_shards).where(
        sa.or_(within(h.table_schema, h.table_name), h.table_schema == own_schema), h.missing_shards > 0
    )
    rows = settled(lambda: database.rows(statement), clock)
    for schema, table, ident, missing in rows:
        facts[schema, table, ident or ""].missing = missing
    return frozenset(TableName(schema, table) for schema, table, _, _ in rows)


def _partitions_statement(within: Within) -> sa.Select[Any]:
    p = system("information_schema.table_partitions")
    # Settings are large: of 100,000 partitions only what is needed may travel.
    frozen: sa.ColumnElement[Any] = sa.literal_column("settings['blocks']['write']")
    requires: sa.ColumnElement[Any] = sa.literal_column("settings['routing']['allocation']['require']")
    read_only: sa.ColumnElement[Any] = sa.literal_column(IS_BLOCKED)
    found = (p.table_schema, p.table_name, p.partition_ident, p["values"], p.closed, frozen, requires, read_only)
    return sa.select(*found).where(within(p.table_schema, p.table_name))


def _make_partitions(
    rows: Iterable[Sequence[Any]],
    partitioned_by: Mapping[TableName, Sequence[str]],
    facts: Mapping[_PartitionId, _ShardFacts],
) -> dict[TableName, list[Partition]]:
    found: dict[TableName, list[Partition]] = defaultdict(list)
    for schema, name, ident, by_column, closed, is_frozen, required, read_only in rows:
        table = TableName(schema, name)
        if table in partitioned_by:
            values = tuple([by_column[column] for column in partitioned_by[table]])
            shards = facts.get((schema, name, ident), _NO_SHARDS)
            made = _make_partition(values, ident, bool(closed), bool(is_frozen), required, shards)
            found[table].append(replace(made, read_only=True) if read_only else made)
    return found


def _make_partition(
    values: tuple[Value, ...],
    ident: str,
    closed: bool,
    frozen: bool,
    required: Mapping[str, Any] | None,
    shards: _ShardFacts,
) -> Partition:
    return Partition(
        values=values,
        ident=ident,
        rows=None if closed else shards.rows,
        size=shards.size,
        token=shards.token,
        closed=closed,
        frozen=frozen,
        missing_shards=shards.missing,
        requires=tuple(sorted((key, str(value)) for key, value in _flatten(required or {}))),
        nodes=frozenset(shards.nodes),
        settled=shards.settled,
    )


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        elif value is not None:
            yield prefix + key, value


def _make_table(
    name: TableName,
    columns: Mapping[str, Column],
    known: _Known,
    partitions: Sequence[Partition],
    facts: Mapping[_PartitionId, _ShardFacts],
) -> Table:
    if known.partitioned_by:
        rows = sum(p.rows or 0 for p in partitions)
        size = sum(p.size or 0 for p in partitions)
        missing = sum(p.missing_shards for p in partitions)
    else:
        own = facts.get((*name, ""), _NO_SHARDS)
        rows, size, missing = own.rows, own.size, own.missing
    read_only = known.read_only or any(p.read_only for p in partitions)
    flaw = _BLOBS if name.schema == "blob" else ""
    by, closed = known.partitioned_by, known.closed
    return Table(
        name=name,
        columns=columns,
        partitioned_by=by,
        partitions=tuple(partitions),
        rows=rows,
        size=size,
        missing_shards=missing,
        closed=closed,
        flaw=flaw,
        read_only=read_only,
    )


def _read_nodes(database: Database) -> dict[str, dict[str, str]]:
    n = system("sys.nodes")
    rows = database.rows(sa.select(n.name, n.attributes))
    return {name: {key: str(value) for key, value in _flatten(attributes or {})} for name, attributes in rows}


def _read_repositories(database: Database) -> frozenset[str]:
    r = system("sys.repositories")
    return frozenset(row[0] for row in database.rows(sa.select(r.name)))
