"""
The toolkit as a library: one class, used by the command line, the service, scripts and notebooks alike.

    >>> with Retention("duckdb:///metrics.duckdb") as retention:  # doctest: +SKIP
    ...     retention.setup()
    ...     retention.policies.create(strategy="delete", table_name="metrics", retention_period="90d")
    ...     report = retention.run()
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from cratedb_retention.api.archive import Archive, Rollups
from cratedb_retention.api.connection import Connection, Has, open_database, tokens_of
from cratedb_retention.api.holds import Holds
from cratedb_retention.api.policies import Policies
from cratedb_retention.api.runs import Audit, Runs, Schedule
from cratedb_retention.clock import Actor, Clock, system_actor, system_clock
from cratedb_retention.errors import InvalidInput, Recovering
from cratedb_retention.execution.archive import Restored, RestoreRequest
from cratedb_retention.execution.forecast import ForecastRequest, compare_policies, make_forecast
from cratedb_retention.execution.overview.lines import TableLine, table_lines
from cratedb_retention.execution.overview.rows import Overview, make_overview
from cratedb_retention.execution.overview.survey import survey
from cratedb_retention.execution.plan.preparing import Look, Prepared, Selection
from cratedb_retention.execution.plan.preview import Preview, preview
from cratedb_retention.execution.policies import find_mistakes
from cratedb_retention.execution.runs.events import Observer
from cratedb_retention.execution.runs.leasing import Session
from cratedb_retention.execution.runs.retrying import retry
from cratedb_retention.execution.runs.runner import carry_out
from cratedb_retention.model.address import DatabaseAddress
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.duration import Duration
from cratedb_retention.model.forecast import Forecast
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.plan.plan import Plan, Step
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.runs import Report, RunOptions
from cratedb_retention.model.time import TimeRange
from cratedb_retention.planning.overview.survey import Survey
from cratedb_retention.planning.policies import Finding
from cratedb_retention.planning.schedule import Timetable
from cratedb_retention.store.access import TokenStore
from cratedb_retention.store.runs import RunOfPolicy
from cratedb_retention.store.store import Store
from cratedb_retention.store.tables import DEFAULT_SCHEMA

if TYPE_CHECKING:
    from cratedb_retention.model.translation import Translation

# A cutoff may be a little in the future: in other time zones it is tomorrow already.
_TOLERANCE = dt.timedelta(days=1)
# A policy whose last run is older is shown as neither failing nor working.
_RECENT = dt.timedelta(days=90)
Method = TypeVar("Method")


class Former(Generic[Method]):
    """A method by its name of version 0.1; now it belongs to a part."""

    def __init__(self, find: Callable[[Retention], Method]) -> None:
        self.find = find

    def __get__(self, retention: Retention, kind: type[Retention]) -> Method:
        return self.find(retention)


class Retention(Connection):
    """
    Retention policies of one database.

    :param address: The address of the database, e.g. ``crate://localhost:4200/`` or ``duckdb:///metrics.duckdb``.
    :param schema: Schema of the toolkit's own tables.
    :param create: Create a DuckDB file that does not exist. With `read_only`, an empty database in memory is used
        instead.
    :param read_only: Only read a DuckDB file, so that other processes can read it at the same time.
    :param wait: Seconds to wait while another process has a DuckDB file open.
    :param clock: The source of the time; None: the system's.
    :param actor: The user in the audit log; None: the operating system's user.
    :param catalog: The name of an Iceberg catalog that follows the archives, in the configuration of pyiceberg; None:
        there is none. See :meth:`Archive.sync`.
    :raises InvalidInput: if the address is invalid.
    :raises ConnectionLost: if the database is unreachable; :class:`Locked` if another process has its file open.
    :raises AccessDenied: if user or password are wrong.
    """

    def __init__(  # noqa: PLR0913 - one for each option
        self,
        address: str | DatabaseAddress,
        schema: str = DEFAULT_SCHEMA,
        *,
        create: bool = False,
        read_only: bool = False,
        wait: float = 0.0,
        clock: Clock | None = None,
        actor: Actor | None = None,
        catalog: str | None = None,
    ) -> None:
        address = DatabaseAddress.from_string(address) if isinstance(address, str) else address
        clock, actor = clock or system_clock(), actor or system_actor()
        engine = open_database(address, clock, create, read_only, wait)
        super().__init__(address, engine, Store(engine, clock, actor, schema), clock, actor, catalog)
        self._is_original = True

    def acting_as(self, actor: Actor) -> Retention:
        """The same connection for another user, as recorded in the audit log; it ends with the original."""
        found = object.__new__(Retention)
        store = Store(self.engine, self.clock, actor, self.store.schema)
        store.is_there = self.store.is_there
        Connection.__init__(found, self.address, self.engine, store, self.clock, actor, self.catalog)
        found._is_original = False
        return found

    def sibling(self) -> Retention:
        """A copy for another thread, which shares connections and ends with the original."""
        return self.acting_as(self.actor)

    def __enter__(self) -> Retention:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, unless this is a copy of another one."""
        if self._is_original:
            self.engine.close()

    policies = Has(Policies)
    holds = Has(Holds)
    archive = Has(Archive)
    rollups = Has(Rollups)
    runs = Has(Runs)
    schedule = Has(Schedule)
    audit = Has(Audit)
    access = Has(TokenStore, tokens_of)

    # The toolkit's tables

    def setup(self, journal_policy: bool = True) -> list[str]:
        """
        Create or upgrade the toolkit's tables; returns a description of each change.

        :param journal_policy: Whether to create a policy that deletes entries of the audit log after a year, in a new
            schema or in one of a version without such a policy.
        """
        done: list[str] = []
        # Another setup that creates the tables at the same time looks like a cluster that was just started.
        retry(lambda: self.store.setup(done, journal_policy), self.clock.sleep, Recovering)
        return done

    def rehearse_setup(self, journal_policy: bool = True) -> tuple[list[str], list[str]]:
        """
        What :meth:`setup` would do: descriptions of its changes, among them the migration of each policy of
        cratedb-toolkit, and its statements. Changes nothing.
        """
        done: list[str] = []
        return done, self.store.setup(done, journal_policy, rehearse=True)

    # Planning and running

    def prepare(
        self,
        cutoff: dt.datetime | None = None,
        selection: Selection | None = None,
        *,
        allow_future: bool = False,
        every: bool = False,
        about: TableName | None = None,
    ) -> Prepared:
        """
        Decide what a run would do, and keep all that the decision rests on, for :meth:`run`.

        :param cutoff: The instant that the plan takes for now (aware); None: the present time.
        :param allow_future: Allow a cutoff in the future, which expires data too early.
        :param every: Also read the tables that no policy matches, which saves :meth:`survey` from reading them.
        :param about: Show only the part about this table and its cascade, in far less time; no run executes it.
        :raises InvalidInput: if the cutoff is more than a day in the future.
        :raises NotFound: if a selected policy or tag does not exist.
        """
        now = self.clock.now()
        cutoff = cutoff or now
        if cutoff > now + _TOLERANCE and not allow_future:
            reason, remedy = "is in the future, so data would expire too early", "choose an earlier one"
            raise InvalidInput(f"cutoff {cutoff.isoformat()}", reason, f"{remedy}, or add --allow-future-cutoff")
        self.require()
        look = Look(self.engine, self.store)
        return (look.part(look.cascade(about)) if about else look).prepare(cutoff, selection, every=every)

    def plan(self, cutoff: dt.datetime | None = None, selection: Selection | None = None) -> Plan:
        """What a run would do; see :meth:`prepare`."""
        return self.prepare(cutoff, selection).plan

    def statements(self, step: Step) -> list[str]:
        """The statements of a step of a plan, for display."""
        return list(self.engine.render(step))

    def tables(
        self, prepared: Prepared, heard: Callable[[RunOfPolicy], RunOfPolicy] = lambda run: run
    ) -> list[TableLine]:
        """
        What is kept where, table by table, by a plan; what fails or is blocked first.

        :param heard: Removes from a run what the user may not see.
        """
        runs = map(heard, self.runs.of_policies(self.clock.now() - _RECENT, prepared.leases))
        times = self.schedule.next_runs(prepared.policies, prepared.leases)
        levels = self.store.rollups.spans(prepared.facts.ledger.rollups)
        return table_lines(prepared, self.engine.measure, runs, times, levels)

    def overview(
        self, prepared: Prepared, tables: Sequence[TableLine], found: Survey, archives: bool = True
    ) -> Overview:
        """
        A row for each table, what needs attention by its cause, and the next run: of a plan, and of what
        :meth:`tables` and :meth:`survey` found.

        :param archives: Whether archives are shown.
        """
        archived = self.store.snapshots.extents() if archives else {}
        ranges = {table: TimeRange(*ends) for table, ends in archived.items()}
        return make_overview(prepared, tables, found, ranges)

    def preview_release(
        self, released: Collection[str], selection: Selection | None = None
    ) -> tuple[Prepared, Prepared]:
        """What the next run would do, now and if the holds with these identifiers were released. Writes nothing."""
        self.require()
        look, cutoff = Look(self.engine, self.store), self.clock.now()
        left = [hold for hold in look.holds if hold.id not in released]
        return look.prepare(cutoff, selection), look.prepare(cutoff, selection, holds=left)

    def preview_hold(self, hold: LegalHold, selection: Selection | None = None) -> tuple[Prepared, Prepared]:
        """What the next run would do, now and if a hold were placed. Writes nothing."""
        self.require()
        look, cutoff = Look(self.engine, self.store), self.clock.now()
        return look.prepare(cutoff, selection), look.prepare(cutoff, selection, holds=[*look.holds, hold])

    def preview(self, policy: Policy, selection: Selection | None = None, *, alone: bool = False) -> Preview:
        """
        What the next run would do if a policy were stored in place of the one with its identifier. Writes nothing.

        :param selection: The other policies to show.
        :param alone: Plan only for the policy's own table and its cascade, in far less time, unless the policy can
            affect others.
        :raises Unsupported: if the database does not support the strategy.
        """
        self.policies.check_supported(policy)
        self.require()
        return preview(self.engine, self.store, self.clock.now(), policy, selection, alone)

    def preview_changes(
        self, policies: Iterable[Policy], selection: Selection | None = None
    ) -> tuple[Prepared, Prepared]:
        """
        What the next run would do, now and if these policies were stored in place of those with their identifiers.
        Writes nothing.
        """
        self.require()
        look, cutoff = Look(self.engine, self.store), self.clock.now()
        return look.prepare(cutoff, selection), look.prepare(cutoff, selection, candidates=policies)

    def forecast(
        self,
        until: dt.datetime,
        *,
        policies: Sequence[Policy] | None = None,
        selection: Selection | None = None,
        table: TableName | None = None,
        capacity: int | None = None,
        price: float | None = None,
        archive_price: float | None = None,
    ) -> Forecast:
        """
        How much data there will be, day by day, and what runs will remove when, for data that grows as it did in the
        recent past. Writes nothing.

        :param until: The end of the forecast (aware).
        :param policies: Policies instead of the stored ones, such as those of a file; None: the stored ones.
        :param selection: Only tables of these policies.
        :param table: Only this table, with its levels and archives.
        :param capacity: Bytes that fit on the disks; None: as the database reports them.
        :param price: Of a gigabyte of tables in a month; None: no cost is computed.
        :param archive_price: The same for archives.
        :raises InvalidInput: if the end is not in the future.
        :raises Unsupported: if the database does not support the strategy of a policy.
        """
        request = self._request(
            policies,
            until=until,
            policies=policies,
            selection=selection or Selection(),
            table=table,
            capacity=capacity,
            price=price,
            archive_price=archive_price,
        )
        return make_forecast(self.engine, self.store, self.clock.now(), request)

    def compare(
        self, until: dt.datetime, policies: Sequence[Policy], base: Sequence[Policy] | None = None, **more: Any
    ) -> tuple[Forecast, Forecast]:
        """
        Two forecasts, with a set of policies before and after a change, of the tables of both sets.

        :param policies: The policies after the change.
        :param base: Those before it; None: the stored ones.
        :param more: Further arguments of :meth:`forecast`.
        """
        request = self._request([*policies, *(base or ())], until=until, policies=policies, **more)
        return compare_policies(self.engine, self.store, self.clock.now(), request, base)

    def _request(self, used: Sequence[Policy] | None, **asked: Any) -> ForecastRequest:
        """A request for a forecast, once it is known that the database supports its policies."""
        for policy in used or ():
            self.policies.check_supported(policy)
        self.require()
        return ForecastRequest(**asked)

    def check(self, selection: Selection | None = None) -> list[Finding]:
        """Find policies that cannot be carried out, and policies that contradict each other."""
        return find_mistakes(self.prepare(selection=selection))

    def survey(self, prepared: Prepared, older_than: Duration | None = None) -> Survey:
        """
        All tables beside the policies of a plan: tables that no policy governs, with their size and growth; policies
        that match no data; empty partitions; and policies without a limit, each with one that would fit.

        :param older_than: Also find tables with data that is older, and a policy that would fit; reads rows.
        """
        return survey(self.engine, prepared, older_than)

    def suggest(self, retention_period: Duration | None = None, *, enabled: bool = False) -> Translation:
        """
        Suggest a policy for each table without one, with its reasons as comments. Writes nothing.

        :param retention_period: Of all suggestions; None: for each table one that keeps all of its present data.
        :param enabled: Whether the suggested policies are enabled.
        """
        from cratedb_retention.execution.overview.suggest import suggest

        return suggest(self.engine, self.prepare(every=True), retention_period, enabled)

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
        Do what is due, except for policies whose leases another run holds.

        :param prepared: The result of :meth:`prepare`; None: prepare now.
        :param observers: Called with each event, see :mod:`cratedb_retention.execution.runs.events`.
        :param options: How long leases last, and how to stop the run.
        :param session: A run that may have leases already, and is then about their policies; None: take those that the
            plan needs.
        :param run_id: The run's identifier, a UUID; generated if omitted.
        :return: The result; ``report.ok`` tells whether everything succeeded.
        :raises Cancelled: if a user cancelled the run, see :meth:`Runs.cancel`.
        :raises LeaseLost: if the run was cut off from the database, and another one may have taken over.
        """
        if session is None:
            session = self.schedule.session(options or RunOptions(), run_id)
        elif session.taken.won:
            selection = Selection(policy_ids=frozenset(session.taken.won))

        def make_plan() -> Prepared:
            return prepared or retry(lambda: self.prepare(cutoff, selection), self.clock.sleep)

        return carry_out(self.engine, self.store, self.clock, session, make_plan, observers, self.mirror)

    def run_due(
        self,
        observers: Iterable[Observer] = (),
        options: RunOptions | None = None,
        chosen: Collection[str] | None = None,
    ) -> Report | None:
        """
        Run the policies that are due by their schedules once.

        :param chosen: Only these policies; None: all.
        :return: None if none was due, or other runs took them first.
        """

        def look() -> Session | None:
            return self.schedule.take(self.schedule.find_due(Timetable(), chosen), options or RunOptions())

        session = retry(look, self.clock.sleep)
        return self.run(observers=observers, session=session) if session else None

    def undo(
        self,
        run_id: str | None = None,
        *,
        policy_id: str | None = None,
        table_name: str | None = None,
        table_schema: str | None = None,
        told: Callable[[Restored], None] | None = None,
    ) -> list[Restored]:
        """
        Bring back what policies with `recoverable` deleted: in a run, by a policy, or from tables; also what a run that
        was killed half-way deleted. Rows that arrived since stay. What comes back is on hold until a user releases it,
        see :meth:`Archive.restore`. Can be repeated.

        :param run_id: The run, or at least its first six characters; ``policy_id``: likewise.
        :param table_name: A name or pattern; ``table_schema``: likewise.
        :param told: Called with each result at once.
        :return: One result for each archive; ``error`` is the reason if it was not brought back.
        :raises InvalidInput: if nothing is selected.
        :raises NotFound: if nothing can be brought back; :class:`Conflict` if one of the policies is being run.
        """
        return self.archive.restore(RestoreRequest.of_undo(run_id, policy_id, table_schema, table_name), told)

    # Names of version 0.1

    damaged_policies = Former(lambda it: it.policies.damaged)
    create_policy = Former(lambda it: it.policies.create)
    new_policy = Former(lambda it: it.policies.make)
    edit_policy = Former(lambda it: it.policies.edit)
    changed_policy = Former(lambda it: it.policies.edited)
    delete_policy = Former(lambda it: it.policies.delete)
    delete_policies = Former(lambda it: it.policies.delete_tagged)
    tags = Former(lambda it: it.policies.tags)
    apply = Former(lambda it: it.policies.apply)
    check_supported = Former(lambda it: it.policies.check_supported)
    hold = Former(lambda it: it.holds.place)
    held_tables = Former(lambda it: it.holds.tables)
    release = Former(lambda it: it.holds.release)
    snapshots = Former(lambda it: it.archive.snapshots)
    snapshot_states = Former(lambda it: it.archive.states)
    verify_snapshots = Former(lambda it: it.archive.verify)
    preview_restore = Former(lambda it: it.archive.preview)
    restorable = Former(lambda it: it.archive.restorable)
    restore = Former(lambda it: it.archive.restore)
    adopt_snapshots = Former(lambda it: it.archive.adopt)
    planned_cascades = Former(lambda it: it.rollups.planned)
    cascade = Former(lambda it: it.rollups.cascade)
    fetch = Former(lambda it: it.rollups.fetch)
    verify_rollups = Former(lambda it: it.rollups.verify)
    drop_rollups = Former(lambda it: it.rollups.drop)
    accept_tables = Former(lambda it: it.rollups.accept_tables)
    running = Former(lambda it: it.runs.live)
    cancel = Former(lambda it: it.runs.cancel)
    journal = Former(lambda it: it.audit.read)
    tokens = Former(lambda it: it.access.tokens)
    create_token = Former(lambda it: it.access.create)
    revoke_token = Former(lambda it: it.access.revoke)
