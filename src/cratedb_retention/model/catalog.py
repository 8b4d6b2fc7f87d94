"""
The catalog: what a database holds, as far as planning needs to know. Engines read it; nothing here does.

All times are instants in milliseconds since the epoch, UTC.
"""

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

    @property
    def ms(self) -> int:
        """Its length in milliseconds."""
        return 1000 if self is TimeUnit.SECONDS else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """
    A column.

    :param type: The type in the database's own words.
    :param expression: The generation expression in the database's own words, if it is generated.
    :param unit: What it counts, where it is a whole number that is taken for a time.
    :param path: Where it is a field of a struct, that column and the names down to it.
    """

    name: str
    type: str
    kind: Kind
    expression: str | None = None
    grouping: Grouping = field(default=Grouping.ASKED, compare=False)
    unit: TimeUnit | None = None
    path: tuple[str, ...] = field(default=(), compare=False)

    @property
    def tick(self) -> int:
        """Milliseconds for each number of a time."""
        return self.unit.ms if self.unit else 1


def outer_names(name: str) -> Iterator[str]:
    """The objects that a column is in, innermost first: ``a['b']`` and ``a`` of ``a['b']['c']``."""
    while name.endswith("']"):
        name = name.rpartition("['")[0]
        yield name


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """
    A part of a table that can be dropped, moved or archived as a whole.

    :param values: The values of the table's partition columns, in their order; times are instants.
    :param ident: The database's own name for it, if it has one.
    :param rows: Rows in it; None if unknown (a closed partition hides them).
    :param size: Bytes on disk of the primary shards; None if unknown.
    :param token: Its change token.
    :param frozen: Whether writes are blocked.
    :param missing_shards: Shards that no node holds.
    :param requires: The node attributes that its shards must be allocated to.
    :param nodes: Names of the nodes that hold its shards now.
    :param settled: Whether no shard is on its way or without a node.
    :param read_only: Whether it can only be read and dropped, as where a disk is full.
    """

    values: tuple[Value, ...]
    ident: str = ""
    rows: int | None = None
    size: int | None = None
    token: str = ""
    closed: bool = False
    frozen: bool = False
    missing_shards: int = 0
    requires: tuple[tuple[str, str], ...] = ()
    nodes: frozenset[str] = frozenset()
    settled: bool = True
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """
    A table with its partitions.

    :param partitioned_by: Names of its partition columns; empty if it has none.
    :param rows: Rows in it, or None if unknown.
    :param missing_shards: Of the whole table.
    :param closed: Whether it refuses to be read and written.
    :param primary_key: The columns of its primary key, where a selector asked for them.
    :param replicas: CrateDB's ``number_of_replicas``.
    :param flaw: Why nothing can be done with it, as far as its own definition says; empty: nothing.
    :param unarchivable: Columns, with their types, whose values an archive can't hold exactly.
    :param most_columns: How many columns it may have; None: no limit, or unknown.
    :param identity: Tells it from other tables that have or had its name; empty: unknown.
    :param read_only: Whether it, or one of its partitions, can only be read and dropped, as where a disk is full.
    """

    name: TableName
    columns: Mapping[str, Column]
    partitioned_by: tuple[str, ...] = ()
    partitions: tuple[Partition, ...] = ()
    rows: int | None = None
    size: int | None = None
    missing_shards: int = 0
    closed: bool = False
    primary_key: tuple[str, ...] = ()
    replicas: str | None = None
    flaw: str = ""
    unarchivable: tuple[str, ...] = ()
    most_columns: int | None = None
    identity: str = ""
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """
    What is read like a table and is none: a view, or a table of another database.

    :param columns: The names of its columns, in their order.
    :param definition: Its query in the own words of the database; empty if it has none.
    :param release: The release of a database that words the definition anew; empty where it stays as it was stored.
    """

    name: TableName
    columns: tuple[str, ...] = ()
    definition: str = ""
    release: str = ""

    @property
    def mark(self) -> str:
        """
        Changes when the definition does.

        Without blanks, quotes and parentheses: DuckDB writes these differently once a file was closed.
        """
        text = re.sub(r"""[\s"()]+""", "", self.definition).lower()
        return f"{self.release}:{hashlib.sha256(text.encode()).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """
    What a database can do.

    :param product: Its name, for messages.
    :param default_schema: The schema that an empty ``table_schema`` means.
    :param partitions: Whether it has partitions of its own.
    :param freezes: Whether it can block writes to a partition.
    :param reallocates: Whether it can move partitions between nodes.
    :param repositories_are_directories: Whether a repository is a path, rather than something registered.
    :param folds_case: Whether names that differ in case only are one name.
    :param most_columns: How many columns a new table may have; None: no limit.
    :param tokens_recur: Whether a partition that was dropped and came again with the same rows has the same token.
    """

    product: str
    default_schema: str
    freezes: bool
    reallocates: bool
    repositories_are_directories: bool
    partitions: bool = False
    folds_case: bool = False
    tokens_recur: bool = False
    most_columns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """
    What a database holds.

    :param nodes: Custom attributes of each node, by the node's name.
    :param repositories: Names of the repositories; empty where they are directories.
    :param rollups: Tables that are levels of cascades, which no pattern means.
    :param unwell: Tables with missing shards, those of the toolkit among them.
    :param views: What else has a name that a rollup or its view may get; None: not read, as nothing is downsampled.
    :param others: Names of further tables, whose spelling may differ in case only.
    """

    capabilities: Capabilities
    tables: Mapping[TableName, Table] = field(default_factory=dict)
    nodes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    repositories: frozenset[str] = frozenset()
    rollups: frozenset[TableName] = frozenset()
    unwell: frozenset[TableName] = frozenset()
    views: Mapping[TableName, View] | None = None
    others: frozenset[TableName] = frozenset()

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
class Outline:
    """
    What of a database can be named.

    :param tables: All tables but those of the database itself.
    :param columns: Of some of them, by name, in their order.
    :param nodes: Custom attributes of each node, by the node's name.
    :param repositories: Names of the repositories; empty where they are directories.
    """

    tables: tuple[TableName, ...] = ()
    columns: Mapping[TableName, Mapping[str, Column]] = field(default_factory=dict)
    nodes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    repositories: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """
    Which tables a catalog is wanted for.

    :param schema: Name or pattern; None means the database's default schema.
    :param name: Name or pattern.
    :param partition_column: The column that a policy names for its partitions; a database without partitions
        of its own groups by it.
    :param tokens: Whether change tokens are needed, where they cost something.
    :param keys: Whether primary keys are needed.
    :param tokens: Whether it is archived: change tokens are needed, where they cost something, and repositories.
    :param moves: Whether it is moved: nodes are needed, and on which of them partitions are.
    """

    schema: str | None
    name: str
    partition_column: str | None = None
    tokens: bool = False
    keys: bool = False
    moves: bool = False
