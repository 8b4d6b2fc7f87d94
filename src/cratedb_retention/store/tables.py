"""
The toolkit's own tables, in a schema of their own (``ext`` by default).

Columns are named as the attributes in code, options and files; those of policies follow from their attributes, and
those of some other tables from dataclasses. New tables and columns also need a step in `store/setup.py`, which adds
them to existing schemas. `docs/reference/tables.md` is made from ``doc`` of a column and ``info["about"]`` of a table.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import sqlalchemy as sa

from cratedb_retention.model.policies.attributes import Attribute, Form
from cratedb_retention.model.policies.policy import ATTRIBUTES
from cratedb_retention.model.runs import RunState
from cratedb_retention.store.audit import Entry
from cratedb_retention.store.notifications import Notice
from cratedb_retention.store.rows import LONGEST, Instant, Moment
from cratedb_retention.store.runs import Lease, RunOfPolicy

DEFAULT_SCHEMA = "ext"
LONG = "long"  # In ``info`` of a column for texts that are too long for an index.
_MODEL = sa.MetaData()
_TYPES: dict[Any, Any] = {int: sa.BigInteger, dt.datetime: Instant, tuple[str, ...]: sa.ARRAY(sa.Text)}
_SMALL = ("step", "steps")  # Integers of 32 bits.
_STEP = "The version of the schema after the step, from 1."
_VALUES = "Only data with these values, as a JSON object or an array of alternatives; NULL: all."
_STAGES = (
    "`created`: the partition still exists; `archived`: dropped; `restored`: restored; `dropping`, `restoring`, "
    "`deleting`: in between; `superseded`: a later snapshot contains its rows as well."
)
_IDENTITY = "Distinguishes the table from later ones of the same name; NULL: unknown."


class Tables:
    """All tables of one schema. If the database has partitions, the audit log has one for each month."""

    def __init__(self, schema: str, partitions: bool) -> None:
        self.metadata = metadata = sa.MetaData(schema=schema)
        self.policy, self.hold, self.snapshot, self.freeze, self.rollup, self.ledger = (
            copy_table(table, metadata) for table in (POLICY, HOLD, SNAPSHOT, FREEZE, ROLLUP, LEDGER)
        )
        self.lease, self.result, self.job, self.token, self.session, self.notice, self.version, self.journal = (
            copy_table(table, metadata) for table in (LEASE, RESULT, JOB, TOKEN, SESSION, NOTICE, VERSION, JOURNAL)
        )
        if partitions:
            self._add_options()

    def _add_options(self) -> None:
        """The options of CrateDB, for which SQLAlchemy imports its dialect."""
        for table in self.metadata.tables.values():
            table.kwargs["crate_number_of_shards"] = 1
            for column in table.columns.values():
                if column.info.get(LONG):
                    column.kwargs.update({"crate_index": False, "crate_columnstore": False})
        of_time = sa.Computed("date_trunc('month', \"time\")")
        self.journal.append_column(sa.Column("month", Instant, of_time, doc="The month of `time`; CrateDB only."))
        self.journal.kwargs["crate_partitioned_by"] = "month"


@lru_cache(maxsize=8)
def describe(schema: str, partitions: bool) -> Tables:
    """The tables of a schema, described once."""
    return Tables(schema, partitions)


def copy_table(table: sa.Table, metadata: sa.MetaData, name: str | None = None) -> sa.Table:
    found = table.to_metadata(metadata, schema=str(metadata.schema), name=name)
    found.info = table.info
    return found


def _own(name: str, about: str, *columns: sa.Column[Any]) -> sa.Table:
    return sa.Table(name, _MODEL, *columns, info={"about": about})


def _columns(kind: type, *, key: str = "", required: Collection[str]) -> Iterator[sa.Column[Any]]:
    """A column for each field of a dataclass that is annotated with a description, or several with several."""
    for name, hint in get_type_hints(kind, include_extras=True).items():
        if get_origin(hint) is Annotated:
            of, docs = get_args(hint)
            found = next((stored for known, stored in _TYPES.items() if of in (known, known | None)), sa.Text)
            stored, nullable = sa.Integer if name in _SMALL else found, name != key and name not in required
            for column, doc in docs.items() if isinstance(docs, dict) else [(name, docs)]:
                yield sa.Column(column, stored, primary_key=name == key, nullable=nullable, doc=doc)


def _column(attribute: Attribute) -> sa.Column[Any]:
    """The column of an attribute: objects as JSON, everything else as readable text."""
    json = " A JSON object." if attribute.form in (Form.PAIRS, Form.PARTS) else ""
    kind = {Form.FLAG: sa.Boolean(), Form.LIST: sa.ARRAY(sa.Text)}.get(attribute.form, sa.Text())
    key, doc = attribute.name == "id", attribute.description + json
    return sa.Column(attribute.name, kind, primary_key=key, nullable=not (attribute.required or key), doc=doc)


def _long(name: str) -> sa.Column[str]:
    """The column for texts that are too long for the column of this name."""
    about = f"`{name}` if it is longer than {LONGEST:,} bytes, which CrateDB cannot index; else NULL."
    return sa.Column(f"{name}_long", sa.Text, doc=about, info={LONG: True})


POLICY = _own(
    "retention_policy",
    "Retention policies: one row each.",
    *(_column(attribute) for attribute in ATTRIBUTES.values()),
    sa.Column("version", sa.Integer, nullable=False, doc="Grows with each change of the policy."),
    sa.Column("changed_at", Instant, doc="When the policy was last changed."),
    sa.Column("changed_by", sa.Text, doc="The user who changed it last."),
    sa.Column("scheduled_at", Instant, doc="When it got its schedule; earlier slots are not run."),
)

JOURNAL = _own(
    "jobs_log",
    "The audit log: changes of policies, runs, steps and holds. Rows are only added.",
    sa.Column("time", Instant, nullable=False, doc="The time of the entry."),
    *_columns(Entry, required=("event",)),
)

HOLD = _own(
    "retention_hold",
    "Holds: data that no policy may remove. A released hold stays in the table.",
    sa.Column("table_schema", sa.Text, doc="Name or pattern."),
    sa.Column("table_name", sa.Text, nullable=False, doc="Name or pattern."),
    sa.Column("where", sa.Text, doc=_VALUES),
    sa.Column("start", Moment, doc="Only data from this instant on."),
    sa.Column("end", Moment, doc="Only data before this instant."),
    sa.Column("kind", sa.Text, nullable=False, doc="`legal`: placed by `hold`; `restored`: placed by `restore`."),
    sa.Column("reason", sa.Text, doc="The reason that the user gave."),
    sa.Column("placed_at", Moment, doc="When it was placed."),
    sa.Column("placed_by", sa.Text, doc="The user who placed it."),
    sa.Column("released_at", Instant, doc="When it was released; NULL: it is in force."),
    sa.Column("released_by", sa.Text, doc="The user who released it."),
    sa.Column("id", sa.Text, primary_key=True, doc="The identifier."),
    sa.Column("table_identity", sa.Text, doc=_IDENTITY),
    _long("where"),
)

SNAPSHOT = _own(
    "retention_snapshot",
    "Snapshots: archived partitions and their states.",
    sa.Column("name", sa.Text, primary_key=True, doc="The snapshot's name in its repository."),
    sa.Column("repository", sa.Text, primary_key=True, doc="The repository: a name, directory or address."),
    sa.Column("table_schema", sa.Text, nullable=False, doc="The schema of the table that was archived."),
    sa.Column("table_name", sa.Text, nullable=False, doc="The table that was archived."),
    sa.Column("partition", sa.Text, nullable=False, doc="The partition's columns, types and values, as JSON."),
    sa.Column("start", Moment, doc="The time range that it covers, if known: from here on ..."),
    sa.Column("end", Moment, doc="... and before this instant."),
    sa.Column("state", sa.Text, nullable=False, doc=_STAGES),
    sa.Column("rows", sa.BigInteger, doc="Number of archived rows, if known."),
    sa.Column("bytes", sa.BigInteger, doc="Bytes on disk, if known."),
    sa.Column("policy_id", sa.Text, doc="The policy that archived it."),
    sa.Column("tags", sa.ARRAY(sa.Text), doc="The tags of the policy."),
    sa.Column(
        "run_id", sa.Text, doc="The run that archived it; from then on, the one that dropped its partition last."
    ),
    sa.Column("changed_at", Instant, doc="When `state` last changed."),
    sa.Column("token", sa.Text, doc="The change token of the partition when archived, or after the restore."),
    sa.Column("table_identity", sa.Text, doc=_IDENTITY),
    sa.Column("verified_at", Instant, doc="When `verify-snapshots` last read it back; NULL: never."),
    sa.Column("damage", sa.Text, doc="The damage found then; NULL: it was intact."),
    sa.Column(
        "recoverable_until",
        Instant,
        doc="Until when what a recoverable policy deleted can be brought back; NULL: an archive of `snapshot`.",
    ),
)

FREEZE = _own(
    "retention_freeze",
    "Frozen partitions, so that the next run can unfreeze those of a killed run.",
    sa.Column("table_schema", sa.Text, nullable=False, doc="The table's schema."),
    sa.Column("table_name", sa.Text, nullable=False, doc="The table."),
    sa.Column("partition", sa.Text, nullable=False, doc="The partition's columns, types and values, as JSON."),
    sa.Column("run_id", sa.Text, doc="The run that froze it."),
    sa.Column("frozen_at", Instant, doc="When it was frozen."),
    sa.Column("id", sa.Text, primary_key=True, doc="A digest of table and partition."),
    sa.Column("table_identity", sa.Text, doc=_IDENTITY),
)

ROLLUP = _own(
    "rollup",
    "Existing rollups: one row for each level of a cascade.",
    sa.Column("table_schema", sa.Text, primary_key=True, doc="The schema of the level's table."),
    sa.Column("table_name", sa.Text, primary_key=True, doc="The level's table."),
    sa.Column("source_schema", sa.Text, nullable=False, doc="The schema of the table with the raw rows."),
    sa.Column("source_name", sa.Text, nullable=False, doc="The table with the raw rows."),
    sa.Column("interval", sa.Text, nullable=False, doc="The length of its buckets."),
    sa.Column("retention_period", sa.Text, doc="How long its rows are kept."),
    sa.Column("policy_id", sa.Text, doc="The policy that it belongs to."),
    sa.Column("definition", sa.Text, nullable=False, doc="Source, columns, metrics and intervals, as JSON."),
    sa.Column("view", sa.Text, doc="The parts of the view, as JSON; only at the finest level."),
    sa.Column("gone_until", Moment, doc="Rows of its table before this instant have expired."),
    sa.Column("changed_at", Instant, doc="When this row last changed."),
    _long("definition"),
    sa.Column("source_identity", sa.Text, doc="Distinguishes the source from later tables of its name; NULL: unknown."),
    sa.Column("at_rest", sa.Text, doc="Until when nothing is due if no table changes, as JSON; at the finest level."),
)

LEDGER = _own(
    "rollup_ledger",
    "The windows of each level: what they were computed from, and whether they are sealed. Consecutive windows that "
    "were computed or sealed together are one row: a range.",
    sa.Column("table_schema", sa.Text, primary_key=True, doc="The schema of the level's table."),
    sa.Column("table_name", sa.Text, primary_key=True, doc="The level's table."),
    sa.Column("start", Moment, primary_key=True, doc="The window or range: from here on ..."),
    sa.Column("end", Moment, nullable=False, doc="... and before this instant."),
    sa.Column("until", Moment, nullable=False, doc="Buckets that end at this instant or before are computed."),
    sa.Column("whole", sa.Boolean, nullable=False, doc="Whether its last computation covered the whole window."),
    sa.Column(
        "beneath_schema", sa.Text, nullable=False, doc="The schema of its source: the raw rows or the finer level."
    ),
    sa.Column("beneath_name", sa.Text, nullable=False, doc="The table of its source."),
    sa.Column("token", sa.Text, nullable=False, doc="The change token of the source when it was computed."),
    sa.Column("parts", sa.Text, doc="The change tokens of the parts of an open window."),
    sa.Column("rows", sa.BigInteger, doc="Number of raw rows that it summarizes."),
    sa.Column("groups", sa.BigInteger, doc="Number of rows of the level."),
    sa.Column("computed_at", Instant, doc="When it was computed."),
    sa.Column("sealed_at", Instant, doc="When its source was about to be removed; it is never computed again."),
    sa.Column("expired_at", Instant, doc="When the rows of its source were deleted."),
    sa.Column("run_id", sa.Text, doc="The run that computed it."),
    _long("token"),
    _long("parts"),
    sa.Column("windows", sa.BigInteger, doc="Number of windows of a range; NULL: one window."),
    sa.Column(
        "members",
        sa.Text,
        doc="The end, change token, `rows` and `groups` of each window of a range, as JSON; only the length of windows "
        "if their own rows have expired.",
        info={LONG: True},
    ),
)

TOKEN = _own(
    "access_token",
    "Access tokens of the HTTP API.",
    sa.Column("id", sa.Text, primary_key=True, doc="The identifier: a part of the token's text."),
    sa.Column("name", sa.Text, nullable=False, doc="The name, as shown in the audit log."),
    sa.Column("role", sa.Text, nullable=False, doc="`viewer`, `operator`, `editor` or `admin`."),
    sa.Column(
        "tags",
        sa.ARRAY(sa.Text),
        doc="The scope: only policies with these tags, in the syntax of `--tags`; empty: all.",
    ),
    sa.Column("hash", sa.Text, nullable=False, doc="SHA-256 of the token's text, which is not stored."),
    sa.Column("created_at", Instant, nullable=False, doc="When it was created."),
    sa.Column("created_by", sa.Text, doc="The user who created it."),
    sa.Column("expires_at", Instant, doc="It is invalid from this instant on; NULL: it does not expire."),
    sa.Column("revoked_at", Instant, doc="When it was revoked; NULL: it was not."),
    sa.Column("revoked_by", sa.Text, doc="The user who revoked it."),
)

SESSION = _own(
    "page_session",
    "Sessions of the pages: who is logged in.",
    sa.Column("id", sa.Text, primary_key=True, doc="SHA-256 of the session's name, which only its cookie has."),
    sa.Column(
        "token_id", sa.Text, nullable=False, doc="The access token that it began with; empty: OpenID Connect instead."
    ),
    sa.Column("begun_at", Instant, nullable=False, doc="When it began."),
    sa.Column("used_at", Instant, nullable=False, doc="When it was last used, to within five minutes."),
    sa.Column("subject", sa.Text, doc="The user's identifier at the provider of OpenID Connect."),
    sa.Column("name", sa.Text, doc="The user's name there."),
    sa.Column("groups", sa.ARRAY(sa.Text), doc="Those of the user's groups that had a grant at the log-in."),
)

LEASE = _own(
    "lease",
    "Leases: the run that holds each policy, so that no other one runs it (law 8), and its last result.",
    *_columns(Lease, key="policy_id", required=("fence", "version")),
)

RESULT = _own(
    "last_run",
    "The last run of each policy: what failed or was blocked, and why.",
    *_columns(RunOfPolicy, key="policy_id", required=("run_id", "ended_at", "blocked", "needs_attention", "failed")),
)

JOB = _own(
    "job_state",
    "Present runs and their progress. Only runs that last longer than a second have a row.",
    *_columns(RunState, key="run_id", required=("state",)),
)

NOTICE = _own(
    "notification",
    "Notifications: failures, and actions that are blocked for long, until they are over.",
    sa.Column("id", sa.Text, primary_key=True, doc="Kind and policy, such as `failed:POLICY`."),
    *_columns(Notice, required=("policy_id", "kind", "state", "since", "version")),
)

VERSION = _own(
    "schema_version",
    "The steps by which `setup` brought these tables to their present version.",
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False, doc=_STEP),
    sa.Column("name", sa.Text, nullable=False, doc="A description of the step."),
    sa.Column("applied_at", Instant, nullable=False, doc="When the step was taken."),
)
