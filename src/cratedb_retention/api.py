"""
The toolkit as a library: one class through which the command line, scripts and notebooks do everything.

    >>> with Retention("duckdb:///metrics.duckdb") as retention:  # doctest: +SKIP
    ...     retention.setup()
    ...     retention.create_policy(strategy="delete", table_name="metrics", retention_period="90d")
    ...     report = retention.run()
"""

from __future__ import annotations

import copy
import datetime as dt
import secrets
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any

from cratedb_retention.clock import Actor, Clock, system_actor, system_clock
from cratedb_retention.engine import Engine, open_engine
from cratedb_retention.engine.archive import SnapshotState
from cratedb_retention.errors import InvalidInput, Locked, NotFound, Unsupported
from cratedb_retention.execution.adopting import Adoptable, adopt
from cratedb_retention.execution.applying import Change, apply_changes, find_changes
from cratedb_retention.execution.candidates import Preview, preview
from cratedb_retention.execution.cascades import planned_cascades
from cratedb_retention.execution.events import Observer
from cratedb_retention.execution.fetching import fetch
from cratedb_retention.execution.forgetting import drop_rollups
from cratedb_retention.execution.holdings import find_cascade
from cratedb_retention.execution.identities import accept_tables, find_table
from cratedb_retention.execution.preparing import Prepared, Selection, prepare, prepare_both, require_tags
from cratedb_retention.execution.previewing import Restorable, preview_restore
from cratedb_retention.execution.restoring import (
    Restored,
    RestoreRequest,
    Verified,
    find_restorable,
    find_snapshots,
    restore,
    verify_snapshots,
)
from cratedb_retention.execution.retrying import retry
from cratedb_retention.execution.running import Session, carry_out, new_session
from cratedb_retention.execution.verifying_rollups import Difference, mark_stale, verify_rollups
from cratedb_retention.model.access import Role
from cratedb_retention.model.address import DatabaseAddress
from cratedb_retention.model.catalog import Selector, TableName, Value
from cratedb_retention.model.fetched import Fetched
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.instant import to_ms
from cratedb_retention.model.patterns import is_pattern
from cratedb_retention.model.plan import Plan
from cratedb_retention.model.policy import Policy, Strategy, change_policy, make_policy
from cratedb_retention.model.reading import Cascade, FetchRequest
from cratedb_retention.model.repositories import why_no_directory
from cratedb_retention.model.runs import Report, RunOptions, RunState
from cratedb_retention.model.tags import TagFilter
from cratedb_retention.planning.cascades import Cascade as PlannedCascade
from cratedb_retention.planning.check import Finding, find_contradictions
from cratedb_retention.store.codec import policy_to_row
from cratedb_retention.store.journal import Entry, Event, JournalFilter
from cratedb_retention.store.policies import Damaged, StoredPolicy
from cratedb_retention.store.snapshots import SnapshotRecord
from cratedb_retention.store.store import Store
from cratedb_retention.store.tables import DEFAULT_SCHEMA
from cratedb_retention.store.texts import LONGEST, fits
from cratedb_retention.store.tokens import AccessToken, Random

# A cutoff may lie a little ahead: elsewhere it is tomorrow already.
_TOLERANCE = dt.timedelta(days=1)
# How often it is tried whether a file is open no more.
_AGAIN_SECONDS = 0.2
# Added before rounding down: the end of a hold is rounded up, since in doubt a row stays.
_ALMOST_A_MILLISECOND = dt.timedelta(microseconds=999)


class Retention:
    """
    Retention policies of one database.

    :param address: Where the database is, e.g. ``crate://localhost:4200/`` or ``duckdb:///metrics.duckdb``.
    :param schema: Schema of the toolkit's own tables.
    :param create: Whether a DuckDB file that does not exist may be created.
    :param read_only: Whether a DuckDB file is only read, so that other processes may read it at the same time.
    :param wait: For how many seconds to wait while another process has a DuckDB file open.
    :param clock: Tells the time.
    :param actor: Who does it, for the journal; None: the operating system's user.
    :raises InvalidInput: if the address is not valid.
    :raises ConnectionLost: if the database can't be reached; :class:`Locked` if another process has its file open.
    :raises AccessDenied: if user or password are wrong.
    """

    def __init__(
        self,
        address: str | DatabaseAddress,
        schema: str = DEFAULT_SCHEMA,
        *,
        create: bool = False,
        read_only: bool = False,
        wait: float = 0.0,
        clock: Clock | None = None,
        actor: Actor | None = None,
    ) -> None:
        self.address = DatabaseAddress.from_string(address) if isinstance(address, str) else address
        self.clock = clock or system_clock()
        self.actor = actor or system_actor()
        self.engine: Engine = self._open(create, read_only, wait)
        self.store = Store(self.engine, self.clock, self.actor, schema)

    def _open(self, create: bool, read_only: bool, wait: float) -> Engine:
        until = self.clock.uptime() + wait
        while True:
            try:
                return open_engine(self.address, self.clock, create, read_only)
            except Locked:
                if self.clock.uptime() >= until:
                    raise
                self.clock.sleep(_AGAIN_SECONDS)

    def acting_as(self, actor: Actor) -> Retention:
        """The same connection for somebody else, as the journal shall say; only the original may be closed."""
        found = copy.copy(self)
        found.actor = actor
        found.store = Store(self.engine, self.clock, actor, self.store.schema, self.store.tables)
        found.store.is_there = self.store.is_there
        return found

    def __enter__(self) -> Retention:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self.engine.close()

    def setup(self, journal_policy: bool = True) -> list[str]:
        """
        Create or upgrade the toolkit's tables; says in words what was done.

        :param journal_policy: Whether a new store, or one of an older version, gets a policy that deletes what is
            older than a year from the toolkit's own audit log.
        """
        return self.store.setup(journal_policy)

    def rehearse_setup(self, journal_policy: bool = True) -> tuple[list[str], list[str]]:
        """
        What :meth:`setup` would do, in words and as statements: with policies of cratedb-toolkit, what becomes of each.

        Changes nothing.
        """
        return self.store.rehearse_setup(journal_policy)

    # Policies

    def policies(self, selection: Selection | None = None) -> list[StoredPolicy]:
        """
        The stored policies that are chosen, by table.

        :raises NotFound: if there is no such policy, or no policy has these tags.
        """
        self.store.require()
        stored, damaged = self.store.policies.all()
        if selection is not None:
            selection.require((item.policy for item in stored), damaged)
        return [item for item in stored if (selection or Selection()).fits(item.policy)]

    def damaged_policies(self, selection: Selection | None = None) -> list[Damaged]:
        """The rows of the policy table that are no valid policies, as far as they are chosen."""
        self.store.require()
        _, damaged = self.store.policies.all()
        return [row for row in damaged if (selection or Selection()).fits_row(row)]

    def create_policy(self, **attributes: Any) -> Policy:
        """
        Store a new policy.

        :param attributes: The attributes of :class:`Policy` as plain values.
        :return: The policy with its identifier.
        :raises InvalidInput: if an attribute is wrong.
        :raises Conflict: if there is such a policy already.
        :raises Unsupported: if the database can't do what the strategy needs.
        """
        return self.store.policies.create(self.new_policy(**attributes))

    def new_policy(self, **attributes: Any) -> Policy:
        """What :meth:`create_policy` would store; see there. Writes nothing."""
        policy = make_policy(**attributes)
        self.check_supported(policy)
        self.store.require()
        self.store.policies.check_new([policy])
        return policy

    def edit_policy(self, identifier: str, changes: Mapping[str, Any], version: int | None = None) -> Policy:
        """
        Change attributes of a stored policy.

        :param identifier: Its identifier; of a generated one, six characters are enough.
        :param changes: New values; None clears an attribute.
        :param version: The version that the change is based on; None: the present one.
        :raises NotFound: if there is no such policy.
        :raises InvalidInput: if an attribute is wrong.
        :raises Conflict: if somebody else changed the policy since.
        """
        stored, policy = self._changed(identifier, changes)
        return self.store.policies.update(policy, stored.version if version is None else version)

    def changed_policy(self, identifier: str, changes: Mapping[str, Any]) -> Policy:
        """What :meth:`edit_policy` would make of a policy; see there. Writes nothing."""
        return self._changed(identifier, changes)[1]

    def _changed(self, identifier: str, changes: Mapping[str, Any]) -> tuple[StoredPolicy, Policy]:
        self.store.require()
        stored = self.store.policies.get(identifier)
        policy = change_policy(stored.policy, {**changes, "id": stored.policy.id})
        self.check_supported(policy)
        return stored, policy

    def delete_policy(self, identifier: str, version: int | None = None) -> Policy | Damaged:
        """
        Delete a stored policy, or a row that is no valid policy.

        :param identifier: Its identifier; of a generated one, six characters are enough.
        :raises NotFound: if there is no such policy.
        :raises Conflict: if somebody else changed the policy since.
        """
        self.store.require()
        stored = self.store.policies.find(identifier)
        if isinstance(stored, Damaged):
            self.store.policies.delete_damaged(stored)
            return stored
        self.store.policies.delete(stored.policy.id or "", stored.version if version is None else version)
        return stored.policy

    def delete_policies(self, tags: TagFilter) -> list[Policy]:
        """
        Delete all policies with tags.

        :return: Those that were deleted.
        :raises InvalidInput: if the filter is empty, since that would mean every policy.
        """
        if not tags:
            raise InvalidInput("tags", "none given", "name the tags of the policies to delete")
        chosen = [stored for stored in self.policies() if tags.fits(stored.policy.tags)]
        for stored in chosen:
            self.store.policies.delete(stored.policy.id or "", stored.version)
        return [stored.policy for stored in chosen]

    def tags(self) -> list[str]:
        """All tags in use, sorted."""
        return sorted({tag for stored in self.policies() for tag in stored.policy.tags})

    def apply(
        self,
        wanted: Sequence[Policy],
        *,
        prune: bool = False,
        tags: TagFilter | None = None,
        dry_run: bool = False,
    ) -> list[Change]:
        """
        Make the stored policies what a file says.

        :param wanted: The policies of the file, see :func:`cratedb_retention.model.policyfile.parse_policies`.
        :param prune: Whether stored policies that the file lacks are deleted.
        :param tags: Only stored policies with these tags are pruned.
        :param dry_run: Whether to only tell what would change.
        :return: What changed, or would change.
        :raises InvalidInput: if the file has the same rule twice.
        :raises NotFound: if no policy has these tags, stored or in the file.
        :raises Conflict: if somebody else changed a policy in the meantime.
        """
        for policy in wanted:
            self.check_supported(policy)
        stored = self.policies()
        require_tags(tags or TagFilter(), (policy.tags for policy in (*wanted, *(item.policy for item in stored))))
        changes = find_changes(wanted, stored, prune, tags)
        if not dry_run:
            apply_changes(self.store.policies, changes)
        return changes

    def check_supported(self, policy: Policy) -> None:
        """
        Make sure that the database can do what a policy's strategy needs.

        :raises Unsupported: if it can't.
        :raises InvalidInput: if its repository would have to be a directory, and is something else, or an attribute is
            too long to be stored.
        """
        if policy.strategy is Strategy.SNAPSHOT and self.engine.capabilities.repositories_are_directories:
            why_not = why_no_directory(policy.target_repository_name or "")
            if why_not:
                raise InvalidInput("attribute target_repository_name", why_not)
        for name, value in policy_to_row(policy, 0, self.clock.now(), "").items():
            if isinstance(value, str) and not fits(value):
                raise InvalidInput(f"attribute {name}", f"is longer than {LONGEST:,} bytes", "say it in fewer words")
        if policy.strategy is Strategy.REALLOCATE and not self.engine.capabilities.reallocates:
            product = self.engine.capabilities.product
            raise Unsupported(
                f"strategy {policy.strategy}", f"{product} has no nodes to move data between", "use CrateDB"
            )

    # Planning and running

    def prepare(
        self,
        cutoff: dt.datetime | None = None,
        selection: Selection | None = None,
        *,
        allow_future: bool = False,
    ) -> Prepared:
        """
        Decide what a run would do, and keep what that rests on, for :meth:`run`.

        :param cutoff: The aware instant taken for now; None: now.
        :param allow_future: Whether the cutoff may lie in the future, which expires data before its time.
        :raises InvalidInput: if the cutoff lies in the future by more than a day.
        :raises NotFound: if what is selected does not exist.
        """
        now = self.clock.now()
        cutoff = cutoff or now
        if cutoff > now + _TOLERANCE and not allow_future:
            raise InvalidInput(
                f"cutoff {cutoff.isoformat()}",
                "lies in the future, so data would expire before its time",
                "choose an earlier one, or say --allow-future-cutoff",
            )
        self.store.require()
        return prepare(self.engine, self.store, cutoff, selection)

    def plan(self, cutoff: dt.datetime | None = None, selection: Selection | None = None) -> Plan:
        """What a run would do; see :meth:`prepare`."""
        return self.prepare(cutoff, selection).plan

    def preview_release(
        self, released: Collection[str], selection: Selection | None = None
    ) -> tuple[Prepared, Prepared]:
        """
        What the next run would do, and what it would do if holds were released. Writes nothing.

        :param released: Their identifiers.
        """
        self.store.require()
        return prepare_both(self.engine, self.store, self.clock.now(), selection, released)

    def preview(self, policy: Policy, selection: Selection | None = None) -> Preview:
        """
        What the next run would do if a policy were stored, in place of the one with its identifier. Writes nothing.

        :param selection: Which policies it shows, besides this one.
        :raises Unsupported: if the database can't do what the strategy needs.
        """
        self.check_supported(policy)
        self.store.require()
        return preview(self.engine, self.store, self.clock.now(), policy, selection)

    def check(self, selection: Selection | None = None) -> list[Finding]:
        """Look for policies that can't do what they say, and for policies that contradict each other."""
        prepared = self.prepare(selection=selection)
        problems = [
            Finding(hold.table, (hold.policy_id,) if hold.policy_id else (), hold.reason)
            for hold in prepared.plan.problems
        ]
        chosen = [policy for policy in prepared.policies.values() if prepared.selection.fits(policy)]
        return problems + find_contradictions(chosen, prepared.catalog, prepared.ledger)

    def planned_cascades(self, selection: Selection | None = None) -> list[PlannedCascade]:
        """What policies that downsample found out about their tables: time, dimensions, metrics and levels."""
        return planned_cascades(self.prepare(selection=selection))

    def run(
        self,
        prepared: Prepared | None = None,
        *,
        cutoff: dt.datetime | None = None,
        selection: Selection | None = None,
        observers: Iterable[Observer] = (),
        options: RunOptions | None = None,
        session: Session | None = None,
        run_id: str | None = None,
    ) -> Report:
        """
        Do what is due, as far as no other run is at the same policies.

        :param prepared: What :meth:`prepare` returned; None: prepare now.
        :param observers: Are told what happens, see :mod:`cratedb_retention.execution.events`.
        :param options: How long leases last, and how the run may be stopped.
        :param session: A run that has its leases already; None: take those that the plan needs.
        :param run_id: The run's identifier, a UUID; None: made up.
        :return: What was done; ``report.ok`` says whether all of it went well.
        :raises Cancelled: if somebody asked for the end of the run, see :meth:`cancel`.
        :raises LeaseLost: if the run was cut off, and another one may have taken over.
        """

        def make_plan() -> Prepared:
            return prepared or retry(lambda: self.prepare(cutoff, selection), self.clock.sleep)

        session = session or new_session(self.store, self.clock, self.actor, options or RunOptions(), run_id)
        return carry_out(self.engine, self.store, self.clock, session, make_plan, observers)

    def running(self) -> list[RunState]:
        """The runs that go on now and last longer than a second, oldest first; some may be of dead processes."""
        self.store.require()
        return self.store.jobs.live()

    def cancel(self, identifier: str) -> RunState:
        """
        Ask a run to end before its next step.

        :param identifier: Its identifier; of a generated one, six characters are enough.
        :raises NotFound: if no such run goes on.
        """
        self.store.require()
        job = self.store.jobs.find(identifier)
        if self.store.jobs.request_cancel(job, f"{self.actor.name}@{self.actor.host}"):
            self.store.journal.write(
                Entry(event=Event.CANCEL_REQUESTED, run_id=job.run_id, message=f"run {job.run_id}")
            )
        return job

    def sibling(self) -> Retention:
        """The same for another thread: it shares connections, and is not closed."""
        return self.acting_as(self.actor)

    def journal(self, wanted: JournalFilter | None = None) -> list[Mapping[str, Any]]:
        """Rows of the audit log, newest first."""
        self.store.require()
        return self.store.journal.read(wanted or JournalFilter())

    # Reading cascades

    def cascade(self, table_name: str, table_schema: str | None = None) -> Cascade:
        """
        A table with its rollups, or without if it has none: its metrics and dimensions, and what each table holds.

        :raises NotFound: if there is no such table.
        :raises InvalidInput: if nothing says which column is the rows' time.
        """
        self.store.require()
        schema = table_schema or self.engine.capabilities.default_schema
        return find_cascade(self.engine, self.store, TableName(schema, table_name))

    def fetch(self, request: FetchRequest) -> Fetched:
        """
        Read a table together with its rollups: each stretch of time from the level that fits the step, or from the one
        that still has it. Of a table without rollups the rows are read.

        :raises NotFound: if there is no such table.
        :raises InvalidInput: if the request makes no sense.
        """
        cascade = self.cascade(request.table_name, request.table_schema)
        return fetch(self.engine, cascade, request, self.clock.now())

    def verify_rollups(self, table_name: str, table_schema: str | None = None) -> list[Difference]:
        """
        Compare each rollup of a table with what is beneath it, for the time that both hold.

        :return: What differs; nothing if all is well.
        :raises NotFound: if the table has no rollups.
        """
        cascade = self.cascade(table_name, table_schema)
        if not any(holding.rollup for holding in cascade.holdings):
            raise NotFound(
                f"table {cascade.source}", "has no rollups", "create a downsample policy for it, and run that"
            )
        found = verify_rollups(self.engine, cascade)
        return mark_stale(found, self.plan()) if found else []

    def drop_rollups(self, table_name: str, table_schema: str | None = None) -> list[TableName]:
        """
        Drop all rollups of a table; a policy that is still there makes them anew, from the raw rows that are left.

        :raises NotFound: if the table has none.
        """
        self.store.require()
        schema = table_schema or self.engine.capabilities.default_schema
        return drop_rollups(self.engine, self.store, TableName(schema, table_name))

    def accept_tables(self, table_name: str, table_schema: str | None = None) -> list[TableName]:
        """
        Take tables for those that rollups, snapshots and holds of their names are of, though they were dropped and
        created again, or restored or copied. Rows of a time that was rolled up and expired then count as late.

        :param table_name: Name or pattern.
        :param table_schema: Name or pattern.
        :raises NotFound: if there is no such table, or nothing is known of an earlier one.
        """
        self.store.require()
        schema = table_schema or self.engine.capabilities.default_schema
        return accept_tables(self.engine, self.store, schema, table_name)

    # Holds

    def hold(
        self,
        table_name: str,
        table_schema: str | None = None,
        *,
        where: Mapping[str, Value] | None = None,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
        reason: str = "",
    ) -> LegalHold:
        """
        Keep data whatever the policies say, until it is released.

        :param table_name: Name or pattern.
        :param where: Only data with these values.
        :param start: Only data from this aware instant on.
        :param end: Only data before this aware instant.
        :raises InvalidInput: if the stretch of time is empty.
        """
        self.store.require()
        if not table_name.strip():
            raise InvalidInput("hold", "no table is named", "name one, or use a pattern such as *")
        if start and end and start >= end:
            raise InvalidInput("hold", "it ends before it begins", "swap the two instants")
        hold = LegalHold(
            id=str(uuid.uuid4()),
            table_schema=table_schema or self.engine.capabilities.default_schema,
            table_name=table_name,
            where=dict(where or {}),
            start=None if start is None else to_ms(start),
            end=None if end is None else to_ms(end + _ALMOST_A_MILLISECOND),
            reason=reason,
            placed_by=self.actor.name,
            placed_at=to_ms(self.clock.now()),
        )
        names = (hold.table_schema, table_name)
        table = None if any(map(is_pattern, names)) else find_table(self.engine, TableName(*names))
        if table is not None:
            hold = replace(hold, identity=table.identity or self.engine.identify(table.name))
        self.store.holds.place(hold)
        return hold

    def held_tables(self, hold: LegalHold) -> list[TableName]:
        """The tables that a hold is on at present."""
        selector = Selector(schema=hold.table_schema, name=hold.table_name)
        return sorted(self.engine.read_catalog([selector]).tables)

    def holds(self) -> list[LegalHold]:
        """The holds in force."""
        self.store.require()
        return self.store.holds.active()

    def release(self, identifier: str) -> LegalHold:
        """
        End a hold.

        :param identifier: Its whole identifier.
        :raises NotFound: if there is none in force with this identifier.
        """
        self.store.require()
        return self.store.holds.release(identifier)

    # Access tokens of the HTTP API

    def create_token(
        self,
        name: str,
        role: Role,
        limit: TagFilter | None = None,
        expires_at: dt.datetime | None = None,
        random: Random = secrets.token_bytes,
    ) -> tuple[AccessToken, str]:
        """
        Make an access token.

        :param limit: Only policies with these tags; None: everything.
        :param expires_at: An aware instant; None: it does not expire.
        :return: The token, and its text, which can't be had a second time.
        :raises InvalidInput: if something about it is not valid.
        """
        self.store.require()
        return self.store.tokens.create(name, role, limit or TagFilter(), expires_at, random)

    def tokens(self) -> list[AccessToken]:
        """All access tokens, oldest first."""
        self.store.require()
        return self.store.tokens.all()

    def revoke_token(self, identifier: str) -> AccessToken:
        """
        End an access token, at once.

        :param identifier: Its name, its identifier, or six characters of that.
        :raises NotFound: if there is none that is not revoked.
        """
        self.store.require()
        return self.store.tokens.revoke(identifier)

    # Snapshots

    def snapshots(self, request: RestoreRequest | None = None) -> list[SnapshotRecord]:
        """The snapshots that the toolkit made, or those that fit a request."""
        self.store.require()
        return find_snapshots(self.store, request or RestoreRequest())

    def snapshot_states(self, records: Sequence[SnapshotRecord]) -> dict[tuple[str, str], SnapshotState]:
        """What the repositories say of snapshots, by repository and name; those that are gone are missing."""
        return self.engine.archive.states((r.archived.repository, r.archived.name) for r in records)

    def verify_snapshots(
        self, request: RestoreRequest | None = None, told: Callable[[Verified], None] | None = None
    ) -> list[Verified]:
        """
        Read snapshots back and compare them with what was archived.

        :param told: Is told of each as soon as it was read.
        :raises NotFound: if none fits that was named.
        """
        self.store.require()
        return verify_snapshots(self.engine, self.store, request or RestoreRequest(), told)

    def preview_restore(self, request: RestoreRequest) -> list[Restorable]:
        """
        What :meth:`restore` would bring back, and what it would refuse; nothing is written.

        :raises NotFound: if no snapshot fits.
        """
        return preview_restore(self.engine, self.restorable(request), request.into)

    def restorable(self, request: RestoreRequest) -> list[SnapshotRecord]:
        """
        What :meth:`restore` would bring back: of each partition that fits all snapshots that hold different rows.

        :raises NotFound: if no snapshot fits.
        """
        self.store.require()
        return find_restorable(self.engine, self.store, self.clock, request)

    def restore(self, request: RestoreRequest, told: Callable[[Restored], None] | None = None) -> list[Restored]:
        """
        Bring partitions back: of each all of its snapshots, unless some are chosen by name. Those that go into their
        own table are on hold until it is released: one hold for each table.

        :param told: Is told of each as soon as it is back, or is not.
        :return: One for each snapshot; where ``error`` is set, it did not come back, and says why.
        :raises NotFound: if no snapshot fits.
        """
        self.store.require()
        return restore(self.engine, self.store, self.clock, self.actor, request, told)

    def adopt_snapshots(
        self, repository: str, request: RestoreRequest | None = None, *, dry_run: bool = False
    ) -> list[Adoptable]:
        """
        Note the snapshots of a repository in the toolkit's own table, as after its loss. Those that it has stay as
        they are.

        :param request: Which of them; None: all that the toolkit made.
        :param dry_run: Whether to only tell.
        :raises NotFound: if there is no such repository.
        """
        self.store.require()
        fits = (request or RestoreRequest()).fits
        return adopt(self.engine, self.store, self.clock, repository, fits, dry_run)
