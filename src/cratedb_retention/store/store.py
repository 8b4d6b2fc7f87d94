"""
The store: all of the toolkit's own tables in one place.
"""

from __future__ import annotations

from cratedb_retention.clock import Actor, Clock
from cratedb_retention.engine.base import Engine
from cratedb_retention.store.freezes import FreezeStore
from cratedb_retention.store.holds import HoldStore
from cratedb_retention.store.journal import Journal
from cratedb_retention.store.policies import PolicyStore
from cratedb_retention.store.rollups import RollupStore
from cratedb_retention.store.setup import require, setup
from cratedb_retention.store.snapshots import SnapshotStore
from cratedb_retention.store.tables import DEFAULT_SCHEMA, make_tables
from cratedb_retention.store.tokens import TokenStore


class Store:
    """
    The toolkit's tables in one schema of a database.

    :param actor: Who changes something, for the journal.
    :param is_there: Whether somebody looked for the tables already.
    """

    def __init__(
        self, engine: Engine, clock: Clock, actor: Actor, schema: str = DEFAULT_SCHEMA, is_there: bool = False
    ) -> None:
        self.schema = schema
        self._database, self._clock = engine.database.brief(), clock
        self.tables = make_tables(schema, engine.database.engine.dialect.name)
        tables, database = self.tables, self._database
        self.journal = Journal(database, tables.journal, clock, actor)
        self.policies = PolicyStore(database, tables.policy, self.journal, clock, actor)
        self.holds = HoldStore(database, tables.hold, self.journal, clock, actor)
        self.snapshots = SnapshotStore(database, tables.snapshot, clock)
        self.freezes = FreezeStore(database, tables.freeze, clock)
        self.rollups = RollupStore(database, tables.rollup, tables.ledger, clock)
        self.tokens = TokenStore(database, tables.token, self.journal, clock, actor)
        self.is_there = is_there

    def setup(self) -> list[str]:
        """Create the tables, or upgrade them; says in words what was done."""
        return setup(self._database, self.tables, self._clock.now())

    def refresh(self) -> None:
        """Make all that a plan rests on visible: policies, holds, what is frozen, and what was rolled up."""
        t = self.tables
        self._database.refresh(t.policy, t.hold, t.freeze, t.rollup, t.ledger)

    def require(self) -> None:
        """
        Make sure that the tables are there. Once seen, they are not looked for again.

        :raises NotFound: if not, with the remedy.
        """
        if not self.is_there:
            require(self._database, self.tables)
            self.is_there = True

    def probe(self) -> None:
        """
        Make sure that the database answers, and that the tables are there now.

        :raises RetentionError: if not.
        """
        require(self._database, self.tables)
