"""The catalog: what a database holds, as far as planning needs to know. All times are milliseconds since 1970, UTC."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

Value = str | int | float | bool | None


class TableName(NamedTuple):
    """A table's full name."""

    schema: str
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema else self.name


class Kind(StrEnum):
    """What planning needs to know of a column's type."""

    TIME = "time"
    TEXT = "text"
    NUMBER = "number"
    BOOLEAN = "boolean"
    OTHER = "other"


class Grouping(StrEnum):
    """Whether a column that is neither text, boolean nor a number tells series apart."""

    EXACT = "exact"  # It does: rows are grouped by it as by text.
    ASKED = "asked"  # It may: only the user knows.
    NEVER = "never"  # The database can't group by it, or takes different values for the same.
    PARTS = "parts"  # An object: all of its values are in columns of their own.


class TimeUnit(StrEnum):
    """What a whole number counts that is a time: since 1970, in UTC."""

    SECONDS = "s"
    MILLISECONDS = "ms"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column; its type and the expression that generates it are in the database's own words."""

    name: str
    type: str
    kind: Kind
    expression: str | None = None
    grouping: Grouping = field(default=Grouping.ASKED, compare=False)
    unit: TimeUnit | None = None  # What it counts, where it is a whole number that is taken for a time.
    path: tuple[str, ...] = field(default=(), compare=False)  # Of a field of a struct: that column, the names to it.

    @property
    def tick(self) -> int:
        """Milliseconds for each number of a time."""
        return 1000 if self.unit is TimeUnit.SECONDS else 1


def outer_names(name: str) -> Iterator[str]:
    """The objects that a column is in, innermost first: ``a['b']`` and ``a`` of ``a['b']['c']``."""
    while name.endswith("']"):
        name = name.rpartition("['")[0]
        yield name


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """A part of a table that can be dropped, moved or archived as a whole."""

    values: tuple[Value, ...]  # Of the table's partition columns, in their order; times are instants.
    ident: str = ""  # The database's own name for it, if it has one.
    rows: int | None = None  # None if unknown (a closed partition hides them).
    size: int | None = None  # Bytes on disk of the primary shards; None if unknown.
    token: str = ""  # Its change token.
    closed: bool = False
    frozen: bool = False  # Whether writes are blocked.
    missing_shards: int = 0
    requires: tuple[tuple[str, str], ...] = ()  # The node attributes that its shards must be allocated to.
    nodes: frozenset[str] = frozenset()  # Names of the nodes that hold its shards now.
    settled: bool = True  # Whether no shard is on its way or without a node.
    read_only: bool = False  # Whether it can only be read and dropped, as where a disk is full.


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
    closed: bool = False  # Whether it refuses to be read and written.
    primary_key: tuple[str, ...] = ()  # Where a selector asked for it.
    replicas: str | None = None  # CrateDB's ``number_of_replicas``.
    flaw: str = ""  # Why nothing can be done with it, as far as its own definition says.
    unarchivable: tuple[str, ...] = ()  # Columns, with their types, whose values an archive can't hold exactly.
    most_columns: int | None = None  # How many columns it may have; None: no limit, or unknown.
    identity: str = ""  # Tells it from other tables that have or had its name; empty: unknown.
    read_only: bool = False  # Whether it, or one of its partitions, can only be read and dropped.

    @property
    def partition_columns(self) -> tuple[Column, ...]:
        """Its partition columns."""
        return tuple([self.columns[name] for name in self.partitioned_by if name in self.columns])


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What is read like a table and is none: a view, or a table of another database."""

    name: TableName
    columns: tuple[str, ...] = ()
    definition: str = ""  # Its query in the own words of the database; empty if it has none.
    release: str = ""  # The release of a database that words the definition anew; empty where it stays as stored.

    @property
    def mark(self) -> str:
        """Changes with the definition, but for blanks, quotes and parentheses, which DuckDB writes in several ways."""
        text = re.sub(r"""[\s"()]+""", "", self.definition).lower()
        return f"{self.release}:{hashlib.sha256(text.encode()).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a database can do."""

    product: str  # Its name, for messages.
    default_schema: str  # What an empty ``table_schema`` means.
    freezes: bool = False  # Whether it can block writes to a partition.
    reallocates: bool = False  # Whether it can move partitions between nodes.
    repositories_are_directories: bool = False  # Whether a repository is a path, rather than something registered.
    partitions: bool = False  # Whether it has partitions of its own.
    folds_case: bool = False  # Whether names that differ in case only are one name.
    tokens_recur: bool = False  # Whether a partition that was dropped and came again as it was has the same token.
    most_columns: int | None = None  # How many columns a new table may have; None: no limit.


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """What a database holds."""

    capabilities: Capabilities
    tables: Mapping[TableName, Table] = field(default_factory=dict)
    nodes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # Custom attributes of each node, by its name.
    repositories: frozenset[str] = frozenset()  # Their names; empty where they are directories.
    rollups: frozenset[TableName] = frozenset()  # Tables that are levels of cascades, which no pattern means.
    unwell: frozenset[TableName] = frozenset()  # Tables with missing shards, those of the toolkit among them.
    # What else has a name that a rollup or its view may get; None: not read, as nothing is downsampled.
    views: Mapping[TableName, View] | None = None
    others: frozenset[TableName] = frozenset()  # Names of further tables, whose spelling may differ in case only.

    def taken(self, name: TableName) -> TableName | None:
        """What has a name already, as it is spelt there; None: nothing."""
        known = (self.tables, self.views or {}, self.others)
        if any(name in names for names in known):
            return name
        if not self.capabilities.folds_case:
            return None
        folded = (name.schema.lower(), name.name.lower())
        return next((t for names in known for t in names if (t.schema.lower(), t.name.lower()) == folded), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """Which tables a catalog is wanted for."""

    schema: str | None  # Name or pattern; None: the database's default schema.
    name: str  # Name or pattern.
    partition_column: str | None = None  # A database without partitions of its own groups by it.
    tokens: bool = False  # Whether change tokens are needed, where they cost something, and repositories.
    keys: bool = False  # Whether primary keys are needed.
    moves: bool = False  # Whether nodes are needed, and on which of them partitions are.
