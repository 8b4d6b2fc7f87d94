"""
What all parts of the toolkit share: a database, the toolkit's tables there, the clock, and who works on it.
"""

from __future__ import annotations

from cratedb_retention.clock import Actor, Clock
from cratedb_retention.engine import Engine, open_engine
from cratedb_retention.errors import Locked
from cratedb_retention.model.address import DatabaseAddress
from cratedb_retention.model.catalog import Capabilities
from cratedb_retention.store.notifications import NoticeStore
from cratedb_retention.store.store import Store

# How often it is tried whether a file is open no more.
_AGAIN_SECONDS = 0.2


class Connection:
    """
    An open database.

    :param store: The toolkit's tables, which need not be there yet.
    :param actor: Who works on it, for the audit log.
    """

    def __init__(self, address: DatabaseAddress, engine: Engine, store: Store, clock: Clock, actor: Actor) -> None:
        self.address, self.engine, self.store, self.clock, self.actor = address, engine, store, clock, actor

    @property
    def capabilities(self) -> Capabilities:
        """What the database can do."""
        return self.engine.capabilities

    @property
    def default_schema(self) -> str:
        """The schema of tables that are named without one."""
        return self.engine.capabilities.default_schema

    @property
    def own_schema(self) -> str:
        """The schema of the toolkit's tables."""
        return self.store.schema

    @property
    def exists(self) -> bool:
        """Whether there is a database; a DuckDB file may have to be created first."""
        return self.engine.exists

    @property
    def notices(self) -> NoticeStore:
        """What channels were told, and are to be told."""
        return self.store.notices

    def require(self) -> None:
        """
        Make sure that the toolkit's tables are there. Once seen, they are not looked for again.

        :raises NotFound: if not, with the remedy.
        """
        self.store.require()

    def probe(self) -> None:
        """
        Make sure that the database answers, and that the toolkit's tables are there now.

        :raises RetentionError: if not.
        """
        self.store.probe()


def open_database(address: DatabaseAddress, clock: Clock, create: bool, read_only: bool, wait: float) -> Engine:
    """
    Open a database.

    :param wait: For how many seconds to try again while another process has a DuckDB file open.
    """
    until = clock.uptime() + wait
    while True:
        try:
            return open_engine(address, clock, create, read_only)
        except Locked:
            if clock.uptime() >= until:
                raise
            clock.sleep(_AGAIN_SECONDS)


class Part:
    """A part of the toolkit, on a connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def _engine(self) -> Engine:
        return self._connection.engine

    @property
    def _store(self) -> Store:
        """The toolkit's tables; raises ``NotFound`` if they are not there, with the remedy."""
        self._connection.store.require()
        return self._connection.store

    @property
    def _clock(self) -> Clock:
        return self._connection.clock
