"""
The toolkit's own tables, in a schema of their own (``ext`` unless told otherwise).

Column names are the names of the attributes in code, options and files; those of policies follow from their attributes.
What is added also takes a step in `store/setup.py`, which adds it to an existing schema. `docs/reference/tables.md` is
made from this: from ``doc`` of a column, and from ``info["about"]`` of a table.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from cratedb_retention.model.attributes import Attribute, Form
from cratedb_retention.model.policy import ATTRIBUTES
from cratedb_retention.store.rows import LONGEST, Instant, Moment

DEFAULT_SCHEMA = "ext"
_OUTCOMES = "`done`, `failed`, `deferred`, `held`, `problem`, `cancelled` or `interrupted`"
_MODEL = sa.MetaData()


class Tables:
    """All tables of one schema. Where the database has partitions, the audit log has one for each month."""

    def __init__(self, schema: str, partitions: bool) -> None:
        self.metadata = metadata = sa.MetaData(schema=schema)
        self.policy, self.hold = copy_table(POLICY, metadata), copy_table(HOLD, metadata)
        self.snapshot, self.freeze = copy_table(SNAPSHOT, metadata), copy_table(FREEZE, metadata)
        self.rollup, self.ledger = copy_table(ROLLUP, metadata), copy_table(LEDGER, metadata)
        self.lease, self.job = copy_table(LEASE, metadata), copy_table(JOB, metadata)
        self.token, self.notice = copy_table(TOKEN, metadata), copy_table(NOTICE, metadata)
        self.version, self.journal = copy_table(VERSION, metadata), copy_table(JOURNAL, metadata)
        if partitions:
            of_time = sa.Computed("date_trunc('month', \"time\")")
            self.journal.append_column(sa.Column("month", Instant, of_time, doc="The month of `time`; CrateDB only."))
            self.journal.kwargs["crate_partitioned_by"] = "month"


def copy_table(table: sa.Table, metadata: sa.MetaData, name: str | None = None) -> sa.Table:
    found = table.to_metadata(metadata, schema=str(metadata.schema), name=name)
    found.info = table.info
    return found


def _own(name: str, about: str, *columns: sa.Column[Any]) -> sa.Table:
    return sa.Table(name, _MODEL, *columns, info={"about": about}, crate_number_of_shards=1)


def _column(attribute: Attribute) -> sa.Column[Any]:
    """Where an attribute is stored: an object as JSON, everything else as text that a person reads."""
    json = " A JSON object." if attribute.form in (Form.PAIRS, Form.PARTS) else ""
    kind = {Form.FLAG: sa.Boolean(), Form.LIST: sa.ARRAY(sa.Text)}.get(attribute.form, sa.Text())
    return sa.Column(
        attribute.name,
        kind,
        primary_key=attribute.name == "id",
        nullable=not attribute.required and attribute.name != "id",
        doc=attribute.description + json,
    )


def _long(name: str) -> sa.Column[str]:
    """Where a text is that is too long for its own column."""
    about = f"`{name}` of more than {LONGEST:,} bytes, which CrateDB can't index; NULL: it is shorter."
    return sa.Column(f"{name}_long", sa.Text, doc=about, crate_index=False, crate_columnstore=False)


POLICY = _own(
    "retention_policy",
    "Retention policies; read a row like a sentence.",
    *(_column(attribute) for attribute in ATTRIBUTES.values()),
    sa.Column("version", sa.Integer, nullable=False, doc="Grows with each change of the policy."),
    sa.Column("changed_at", Instant, doc="When the policy was last changed."),
    sa.Column("changed_by", sa.Text, doc="Who changed it last."),
    sa.Column("scheduled_at", Instant, doc="Since when it has this schedule; earlier slots are not made up for."),
)

JOURNAL = _own(
    "jobs_log",
    "The audit log: changes of policies, runs, steps and holds. Rows are only added.",
    sa.Column("time", Instant, nullable=False, doc="When it happened."),
    sa.Column("event", sa.Text, nullable=False, doc="What it is about: a policy, hold, restore, run or step."),
    sa.Column("outcome", sa.Text, doc=f"How it ended: {_OUTCOMES}."),
    sa.Column("table_schema", sa.Text, doc="The schema of the table concerned."),
    sa.Column("table_name", sa.Text, doc="The table concerned, or the pattern."),
    sa.Column("policy_id", sa.Text, doc="The policy concerned."),
    sa.Column("strategy", sa.Text, doc="Its strategy."),
    sa.Column("tags", sa.ARRAY(sa.Text), doc="Its tags."),
    sa.Column("operation", sa.Text, doc="The kind of step: `drop_partitions`, `snapshot_partition`, ..."),
    sa.Column("message", sa.Text, doc="What was done, and why, in words."),
    sa.Column("error", sa.Text, doc="What went wrong, or why it is held."),
    sa.Column("reason", sa.Text, doc="The code of `error`: `legal-hold`, `missing-shards`, `disk-full`, ..."),
    sa.Column("subjects", sa.Text, doc="Policies and holds of which `error` tells, and lease holders, as JSON."),
    sa.Column("partitions", sa.BigInteger, doc="Partitions concerned."),
    sa.Column("rows", sa.BigInteger, doc="Rows removed, moved, archived or restored, as far as known."),
    sa.Column("bytes", sa.BigInteger, doc="Bytes on disk concerned, as far as known."),
    sa.Column("duration_ms", sa.BigInteger, doc="How long the step took."),
    sa.Column("cutoff", Instant, doc="The instant that the run took for now."),
    sa.Column("before", sa.Text, doc="The policy before a change, as JSON; NULL if that is too long."),
    sa.Column("after", sa.Text, doc="The policy after a change, as JSON; NULL if that is too long."),
    sa.Column("actor", sa.Text, doc="Who did it: the operating system's user."),
    sa.Column("host", sa.Text, doc="On which machine."),
    sa.Column("run_id", sa.Text, doc="The run; all of its rows have the same."),
    sa.Column("step", sa.Integer, doc="The step's number in the run, from 1."),
    sa.Column("slot", Instant, doc="The instant of its schedule that a policy was run for."),
)

HOLD = _own(
    "retention_hold",
    "Holds: what must stay, whatever the policies say. A released hold stays in the table.",
    sa.Column("table_schema", sa.Text, doc="Name or pattern."),
    sa.Column("table_name", sa.Text, nullable=False, doc="Name or pattern."),
    sa.Column(
        "where", sa.Text, doc="Only data with these values, as a JSON object, or with one of several; NULL: all."
    ),
    sa.Column("start", Moment, doc="Only data from this instant on."),
    sa.Column("end", Moment, doc="Only data before this instant."),
    sa.Column("kind", sa.Text, nullable=False, doc="`legal`: placed by `hold`; `restored`: placed by `restore`."),
    sa.Column("reason", sa.Text, doc="For people."),
    sa.Column("placed_at", Moment, doc="When it was placed."),
    sa.Column("placed_by", sa.Text, doc="By whom."),
    sa.Column("released_at", Instant, doc="When it was released; NULL: it is in force."),
    sa.Column("released_by", sa.Text, doc="By whom."),
    sa.Column("id", sa.Text, primary_key=True, doc="The identifier."),
    sa.Column("table_identity", sa.Text, doc="Tells the table from others that get its name; NULL: unknown."),
    _long("where"),
)

SNAPSHOT = _own(
    "retention_snapshot",
    "What was archived, where, and how far.",
    sa.Column("name", sa.Text, primary_key=True, doc="The snapshot's name in its repository."),
    sa.Column("repository", sa.Text, primary_key=True, doc="The repository; a directory on DuckDB."),
    sa.Column("table_schema", sa.Text, nullable=False, doc="The schema of the table that was archived."),
    sa.Column("table_name", sa.Text, nullable=False, doc="The table that was archived."),
    sa.Column("partition", sa.Text, nullable=False, doc="The partition's columns, types and values, as JSON."),
    sa.Column("start", Moment, doc="The stretch of time that it covers, as far as known: from here on ..."),
    sa.Column("end", Moment, doc="... and before this instant."),
    sa.Column(
        "state",
        sa.Text,
        nullable=False,
        doc="`created`: the partition is still there; `archived`: dropped; `restored`: brought back; `dropping`, "
        "`restoring`: in between; `superseded`: a later snapshot holds its rows as well.",
    ),
    sa.Column("rows", sa.BigInteger, doc="Rows that were archived, if known."),
    sa.Column("bytes", sa.BigInteger, doc="Bytes on disk, if known."),
    sa.Column("policy_id", sa.Text, doc="The policy that asked for it."),
    sa.Column("tags", sa.ARRAY(sa.Text), doc="Its tags."),
    sa.Column("run_id", sa.Text, doc="The run that made it."),
    sa.Column("changed_at", Instant, doc="When `state` last changed."),
    sa.Column("token", sa.Text, doc="The change token of the partition, when archived or as it was brought back."),
    sa.Column("table_identity", sa.Text, doc="Tells the table from others that get its name; NULL: unknown."),
    sa.Column("verified_at", Instant, doc="When it was last read back by itself; NULL: never."),
    sa.Column("damage", sa.Text, doc="What was wrong then; NULL: all was right."),
)

FREEZE = _own(
    "retention_freeze",
    "Partitions that the toolkit froze, so that the next run knows what a killed one left.",
    sa.Column("table_schema", sa.Text, nullable=False, doc="The table's schema."),
    sa.Column("table_name", sa.Text, nullable=False, doc="The table."),
    sa.Column("partition", sa.Text, nullable=False, doc="The partition's columns, types and values, as JSON."),
    sa.Column("run_id", sa.Text, doc="The run that froze it."),
    sa.Column("frozen_at", Instant, doc="When."),
    sa.Column("id", sa.Text, primary_key=True, doc="A digest of table and partition."),
    sa.Column("table_identity", sa.Text, doc="Tells the table from others that get its name; NULL: unknown."),
)

ROLLUP = _own(
    "rollup",
    "The rollups that exist: one row for each level of a cascade on a table.",
    sa.Column("table_schema", sa.Text, primary_key=True, doc="The schema of the level's table."),
    sa.Column("table_name", sa.Text, primary_key=True, doc="The level's table."),
    sa.Column("source_schema", sa.Text, nullable=False, doc="The schema of the table with the raw rows."),
    sa.Column("source_name", sa.Text, nullable=False, doc="The table with the raw rows."),
    sa.Column("interval", sa.Text, nullable=False, doc="The length of its buckets."),
    sa.Column("retention_period", sa.Text, doc="How long it is kept."),
    sa.Column("policy_id", sa.Text, doc="The policy that asked for it."),
    sa.Column("definition", sa.Text, nullable=False, doc="What it is computed from and how, as JSON."),
    sa.Column("view", sa.Text, doc="The parts of the view, as JSON; at the finest level."),
    sa.Column("gone_until", Moment, doc="Before this instant rows of its table have expired."),
    sa.Column("changed_at", Instant, doc="When this row last changed."),
    _long("definition"),
    sa.Column("source_identity", sa.Text, doc="Tells that table from others that get its name; NULL: unknown."),
)

LEDGER = _own(
    "rollup_ledger",
    "What each window of each level was computed from, and whether it is sealed.",
    sa.Column("table_schema", sa.Text, primary_key=True, doc="The schema of the level's table."),
    sa.Column("table_name", sa.Text, primary_key=True, doc="The level's table."),
    sa.Column("start", Moment, primary_key=True, doc="The window: from here on ..."),
    sa.Column("end", Moment, nullable=False, doc="... and before this instant."),
    sa.Column("until", Moment, nullable=False, doc="Buckets that end here or before are computed."),
    sa.Column("whole", sa.Boolean, nullable=False, doc="Whether it was computed as a whole when last computed."),
    sa.Column("beneath_schema", sa.Text, nullable=False, doc="The schema of the table that it was computed from."),
    sa.Column("beneath_name", sa.Text, nullable=False, doc="The table that it was computed from."),
    sa.Column("token", sa.Text, nullable=False, doc="The change token of what it was computed from."),
    sa.Column("parts", sa.Text, doc="What each part of an open window was computed from."),
    sa.Column("rows", sa.BigInteger, doc="Raw rows beneath it."),
    sa.Column("groups", sa.BigInteger, doc="Rows of the level."),
    sa.Column("computed_at", Instant, doc="When it was computed."),
    sa.Column("sealed_at", Instant, doc="When its source was about to go; from then on it is never recomputed."),
    sa.Column("expired_at", Instant, doc="When its source was deleted by rows."),
    sa.Column("run_id", sa.Text, doc="The run that computed it."),
    _long("token"),
    _long("parts"),
)

TOKEN = _own(
    "access_token",
    "Access tokens of the HTTP API.",
    sa.Column("id", sa.Text, primary_key=True, doc="The identifier, a part of the token's text."),
    sa.Column("name", sa.Text, nullable=False, doc="For people; the journal names it."),
    sa.Column("role", sa.Text, nullable=False, doc="`viewer`, `operator`, `editor` or `admin`."),
    sa.Column("tags", sa.ARRAY(sa.Text), doc="Only policies with these tags, as `--tags` takes them; empty: all."),
    sa.Column("hash", sa.Text, nullable=False, doc="SHA-256 of the token's text, which is stored nowhere."),
    sa.Column("created_at", Instant, nullable=False, doc="When it was made."),
    sa.Column("created_by", sa.Text, doc="By whom."),
    sa.Column("expires_at", Instant, doc="From this instant on it is worth nothing; NULL: it does not expire."),
    sa.Column("revoked_at", Instant, doc="When it was revoked; NULL: it was not."),
    sa.Column("revoked_by", sa.Text, doc="By whom."),
)

LEASE = _own(
    "lease",
    "Who runs which policy, so that nobody else does (law 8), and what was last done.",
    sa.Column("policy_id", sa.Text, primary_key=True, doc="The policy."),
    sa.Column("holder", sa.Text, doc="Who runs it, as `user@host:process:random`; NULL: nobody."),
    sa.Column("run_id", sa.Text, doc="The run that it was last taken for."),
    sa.Column("slot", Instant, doc="The instant of its schedule that it was last taken for; NULL: by hand."),
    sa.Column("fence", sa.BigInteger, nullable=False, doc="Grows each time that it is taken."),
    sa.Column("taken_at", Instant, doc="When it was taken."),
    sa.Column("expires_at", Instant, doc="When it ends unless it is renewed, by the clock of the database."),
    sa.Column("done_slot", Instant, doc="The last instant of its schedule that was done."),
    sa.Column("finished_at", Instant, doc="When it was last run to its end."),
    sa.Column("outcome", sa.Text, doc=f"How that ended: {_OUTCOMES}."),
    sa.Column("succeeded_at", Instant, doc="When that last went well."),
    sa.Column("version", sa.BigInteger, nullable=False, doc="Grows with each change of the row."),
)

JOB = _own(
    "job_state",
    "What runs now, and how far it is. Only runs that last longer than a second are here.",
    sa.Column("run_id", sa.Text, primary_key=True, doc="The run."),
    sa.Column("policies", sa.ARRAY(sa.Text), doc="The policies that it has something to do for."),
    sa.Column("tags", sa.ARRAY(sa.Text), doc="Their tags."),
    sa.Column("actor", sa.Text, doc="Who started it."),
    sa.Column("host", sa.Text, doc="On which machine."),
    sa.Column("state", sa.Text, nullable=False, doc="`running` or `finished`."),
    sa.Column("outcome", sa.Text, doc=f"How it ended: {_OUTCOMES}."),
    sa.Column("started_at", Instant, doc="When it began."),
    sa.Column("heartbeat_at", Instant, doc="When this row was last written; one that is old is of a dead process."),
    sa.Column("finished_at", Instant, doc="When it ended."),
    sa.Column("expected_end", Instant, doc="When it may end, reckoned from what is done."),
    sa.Column("step", sa.Integer, doc="The number of the present step, from 1."),
    sa.Column("steps", sa.Integer, doc="How many steps there are."),
    sa.Column("table_name", sa.Text, doc="The table of the present step, with its schema."),
    sa.Column("doing", sa.Text, doc="The present step in words."),
    sa.Column("done", sa.BigInteger, doc="Units of the present step that are done."),
    sa.Column("total", sa.BigInteger, doc="Units of the present step in all, if known."),
    sa.Column("unit", sa.Text, doc="What is counted: `row`, `shard`, `partition`."),
    sa.Column("partitions_done", sa.BigInteger, doc="Partitions of tasks that are completed."),
    sa.Column("partitions", sa.BigInteger, doc="Partitions of all tasks, as planned."),
    sa.Column("rows_done", sa.BigInteger, doc="Rows of tasks that are completed, as far as known."),
    sa.Column("rows", sa.BigInteger, doc="Rows of all tasks, as planned, as far as known."),
    sa.Column("bytes_done", sa.BigInteger, doc="Bytes of tasks that are completed, as far as known."),
    sa.Column("bytes", sa.BigInteger, doc="Bytes of all tasks, as planned, as far as known."),
    sa.Column("cancel_by", sa.Text, doc="Who asked for its end."),
    sa.Column("cancel_at", Instant, doc="When."),
)

NOTICE = _own(
    "notification",
    "Of what somebody is told: failures and holds that last, until they are over.",
    sa.Column("id", sa.Text, primary_key=True, doc="What is the matter, and with what: `failed:POLICY`."),
    sa.Column("policy_id", sa.Text, nullable=False, doc="The policy concerned."),
    sa.Column("kind", sa.Text, nullable=False, doc="`failed` or `held`."),
    sa.Column(
        "state",
        sa.Text,
        nullable=False,
        doc="`waiting`: not for long enough; `due`: about to be told; `told`; `over`: its end is about to be told.",
    ),
    sa.Column("since", Instant, nullable=False, doc="Since when."),
    sa.Column("reason", sa.Text, doc="Why, in words."),
    sa.Column("claimed_until", Instant, doc="Until then one service tries to tell; then another one may."),
    sa.Column("version", sa.BigInteger, nullable=False, doc="Grows with each change of the row."),
)

VERSION = _own(
    "schema_version",
    "The steps by which `setup` brought these tables to their present version.",
    sa.Column(
        "version",
        sa.Integer,
        primary_key=True,
        autoincrement=False,
        doc="The version that the step leads to; it counts from 1.",
    ),
    sa.Column("name", sa.Text, nullable=False, doc="What it is about."),
    sa.Column("applied_at", Instant, nullable=False, doc="When it was done."),
)
