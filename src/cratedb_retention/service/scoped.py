"""
Everything that somebody with an access token can do: the class ``Retention`` as far as their role and limit let them.

The HTTP API reaches the toolkit through this class only, so that each rule stands in one place. What is not theirs to
see does not exist: the answer is the same as for a name that was never given.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from cratedb_retention.api import Retention
from cratedb_retention.engine.archive import SnapshotState
from cratedb_retention.errors import Conflict, Forbidden, InvalidInput, NotFound
from cratedb_retention.execution.applying import Change, apply_changes, find_changes
from cratedb_retention.execution.candidates import Preview
from cratedb_retention.execution.exploring import explorable, suggest_values
from cratedb_retention.execution.listing import Listing, list_policies
from cratedb_retention.execution.overview import Line, overview
from cratedb_retention.execution.preparing import Prepared, Selection
from cratedb_retention.execution.previewing import ArchiveLine, Restorable
from cratedb_retention.execution.restoring import Restored, RestoreRequest, Verified
from cratedb_retention.execution.suggesting import Suggestions, suggest
from cratedb_retention.execution.tables import TableLine, find_bounds, hide_shared, table_lines
from cratedb_retention.execution.timeline import Seen, concerning, means, sources_of, timeline
from cratedb_retention.model.access import Access, Realm, Role, sees_row, shown_row
from cratedb_retention.model.areas import Area, make_area
from cratedb_retention.model.catalog import Selector, TableName, Value
from cratedb_retention.model.exploring import Explorable
from cratedb_retention.model.fetched import Fetched
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.patterns import is_pattern
from cratedb_retention.model.plan import Plan
from cratedb_retention.model.policy import Policy, make_policy
from cratedb_retention.model.reading import Cascade, FetchRequest
from cratedb_retention.model.searching import matches, mentions
from cratedb_retention.model.tags import TagFilter
from cratedb_retention.model.timeline import Timeline
from cratedb_retention.planning.holds import TableHold
from cratedb_retention.planning.targets import try_bind_where
from cratedb_retention.service import archiving
from cratedb_retention.service.narrowing import narrow_lines, narrow_plan
from cratedb_retention.service.runs import UNKNOWN, Runs, RunState
from cratedb_retention.store.journal import Event, JournalFilter, Outcome
from cratedb_retention.store.policies import Damaged, StoredPolicy
from cratedb_retention.store.snapshots import SnapshotRecord
from cratedb_retention.store.statistics import RunOfPolicy
from cratedb_retention.store.tokens import AccessToken

# A policy whose last run is longer ago neither fails nor works.
_RECENT = dt.timedelta(days=90)
_OF_STEPS = (Event.STEP_FINISHED, Event.HELD)
_TAKEN = "there is one already that does the same on this data, or has this identifier"


@dataclass(frozen=True)
class RunEnd:
    """
    How a run ended.

    :param finished: The row of its end; None: there is none, as it never began, or ended in no order.
    :param troubles: Rows of what failed, is a problem, or was left to the next run, in order.
    :param more: Whether there is more of that.
    """

    finished: dict[str, Any] | None
    troubles: list[dict[str, Any]]
    more: bool = False

    @property
    def outcome(self) -> str:
        """How it ended in a word; empty if that is not known."""
        return str(self.finished["outcome"] or "") if self.finished else ""


class Scoped:
    """
    The toolkit for one request.

    :param retention: Acts as whoever asks.
    """

    def __init__(self, retention: Retention, access: Access) -> None:
        self.retention, self.access = retention, access
        retention.store.require()

    @cached_property
    def _stored(self) -> tuple[list[StoredPolicy], list[Damaged]]:
        stored, damaged = self.retention.store.policies.all()
        return (
            [item for item in stored if self.access.sees(item.policy.tags)],
            [row for row in damaged if self.access.sees(row.row["tags"] or ())],
        )

    @cached_property
    def _tokens(self) -> list[AccessToken]:
        return self.retention.store.tokens.all()

    @cached_property
    def realm(self) -> Realm:
        """What they can refer to."""
        wanted = {tag for token in self._tokens for group in token.limit.any_of for tag in group.wanted}
        mine = {tag for group in self.access.limit.any_of for tag in group.wanted}
        return Realm(
            access=replace(self.access, actors=self._actors),
            policies=tuple(item.policy for item in self._stored[0]),
            default_schema=self._default_schema,
            own_schema=self.retention.store.schema,
            foreign_tags=frozenset(wanted - mine) if self.access.limited else frozenset(),
        )

    @property
    def _actors(self) -> frozenset[str]:
        """All who have the same limit."""
        same = {token.actor for token in self._tokens if token.limit == self.access.limit}
        return frozenset(same | {self.access.actor}) if self.access.limited else frozenset()

    @property
    def _default_schema(self) -> str:
        return self.retention.engine.capabilities.default_schema

    # Policies

    def policies(self, selection: Selection) -> tuple[list[StoredPolicy], list[Damaged]]:
        """The policies that they see and choose, and the rows that are none."""
        stored, damaged = self._stored
        return (
            [item for item in stored if selection.fits(item.policy)],
            [row for row in damaged if selection.fits_row(row)],
        )

    def listing(self, selection: Selection, text: str = "") -> Listing:
        """
        The policies that they see and choose, and when each runs next.

        :param text: Words that a policy must mention, see :func:`matches`.
        """
        stored, damaged = self.policies(selection)
        chosen = [item for item in stored if matches(item.policy, text)]
        broken = [row for row in damaged if mentions((row.id, row.target, row.reason), text)]
        return list_policies(self.retention.store, chosen, broken, self.retention.clock.now())

    def policy(self, identifier: str) -> StoredPolicy:
        """
        A policy by its whole identifier.

        :raises NotFound: if they see none.
        """
        found = next((item for item in self._stored[0] if item.policy.id == identifier), None)
        if found is None:
            raise NotFound(f"policy {identifier}", "does not exist", "GET /api/v1/policies lists them")
        return found

    def create(self, policy: Policy) -> Policy:
        """
        Store a new policy.

        :raises Forbidden: if its tags, data or repository are not theirs, or they choose its identifier.
        :raises Conflict: if there is such a policy.
        """
        self.access.require(Role.EDITOR)
        self._check_new(policy)
        self.realm.check_policy(policy)
        try:
            return self.retention.create_policy(**policy.model_dump(exclude_defaults=True))
        except Conflict:
            if self.access.limited:
                raise Conflict(f"policy for {policy.target}", _TAKEN, "change that one") from None
            raise

    def change(self, identifier: str, changes: Mapping[str, Any], version: int | None) -> StoredPolicy:
        """
        Change attributes of a policy.

        :param version: The version that the change is based on; None: the present one.
        :raises NotFound: if they see none.
        :raises Forbidden: if what it would become is not theirs.
        :raises Conflict: if somebody else changed it since.
        """
        self.access.require(Role.EDITOR)
        stored = self.policy(identifier)
        if "id" in changes:
            raise InvalidInput("attribute id", "a policy's identifier can't be changed", "leave it out")
        present = stored.policy.model_dump(mode="json", exclude_defaults=True)
        merged = {key: value for key, value in {**present, **changes}.items() if value is not None}
        after = make_policy(**merged)
        self.realm.check_policy(after)
        base = _base(stored, version)
        return StoredPolicy(self.retention.edit_policy(identifier, changes, base), base + 1)

    def delete(self, identifier: str, version: int | None) -> None:
        """
        Delete a policy, or a row that is none.

        :raises NotFound: if they see none.
        :raises Conflict: if somebody else changed it since.
        """
        self.access.require(Role.EDITOR)
        if not any(row.id == identifier for row in self._stored[1]):
            version = _base(self.policy(identifier), version)
        self.retention.delete_policy(identifier, version)

    def apply(self, wanted: Sequence[Policy], prune: bool, tags: TagFilter, dry_run: bool) -> list[Change]:
        """
        Make the policies that they see what a file says.

        :param tags: Only policies with these tags are pruned.
        :raises Forbidden: if a policy of the file is not theirs.
        """
        self.access.require(Role.EDITOR)
        changes = find_changes(wanted, self._stored[0], prune, tags & self.access.limit)
        for change in changes:
            if change.after is not None:
                if change.before is None:
                    self._check_new(change.after)
                self.realm.check_policy(change.after)
                self.retention.check_supported(change.after)
        if not dry_run:
            try:
                apply_changes(self.retention.store.policies, changes)
            except Conflict:
                if self.access.limited:
                    raise Conflict("the file", f"of one of its policies {_TAKEN}", "look at them again") from None
                raise
        return changes

    def apply_shown(self, wanted: Sequence[Policy], prune: bool, tags: TagFilter, shown: Sequence[Change]) -> None:
        """
        Apply a file, if that changes what they were shown.

        :param shown: What :meth:`apply` said that would change.
        :raises Conflict: if it would change something else by now.
        """
        if self.apply(wanted, prune, tags, dry_run=True) != list(shown):
            raise Conflict("the policies", "somebody else changed some in the meantime", "check the file again")
        self.apply(wanted, prune, tags, dry_run=False)

    def _check_new(self, policy: Policy) -> None:
        """An identifier that is taken would tell that somebody has it."""
        if self.access.limited and policy.id:
            raise Forbidden(f"policy {policy.id}", "does not exist; with a limit, identifiers are made up", "omit it")

    # Planning

    def prepare(
        self, selection: Selection, cutoff: dt.datetime | None = None, released: Collection[str] = ()
    ) -> Prepared:
        """
        What a run would do, as far as it is theirs.

        :param released: Identifiers of holds that count as released, for showing what that would do.
        :raises NotFound: if the chosen policy is none that they see.
        """
        if selection.policy_id is not None:
            self.policy(selection.policy_id)
        selection = replace(selection, tags=selection.tags & self.access.limit)
        prepared = self.retention.prepare(cutoff, selection, released=released)
        return narrow_plan(prepared, self.realm, self._words_of_holds()) if self.access.limited else prepared

    def preview(self, policy: Policy) -> Preview:
        """
        What the next run would do if a policy were stored, as far as it is theirs. Writes nothing.

        :raises NotFound: if it has the identifier of a policy that they do not see.
        :raises Forbidden: if they may not store it.
        """
        self.access.require(Role.EDITOR)
        if self.access.limited and policy.id:
            self.policy(policy.id)
        self.realm.check_policy(policy)
        found = self.retention.preview(policy, Selection(tags=self.access.limit))
        if not self.access.limited:
            return found
        words = self._words_of_holds()
        others = tuple(known for known in self.realm.policies if known.id != found.policy.id)
        after = replace(self.realm, policies=(*others, found.policy))
        return replace(
            found,
            before=narrow_plan(found.before, self.realm, words),
            after=narrow_plan(found.after, after, words),
        )

    def suggestions(self, table_schema: str | None = None, table_name: str = "") -> Suggestions:
        """
        What can be named in a policy, as far as it is theirs: of the database, and of other policies.

        :param table_schema: With ``table_name``: name or pattern of the tables whose columns are wanted.
        """
        policies = [item.policy for item in self._stored[0]]
        chosen = Selector(table_schema or None, table_name)
        return suggest(self.retention.engine, self.retention.store.schema, policies, self.access.limited, chosen)

    def status(self, selection: Selection) -> tuple[list[Line], dict[str, Any] | None]:
        """Each policy on each table, and the last run."""
        lines = overview(self.prepare(selection))
        last = next(iter(self.journal(JournalFilter(event=Event.RUN_FINISHED, limit=1))), None)
        return (narrow_lines(lines) if self.access.limited else lines), last

    def tables(self, selection: Selection) -> list[TableLine]:
        """What is kept where, table by table; what fails or is held first."""
        prepared = self.prepare(selection)
        lines = overview(prepared)
        measured = self.retention.engine.measure(find_bounds(prepared))
        now = self.retention.clock.now()
        runs = self.retention.store.runs_of_policies(now - _RECENT)
        if not self.access.limited:
            return table_lines(prepared, lines, measured, runs, now)
        return hide_shared(table_lines(prepared, narrow_lines(lines), measured, self._said(runs), now))

    def _said(self, runs: Iterable[RunOfPolicy]) -> list[RunOfPolicy]:
        holds = self._words_of_holds()
        return [replace(run, error=self.realm.said(run.error, holds)) for run in runs]

    # Timeline

    def timeline(self, table: TableName) -> Timeline:
        """
        What a table holds when, and what the next run does to it, as far as it is theirs.

        :raises Forbidden: if none of their policies is about it.
        :raises NotFound: if there is nothing to tell.
        """
        policies = [item.policy for item in self._stored[0]]
        chosen = concerning(policies, table, self._default_schema)
        prepared = self.prepare(Selection(policy_ids=chosen))
        whole = self._is_whole(table, prepared)
        records = [r for r in self.retention.snapshots(RestoreRequest()) if r.archived.table == table]
        records = [record for record in records if self.access.sees(record.tags)]
        found = timeline(prepared, table, Seen(policies, records, self.holds(), whole))
        if not found.lanes and not found.cutoffs:
            raise NotFound(f"table {table}", "does not exist, or no policy is about it", "look at the overview")
        return found

    def _is_whole(self, table: TableName, prepared: Prepared) -> bool:
        """
        Whether all of a table is theirs, rather than what their policies choose of it.

        :raises Forbidden: if nothing of it is.
        """
        area, realm = make_area(table.schema, table.name, {}, self._default_schema), self.realm
        sources = [make_area(s.schema, s.name, {}, self._default_schema) for s in sources_of(prepared, table)]
        if realm.covers(area) or any(realm.covers(source) for source in sources):
            return True
        own = area.schema.casefold() == realm.own_schema.casefold()
        if own or not any(means(policy, self._default_schema)(table) for policy in realm.policies):
            realm.require(area)
        return False

    def statements(self, plan: Plan) -> list[list[str]]:
        """
        The statements of each task of a plan, for showing.

        :raises Forbidden: if they are no operator, or have a limit: statements name what holds of others keep.
        """
        self.access.require(Role.OPERATOR)
        if self.access.limited:
            raise Forbidden("the statements of a plan", "are not for tokens with a limit", "look at the plan itself")
        render = self.retention.engine.render
        return [[statement for step in task.steps for statement in render(step)] for task in plan.tasks]

    # Runs

    def start_run(self, runs: Runs, prepared: Prepared) -> RunState:
        """
        Do what a plan of theirs says, in the background.

        :param prepared: What :meth:`prepare` returned, so that what is done is what was shown (law 10).
        :raises Conflict: if too many runs go on.
        """
        self.access.require(Role.OPERATOR)
        return runs.start(self.retention, prepared)

    def runs(self, runs: Runs) -> list[RunState]:
        """The runs of late that are theirs to see, newest first."""
        return [state for state in runs.all(self.retention) if self._sees_run(state)]

    def find_run(self, runs: Runs, run_id: str) -> RunState:
        """
        One of them.

        :raises NotFound: if they see none.
        """
        state = runs.find(self.retention, run_id)
        if not self._sees_run(state):
            raise NotFound(f"run {run_id}", "is not known here", UNKNOWN)
        return state

    def cancel_run(self, runs: Runs, run_id: str) -> RunState:
        """
        Let a run end before its next step.

        :raises NotFound: if they see none.
        :raises Conflict: if it is over.
        """
        self.access.require(Role.OPERATOR)
        self.find_run(runs, run_id)
        return runs.cancel(self.retention, run_id)

    def run_end(self, run_id: str, most: int = 50) -> RunEnd:
        """
        How a run ended, by the audit log.

        :param most: At most so many rows about what did not go well.
        """
        finished = self.journal(JournalFilter(run_id=run_id, event=Event.RUN_FINISHED, limit=1))
        bad = frozenset(map(str, (Outcome.FAILED, Outcome.DEFERRED, Outcome.PROBLEM)))
        rows = self.journal(JournalFilter(run_id=run_id, outcomes=bad, limit=most + 2))
        troubles = [row for row in reversed(rows) if row["event"] in _OF_STEPS]
        return RunEnd(finished[0] if finished else None, troubles[:most], len(troubles) > most)

    def _sees_run(self, state: RunState) -> bool:
        """A run of somebody without a limit is about everything; those of their like are about what is theirs."""
        return not self.access.limited or state.actor in self._actors

    # Journal

    def journal(self, wanted: JournalFilter) -> list[dict[str, Any]]:
        """Rows of the audit log, newest first."""
        wanted = replace(wanted, about_tokens=wanted.about_tokens and self.access.role is Role.ADMIN)
        if self.access.limited:
            if wanted.actor is not None and wanted.actor not in self._actors:
                return []  # Which rows are left would tell who did them.
            wanted = replace(wanted, limited=self.access.limit, actors=self.realm.access.actors)
        rows = self.retention.store.journal.read(wanted)
        realm = self.realm
        holds = self._words_of_holds() if self.access.limited else []
        return [shown_row(realm, row, holds) for row in rows if sees_row(realm.access, row)]

    # Holds

    def holds(self) -> list[LegalHold]:
        """The holds in force on their data."""
        found = self.retention.store.holds.active()
        return [hold for hold in found if self.realm.covers(self._area_of(hold))]

    def place(
        self,
        table_name: str,
        table_schema: str | None,
        where: Mapping[str, Value],
        start: dt.datetime | None,
        end: dt.datetime | None,
        reason: str,
    ) -> LegalHold:
        """
        Keep data.

        :raises Forbidden: if it is not theirs.
        """
        self.access.require(Role.OPERATOR)
        area = make_area(table_schema, table_name, where, self._default_schema)
        self.realm.require(area)
        if self.access.limited and self._is_shared(area):
            self._check_binds(area, where)
        return self.retention.hold(table_name, table_schema, where=where, start=start, end=end, reason=reason)

    def release(self, identifier: str) -> LegalHold:
        """
        End a hold, by its whole identifier.

        :raises NotFound: if they see none.
        :raises Forbidden: if it was placed by somebody without their limit.
        """
        self.access.require(Role.OPERATOR)
        found = next((hold for hold in self.holds() if hold.id == identifier), None)
        if found is None:
            raise NotFound(f"hold {identifier}", "is not in force", "GET /api/v1/holds lists them")
        if self.access.limited and found.placed_by not in self._actors:
            raise Forbidden(f"hold {identifier}", "was placed by somebody without the limit of this token", "ask them")
        return self.retention.release(found.id)

    def held_tables(self, holds: Sequence[LegalHold]) -> dict[str, list[TableName]]:
        """The tables that holds which they see are on at present, by the hold's identifier."""
        return archiving.held_tables(self, [hold for hold in holds if self.realm.covers(self._area_of(hold))])

    def find_release(self, identifier: str) -> archiving.Release:
        """What the next run would take of theirs if a hold ended."""
        return archiving.find_release(self, identifier)

    def _area_of(self, hold: LegalHold) -> Area:
        return make_area(hold.table_schema, hold.table_name, hold.where, self._default_schema)

    def _words_of_holds(self) -> list[str]:
        return [TableHold(hold, None).words for hold in self.holds()]

    def _is_shared(self, area: Area) -> bool:
        found = self.realm.covering(area)
        return found is not None and bool(found.where)

    def _check_binds(self, area: Area, where: Mapping[str, Value]) -> None:
        """
        A hold whose values can't be worked out holds the whole table; here that would be the data of others.

        :raises Forbidden: if it is not plain that it does not.
        """
        named = not (is_pattern(area.schema) or is_pattern(area.name))
        tables = self.retention.engine.read_catalog([Selector(area.schema, area.name)]).tables if named else {}
        if not tables or any(try_bind_where(table, where) is None for table in tables.values()):
            raise Forbidden(f"data of {area}", "the hold would cover data of others", "name a table and its columns")

    # Snapshots and rollups

    def snapshots(self, request: RestoreRequest) -> list[tuple[SnapshotRecord, SnapshotState | None]]:
        """What was archived of theirs, with what the repositories say about it."""
        records = self.retention.snapshots(request)
        mine = [r for r in records if self.access.sees(r.tags)]
        states = self.retention.snapshot_states(mine)
        return [(r, states.get((r.archived.repository, r.archived.name))) for r in mine]

    def archive(self, request: RestoreRequest) -> list[ArchiveLine]:
        """What was archived of theirs, with how well it is; problems first."""
        return archiving.read_archive(self, request)

    def verify_snapshots(
        self, request: RestoreRequest, told: Callable[[Verified], None] | None = None
    ) -> list[Verified]:
        """
        Read snapshots of theirs back and compare them with what was archived.

        :param told: Is told of each as soon as it was read.
        :raises Forbidden: if their role is not enough.
        """
        return archiving.verify(self, request, told)

    def restorable(self, request: RestoreRequest) -> list[Restorable]:
        """
        What :meth:`restore` would bring back, and what it would refuse; nothing is written.

        :raises NotFound: if no snapshot of theirs fits.
        :raises Forbidden: if it would go where nothing of theirs is.
        """
        return archiving.preview(self, request)

    def restore(self, request: RestoreRequest) -> list[Restored]:
        """
        Bring partitions of theirs back, into tables of theirs.

        :raises NotFound: if no snapshot of theirs fits.
        :raises Forbidden: if their role is not enough, or it would go where nothing of theirs is.
        """
        return archiving.restore(self, request)

    def fetch(self, request: FetchRequest) -> Fetched:
        """
        Read a table together with its rollups.

        :raises Forbidden: if none of their policies covers what is asked.
        """
        self.realm.require(make_area(request.table_schema, request.table_name, request.where, self._default_schema))
        return self.retention.fetch(request)

    def cascades(self) -> list[Explorable]:
        """The tables with rollups of which they see something."""
        return explorable(self.retention.store.rollups.all().values(), self.realm)

    def cascade(self, table: Explorable) -> Cascade:
        """
        A table with its rollups.

        :raises Forbidden: if none of their policies covers it.
        :raises NotFound: if it has none.
        """
        self.realm.require(make_area(table.table.schema, table.table.name, table.where, self._default_schema))
        return self.retention.cascade(table.table.name, table.table.schema)

    def suggest_values(self, request: FetchRequest, limit: int = 50) -> list[Value]:
        """
        Some values of a dimension, which ``by`` names.

        :raises Forbidden: if none of their policies covers what is asked.
        """
        self.realm.require(make_area(request.table_schema, request.table_name, request.where, self._default_schema))
        cascade = self.retention.cascade(request.table_name, request.table_schema)
        return suggest_values(self.retention.engine, cascade, request, self.retention.clock.now(), limit)

    def tags(self) -> list[str]:
        """All tags of the policies that they see."""
        return sorted({tag for item in self._stored[0] for tag in item.policy.tags})

    def tokens(self) -> Iterable[AccessToken]:
        """All tokens."""
        self.access.require(Role.ADMIN)
        return self._tokens


def _base(stored: StoredPolicy, version: int | None) -> int:
    """
    The version that a change is based on: always the one that the rules were applied to.

    :raises Conflict: if another one was named.
    """
    if version is not None and version != stored.version:
        raise Conflict(f"policy {stored.policy.id}", "somebody else changed it in the meantime", "look at it again")
    return stored.version
