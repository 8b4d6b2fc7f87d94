"""The store: all of the toolkit's own tables."""

from __future__ import annotations

from functools import partial

import sqlalchemy as sa

from cratedb_retention.clock import Actor, Clock
from cratedb_retention.engine.base import Engine
from cratedb_retention.model.catalog import TableName
from cratedb_retention.store.access import SessionStore, TokenStore
from cratedb_retention.store.archive import FreezeStore, SnapshotStore
from cratedb_retention.store.audit import Journal
from cratedb_retention.store.holds import HoldStore
from cratedb_retention.store.notifications import NoticeStore
from cratedb_retention.store.policies import PolicyStore
from cratedb_retention.store.rollups.levels import RollupStore
from cratedb_retention.store.rows import is_named
from cratedb_retention.store.runs import JobStore, LeaseStore, ResultStore
from cratedb_retention.store.setup import require, setup
from cratedb_retention.store.tables import DEFAULT_SCHEMA, describe


class Store:
    """The toolkit's tables in one schema of a database."""

    def __init__(self, engine: Engine, clock: Clock, actor: Actor, schema: str = DEFAULT_SCHEMA) -> None:
        self.schema = schema
        self.folds_case = engine.capabilities.folds_case
        self.tables = tables = describe(schema, engine.capabilities.partitions)
        names = [TableName(schema, table.name) for table in tables.metadata.sorted_tables]
        database = self._database = engine.own(names)
        self._clock, self._actor = clock, actor
        self.journal = Journal(database, tables.journal, clock, actor, partial(engine.unplaced, schema))
        noting = (clock, actor, self.journal.write)
        self.policies = PolicyStore(database, tables.policy, *noting)
        self.holds = HoldStore(database, tables.hold, *noting)
        self.snapshots = SnapshotStore(database, tables.snapshot, *noting)
        self.freezes = FreezeStore(database, tables.freeze, *noting)
        self.rollups = RollupStore(tables.rollup, database, tables.ledger, *noting)
        self.notices = NoticeStore(database, tables.notice, *noting)
        self.tokens = TokenStore(database, tables.token, *noting)
        self.sessions = SessionStore(database, tables.session, *noting)
        self.leases = LeaseStore(database, tables.lease, *noting)
        self.results = ResultStore(database, tables.result, *noting)
        self.jobs = JobStore(database, tables.job, *noting)
        self.read_together = database.together  # Several queries, concurrently if that is faster.
        self.is_there = False  # Whether the tables were found before.

    def setup(self, done: list[str], journal_policy: bool = True, rehearse: bool = False) -> list[str]:
        """
        Create or upgrade the tables; appends a description of each change to `done`, even if a later change fails.
        Returns the statements of a rehearsal, which changes nothing.
        """
        database = self._database.rehearsing() if rehearse else self._database
        setup(database, self.tables, self._clock.now(), self._actor if journal_policy else None, done)
        return (database.kept or []) if done else []

    def identify(self, name: TableName, identity: str) -> None:
        """Record the identity of the table with a name in its rollups, snapshots, holds and freezes."""
        t = self.tables
        for own, of in ((t.rollup, "source"), (t.snapshot, "table"), (t.hold, "table"), (t.freeze, "table")):
            # A hold without an identity applies to any table of the name.
            mine = [is_named(own, name, of), *([own.c.table_identity.is_not(None)] if own is t.hold else [])]
            self._database.refresh(own)
            self._database.execute(sa.update(own).where(*mine).values({f"{of}_identity": identity or None}))

    def refresh(self) -> None:
        """Refresh all tables that a plan rests on."""
        t = self.tables
        self._database.refresh(t.policy, t.hold, t.freeze, t.snapshot, t.rollup, t.ledger, t.lease)

    def refresh_schedules(self) -> None:
        """Refresh the tables that scheduling reads: policies and leases."""
        self._database.refresh(self.tables.policy, self.tables.lease)

    def require(self) -> None:
        """Check once that the tables exist. Raises NotFound with the remedy."""
        if not self.is_there:
            require(self._database, self.tables)
            self.is_there = True

    def probe(self) -> None:
        """Check that the database answers, and that all tables exist now. Raises RetentionError."""
        require(self._database, self.tables, each=True)
