"""What all parts of the library share: a database, the toolkit's tables, the clock and the user."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Generic, TypeVar, cast

from cratedb_retention.clock import Actor, Clock
from cratedb_retention.engine import Engine, open_engine
from cratedb_retention.errors import Locked
from cratedb_retention.execution.iceberg import Keys, Mirror, follow
from cratedb_retention.model.address import DatabaseAddress
from cratedb_retention.model.catalog import TableName
from cratedb_retention.store.access import TokenStore
from cratedb_retention.store.store import Store

# Pause between attempts to open a locked file.
_AGAIN_SECONDS = 0.2


class Connection:
    """An open database, in which the toolkit's tables need not exist yet, and the user."""

    def __init__(
        self,
        address: DatabaseAddress,
        engine: Engine,
        store: Store,
        clock: Clock,
        actor: Actor,
        catalog: str | None = None,
    ) -> None:
        self.catalog = catalog
        self.address, self.engine, self.store, self.clock, self.actor = address, engine, store, clock, actor
        self.capabilities, self.own_schema = engine.capabilities, store.schema
        self.notices, self.sessions = store.notices, store.sessions
        self.default_schema = self.capabilities.default_schema  # of tables without a schema in their name
        self.exists = engine.exists  # whether the database exists; a DuckDB file may have to be created first
        self.require, self.probe = store.require, store.probe
        self.read_releases = engine.read_releases  # of the database

    @property
    def mirror(self) -> Mirror | None:
        """The Iceberg catalog that follows the archives; None: there is none."""
        return Mirror(self.engine, self.store, self.catalog) if self.catalog else None


def open_database(address: DatabaseAddress, clock: Clock, create: bool, read_only: bool, wait: float) -> Engine:
    """Open a database; retries for some seconds while another process has the DuckDB file open."""
    until = clock.uptime() + wait
    while True:
        try:
            return open_engine(address, clock, create, read_only)
        except Locked:
            if clock.uptime() >= until:
                raise
            clock.sleep(_AGAIN_SECONDS)


class Part:
    """A part of the library, on a connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._engine, self._clock = connection, connection.engine, connection.clock

    @property
    def _store(self) -> Store:
        """The toolkit's tables; raises ``NotFound`` with the remedy if they do not exist."""
        self._connection.store.require()
        return self._connection.store

    def _follow(self, tables: Collection[TableName], without: Keys = ()) -> None:
        """Let the Iceberg catalog, if there is one, follow a change of archives."""
        mirror = self._connection.mirror
        if mirror and tables:
            follow(mirror, self._store, tables, without)


T = TypeVar("T")


class Has(Generic[T]):
    """A part of the library on the connection of its owner: created from its class, or returned by ``find``."""

    def __init__(self, kind: type[T], find: Callable[[Connection], T] | None = None) -> None:
        self.kind, self.find = kind, find or cast(Callable[[Connection], T], kind)

    def __get__(self, connection: Connection, owner: type[Connection]) -> T:
        return self.find(connection)


def tokens_of(connection: Connection) -> TokenStore:
    """Raises ``NotFound`` with the remedy if the toolkit's tables do not exist."""
    connection.store.require()
    return connection.store.tokens
