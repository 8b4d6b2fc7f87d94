"""
The toolkit for a caller with an access token: the class ``Retention`` within the caller's role and scope, and the only
way by which the HTTP API and the pages reach it.

To a caller, invisible objects do not exist: responses are the same as for a name that was never used. Plans, lists and
runs contain only the parts about the caller's policies, and reasons reveal nothing about others. A run executes only
the tasks of the plan that was shown (law 10).
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial
from itertools import islice
from typing import Any, BinaryIO, NamedTuple

from cratedb_retention.api import Retention
from cratedb_retention.collector import without_collector
from cratedb_retention.errors import Conflict, Forbidden, InvalidInput, NotFound
from cratedb_retention.execution.accepting import Earlier
from cratedb_retention.execution.archive import Deletable, Deleted, Restored, RestoreRequest, Verified
from cratedb_retention.execution.overview.lines import Line, Listing, TableLine, overview
from cratedb_retention.execution.overview.rows import Overview
from cratedb_retention.execution.overview.timeline import Seen, concerning, sources_of, timeline
from cratedb_retention.execution.plan.preparing import Prepared, Selection, require_tags
from cratedb_retention.execution.plan.preview import ArchiveLine, Preview, Restorable
from cratedb_retention.execution.policies import Change, find_changes, find_mistakes
from cratedb_retention.execution.query import Reader, readable
from cratedb_retention.model.access import Access, Area, Role, Visibility, make_area, may_see_error, sees_row, shown_row
from cratedb_retention.model.archive import SnapshotRecord
from cratedb_retention.model.audit import Event
from cratedb_retention.model.catalog import Selector, TableName, Value
from cratedb_retention.model.duration import Duration
from cratedb_retention.model.forecast import Forecast
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.overview import Timeline, with_rows
from cratedb_retention.model.plan.effect import amount
from cratedb_retention.model.plan.plan import Plan, Step, Task
from cratedb_retention.model.plan.reasons import Reason, Why
from cratedb_retention.model.policies.attributes import Suggestions
from cratedb_retention.model.policies.lifecycle import Lifecycle, find_lifecycles
from cratedb_retention.model.policies.patterns import find_tables
from cratedb_retention.model.policies.policy import Policy, change_policy, mentions
from cratedb_retention.model.policies.tags import TagFilter
from cratedb_retention.model.query.answer import QueryRequest
from cratedb_retention.model.query.reading import Cascade, Fetched, FetchRequest
from cratedb_retention.model.runs import RunState
from cratedb_retention.model.time import TimeRange
from cratedb_retention.model.translation import write_policies
from cratedb_retention.planning.overview.suggest import TITLE
from cratedb_retention.planning.overview.survey import Survey
from cratedb_retention.service.health import Health, read_health
from cratedb_retention.service.runs import Background, Operations, OperationState, Runs, State
from cratedb_retention.store.access import AccessToken, SessionStore, TokenStore
from cratedb_retention.store.audit import JournalFilter, RunPlace, RunTotals
from cratedb_retention.store.policies import Damaged, StoredPolicy
from cratedb_retention.store.runs import RunOfPolicy

Row = dict[str, Any]
_TAKEN = "a policy exists that does the same on this data, or has this identifier"


class TableView(NamedTuple):
    """A table over time, and its state; None: no policy applies to the table itself."""

    timeline: Timeline
    line: TableLine | None


class More(NamedTuple):
    """What one plan takes more than another one."""

    partitions: int
    rows: int  # Those that are known.
    same: bool  # Whether both do the same.


class Scope:
    """
    The toolkit for one request of a caller, on whose behalf ``retention`` acts: policies, holds, plans, runs, audit
    log, tables, archive and access tokens.

    Its methods raise :class:`NotFound` for objects that the caller cannot see, :class:`Forbidden` if the role or scope
    does not permit the request, and :class:`Conflict` if another user was faster.
    """

    def __init__(self, retention: Retention, access: Access, limits: Iterable[TagFilter] = ()) -> None:
        """:param limits: those of users without access tokens"""
        self._retention, self.access, self._limits = retention, access, limits
        retention.require()

    @property
    def now(self) -> dt.datetime:
        return self._retention.clock.now()

    @cached_property
    def _stored(self) -> tuple[list[StoredPolicy], list[Damaged]]:
        return self._retention.policies.read(Selection(limit=self.access.limit))

    @cached_property
    def _tokens(self) -> list[AccessToken]:
        """All tokens, which matter only to a caller with a scope."""
        return self._retention.access.tokens() if self.access.limited else []

    @cached_property
    def visibility(self) -> Visibility:
        limits = (*(token.limit for token in self._tokens), *self._limits)
        wanted, mine = {tag for limit in limits for tag in limit.wanted}, self.access.limit.wanted
        return Visibility(
            access=replace(self.access, actors=self._actors),
            policies=tuple(item.policy for item in self._stored[0]),
            default_schema=self._retention.default_schema,
            own_schema=self._retention.own_schema,
            foreign_tags=frozenset(wanted - mine),
            folds_case=self._retention.capabilities.folds_case,
        )

    @property
    def _actors(self) -> frozenset[str]:
        same = {token.actor for token in self._tokens if token.limit == self.access.limit}
        return frozenset(same | {self.access.actor}) if self.access.limited else frozenset()

    def _sees_actor(self, actor: str) -> bool:
        """Without a scope, all actors; otherwise those with the same scope, who work on the same policies."""
        return not self.access.limited or actor in self._actors

    def _area(self, schema: str | None, name: str, where: Mapping[str, Value] | None = None) -> Area:
        return make_area(schema, name, where or {}, self._retention.default_schema)

    def _ids_of_holds(self) -> frozenset[str]:
        return frozenset(hold.id for hold in self.holds()) if self.access.limited else frozenset()

    def policies(self, selection: Selection, text: str = "") -> tuple[list[StoredPolicy], list[Damaged]]:
        """The selected policies and invalid rows that contain all words of a text."""
        stored = [it for it in self._stored[0] if selection.fits(it.policy) and it.policy.mentions(text)]
        broken = [row for row in self._stored[1] if selection.fits_row(row)]
        return stored, [row for row in broken if mentions((row.id, str(row.target), row.reason), text)]

    def listing(self, selection: Selection) -> Listing:
        """The selected policies with their next runs."""
        return self._retention.policies.listing(*self.policies(selection))

    def policy(self, identifier: str) -> StoredPolicy:
        for item in self._stored[0]:
            if item.policy.id == identifier:
                return item
        raise NotFound(f"policy {identifier}", "does not exist", "see the list of policies")

    def tags(self) -> list[str]:
        return sorted({tag for item in self._stored[0] for tag in item.policy.tags})

    def lifecycles(self, table: TableName | None = None, candidate: Policy | None = None) -> list[Lifecycle]:
        """
        The lifecycles of tables, or of one table, by the policies that the caller may see.

        :param candidate: A policy that counts as stored, in place of the one with its identifier.
        """
        if candidate is not None:
            self.visibility.check_policy(candidate)
        return find_lifecycles(self._seen_with(candidate), self._retention.capabilities, table)

    def _seen_with(self, candidate: Policy | None) -> tuple[Policy, ...]:
        """The policies that the caller may see, with one that counts as stored."""
        policies = self.visibility.policies
        if candidate is None:
            return policies
        return (*(policy for policy in policies if policy.id != candidate.id or candidate.id is None), candidate)

    def create(self, policy: Policy) -> Policy:
        with self._creating(policy) as attributes:
            return self._retention.policies.create(**attributes)

    def make(self, policy: Policy) -> Policy:
        """The policy that :meth:`create` would store, or the same error. Writes nothing."""
        with self._creating(policy) as attributes:
            return self._retention.policies.make(**attributes)

    @contextmanager
    def _creating(self, policy: Policy) -> Iterator[dict[str, Any]]:
        """The attributes of a policy that the caller may create."""
        self.access.require(Role.EDITOR)
        self._check_new(policy)
        with self._hiding(f"policy for {policy.target}", _TAKEN, "change that policy"):
            yield policy.model_dump(exclude_defaults=True)

    def change(self, identifier: str, changes: Mapping[str, Any], version: int | None) -> StoredPolicy:
        """Change attributes of a policy, based on a version; None: the present one."""
        self.access.require(Role.EDITOR)
        stored = self.policy(identifier)
        if "id" in changes:
            raise InvalidInput("attribute id", "the identifier of a policy cannot be changed", "omit it")
        self.visibility.check_policy(change_policy(stored.policy, changes))
        base = _base(stored, version)
        return StoredPolicy(self._retention.policies.edit(identifier, changes, base), base + 1)

    def delete(self, identifier: str, version: int | None) -> None:
        """Delete a policy, or an invalid row of the policy table."""
        self.access.require(Role.EDITOR)
        if not any(row.id == identifier for row in self._stored[1]):
            version = _base(self.policy(identifier), version)
        self._retention.policies.delete(identifier, version)

    def apply(
        self, wanted: Sequence[Policy], prune: bool, tags: TagFilter, dry_run: bool, shown: list[Change] | None = None
    ) -> list[Change]:
        """Apply a file, as a dry run has ``shown`` it; only policies with the tags are pruned."""
        self.access.require(Role.EDITOR)
        stored = self._stored[0]
        require_tags(tags, (policy.tags for policy in (*wanted, *(item.policy for item in stored))))
        changes = find_changes(wanted, stored, prune, tags & self.access.limit)
        for change in changes:
            if change.after is not None:
                (self.visibility.check_policy if change.before else self._check_new)(change.after)
                self._retention.policies.check_supported(change.after)
        if shown is not None and changes != shown:
            raise Conflict("the policies", "another user has changed some in the meantime", "check the file again")
        if not dry_run:
            with self._hiding("the file", f"for one of its policies, {_TAKEN}", "check them again"):
                self._retention.policies.carry_out(changes)
        return changes

    def _check_new(self, policy: Policy) -> None:
        """Raises Forbidden for an identifier, since an existing one would reveal an invisible policy."""
        if self.access.limited and policy.id:
            raise Forbidden(f"policy {policy.id}", "does not exist; with a scope, identifiers are generated", "omit it")
        self.visibility.check_policy(policy)

    @contextmanager
    def _hiding(self, thing: str, reason: str, remedy: str) -> Iterator[None]:
        """With a scope, replace conflicts that may name invisible objects."""
        try:
            yield
        except Conflict as error:
            raise Conflict(thing, reason, remedy) if self.access.limited else error from None

    def suggestions(
        self, table_schema: str | None = None, table_name: str = "", columns: Collection[str] = ()
    ) -> Suggestions:
        """
        Suggestions for attributes of a policy; columns are those of tables with this name or pattern.

        :param columns: Those whose values are suggested; with a scope, only values in the caller's policies.
        """
        chosen = Selector(schema=table_schema or None, name=table_name)
        return self._retention.policies.suggestions(self.visibility.policies, self.access.limited, chosen, columns)

    def holds(self) -> list[LegalHold]:
        return [hold for hold in self._retention.holds() if self.visibility.covers_hold(hold)]

    def held_tables(self, holds: Iterable[LegalHold]) -> dict[str, list[TableName]]:
        """The tables that holds cover at present, by the identifier of the hold."""
        return self._retention.holds.tables_of(hold for hold in holds if self.visibility.covers_hold(hold))

    def place(
        self,
        table_name: str,
        table_schema: str | None,
        where: Mapping[str, Value],
        start: dt.datetime | None,
        end: dt.datetime | None,
        reason: str,
    ) -> LegalHold:
        self.access.require(Role.OPERATOR)
        area = self._area(table_schema, table_name, where)
        self.visibility.require(area)
        covering = self.visibility.covering(area) if self.access.limited else None
        if covering and covering.where and not self._retention.holds.is_exact(area.schema, area.name, where):
            raise Forbidden(f"data of {area}", "the hold would also cover other data", "name a table and its columns")
        return self._retention.holds.place(table_name, table_schema, where=where, start=start, end=end, reason=reason)

    def find_release(self, *identifiers: str) -> More:
        """What the next run would take more if holds were released."""
        for identifier in identifiers:
            self._hold(identifier)
        found = self._retention.preview_release(identifiers, Selection(limit=self.access.limit))
        return self._more(*found)

    def find_placing(self, hold: LegalHold) -> More:
        """What the next run would no longer take if a hold were placed."""
        now, then = self._retention.preview_hold(hold, Selection(limit=self.access.limit))
        return self._more(then, now)

    def _more(self, now: Prepared, then: Prepared) -> More:
        tasks = [self._narrowed(prepared).plan.tasks for prepared in (now, then)]
        less, more = map(amount, tasks)
        partitions, rows = more.partitions - less.partitions, more.known_rows - less.known_rows
        return More(max(partitions, 0), max(rows, 0), same=tasks[0] == tasks[1])

    def release(self, identifier: str) -> LegalHold:
        self.access.require(Role.OPERATOR)
        found = self._hold(identifier)
        if self.access.limited and found.placed_by not in self._actors:
            raise Forbidden(f"hold {identifier}", "was placed by a user without this scope", "ask that user")
        return self._retention.holds.release(found.id)

    def renew(self, identifier: str) -> LegalHold:
        """Undo a release; a caller with a scope may undo those of holds that it may release."""
        self.access.require(Role.OPERATOR)
        found = self._retention.holds.released(identifier)
        if not self.visibility.covers_hold(found) or (self.access.limited and found.placed_by not in self._actors):
            raise NotFound(f"hold {identifier}", "was not released", "place a new one")
        return self._retention.holds.renew(found.id)

    def _hold(self, identifier: str) -> LegalHold:
        for hold in self.holds():
            if hold.id == identifier:
                return hold
        raise NotFound(f"hold {identifier}", "is not in force", "see the list of holds")

    def prepare(
        self,
        selection: Selection,
        cutoff: dt.datetime | None = None,
        every: bool = False,
        about: TableName | None = None,
    ) -> Prepared:
        return self._narrowed(self._retention.prepare(cutoff, self._within(selection), every=every, about=about))

    def _within(self, selection: Selection) -> Selection:
        """A selection within the scope; raises NotFound for a policy that is not."""
        if selection.policy_id is not None:
            self.policy(selection.policy_id)
        return replace(selection, limit=self.access.limit)

    def forecast(self, selection: Selection, **asked: Any) -> Forecast:
        """How much data there will be. With a scope, only of tables that the caller sees as a whole."""
        found = self._retention.forecast(selection=self._within(selection), **asked)
        return self._foreseen(found, {policy.id or "" for policy in self.visibility.policies}, asked.get("capacity"))

    def what_if(
        self,
        draft: Sequence[Policy],
        *,
        until: dt.datetime,
        without: Collection[str] = (),
        prune: bool = False,
        tags: TagFilter | None = None,
        **asked: Any,
    ) -> tuple[Forecast, Forecast]:
        """
        How much data there will be with the stored policies, and once a draft is stored; of the tables of policies that
        are drafted or removed.

        :param draft: Policies, as of a file: instead of the stored ones that do the same, or in addition.
        :param without: Identifiers of policies that would be removed.
        :param prune: Other policies would be removed as well, or those with the ``tags``.
        :param asked: Further arguments of `Retention.forecast`.
        """
        changes = self.apply(draft, prune, tags or TagFilter(), dry_run=True)
        gone = {self.policy(identifier).id for identifier in without}
        gone |= {change.policy.id or "" for change in changes if change.after is None}
        made = {change.policy.id or str(uuid.uuid4()): change.after for change in changes if change.after is not None}
        every = {item.id: item.policy for item in self._retention.policies.read(Selection())[0]}
        after = {identifier: policy for identifier, policy in every.items() if identifier not in gone}
        after |= {identifier: policy.model_copy(update={"id": identifier}) for identifier, policy in made.items()}
        touched = frozenset(gone | made.keys())
        found = self._retention.compare(until, list(after.values()), selection=Selection(policy_ids=touched), **asked)
        mine = touched | {policy.id or "" for policy in self.visibility.policies}
        before, then = (self._foreseen(each, mine, asked.get("capacity")) for each in found)
        return before, then

    def _foreseen(self, found: Forecast, mine: Collection[str], capacity: int | None) -> Forecast:
        """The part of a forecast that the caller may see, of some policies."""
        if not self.access.limited:
            return found
        visibility, holds = self.visibility, self._ids_of_holds()
        series = tuple(each for each in found.series if visibility.covers(self._area(*each.source)))
        tables = {each.table for each in series}
        blocked = (it for it in found.blocked if it.policy_id in mine and it.table in tables)
        return replace(
            found,
            series=series,
            events=tuple(each for each in found.events if each.policy_id in mine and each.table in tables),
            blocked=tuple(replace(it, why=visibility.redacted(it.why, holds)) for it in blocked),
            capacity=capacity,
            other=0,
            notes=(),
        )

    def _narrowed(self, prepared: Prepared) -> Prepared:
        return narrow_plan(prepared, self.visibility, self._ids_of_holds()) if self.access.limited else prepared

    def preview(self, policy: Policy) -> Preview:
        self.access.require(Role.EDITOR)
        if self.access.limited and policy.id:
            self.policy(policy.id)
        self.visibility.check_policy(policy)
        found = self._retention.preview(policy, Selection(limit=self.access.limit), alone=True)
        return self._narrowed_preview(found) if self.access.limited else found

    def _narrowed_preview(self, found: Preview) -> Preview:
        """The visible part of a preview; afterwards, its policy belongs to the caller as well."""
        visibility, holds = self.visibility, self._ids_of_holds()
        others = tuple(known for known in visibility.policies if known.id != found.policy.id)
        after = replace(visibility, policies=(*others, found.policy))
        return replace(
            found,
            before=narrow_plan(found.before, visibility, holds),
            after=narrow_plan(found.after, after, holds),
            if_enabled=None if found.if_enabled is None else self._narrowed_preview(found.if_enabled),
        )

    def gained(self, policies: Sequence[Policy]) -> Prepared:
        """
        What the next run would do in addition if these policies, which have identifiers, were stored in place of those
        with the same ones: the plan has no other tasks. What would be done anyway, by whichever policy, is not in it.
        """
        self.access.require(Role.EDITOR)
        for policy in policies:
            self.visibility.check_policy(policy)
        before, after = self._retention.preview_changes(policies, Selection(limit=self.access.limit))
        if self.access.limited:  # Then these policies belong to the caller as well.
            mine = {policy.id: policy for policy in (*self.visibility.policies, *policies)}
            after = narrow_plan(after, replace(self.visibility, policies=tuple(mine.values())), self._ids_of_holds())
        known = set(map(_effect, before.plan.tasks))
        return replace(
            after, plan=replace(after.plan, tasks=tuple(t for t in after.plan.tasks if _effect(t) not in known))
        )

    def statements(self, plan: Plan) -> list[list[str]]:
        """The statements of each task of a plan. Raises Forbidden with a scope, see :attr:`render`."""
        self.access.require(Role.OPERATOR)
        if self.access.limited:
            raise Forbidden("the statements of a plan", "not for tokens with a scope", "see the plan itself")
        return [[text for step in task.steps for text in self._retention.statements(step)] for task in plan.tasks]

    @property
    def render(self) -> Callable[[Step], list[str]] | None:
        """Returns the statements of a step; None with a scope: they name data under invisible holds."""
        return None if self.access.limited else self._retention.statements

    def start_run(self, runs: Runs, prepared: Prepared) -> RunState:
        """Execute the plan of :meth:`prepare` in the background (law 10)."""
        self.access.require(Role.OPERATOR)
        return runs.start(self._retention, prepared)

    def jobs(self, kind: Background[State]) -> list[State]:
        return [state for state in kind.all(self._retention) if self._sees_actor(state.actor)]

    def find_job(self, kind: Background[State], key: str) -> State:
        found = kind.find(self._retention, key)
        if not self._sees_actor(found.actor):
            raise kind.unknown(key)
        return found

    def cancel(self, kind: Background[State], key: str) -> State:
        self.access.require(Role.OPERATOR)
        self.find_job(kind, key)
        return kind.cancel(self._retention, key)

    def journal(self, wanted: JournalFilter) -> list[Row]:
        within = self._entries(wanted)
        rows = self._retention.audit.read(within) if within else []
        if not self.access.limited:  # Without reading all policies.
            return [dict(row) for row in rows if sees_row(self.access, row)]
        visibility, holds = self.visibility, self._ids_of_holds()
        return [shown_row(visibility, row, holds) for row in rows if sees_row(visibility.access, row)]

    def runs(self, wanted: JournalFilter, behind: RunPlace | None = None) -> list[RunPlace]:
        """The runs with matching entries, latest first, behind a place in that list."""
        within = self._entries(wanted)
        return self._retention.audit.runs(within, behind) if within else []

    def run_totals(self, wanted: JournalFilter, by_table: bool = False) -> list[RunTotals]:
        """What runs did, by the entries that the caller may see."""
        within = self._entries(wanted)
        return self._retention.audit.run_totals(within, by_table) if within else []

    def _entries(self, wanted: JournalFilter) -> JournalFilter | None:
        """A filter for the audit log within the scope; None if it matches nothing."""
        wanted = replace(wanted, about_tokens=wanted.about_tokens and self.access.role is Role.ADMIN)
        if not self.access.limited:
            return wanted
        if wanted.actor is not None and wanted.actor not in self._actors:
            return None  # The remaining rows would reveal their actor.
        return replace(wanted, limited=self.access.limit, actors=self.visibility.access.actors)

    def mark(self) -> str:
        """A value that changes with each entry of the audit log."""
        return self._retention.audit.mark()

    def status(self, selection: Selection) -> tuple[list[Line], Row | None]:
        lines = overview(self.prepare(selection))
        return (_narrow_lines(lines) if self.access.limited else lines), self.last_run()

    def check(self, selection: Selection, older_than: Duration | None = None) -> Survey:
        """Mistakes in policies, and tables beside them; with a scope, without archives, which tenants may share."""
        prepared = self.prepare(selection, every=True)
        mistakes, found = find_mistakes(prepared), self._survey(prepared, older_than)
        if not self.access.limited:
            mistakes += self._retention.archive.check(selection)
        return replace(found, findings=(*mistakes, *found.findings))

    def _survey(self, prepared: Prepared, older_than: Duration | None = None) -> Survey:
        found = self._retention.survey(prepared, older_than)
        return narrow_survey(found, self.visibility) if self.access.limited else found

    def suggest(self, retention_period: Duration | None, enabled: bool) -> str:
        """A policy file for tables without a policy. Raises Forbidden with a scope, which contains no such table."""
        if self.access.limited:
            raise Forbidden("suggestions", "are for tables without a policy", "use a token without a scope")
        return write_policies(self._retention.suggest(retention_period, enabled=enabled), TITLE)

    @without_collector()
    def overview(self) -> Overview:
        """All tables with their state, what needs attention, and the next run. A tenant sees no archives of others."""
        prepared = self.prepare(Selection(), every=True)
        tables, limited = self._tables(prepared), self.access.limited
        return self._retention.overview(prepared, tables, self._survey(prepared), archives=not limited)

    def last_run(self) -> Row | None:
        """The entry of the audit log about the end of the last run; None if there was none."""
        return next(iter(self.journal(JournalFilter(event=Event.RUN_FINISHED, limit=1))), None)

    def tables(self, selection: Selection) -> list[TableLine]:
        """The state of each table; those with failures or blocked actions first."""
        return self._tables(self.prepare(selection))

    def _tables(self, prepared: Prepared) -> list[TableLine]:
        if not self.access.limited:
            return self._retention.tables(prepared)
        holds = self._ids_of_holds()

        def heard(run: RunOfPolicy) -> RunOfPolicy:
            known = may_see_error(self.visibility, vars(run), holds)
            return run if known else replace(run, error=str(Why.NOT_SAID()), reason=Why.NOT_SAID.code, subjects=None)

        return [  # The totals of a shared table are not shown.
            replace(line, lines=tuple(_narrow_lines(line.lines)), oldest=None, newest=None)
            if any(each.policy.where for each in line.lines)
            else line
            for line in self._retention.tables(prepared, heard)
        ]

    def table(self, table: TableName) -> TableView:
        policies = self.visibility.policies
        chosen = concerning(policies, table, self._retention.capabilities)
        prepared = self.prepare(Selection(policy_ids=chosen), about=table)
        if not self._sees_whole(prepared, table) and not self._has_policy(table):
            self.visibility.require(self._area(*table))
        found = self._timeline(prepared, table, policies)
        if not found.lanes and not found.cutoffs:
            raise NotFound(f"table {table}", "does not exist, or has no policy", "see the overview")
        line = next((line for line in self._tables(prepared) if line.first.table == table), None)
        if line and line.oldest is not None and line.newest is not None and found.lanes:
            found = with_rows(found, TimeRange(line.oldest, line.newest), line.first.rows)
        return TableView(found, line)

    def previewed(self, found: Preview, table: TableName) -> Timeline:
        """A table over time as :meth:`preview` found it: with its policy."""
        self.visibility.require(self._area(table.schema, table.name, found.policy.where))
        return self._timeline(found.after, table, self._seen_with(found.policy))

    def _sees_whole(self, prepared: Prepared, table: TableName) -> bool:
        """Whether the caller sees the whole table, rather than the rows that their policies select."""
        return any(self.visibility.covers(self._area(*each)) for each in (table, *sources_of(prepared, table)))

    def _timeline(self, prepared: Prepared, table: TableName, policies: Sequence[Policy]) -> Timeline:
        of_table = RestoreRequest(table_schema=table.schema, table_name=table.name)
        records = [record for record in self._records(of_table) if record.archived.table == table]
        whole = self._sees_whole(prepared, table)
        return timeline(prepared, table, Seen(policies=policies, records=records, holds=self.holds(), whole=whole))

    def accept_tables(self, table_name: str, table_schema: str | None) -> list[TableName]:
        self.access.require(Role.EDITOR)
        self.visibility.require(self._area(table_schema, table_name))
        return self._retention.rollups.accept_tables(table_name, table_schema)

    def find_earlier(self, table: TableName) -> Earlier | None:
        """Facts about an earlier table of this name; None: unknown, or the caller may not accept the table."""
        may = self.access.role.includes(Role.EDITOR) and self.visibility.covers(self._area(*table))
        return self._retention.rollups.find_earlier(table) if may else None

    def fetch(self, request: FetchRequest) -> Fetched:
        self._require_readable(request.table_schema, request.table_name, request.where)
        fetched = self._retention.rollups.fetch(request)
        # The reasons name repositories and snapshots, which may be those of other callers.
        return replace(fetched, unread=()) if self.access.limited else fetched

    def query(self, request: QueryRequest, stream: BinaryIO) -> list[str]:
        """Write the answer to SQL over archives that lie within the scope as a whole to a file; returns notes."""
        reader = Reader(covers=self._covers_rows, limited=self.access.limited)
        return self._retention.archive.write_answer(request, reader, stream)

    def _covers_rows(self, table: TableName, where: Mapping[str, Value]) -> bool:
        """Whether the caller may read rows of a table that have some values; never of the toolkit's own tables."""
        is_own = table.schema.casefold() == self._retention.own_schema.casefold()
        return not is_own and self.visibility.covers(self._area(*table, where))

    def suggest_values(self, request: FetchRequest) -> list[Value]:
        self._require_readable(request.table_schema, request.table_name, request.where)
        return self._retention.rollups.values(request)

    def cascade(self, table: TableName, where: Mapping[str, Value]) -> Cascade:
        self._require_readable(table.schema, table.name, where)
        return self._retention.rollups.cascade(table.name, table.schema)

    def archived_since(self, table: TableName) -> int | None:
        """When the archived rows of a table begin (ms, UTC), of archives that lie within the scope as a whole."""
        return self._retention.archive.begins(table, Reader(covers=self._covers_rows, limited=self.access.limited))

    def readable_tables(self) -> dict[TableName, dict[str, str | None]]:
        """Tables with rollups, then others with a policy, each with the values that a query has to name."""
        sources, others = self._retention.rollups.tables()
        known = self._with_policy(others)
        return readable([*sources, *(table for table in others if table in known)], self.visibility)

    def _require_readable(self, schema: str | None, name: str, where: Mapping[str, Value]) -> None:
        """Raises an error unless the data is within the scope, and the table has a policy or rollups."""
        self.visibility.require(self._area(schema, name, where))
        table = TableName(schema or self._retention.default_schema, name)
        if not self._has_policy(table) and not self._retention.rollups.has_any(table):
            reason = "does not exist, or has neither rollups nor a policy"
            raise NotFound(f"table {table}", reason, "choose another table, or create a policy for it")

    def _has_policy(self, table: TableName) -> bool:
        return bool(self._with_policy([table]))

    def _with_policy(self, tables: Iterable[TableName]) -> set[TableName]:
        """The tables of users among these that a policy of the caller names."""
        own, database = self._retention.own_schema.casefold(), self._retention.capabilities
        theirs = frozenset(table for table in tables if table.schema.casefold() != own)
        named = dict.fromkeys((policy.table_schema, policy.table_name) for policy in self.visibility.policies)
        return {table for schema, name in named for table in find_tables(schema, name, theirs, database)}

    def _records(self, request: RestoreRequest) -> Iterator[SnapshotRecord]:
        return self._retention.archive.stream(self._chosen(request))

    def snapshots(self, request: RestoreRequest, limit: int, offset: int = 0) -> list[ArchiveLine]:
        """Some of the snapshots that match, by table and time, with their states in their repositories."""
        return list(self._retention.archive.lines(islice(self._records(request), offset, offset + limit)))

    def verify_snapshots(
        self, request: RestoreRequest, told: Callable[[Verified], None] | None = None
    ) -> list[Verified]:
        """Read snapshots back, and compare them with what was archived; ``told`` receives each result."""
        self.access.require(Role.OPERATOR)
        return self._retention.archive.verify(self._chosen(request), told)

    def restorable(self, request: RestoreRequest) -> list[Restorable]:
        """Preview :meth:`restore`: what it would restore, and what it would reject."""
        found = self._retention.archive.preview(self._chosen(request))
        self._require_targets([item.record for item in found], request.into)
        return found

    def restore(self, request: RestoreRequest, told: Callable[[Restored], None] | None = None) -> list[Restored]:
        """Restore partitions; ``told`` receives each result."""
        self.access.require(Role.OPERATOR)
        request = self._chosen(request)
        self._require_targets(self._retention.archive.restorable(request), request.into)
        return self._retention.archive.restore(request, told)

    def deletable(self, request: RestoreRequest) -> list[Deletable]:
        """Preview :meth:`delete_snapshots`: what it would delete, and what stays."""
        found = self._retention.archive.deletable(self._chosen(request))
        self._require_targets([item.record for item in found], None)
        return [replace(item, why_not=self._said(item.why_not)) for item in found]

    def delete_snapshots(self, request: RestoreRequest, told: Callable[[Deleted], None] | None = None) -> list[Deleted]:
        """Delete snapshots for good; ``told`` receives each result."""
        self.access.require(Role.EDITOR)
        self.deletable(request)

        def shown(item: Deleted) -> Deleted:
            return replace(item, why_not=self._said(item.why_not))

        found = self._retention.archive.delete(self._chosen(request), told and (lambda item: told(shown(item))))
        return list(map(shown, found))

    def start_delete(self, operations: Operations, request: RestoreRequest) -> OperationState:
        """Delete in the background exactly what :meth:`deletable` shows at this moment (law 10)."""
        self.access.require(Role.EDITOR)
        found = self.deletable(request)
        going = [item.record for item in found if item.why_not is None]
        if not going:
            raise Conflict("delete", f"nothing can be deleted: {found[0].refusal}", "see the preview")
        exactly = replace(request, chosen=frozenset(record.key for record in going))
        return operations.start(self._retention, "delete", len(going), partial(self.delete_snapshots, exactly))

    def _said(self, why: Reason | None) -> Reason | None:
        return why and self.visibility.redacted(why, self._ids_of_holds())

    def start_restore(self, operations: Operations, request: RestoreRequest) -> OperationState:
        """Restore, or undo, in the background exactly what :meth:`restorable` shows at this moment (law 10)."""
        self.access.require(Role.OPERATOR)
        found, kind = self.restorable(request), "undo" if request.undo else "restore"
        coming = [item.record for item in found if item.refusal is None]
        if not coming:
            raise Conflict(kind, f"nothing can be restored: {found[0].refusal}", "see the preview")
        exactly = replace(request, chosen=frozenset(record.key for record in coming))
        return operations.start(self._retention, kind, len(coming), lambda told: self.restore(exactly, told))

    def start_verify(self, operations: Operations, request: RestoreRequest) -> OperationState:
        """Verify in the background the snapshots that exist at this moment."""
        self.access.require(Role.OPERATOR)
        found = self._retention.archive.snapshots(self._chosen(request))
        if not found:
            raise NotFound("snapshots", "none matches", "see the list of snapshots")
        exactly = replace(request, chosen=frozenset(record.key for record in found))
        verify = partial(self.verify_snapshots, exactly)
        return operations.start(self._retention, "verify", len(found), verify)

    def _chosen(self, request: RestoreRequest) -> RestoreRequest:
        return replace(request, tags=request.tags & self.access.limit)

    def _require_targets(self, records: Iterable[SnapshotRecord], into: TableName | None) -> None:
        """Raises Forbidden unless all targets are within the scope; of a shared table, by the values of partitions."""
        if into is not None and into.schema.casefold() == self._retention.own_schema.casefold():
            raise Forbidden(f"table {into}", "in the schema of the toolkit's own tables", "choose another schema")
        for archived in (record.archived for record in records):
            table = into or archived.table
            where = {column.name: value for column, value in zip(archived.columns, archived.values, strict=True)}
            self.visibility.require(self._area(table.schema, table.name, where))

    @property
    def tokens(self) -> TokenStore:
        self.access.require(Role.ADMIN)
        return self._retention.access

    @property
    def sessions(self) -> SessionStore:
        self.access.require(Role.ADMIN)
        return self._retention.sessions

    def health(self) -> Health:
        self.access.require(Role.ADMIN)
        return read_health(self._retention)


def _base(stored: StoredPolicy, version: int | None) -> int:
    if version is not None and version != stored.version:
        raise Conflict(f"policy {stored.policy.id}", "another user has changed it in the meantime", "check it again")
    return stored.version


def _effect(task: Task) -> tuple[object, ...]:
    """What a task does, by whichever policy."""
    return task.table, *(step.describe() for step in task.steps)


def narrow_plan(prepared: Prepared, visibility: Visibility, holds: Collection[str]) -> Prepared:
    """
    The part of a plan that is about a caller's policies, or cleans up their tables, with the holds that they see.
    Warnings are omitted, since they are about whole tables, which may be shared.
    """
    mine, plan = {policy.id for policy in visibility.policies}, prepared.plan

    def is_theirs(task: Task) -> bool:
        if task.policy_id is None:
            return visibility.covers(make_area(task.table.schema, task.table.name, {}, visibility.default_schema))
        return task.policy_id in mine

    narrowed = replace(
        plan,
        tasks=tuple(replace(task, why=visibility.redacted(task.why, holds)) for task in plan.tasks if is_theirs(task)),
        blocked=tuple(
            replace(it, why=visibility.redacted(it.why, holds)) for it in plan.blocked if it.policy_id in mine
        ),
        up_to_date=tuple(each for each in plan.up_to_date if each.policy_id in mine),
        warnings=(),
        legal_holds=tuple(hold for hold in plan.legal_holds if visibility.covers_hold(hold)),
    )
    return replace(prepared, plan=narrowed)


def narrow_survey(found: Survey, visibility: Visibility) -> Survey:
    """The part of a survey about a caller's policies, and about tables that lie within the scope as a whole."""
    mine = {policy.id for policy in visibility.policies}

    def covers(table: TableName) -> bool:
        return visibility.covers(make_area(table.schema, table.name, {}, visibility.default_schema))

    return Survey(
        findings=tuple(each for each in found.findings if mine.issuperset(each.policies) and covers(each.table)),
        notes=tuple(
            each for each in found.notes if mine.issuperset(each.policies) and (each.policies or covers(each.table))
        ),
        ungoverned=tuple(
            replace(each, disabled=tuple(identifier for identifier in each.disabled if identifier in mine))
            for each in found.ungoverned
            if covers(each.table)
        ),
        unlimited=tuple(each for each in found.unlimited if each.policy.id in mine),
    )


def _narrow_lines(lines: Sequence[Line]) -> list[Line]:
    """Without the size of shared tables, which includes data of others."""
    return [replace(line, rows=None, size=None) if line.policy.where else line for line in lines]
