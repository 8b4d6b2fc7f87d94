"""The stored policies."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from cratedb_retention.api.connection import Part
from cratedb_retention.api.runs import Schedule
from cratedb_retention.errors import InvalidInput, Unsupported
from cratedb_retention.execution.overview.lines import Listing
from cratedb_retention.execution.plan.preparing import Selection, require_tags
from cratedb_retention.execution.policies import Action, Change, find_changes
from cratedb_retention.model.archive import why_no_repository
from cratedb_retention.model.catalog import Capabilities, Column, Kind, Selector, TableName
from cratedb_retention.model.policies.attributes import Suggestions
from cratedb_retention.model.policies.lifecycle import Lifecycle, find_lifecycles
from cratedb_retention.model.policies.patterns import find_tables, is_pattern
from cratedb_retention.model.policies.policy import Policy, change_policy, make_policy
from cratedb_retention.model.policies.strategies import Strategy
from cratedb_retention.model.policies.tags import TagFilter
from cratedb_retention.model.rollups.rollup import sketch_table
from cratedb_retention.model.words import write_value
from cratedb_retention.store.policies import Damaged, StoredPolicy, policy_to_row
from cratedb_retention.store.rows import LONGEST, fits


class Policies(Part):
    """The stored policies; calling it lists them."""

    def __call__(self, selection: Selection | None = None) -> list[StoredPolicy]:
        """The chosen policies, by table; raises ``NotFound`` if a policy does not exist, or none has these tags."""
        return self.read(selection, required=True)[0]

    def read(
        self, selection: Selection | None = None, required: bool = False
    ) -> tuple[list[StoredPolicy], list[Damaged]]:
        """
        The chosen policies, and the chosen rows that are not valid policies.

        :param required: Raise ``NotFound`` if a policy does not exist, or none has these tags.
        """
        stored, damaged = self._store.policies.all()
        chosen = selection or Selection()
        if required:
            chosen.require((item.policy for item in stored), damaged)
        return [item for item in stored if chosen.fits(item.policy)], [row for row in damaged if chosen.fits_row(row)]

    def damaged(self, selection: Selection | None = None) -> list[Damaged]:
        """The chosen rows of the policy table that are not valid policies."""
        return self.read(selection)[1]

    def get(self, identifier: str) -> StoredPolicy:
        """A policy by its identifier, or by six characters of a generated one; raises ``NotFound`` if none exists."""
        return self._store.policies.get(identifier)

    def listing(self, stored: Sequence[StoredPolicy], damaged: Sequence[Damaged] = ()) -> Listing:
        """Stored policies with the time of the next run of each."""
        times = Schedule(self._connection).next_runs(item.policy.id for item in stored)
        return Listing(policies=stored, damaged=damaged, times=times, now=self._clock.now())

    def lifecycles(self, table: TableName | None = None) -> list[Lifecycle]:
        """
        The stages that data passes through as it ages, by the enabled policies: one for each table or pattern that they
        name, and each of its filters.

        :param table: Only this table, also if policies name it by a pattern; an empty schema is the default one.
        """
        return find_lifecycles((item.policy for item in self()), self._engine.capabilities, table)

    def create(self, **attributes: Any) -> Policy:
        """
        Store a new policy, given the attributes of :class:`Policy` as plain values; returns it with its identifier.

        :raises InvalidInput: if an attribute is invalid; :class:`Conflict` if such a policy exists already;
            :class:`Unsupported` if the database does not support the strategy.
        """
        return self._store.policies.create(self.make(**attributes))

    def make(self, **attributes: Any) -> Policy:
        """The policy that :meth:`create` would store. Writes nothing."""
        policy = make_policy(**attributes)
        self.check_supported(policy)
        self._store.policies.check_new([policy])
        return policy

    def edit(self, identifier: str, changes: Mapping[str, Any], version: int | None = None) -> Policy:
        """
        Change attributes of a policy, named as in :meth:`get`.

        :param changes: New values; None clears an attribute.
        :param version: The version that the change is based on; None: the present one.
        :raises InvalidInput: if an attribute is invalid; :class:`Conflict` if another user changed the policy since.
        """
        stored, policy = self._changed(identifier, changes)
        return self._store.policies.update(policy, stored.version if version is None else version)

    def edited(self, identifier: str, changes: Mapping[str, Any], version: int | None = None) -> Policy:
        """The policy that :meth:`edit` would store; raises as it. Writes nothing."""
        stored, policy = self._changed(identifier, changes)
        if version is not None:
            self._store.policies.require_version(stored.id, version)
        return policy

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
        """Delete all policies with these tags, and return them; raises ``InvalidInput`` without tags."""
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
        Change the stored policies to those of a file.

        :param wanted: The policies of the file, see :func:`cratedb_retention.model.policies.file.parse_policies`.
        :param prune: Delete stored policies that the file does not contain.
        :param tags: Prune only stored policies with these tags.
        :param dry_run: Only return the changes.
        :return: The changes, made or planned.
        :raises InvalidInput: if the file contains the same rule twice; :class:`NotFound` if no policy has these tags;
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
        Make changes that :meth:`apply` found: deletions last, so that no data is without its policy in between.
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
        Raises ``Unsupported`` if the database does not support a policy's strategy, ``InvalidInput`` if its repository
        cannot be one, or an attribute is too long.
        """
        database = self._engine.capabilities
        if policy.archives:
            name, directories = policy.target_repository_name or "", database.repositories_are_directories
            if why_not := why_no_repository(name, directories):
                raise InvalidInput("attribute target_repository_name", why_not)
        for name, value in policy_to_row(policy, 0, self._clock.now(), "").items():
            if isinstance(value, str) and not fits(value):
                raise InvalidInput(f"attribute {name}", f"is longer than {LONGEST:,} bytes", "shorten it")
        if reason := _why_not(database, policy.strategy):
            raise Unsupported(f"strategy {policy.strategy}", reason, "use CrateDB")

    def could_undo(self, policy: Policy) -> bool:
        """Whether a stored policy is the only one for its tables that deletes, and deletes beyond recovery."""
        if policy.archives or not policy.strategy.traits.removes:
            return False
        same = [item.policy for item in self() if item.policy.table == policy.table and item.policy.id != policy.id]
        return not any(other.strategy.traits.removes for other in same)

    def suggestions(
        self, policies: Iterable[Policy], limited: bool, chosen: Selector, columns: Collection[str] = ()
    ) -> Suggestions:
        """
        Suggested values for the attributes of a policy, read by a fixed number of statements.

        :param policies: Policies whose values are suggested, too.
        :param limited: Suggest only values and tables of these policies.
        :param chosen: Tables whose columns are suggested.
        :param columns: Columns whose values are suggested; each takes some statements more.
        """
        own, policies = self._engine.capabilities, list(policies)
        outline = self._engine.read_outline(chosen)
        tables = [table for table in outline.tables if table.schema != self._store.schema]
        repositories = {policy.target_repository_name for policy in policies if policy.target_repository_name}
        moved = ((policy.reallocation_attribute_name, policy.reallocation_attribute_value) for policy in policies)
        pairs = {(name, value) for name, value in moved if name and value}
        if limited:
            known = frozenset(tables)
            tables = sorted({t for p in policies for t in find_tables(p.table_schema, p.table_name, known, own)})
        else:
            repositories |= outline.repositories
            pairs |= {pair for attributes in outline.nodes.values() for pair in attributes.items()}
        known_columns = {name: column for table in tables for name, column in outline.tables[table].columns.items()}
        matches = find_tables(chosen.schema, chosen.name, frozenset(tables), own) if chosen.name else []
        if is_pattern(f"{chosen.schema or ''}{chosen.name}"):  # A pattern never matches a rollup.
            levels = {name for table in self._store.rollups.all() for name in (table, sketch_table(table))}
            matches = [table for table in matches if table not in levels]
        return Suggestions(
            default_schema=own.default_schema,
            tables=tuple(tables),
            columns=tuple(known_columns.values()),
            matches=tuple(matches),
            values={
                name: tuple(self._values(known_columns[name], matches[:1], policies, limited))
                for name in columns
                if name in known_columns
            },
            unsupported={str(each): reason for each in Strategy if (reason := _why_not(own, each))},
            repositories=tuple(sorted(repositories)),
            attributes={
                name: tuple(value for _, value in same) for name, same in groupby(sorted(pairs), itemgetter(0))
            },
            tags=tuple(sorted({tag for policy in policies for tag in policy.tags})),
        )

    def _values(
        self, column: Column, tables: Sequence[TableName], policies: Iterable[Policy], limited: bool
    ) -> list[str]:
        """Values of a column, as `where` writes them: those in policies, of partitions, or in a sample of the rows."""
        found = {write_value(policy.where[column.name]) for policy in policies if column.name in policy.where}
        if column.kind is Kind.TIME:
            return []
        for name in () if limited else tables:
            selector = Selector(schema=name.schema, name=name.name)
            table = self._engine.read_catalog([selector]).tables.get(name)
            if table is not None and column.name in table.partitioned_by:
                place = table.partitioned_by.index(column.name)
                found |= {write_value(partition.values[place]) for partition in table.partitions}
            else:
                found |= set(map(write_value, self._engine.sample(name, column)))
        return sorted(found)


def _why_not(database: Capabilities, strategy: Strategy) -> str:
    """Why a database does not support a strategy; empty if it does."""
    if strategy.traits.moves and not database.reallocates:
        return f"{database.product} has no nodes to move data between"
    if strategy.traits.compacts and not database.compacts:
        return f"{database.product} has no partitions of its own to compact"
    return ""
