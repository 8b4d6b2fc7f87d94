"""
Creates and upgrades the toolkit's tables in ordered steps, each from one version of the schema to the next.

`setup` takes the missing steps and records each in the table ``schema_version``. A step creates only what does not
exist, so it can be repeated: an upgrade that was killed, or done twice at the same time, ends in the same state. A
schema of an early release, without that table, is recognised by its tables and columns.

A ``retention_policy`` table of cratedb-toolkit 0.1.1 (whole days as INTEGER, tags as OBJECT) is migrated without losing
a policy: its rows are copied to a table of the present layout, counted, and the two tables are swapped in one
statement. The old table remains as ``retention_policy_toolkit``. Policies that cratedb-toolkit never ran are disabled,
so that no data expires that it did not expire: it expects strategies in lower case, takes names literally, does not
quote columns, and supports only numbers and times as partition values.
"""

from __future__ import annotations

import datetime as dt
import itertools
import json
import re
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from cratedb_retention.clock import Actor
from cratedb_retention.engine.database import Database
from cratedb_retention.errors import Conflict, DatabaseError, InvalidInput, NotFound, RetentionError
from cratedb_retention.model.audit import Event
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.policies.patterns import is_pattern
from cratedb_retention.model.policies.policy import Policy, read_policy
from cratedb_retention.model.policies.tags import NOT
from cratedb_retention.model.policies.values import CutoffBy
from cratedb_retention.model.words import show_partition
from cratedb_retention.store.archive import text_to_partition
from cratedb_retention.store.policies import policy_to_row
from cratedb_retention.store.rollups.windows import pack
from cratedb_retention.store.tables import Tables, copy_table

POLICY, UPGRADE, LEGACY = "retention_policy", "retention_policy_upgrade", "retention_policy_toolkit"
JOURNAL_POLICY, JOURNAL_KEPT = "jobs-log", "1y"
_REMEDY = "run `cratedb-retention setup`"
# The columns of each table, with their types.
Layout = dict[str, Mapping[str, str]]
ACTOR = "cratedb-toolkit"
_PLAIN = (
    "table_schema",
    "table_name",
    "partition_column",
    "retention_period",
    "reallocation_attribute_name",
    "reallocation_attribute_value",
    "target_repository_name",
    "id",
)
_PARTITIONED = ("timestamp", "byte", "smallint", "integer", "bigint", "real", "double precision")
# Partition columns with their types, by schema and name of the table.
PartitionColumns = Mapping[tuple[str, str], Mapping[str, str]]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One change of the tables. A released step never changes, since existing schemas have taken it."""

    version: int  # The version of the schema after the step
    name: str
    tables: Sequence[str] = ()  # Tables that it creates, as described in `store/tables.py`
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)  # Columns that it adds to earlier tables
    # Done after columns are added and before tables are created. Must be repeatable, and must not rely on later steps.
    work: Callable[[_Upgrade], None] = lambda upgrade: None

    def is_seen_in(self, layout: Layout) -> bool:
        """Whether its tables and columns exist; always False for a step that adds neither."""
        made = {**dict.fromkeys(self.tables, ()), **self.columns}
        return bool(made) and all(table in layout and set(made[table]) <= set(layout[table]) for table in made)


def setup(database: Database, tables: Tables, now: dt.datetime, keeper: Actor | None, done: list[str]) -> None:
    """
    Create missing tables and upgrade old ones. Can be repeated, also after an interruption.

    :param keeper: Creates the policy for the audit log, in a new schema or one of a version without it; None: skip.
    :param done: A description of each change is appended to it at once, so that it survives an error.
    :raises InvalidInput: if a table of such a name is not the toolkit's; nothing is changed.
    :raises Conflict: if the tables are of a newer release; nothing is changed.
    """
    database.create_schema(str(tables.metadata.schema))
    _Upgrade(database, tables, now, keeper, done).finish()


def require(database: Database, tables: Tables, each: bool = False) -> None:
    """
    Check that the tables exist in the present version; ``each``: also check every table.

    :raises NotFound: if they are missing or older, with the remedy.
    :raises Conflict: if they are newer.
    """
    version = 0
    with suppress(NotFound):
        version = _read_version(database, tables)
    # Early releases recorded no version, and CrateDB returns no rows if shards are missing.
    layout = _read_own(database, tables) if each or not version else {}
    if not version:
        _require_there(layout, tables.policy)
        version = len(list(itertools.takewhile(lambda step: step.is_seen_in(layout), STEPS)))
    if version < STEPS[-1].version:
        older = f"has an older layout, version {version} of {STEPS[-1].version}"
        raise NotFound(f"schema {tables.metadata.schema}", older, f"{_REMEDY} to upgrade it")
    if each:
        _require_there(layout, *tables.metadata.sorted_tables)


def _require_there(layout: Layout, *tables: sa.Table) -> None:
    for table in tables:
        if table.name not in layout:
            raise NotFound(f"table {table.fullname}", "does not exist", f"{_REMEDY} first")


def _read_version(database: Database, tables: Tables) -> int:
    """The recorded version; 0 if there is none, NotFound without the table of versions."""
    found = database.rows(sa.select(sa.func.max(tables.version.c.version)))[0][0] or 0
    if found > STEPS[-1].version:
        newer = f"has a newer layout, version {found}; this program knows version {STEPS[-1].version}"
        raise Conflict(f"schema {tables.metadata.schema}", newer, "upgrade cratedb-retention")
    return int(found)


def _read_own(database: Database, tables: Tables) -> Layout:
    """The toolkit's tables. Raises Recovering if CrateDB does not know its tables yet after a start."""
    schema = str(tables.metadata.schema)
    layout = _read_layout(database, schema)
    if not layout:
        with suppress(NotFound):
            database.rows(sa.select(sa.func.count()).select_from(tables.policy))
            layout = _read_layout(database, schema)
    return layout


def _read_layout(database: Database, schema: str) -> Layout:
    found: dict[str, dict[str, str]] = {}
    for _, table, column, data_type in _ask(database, "columns", "column_name", "data_type", schemas=[schema]):
        found.setdefault(table, {})[column] = data_type
    return dict(found)


def _ask(database: Database, of: str, *names: str, schemas: Collection[str]) -> list[Sequence[Any]]:
    c = sa.table(of, *map(sa.column, ("table_schema", "table_name", *names)), schema="information_schema").c
    return database.rows(sa.select(*c).where(c.table_schema.in_(sorted(schemas))))


def _is_legacy(columns: Mapping[str, str]) -> bool:
    return columns.get("retention_period", "").lower() in ("integer", "bigint") and "version" not in columns


class _Upgrade:
    def __init__(
        self, database: Database, tables: Tables, now: dt.datetime, keeper: Actor | None, done: list[str]
    ) -> None:
        self.database, self.tables, self.now, self.keeper, self.done = database, tables, now, keeper, done
        self.schema = str(tables.metadata.schema)
        self.layout = _read_own(database, tables)
        self.version = 0
        if tables.version.name in self.layout:
            database.refresh(tables.version)
            self.version = _read_version(database, tables)

    def finish(self) -> None:
        tables = {table.name: table for table in self.tables.metadata.sorted_tables}
        for name, table in tables.items():
            # Every release of the toolkit created tables with the columns of their key.
            present = self.layout.get(name)
            missing = [key.name for key in table.primary_key if present is not None and key.name not in present]
            if missing:
                reason = f"exists already and is not the toolkit's: column {missing[0]} is missing"
                raise InvalidInput(f"table {table.fullname}", reason, "rename it, or choose another schema")
        self._create(self.tables.version)
        for step in STEPS:  # Earlier steps restore removed tables and columns.
            for name, columns in step.columns.items():
                for column in columns:
                    self._add(tables[name], column)
            if self.version < step.version:
                step.work(self)
            for name in step.tables:
                self._create(tables[name])
            if self.version < step.version:
                taken = {"version": step.version, "name": step.name, "applied_at": self.now}
                with suppress(Conflict):  # Another setup took it at the same time.
                    self.database.execute(sa.insert(self.tables.version).values(taken))
                self.done.append(f"schema {self.schema} is at version {step.version}: {step.name}")
        if self.database.kept is None:
            self.database.refresh(self.tables.version)

    def _create(self, table: sa.Table) -> None:
        if table.name not in self.layout:
            with suppress(Conflict):
                self.database.execute(sa.schema.CreateTable(table, if_not_exists=True))
            self.layout[table.name] = dict.fromkeys(table.columns.keys(), "")
            self.done.append(f"created {table.fullname}")

    def _add(self, table: sa.Table, column: str) -> None:
        if column in self.layout.get(
            table.name, {column: ""}
        ):  # A table that does not exist is created with all columns.
            return
        try:
            self.database.add_column(table, table.c[column])
        except RetentionError:
            if column not in _read_layout(self.database, self.schema).get(table.name, {}):
                raise
        self.layout[table.name] = {**self.layout[table.name], column: ""}
        self.done.append(f"added column {column} to {table.fullname}")


def _keep_journal(upgrade: _Upgrade) -> None:
    """Creates a policy for the audit log, once; no release without the table of leases had one."""
    tables, database, keeper = upgrade.tables, upgrade.database, upgrade.keeper
    if keeper is None or tables.lease.name in upgrade.layout:
        return
    about = {"strategy": "delete", "table_schema": upgrade.schema, "table_name": tables.journal.name}
    c = tables.policy.c
    with suppress(NotFound):  # A rehearsal creates no table.
        database.refresh(tables.policy)
        same = sa.and_(*(c[name] == value for name, value in about.items()))
        if database.rows(sa.select(c.id).where(sa.or_(c.id == JOURNAL_POLICY, same))):
            return
    policy = {
        **about,
        "retention_period": JOURNAL_KEPT,
        "time_column": "time",
        "schedule": "@daily",
        "id": JOURNAL_POLICY,
        "description": "The toolkit's own audit log. This policy may be changed or deleted; it is not created again.",
    }
    since = dict.fromkeys(("changed_at", "scheduled_at"), upgrade.now)
    with suppress(Conflict):
        database.execute(sa.insert(tables.policy).values({**policy, **since, "version": 1, "changed_by": keeper.name}))
    kept = f"{upgrade.schema}.{tables.journal.name} is kept for {JOURNAL_KEPT}"
    upgrade.done.append(f"created policy {JOURNAL_POLICY}: {kept}")
    who = {"time": upgrade.now, "actor": keeper.name, "host": keeper.host}
    what = {"event": Event.POLICY_CREATED, "policy_id": JOURNAL_POLICY, "after": json.dumps(policy)}
    database.execute(sa.insert(tables.journal).values({**who, **what, **about}))


def _note_verified(upgrade: _Upgrade) -> None:
    """Copies from the audit log when each snapshot was last read back, and its damage: only the log had it so far."""
    database, s, j = upgrade.database, upgrade.tables.snapshot.c, upgrade.tables.journal.c
    with suppress(NotFound):  # A rehearsal creates no table.
        database.refresh(upgrade.tables.snapshot, upgrade.tables.journal)
        snapshots = database.query(sa.select(s.name, s.repository, s.partition))
        entries = sa.select(j.message, j.time, j.error).where(j.event == str(Event.VERIFIED)).order_by(j.time)
        latest = {row["message"]: row for row in database.query(entries)} if snapshots else {}
        for row in snapshots:
            partition = show_partition(*text_to_partition(row["partition"]))
            found = latest.get(f"{partition} from {row['repository']}.{row['name']}")
            if found is not None:
                read = sa.update(upgrade.tables.snapshot).values(verified_at=found["time"], damage=found["error"])
                database.execute(read.where(s.name == row["name"], s.repository == row["repository"]))


def _pack_windows(upgrade: _Upgrade) -> None:
    """Makes ranges of sealed windows: each had a row of its own."""
    database, ledger = upgrade.database, upgrade.tables.ledger
    if database.kept is not None:  # A rehearsal adds no columns.
        return
    database.refresh(ledger)
    names = sa.select(ledger.c.table_schema, ledger.c.table_name).distinct()
    for name in database.rows(names.where(ledger.c.sealed_at.is_not(None))):
        pack(database, ledger, TableName(*name))


def _take_over(upgrade: _Upgrade) -> None:
    database, schema = upgrade.database, upgrade.schema
    if _is_legacy(upgrade.layout.get(POLICY, {})):
        try:
            _copy_and_swap(upgrade)
        except RetentionError:
            if _is_legacy(_read_layout(database, schema).get(POLICY, {})):
                raise  # Otherwise another setup did it.
        if database.kept is None:
            upgrade.layout = _read_layout(database, schema)
    for name, columns in upgrade.layout.items():
        if name.startswith(UPGRADE) and _is_legacy(columns):
            with suppress(NotFound, Conflict):
                database.rename_table(copy_table(upgrade.tables.policy, sa.MetaData(schema=schema), name), LEGACY)
        elif name.startswith(UPGRADE):
            database.drop(TableName(schema, name))


def _copy_and_swap(upgrade: _Upgrade) -> None:
    database, tables, schema = upgrade.database, upgrade.tables, upgrade.schema
    new = copy_table(tables.policy, sa.MetaData(schema=schema), f"{UPGRADE}_{uuid.uuid4().hex[:8]}")
    old = sa.table(POLICY, schema=schema)
    database.refresh(tables.policy)  # The old table has this name; a policy that is not visible yet would be lost.
    rows = database.query(sa.select(sa.literal_column("*")).select_from(old).order_by(sa.column("id")))
    layouts = {schema: _read_layout(database, schema) for schema in {row["table_schema"] for row in rows} - {None}}
    partitions = {
        (schema, table): {column: layouts[schema].get(table, {}).get(column, "") for column in by or ()}
        for schema, table, by in _ask(database, "tables", "partitioned_by", schemas=layouts)
    }
    taken = [take_over(row, partitions, upgrade.now) for row in rows]
    database.execute(sa.schema.CreateTable(new))
    for policy in taken:
        database.execute(sa.insert(new).values(**policy.row))
    if database.kept is None:
        database.refresh(new)
        if (count := database.count(new)) != len(rows):
            raise DatabaseError(f"table {new.fullname}", f"contains {count} of {len(rows)} policies", "run setup again")
        if not _is_legacy(_read_layout(database, schema).get(POLICY, {})):
            raise Conflict(f"table {tables.policy.fullname}", "was upgraded by another setup")
    database.swap_tables(new, tables.policy)
    upgrade.layout[new.name], upgrade.layout[POLICY] = upgrade.layout[POLICY], dict.fromkeys(new.columns.keys(), "")
    number = f"{len(rows)} policies of cratedb-toolkit, {sum(not policy.enabled for policy in taken)} of them disabled"
    upgrade.done += [f"upgraded {number}; the old table is {schema}.{LEGACY}", *(policy.words for policy in taken)]


@dataclass(frozen=True)
class TakenOver:
    """A migrated policy as it is stored, and a description of its changes."""

    row: Mapping[str, Any]
    words: str

    @property
    def enabled(self) -> bool:
        return self.row["enabled"] is not False


def take_over(row: Mapping[str, Any], partitions: PartitionColumns, now: dt.datetime) -> TakenOver:
    """Migrate a policy of cratedb-toolkit. One that it never ran, or that is invalid, is disabled."""
    known = {key: row[key] for key in _PLAIN if row.get(key) is not None} | {"strategy": row["strategy"]}
    present = sorted(tag for tag, value in (row.get("tags") or {}).items() if value is not None)
    tags = [tag for tag in present if tag.strip() and "," not in tag and not tag.strip().startswith(NOT)]
    attributes = {**known, "tags": tags, "cutoff_by": CutoffBy.DAY}
    dropped = [f"tag {tag!r} is dropped, since --tags cannot name it" for tag in present if tag not in tags]
    changes = dropped or ["unchanged"]
    try:
        policy = read_policy(attributes, stored=attributes)
    except InvalidInput as error:
        changes = [f"disabled: {error}", *dropped]
        stored = {
            **known,
            "tags": present,
            "table_name": row.get("table_name") or "",
            "retention_period": f"{row['retention_period']}d",
            "enabled": False,
            "description": f"Disabled by the migration from cratedb-toolkit: {error}",
            "version": 1,
            "changed_at": now,
            "changed_by": ACTOR,
        }
    else:
        reason = _why_never_run(row, policy, partitions)
        if reason is not None:
            why = f"cratedb-toolkit never ran it, since {reason}"
            changes = [f"disabled: {why}", *dropped]
            description = f"Disabled by the migration: {why}"
            policy = policy.model_copy(update={"enabled": False, "description": description})
        stored = policy_to_row(policy, 1, now, ACTOR)
    table = ".".join(str(row[key]) for key in ("table_schema", "table_name") if row.get(key) is not None)
    what = f"{row['strategy']} {table or '?'} after {row['retention_period']}d"
    return TakenOver(stored, f"policy {row['id']}: {what}: {'; '.join(changes)}")


def _why_never_run(row: Mapping[str, Any], policy: Policy, partitions: PartitionColumns) -> str | None:
    """Why cratedb-toolkit cannot have run a valid policy; None if it may have."""
    strategy, column, schema = row["strategy"], policy.partition_column or "", policy.table_schema or ""
    name, columns = schema + policy.table_name, partitions.get((schema, policy.table_name))
    known = columns or {}
    reasons = (
        (strategy != policy.strategy, f"it expects the strategy {policy.strategy}, not {strategy!r}"),
        (policy.table_schema is None, "the policy has no schema"),
        (is_pattern(name), "it takes * and ? literally"),
        (re.fullmatch("[a-z_][a-z0-9_]*", column) is None, f"it does not quote the column {column!r}"),
        (strategy == "snapshot" and name != name.lower(), "the name of a snapshot cannot contain capital letters"),
        (columns is not None and column not in known, f"the table is not partitioned by {column}"),
        (
            column in known and not known[column].startswith(_PARTITIONED),
            f"column {column} has type {known.get(column)}, which is neither a time nor a number",
        ),
        (
            strategy != "delete" and len(known) > 1,
            f"the table is partitioned by {', '.join(known)}, and the policy names only one of these columns",
        ),
    )
    return next((reason for is_so, reason in reasons if is_so), None)


STEPS = (
    Step(
        version=1,
        name="policies, audit log, holds and archives",
        tables=(POLICY, "jobs_log", "retention_hold", "retention_snapshot", "retention_freeze"),
        work=_take_over,
    ),
    Step(
        version=2,
        name="rollups",
        tables=("rollup", "rollup_ledger"),
        columns={
            POLICY: ("levels", "dimensions", "metrics", "exclude", "aggregates", "counters", "late"),
            "rollup_ledger": ("expired_at", "beneath_schema", "beneath_name"),
        },
    ),
    Step(
        version=3,
        name="schedules, leases and running jobs",
        tables=("lease", "job_state"),
        columns={POLICY: ("schedule", "misfire", "misfire_grace", "jitter", "scheduled_at"), "jobs_log": ("slot",)},
        work=_keep_journal,
    ),
    Step(version=4, name="access tokens and notifications", tables=("access_token", "notification")),
    Step(
        version=5,
        name="open windows, times as numbers, verified archives",
        columns={
            POLICY: ("time_unit", "deletions", "verify", "undated", "freeze", "cutoff_by"),
            "rollup": ("gone_until",),
            "rollup_ledger": ("parts",),
            "retention_snapshot": ("token",),
        },
    ),
    Step(
        version=6,
        name="identities of tables, long texts",
        columns={
            "retention_hold": ("table_identity", "where_long"),
            "retention_freeze": ("table_identity",),
            "retention_snapshot": ("table_identity",),
            "rollup": ("source_identity", "definition_long"),
            "rollup_ledger": ("token_long", "parts_long"),
        },
    ),
    Step(version=7, name="codes of reasons", columns={"jobs_log": ("reason", "subjects")}),
    Step(
        version=8,
        name="verified snapshots",
        columns={"retention_snapshot": ("verified_at", "damage")},
        work=_note_verified,
    ),
    Step(
        version=9,
        name="ranges of sealed windows",
        columns={"rollup_ledger": ("windows", "members")},
        work=_pack_windows,
    ),
    Step(version=10, name="last runs", tables=("last_run",)),
    Step(version=11, name="cascades at rest", columns={"rollup": ("at_rest",)}),
    Step(version=12, name="ends of archives", columns={POLICY: ("archive_period",)}),
    Step(
        version=13,
        name="compacting",
        columns={POLICY: ("compress", "merge", "read_only", "number_of_replicas")},
    ),
    Step(version=14, name="sessions of the pages", tables=("page_session",)),
    Step(
        version=15,
        name="undo",
        columns={POLICY: ("recoverable",), "retention_snapshot": ("recoverable_until",)},
    ),
    Step(version=16, name="budgets", columns={POLICY: ("max_size", "min_retention", "max_size_per")}),
    Step(version=17, name="users of OpenID Connect", columns={"page_session": ("subject", "name", "groups")}),
    Step(version=18, name="names of policies", columns={POLICY: ("name",)}),
)
