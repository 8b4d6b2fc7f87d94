"""What people say: policies and legal holds."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from typing import Any

from cratedb_retention.api.connection import Part
from cratedb_retention.api.runs import Schedule
from cratedb_retention.errors import InvalidInput, Unsupported
from cratedb_retention.execution.accepting import find_table
from cratedb_retention.execution.overview import Listing
from cratedb_retention.execution.plan.preparing import Selection, require_tags
from cratedb_retention.execution.policies import Action, Change, find_changes
from cratedb_retention.model.archive import why_no_directory
from cratedb_retention.model.catalog import Selector, TableName, Value
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.policies.attributes import Suggestions
from cratedb_retention.model.policies.patterns import find_tables, is_pattern
from cratedb_retention.model.policies.policy import Policy, change_policy, make_policy
from cratedb_retention.model.policies.tags import TagFilter
from cratedb_retention.model.time import to_ms
from cratedb_retention.planning.targets import try_bind_where
from cratedb_retention.store.policies import Damaged, StoredPolicy, policy_to_row
from cratedb_retention.store.rows import LONGEST, fits

# Added before rounding down: the end of a hold is rounded up, since in doubt a row stays.
_ALMOST_A_MILLISECOND = dt.timedelta(microseconds=999)


class Policies(Part):
    """The stored policies; to call this is to list them."""

    def __call__(self, selection: Selection | None = None) -> list[StoredPolicy]:
        """The chosen policies, by table; raises ``NotFound`` if there is no such policy, or none has these tags."""
        stored, damaged = self.read()
        chosen = selection or Selection()
        chosen.require((item.policy for item in stored), damaged)
        return [item for item in stored if chosen.fits(item.policy)]

    def read(self, selection: Selection | None = None) -> tuple[list[StoredPolicy], list[Damaged]]:
        """The chosen policies, of which there may be none, and the chosen rows that are no valid policies."""
        stored, damaged = self._store.policies.all()
        chosen = selection or Selection()
        return [item for item in stored if chosen.fits(item.policy)], [row for row in damaged if chosen.fits_row(row)]

    def damaged(self, selection: Selection | None = None) -> list[Damaged]:
        """The chosen rows of the policy table that are no valid policies."""
        return self.read(selection)[1]

    def get(self, identifier: str) -> StoredPolicy:
        """A policy by its identifier, or six characters of a generated one; raises ``NotFound`` if there is none."""
        return self._store.policies.get(identifier)

    def listing(self, stored: Sequence[StoredPolicy], damaged: Sequence[Damaged] = ()) -> Listing:
        """Stored policies with the time that each runs next."""
        times = Schedule(self._connection).next_runs(item.policy.id for item in stored)
        return Listing(policies=stored, damaged=damaged, times=times, now=self._clock.now())

    def create(self, **attributes: Any) -> Policy:
        """
        Store a new policy, given by the attributes of :class:`Policy` as plain values; returns it with its identifier.

        :raises InvalidInput: if an attribute is wrong; :class:`Conflict` if there is such a policy already;
            :class:`Unsupported` if the database can't do what the strategy needs.
        """
        return self._store.policies.create(self.make(**attributes))

    def make(self, **attributes: Any) -> Policy:
        """What :meth:`create` would store; see there. Writes nothing."""
        policy = make_policy(**attributes)
        self.check_supported(policy)
        self._store.policies.check_new([policy])
        return policy

    def edit(self, identifier: str, changes: Mapping[str, Any], version: int | None = None) -> Policy:
        """
        Change attributes of a policy that is named as in :meth:`get`.

        :param changes: New values; None clears an attribute.
        :param version: The version that the change is based on; None: the present one.
        :raises InvalidInput: if an attribute is wrong; :class:`Conflict` if another user changed the policy since.
        """
        stored, policy = self._changed(identifier, changes)
        return self._store.policies.update(policy, stored.version if version is None else version)

    def edited(self, identifier: str, changes: Mapping[str, Any]) -> Policy:
        """What :meth:`edit` would make of a policy; see there. Writes nothing."""
        return self._changed(identifier, changes)[1]

    def _changed(self, identifier: str, changes: Mapping[str, Any]) -> tuple[StoredPolicy, Policy]:
        stored = self.get(identifier)
        policy = change_policy(stored.policy, {**changes, "id": stored.policy.id})
        self.check_supported(policy)
        return stored, policy

    def delete(self, identifier: str, version: int | None = None) -> Policy | Damaged:
        """Delete a policy or damaged row, named as in :meth:`get`; raises ``Conflict`` if it was changed since."""
        stored = self._store.policies.find(identifier)
        if isinstance(stored, Damaged):
            self._store.policies.delete(stored)
            return stored
        self._store.policies.delete(stored, version)
        return stored.policy

    def delete_tagged(self, tags: TagFilter) -> list[Policy]:
        """Delete all policies with tags, and return them; raises ``InvalidInput`` without tags: that would mean all."""
        if not tags:
            raise InvalidInput("tags", "none given", "name the tags of the policies to delete")
        chosen = [stored for stored in self() if tags.fits(stored.policy.tags)]
        for stored in chosen:
            self._store.policies.delete(stored)
        return [stored.policy for stored in chosen]

    def tags(self) -> list[str]:
        """All tags in use, sorted."""
        return sorted({tag for stored in self() for tag in stored.policy.tags})

    def apply(
        self, wanted: Sequence[Policy], *, prune: bool = False, tags: TagFilter | None = None, dry_run: bool = False
    ) -> list[Change]:
        """
        Make the stored policies what a file says.

        :param wanted: The policies of the file, see :func:`cratedb_retention.model.policies.file.parse_policies`.
        :param prune: Whether stored policies that the file lacks are deleted.
        :param tags: Only stored policies with these tags are pruned.
        :param dry_run: Whether to only tell what would change.
        :return: What changed, or would change.
        :raises InvalidInput: if the file has the same rule twice; :class:`NotFound` if no policy has these tags;
            :class:`Conflict` if another user changed a policy in the meantime.
        """
        for policy in wanted:
            self.check_supported(policy)
        stored = self()
        require_tags(tags or TagFilter(), (policy.tags for policy in (*wanted, *(item.policy for item in stored))))
        changes = find_changes(wanted, stored, prune, tags)
        if not dry_run:
            self.carry_out(changes)
        return changes

    def carry_out(self, changes: Iterable[Change]) -> None:
        """
        Make changes that :meth:`apply` found: deletions last, so that no data is left without its policy in between.
        Raises ``Conflict`` if another user changed a policy in the meantime.
        """
        store, changes = self._store.policies, list(changes)
        for change in changes:
            if change.stored and change.action is Action.UPDATE:
                store.update(change.policy, change.stored.version)
        store.create_all(change.policy for change in changes if change.action is Action.CREATE)
        for change in changes:
            if change.stored and change.action is Action.DELETE:
                store.delete(change.stored)

    def check_supported(self, policy: Policy) -> None:
        """
        Raises ``Unsupported`` if the database can't do what a policy's strategy needs, ``InvalidInput`` if its
        repository would have to be a directory and is not, or an attribute is too long to be stored.
        """
        database, traits = self._engine.capabilities, policy.strategy.traits
        if traits.archives and database.repositories_are_directories:
            why_not = why_no_directory(policy.target_repository_name or "")
            if why_not:
                raise InvalidInput("attribute target_repository_name", why_not)
        for name, value in policy_to_row(policy, 0, self._clock.now(), "").items():
            if isinstance(value, str) and not fits(value):
                raise InvalidInput(f"attribute {name}", f"is longer than {LONGEST:,} bytes", "say it in fewer words")
        if traits.moves and not database.reallocates:
            reason = f"{database.product} has no nodes to move data between"
            raise Unsupported(f"strategy {policy.strategy}", reason, "use CrateDB")

    def suggestions(self, policies: Iterable[Policy], limited: bool, chosen: Selector) -> Suggestions:
        """
        What can be named in a policy, found by a fixed number of statements.

        :param policies: What these policies say is suggested, too.
        :param limited: Whether only what these policies are about may be told.
        :param chosen: The tables whose columns are wanted.
        """
        own, policies = self._engine.capabilities, list(policies)
        outline = self._engine.read_outline(chosen)
        tables = [table for table in outline.tables if table.schema != self._store.schema]
        repositories = {policy.target_repository_name for policy in policies if policy.target_repository_name}
        moved = ((policy.reallocation_attribute_name, policy.reallocation_attribute_value) for policy in policies)
        pairs = {(name, value) for name, value in moved if name and value}
        if limited:
            known = frozenset(tables)
            named = ((policy.table_schema or own.default_schema, policy.table_name) for policy in policies)
            tables = sorted({table for name in named for table in find_tables(*name, known, own.folds_case)})
        else:
            repositories |= outline.repositories
            pairs |= {pair for attributes in outline.nodes.values() for pair in attributes.items()}
        columns = {name: column for table in tables for name, column in outline.tables[table].columns.items()}
        return Suggestions(
            default_schema=own.default_schema,
            tables=tuple(tables),
            columns=tuple(columns.values()),
            repositories=tuple(sorted(repositories)),
            attributes={
                name: tuple(value for _, value in same) for name, same in groupby(sorted(pairs), itemgetter(0))
            },
            tags=tuple(sorted({tag for policy in policies for tag in policy.tags})),
        )


class Holds(Part):
    """Legal holds; to call this is to list those in force."""

    def __call__(self) -> list[LegalHold]:
        """The holds in force."""
        return self._store.holds.active()

    def place(
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
        Keep data whatever the policies say, until it is released. Raises ``InvalidInput`` if the time range is empty.

        :param table_name: Name or pattern.
        :param where: Only data with these values.
        :param start: Only data in the time range [start, end) of aware instants.
        """
        schema = table_schema or self._connection.default_schema
        if not table_name.strip():
            raise InvalidInput("hold", "no table is named", "name one, or use a pattern such as *")
        if start and end and start >= end:
            raise InvalidInput("hold", "it ends before it begins", "swap the two instants")
        hold = LegalHold(
            id=str(uuid.uuid4()),
            table_schema=schema,
            table_name=table_name,
            where=dict(where or {}),
            start=None if start is None else to_ms(start),
            end=None if end is None else to_ms(end + _ALMOST_A_MILLISECOND),
            reason=reason,
            placed_by=self._connection.actor.name,
            placed_at=to_ms(self._clock.now()),
        )
        if not any(map(is_pattern, (schema, table_name))):
            table = find_table(self._engine, TableName(schema, table_name))
            if table is not None:
                hold = replace(hold, identity=self._engine.identify(table))
        self._store.holds.place(hold)
        return hold

    def release(self, identifier: str) -> LegalHold:
        """End a hold by its whole identifier; raises ``NotFound`` if there is none in force with it."""
        return self._store.holds.release(identifier)

    def tables(self, hold: LegalHold) -> list[TableName]:
        """The tables that a hold is on at present."""
        return self.tables_of([hold])[hold.id]

    def tables_of(self, holds: Iterable[LegalHold]) -> dict[str, list[TableName]]:
        """The tables that holds are on at present, by the hold's identifier; one look for all of them."""
        holds, own = list(holds), self._engine.capabilities
        selectors = dict.fromkeys(Selector(schema=hold.table_schema, name=hold.table_name) for hold in holds)
        tables = self._engine.read_catalog(list(selectors)).tables if selectors else {}
        return {
            hold.id: find_tables(hold.table_schema or own.default_schema, hold.table_name, tables, own.folds_case)
            for hold in holds
        }

    def is_exact(self, table_schema: str, table_name: str, where: Mapping[str, Value]) -> bool:
        """Whether a hold would hold just the rows with some values: if these can't be worked out, it holds all rows."""
        if is_pattern(table_schema) or is_pattern(table_name):
            return False
        tables = self._engine.read_catalog([Selector(schema=table_schema, name=table_name)]).tables
        return bool(tables) and all(try_bind_where(table, where) is not None for table in tables.values())
