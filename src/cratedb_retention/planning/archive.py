"""
The end of archives: which ones a run deletes for good, and why others stay.

An archive belongs to the policy that made it, as long as that policy is enabled and still covers its partition. In
doubt, as after a change of the table's partition columns, it belongs to no policy and is under every hold. What a
recoverable policy deleted is in an archive as well, which ends at a time of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from cratedb_retention.model.archive import Archived, SnapshotRecord, SnapshotStage
from cratedb_retention.model.catalog import Capabilities, Catalog, TableName, Value
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.plan.effect import total
from cratedb_retention.model.plan.plan import Blocked, DeleteSnapshot, Task, UpToDate
from cratedb_retention.model.plan.reasons import Reason, Why
from cratedb_retention.model.policies.patterns import find_tables
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.rollups.rollup import level_table
from cratedb_retention.model.time import TimeRange, TimeRanges, from_ms, to_ms
from cratedb_retention.planning.facts import Facts
from cratedb_retention.planning.targets import Undecided, coerce

_NAMED = 5  # Partitions that a blocked action names.
# Stages in which the partition may be in its table; it then needs its snapshot.
_STAYED = (SnapshotStage.CREATED, SnapshotStage.DROPPING, SnapshotStage.RESTORED)
_UNRESOLVED = (Why.NO_REPOSITORY, Why.ARCHIVE_NOT_ROLLED_UP, Why.EARLIER_STAYS)


class Ends:
    """
    When archives end by the enabled policies.

    :param policies: All policies of the database.
    """

    def __init__(self, policies: Iterable[Policy], own: Capabilities) -> None:
        enabled = sorted((policy for policy in policies if policy.enabled), key=lambda policy: policy.id or "")
        self._policies, self._own = [policy for policy in enabled if policy.strategy.traits.archives], own
        self._recoverable = [policy for policy in enabled if policy.recoverable is not None]

    def owner(self, record: SnapshotRecord) -> Policy | None:
        """The policy that made an archive, if it still covers its partition for sure."""
        makers = self._policies if record.recoverable_until is None else self._recoverable
        made_by = next((policy for policy in makers if policy.id == record.policy_id), None)
        covers = made_by is not None and self._covers(made_by, record.archived)
        return made_by if covers else None

    def keepers(self, archived: Archived) -> Iterator[Policy]:
        """The policies that archive a partition, in doubt as well."""
        return (policy for policy in self._policies if self._covers(policy, archived) is not False)

    def _covers(self, policy: Policy, archived: Archived) -> bool | None:
        named = find_tables(policy.table_schema, policy.table_name, [archived.table], self._own)
        return matches(policy.where, archived) if named else False

    def due(self, record: SnapshotRecord) -> int | None:
        """When a run deletes an archive (ms, UTC), unless it is blocked; None: never."""
        end, until = record.archived.end, record.recoverable_until
        ends = [] if until is None else [to_ms(until)]
        if self.owner(record) is None or (end is None and until is None):
            return None
        for policy in self.keepers(record.archived):
            due = None if end is None else _due(policy, end)
            if due is None:
                return None
            ends.append(due)
        return max(ends)


def _due(policy: Policy, end: int) -> int | None:
    try:
        due = policy.archive_due(from_ms(end))
    except OverflowError:
        return None
    return None if due is None else to_ms(due)


def matches(where: Mapping[str, Value], archived: Archived) -> bool | None:
    """Whether an archived partition has the values of a filter; None: that cannot be determined."""
    known, sure = {c.name: (c, v) for c, v in zip(archived.columns, archived.values, strict=True)}, True
    for name, wanted in where.items():
        try:
            column, value = known[name]
            if coerce(column, wanted) != value:
                return False
        except (KeyError, Undecided):
            sure = False
    return True if sure else None


def hold_on(archived: Archived, holds: Iterable[LegalHold], own: Capabilities) -> Reason | None:
    """The first legal hold on an archive, by table, values and time; in doubt, it is covered."""
    for hold in sorted(holds, key=lambda hold: hold.id):
        named = find_tables(hold.table_schema, hold.table_name, [archived.table], own)
        covered = any(matches(values, archived) is not False for values in hold.filters)
        if named and covered and hold.overlaps(archived.start, archived.end):
            return Why.LEGAL_HOLD(hold=hold)
    return None


def in_order(going: Iterable[SnapshotRecord]) -> list[SnapshotRecord]:
    """
    The order to delete snapshots in: superseded ones first. The rows of these are in another one of their partition,
    which is the only one that is restored.
    """
    return sorted(going, key=lambda record: record.stage is not SnapshotStage.SUPERSEDED)


def find_earlier(
    going: Collection[SnapshotRecord], records: Iterable[SnapshotRecord]
) -> dict[tuple[str, str], SnapshotRecord]:
    """
    For each snapshot to delete, by its key, a superseded one of its partition that is not deleted as well, if any: the
    last rows of a partition must not be in snapshots that count as superseded.
    """
    keys = {record.key for record in going}
    staying: dict[tuple[TableName, tuple[Value, ...]], SnapshotRecord] = {}
    for record in records:
        if record.stage is SnapshotStage.SUPERSEDED and record.key not in keys:
            staying.setdefault(record.partition, record)
    last = (record for record in going if record.stage is not SnapshotStage.SUPERSEDED)
    return {record.key: staying[record.partition] for record in last if record.partition in staying}


def find_ended(facts: Facts, ids: Collection[str | None]) -> dict[tuple[str, TableName], list[SnapshotRecord]]:
    """The archives whose period is over, by the policy that made them, one of these, and by table."""
    ends = Ends(facts.policies, facts.catalog.capabilities)
    found: dict[tuple[str, TableName], list[SnapshotRecord]] = {}
    for record in facts.archives:
        policy, end = ends.owner(record), record.archived.end
        if policy is None or policy.id not in ids:
            continue
        limit = policy.archive_limit(facts.cutoff)
        if record.recoverable_until is not None:
            end, limit = to_ms(record.recoverable_until), to_ms(facts.cutoff)
        if limit is not None and end is not None and end <= limit:
            found.setdefault((record.policy_id or "", record.archived.table), []).append(record)
    return found


def with_next_ends(up_to_date: Iterable[UpToDate], facts: Facts, ids: Collection[str | None]) -> Iterator[UpToDate]:
    """What is not due, and until when, with archives: also those of tables that do not exist any more."""
    own, ends = facts.catalog.capabilities, dict[tuple[str, TableName], int]()
    policies = {policy.id or "": policy for policy in facts.policies if policy.id in ids}
    for (policy_id, table), end in facts.archive_ends.items():
        policy = policies.get(policy_id)
        named = policy and find_tables(policy.table_schema, policy.table_name, [table], own)
        if not policy or not named:
            continue
        due = end if policy.recoverable is not None else _due(policy, end)
        if due is not None:
            ends[policy_id, table] = due
    for each in up_to_date:
        instants = (each.next_due, ends.pop((each.policy_id, each.table), None))
        next_due = min((instant for instant in instants if instant is not None), default=None)
        yield replace(each, next_due=next_due)
    for (policy_id, table), due in sorted(ends.items()):
        yield UpToDate(policy_id=policy_id, table=table, partitions=0, next_due=due)


def plan_ends(facts: Facts, table: TableName, ended: Sequence[SnapshotRecord]) -> Iterator[Task | Blocked]:
    """The verdicts on archives of one policy and table whose period is over."""
    ends = Ends(facts.policies, facts.catalog.capabilities)
    kept = {record.key: why for record in ended if (why := _why_needed(record, ends, facts))}
    free = [record for record in ended if record.key not in kept]
    for key, earlier in find_earlier(free, facts.archives).items():
        kept[key] = kept.get(earlier.key) or Why.EARLIER_STAYS(earlier=earlier.archived.name)
    waiting: dict[Reason, list[Archived]] = {}
    for record in (record for record in ended if record.key in kept):
        waiting.setdefault(kept[record.key], []).append(record.archived)
    for why, archives in sorted(waiting.items(), key=lambda item: str(item[0])):
        yield Blocked(
            policy_id=ended[0].policy_id,
            table=table,
            why=Why.ARCHIVE_STAYS(why=why),
            partitions=tuple(archived.partition for archived in archives[:_NAMED]),
            count=len(archives),
            needs_attention=why.why in _UNRESOLVED,
        )
    together: dict[tuple[Value, ...], list[SnapshotRecord]] = {}
    for record in (record for record in ended if record.key not in kept):
        together.setdefault(record.archived.values, []).append(record)
    for records in together.values():
        archives = [record.archived for record in in_order(records)]
        yield Task(
            policy_id=ended[0].policy_id,
            table=table,
            steps=tuple(DeleteSnapshot(archives=(archived,)) for archived in archives),
            why=_why_ended(records, ends),
            rows=total(archived.rows for archived in archives),
            size=total(archived.size for archived in archives),
            partitions=len(archives),
        )


def _why_ended(records: Sequence[SnapshotRecord], ends: Ends) -> Reason:
    """Why the archives of a partition are deleted."""
    due, last = max(ends.due(record) or 0 for record in records), in_order(records)[-1]
    if last.recoverable_until is not None:
        return Why.RECOVERABLE_ENDS(until=due)
    return Why.ARCHIVE_ENDS(end=last.archived.end, due=due)


def _why_needed(record: SnapshotRecord, ends: Ends, facts: Facts) -> Reason | None:
    """Why an archive whose period is over must stay; None if nothing needs it any more."""
    archived, end, catalog = record.archived, record.archived.end, facts.catalog
    if record.stage is SnapshotStage.RESTORING:
        return Why.BEING_RESTORED()
    if record.stage in _STAYED and may_be_in_table(archived, catalog):
        return Why.IN_TABLE()
    if hold := hold_on(archived, facts.holds, catalog.capabilities):
        return hold
    for policy in ends.keepers(archived):
        limit = policy.archive_limit(facts.cutoff)
        if limit is None or end is None or end > limit:
            return Why.ARCHIVED_LONGER(archiver=policy.id or "", period=policy.archive_period)
    if record.stage is not SnapshotStage.SUPERSEDED and (missing := _not_rolled_up(archived, facts)):
        return missing
    if not catalog.has_repository(archived.repository):
        return Why.NO_REPOSITORY(repository=archived.repository)
    return None


def may_be_in_table(archived: Archived, catalog: Catalog) -> bool:
    """Whether an archived partition is in its table by the catalog; in doubt, it is."""
    name = catalog.taken(archived.table)
    table = catalog.tables.get(name) if name else None
    if table is None:
        return name is not None
    unknown = table.closed or bool(table.flaw) or table.partitioned_by != tuple(c.name for c in archived.columns)
    return unknown or any(partition.values == archived.values for partition in table.partitions)


def _not_rolled_up(archived: Archived, facts: Facts) -> Reason | None:
    """Why a cascade still needs an archive: a level lacks a time range of it that it would keep until now."""
    own = facts.catalog.capabilities
    for policy in facts.policies:
        named = policy.enabled and find_tables(policy.table_schema, policy.table_name, [archived.table], own)
        for level in policy.levels if named and archived.table not in facts.catalog.rollups else ():
            name = level_table(archived.table, level.interval)
            known = facts.ledger.rollups.get(name)
            limit = level.retention_period.before(facts.cutoff, policy.zone)
            since = [None if limit is None else to_ms(limit), known.gone if known else None]
            start = max(each for each in (TimeRange.of(archived.start, None).start, *since) if each is not None)
            covered = [row.time for row in facts.ledger.of(name).stored] if known else []
            if TimeRanges([(start, archived.end or start)]) - covered:
                return Why.ARCHIVE_NOT_ROLLED_UP(level=name, cascade=policy.id or "")
    return None
