"""The catalog: the content of a database that planning needs. All times are milliseconds since 1970, UTC."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from cratedb_retention.model.address import is_address
from cratedb_retention.model.time import TimeRange

Value = str | int | float | bool | None


class TableName(NamedTuple):
    """A table's full name."""

    schema: str
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema else self.name


class Kind(StrEnum):
    """The type of a column, in the categories of planning."""

    TIME = "time"
    TEXT = "text"
    NUMBER = "number"
    BOOLEAN = "boolean"
    OTHER = "other"


class Grouping(StrEnum):
    """Whether a column that is neither text, boolean nor a number distinguishes series."""

    EXACT = "exact"  # Yes: rows are grouped by it as by text.
    ASKED = "asked"  # Possibly: the user has to decide.
    NEVER = "never"  # No: the database cannot group by it, or treats different values as equal.
    PARTS = "parts"  # An object, whose values all have columns of their own.


class TimeUnit(StrEnum):
    """The unit of a time that is a whole number since 1970, in UTC."""

    SECONDS = "s"
    MILLISECONDS = "ms"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column; its type and its generation expression are as the database writes them."""

    name: str
    type: str
    kind: Kind
    expression: str | None = None
    grouping: Grouping = field(default=Grouping.ASKED, compare=False)
    unit: TimeUnit | None = None  # The unit of a whole number that is used as a time.
    path: tuple[str, ...] = field(default=(), compare=False)  # Of a struct's field: its column, then names of fields.

    @property
    def tick(self) -> int:
        """Milliseconds per unit of a time."""
        return 1000 if self.unit is TimeUnit.SECONDS else 1


def outer_names(name: str) -> Iterator[str]:
    """The objects that contain a column, innermost first: ``a['b']`` and ``a`` of ``a['b']['c']``."""
    while name.endswith("']"):
        name = name.rpartition("['")[0]
        yield name


class Partition(NamedTuple):
    """
    A part of a table that can be dropped, moved or archived as a whole. Plans have millions, so it is a tuple, which is
    made in a quarter of the time.
    """

    values: tuple[Value, ...]  # Of the table's partition columns, in their order; times are instants.
    ident: str = ""  # The database's own name for it, if it has one.
    rows: int | None = None  # None if unknown, as for a closed partition.
    size: int | None = None  # Bytes on disk of the primary shards, or an estimate; None if unknown.
    token: str = ""  # Its change token.
    closed: bool = False
    frozen: bool = False  # Whether writes are blocked.
    missing_shards: int = 0
    requires: tuple[tuple[str, str], ...] = ()  # The node attributes that its shards must be allocated to.
    nodes: frozenset[str] = frozenset()  # Names of the nodes that hold its shards now.
    settled: bool = True  # Whether no shard is moving or unassigned.
    read_only: bool = False  # Whether it can only be read and dropped, for example since a disk is full.
    # If a selector requested it: CrateDB's ``number_of_replicas``, whether new segments are compressed by its best
    # codec, and whether each shard is at most one segment.
    replicas: str = ""
    compressed: bool = False
    merged: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table with its partitions."""

    name: TableName
    columns: Mapping[str, Column]
    partitioned_by: tuple[str, ...] = ()  # Names of its partition columns.
    partitions: tuple[Partition, ...] = ()
    rows: int | None = None
    size: int | None = None
    missing_shards: int = 0  # Of the whole table.
    closed: bool = False  # Whether it can be neither read nor written to.
    primary_key: tuple[str, ...] = ()  # If a selector requested it.
    replicas: str | None = None  # CrateDB's ``number_of_replicas``.
    flaw: str = ""  # Why its definition makes it unusable.
    unarchivable: tuple[str, ...] = ()  # Columns, with their types, whose values cannot be archived exactly.
    most_columns: int | None = None  # The maximum number of columns; None: no limit, or unknown.
    identity: str = ""  # Distinguishes it from other tables that have or had its name; empty: unknown.
    read_only: bool = False  # Whether it, or one of its partitions, can only be read and dropped.

    @property
    def partition_columns(self) -> tuple[Column, ...]:
        return tuple([self.columns[name] for name in self.partitioned_by if name in self.columns])


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A relation that can be read, but is not a table: a view, or a table of another database."""

    name: TableName
    columns: tuple[str, ...] = ()
    definition: str = ""  # Its query as the database writes it; empty if it has none.
    release: str = ""  # The release of a database that rewrites the definition; empty if it stays as stored.

    @property
    def mark(self) -> str:
        """A hash of the definition without blanks, quotes and parentheses, which DuckDB writes in several ways."""
        text = re.sub(r"""[\s"()]+""", "", self.definition).lower()
        return f"{self.release}:{hashlib.sha256(text.encode()).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """The capabilities of a database."""

    product: str  # Its name, for messages.
    default_schema: str  # The schema that an empty ``table_schema`` means.
    freezes: bool = False  # Whether it can block writes to a partition.
    reallocates: bool = False  # Whether it can move partitions between nodes.
    compacts: bool = False  # Whether it can store partitions in less space.
    repositories_are_directories: bool = False  # Whether a repository is a path, rather than registered by name.
    partitions: bool = False  # Whether it has partitions of its own.
    dropped_at_once: int = 1000  # Partitions that one statement drops: few enough for a parser's stack.
    folds_case: bool = False  # Whether names that differ only in case are the same name.
    tokens_recur: bool = False  # Whether a dropped partition that is created again unchanged has the same token.
    most_columns: int | None = None  # The maximum number of columns of a new table; None: no limit.


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """The tables, nodes and repositories of a database."""

    capabilities: Capabilities
    tables: Mapping[TableName, Table] = field(default_factory=dict)
    nodes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # Custom attributes of each node, by its name.
    repositories: frozenset[str] = frozenset()  # Their names; empty if they are directories.
    rollups: frozenset[TableName] = frozenset()  # Levels of cascades, which patterns do not match.
    unhealthy: frozenset[TableName] = frozenset()  # Tables with missing shards, those of the toolkit among them.
    # Views with names that rollups or their views may get; None: not read, since nothing is downsampled.
    views: Mapping[TableName, View] | None = None
    others: frozenset[TableName] = frozenset()  # Names of further tables, whose spelling may differ only in case.

    def has_repository(self, name: str) -> bool:
        """Whether a repository may exist; directories and addresses are looked at only when they are used."""
        return self.capabilities.repositories_are_directories or is_address(name) or name in self.repositories

    def taken(self, name: TableName) -> TableName | None:
        """The existing relation with this name, in its own spelling; None: the name is free."""
        known = (self.tables, self.views or {}, self.others)
        if any(name in names for names in known):
            return name
        if not self.capabilities.folds_case:
            return None
        folded = (name.schema.lower(), name.name.lower())
        return next((t for names in known for t in names if (t.schema.lower(), t.name.lower()) == folded), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """Tables that a catalog is requested for."""

    schema: str | None  # Name or pattern; None: the database's default schema.
    name: str  # Name or pattern.
    partition_column: str | None = None  # Used by databases without partitions of their own.
    tokens: bool = False  # Whether repositories are needed, and change tokens that are expensive to compute.
    keys: bool = False  # Whether primary keys are needed.
    within: TimeRange | None = None  # If set, only partitions that overlap this time range are needed.
    moves: bool = False  # Whether nodes are needed, and the allocation of partitions to them.
    compacts: bool = False  # Whether it is needed how partitions are stored.
    sizes: bool = False  # Whether sizes are needed that are expensive to read.
