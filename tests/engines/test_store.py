"""
The toolkit's own tables on both engines: policies come back as they went in, and nobody overwrites anybody.
"""

from __future__ import annotations

import datetime as dt
import json
import threading
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from cratedb_retention import Retention, Strategy, make_policy, parse_tag_filter
from cratedb_retention.clock import Actor
from cratedb_retention.engine.archive import SnapshotState
from cratedb_retention.engine.step import Report, StepResult
from cratedb_retention.errors import ClusterUnhealthy, Conflict, DiskFull, InvalidInput, NotFound, Unsupported
from cratedb_retention.execution.plan.preparing import Selection
from cratedb_retention.execution.plan.preview import ArchiveLine
from cratedb_retention.execution.policies import Action
from cratedb_retention.model.access import Access, Role, Visibility, shown_row
from cratedb_retention.model.archive import Archived, SnapshotRecord, SnapshotStage
from cratedb_retention.model.audit import Event, Outcome
from cratedb_retention.model.catalog import Column, Kind, Selector, TableName
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.plan.plan import Step
from cratedb_retention.model.plan.reasons import Why, read_subjects
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.rollups.aggregates import GAUGE
from cratedb_retention.model.rollups.cascade import parse_interval
from cratedb_retention.model.rollups.rollup import Count, Rollup, Window, level_table, make_metric
from cratedb_retention.store.archive import SnapshotFilter
from cratedb_retention.store.audit import Entry, JournalFilter, reason_values
from cratedb_retention.store.notifications import Notice, NoticeState
from cratedb_retention.store.policies import identity
from cratedb_retention.store.rows import LONGEST, cut, fits
from cratedb_retention.store.runs import RunOfPolicy
from support.databases import MONTH, TIME, CrateDatabase, Database, DuckDatabase, before_statements
from support.tiers import DECIDED

EVERYTHING: dict[str, Any] = {
    "strategy": "snapshot",
    "table_schema": "sch'ema %s",
    "table_name": "metrics_*",
    "retention_period": "1y2mo3d4h5m6s",
    "max_size": "1.5TiB",
    "min_retention": "1mo",
    "max_size_per": "policy",
    "cutoff_by": "day",
    "time_zone": "Europe/Vienna",
    "partition_column": "m['day']",
    "time_column": 'the "time"',
    "time_unit": "s",
    "where": {"tenant": "ac'me", "site": 7, "share": 0.5, "live": True, "none": None, "text": "7"},
    "tags": ["ünï", "b", "a b"],
    "archive_period": "7y",
    "target_repository_name": "repo",
    "verify": "metadata",
    "schedule": "0 3 * * *",
    "misfire": "skip",
    "misfire_grace": "2h",
    "jitter": "10m",
    "undated": "keep",
    "expected_max": {"partitions": 0, "rows": 10, "percent": 12.5},
    "enabled": False,
    "name": "Métriques: l'an dernier",
    "description": "Line one\nline two: 100 % \\ 'quoted'",
    "id": "my-id",
}
CASCADE: dict[str, Any] = {
    "levels": "1m:2y,1h:forever",
    "dimensions": ["ho'st"],
    "metrics": ["x", "y"],
    "exclude": ["z"],
    "aggregates": {"*": ["min", "max"], "y": ["percentiles"]},
    "counters": ["y"],
    "late": "drop",
    "deletions": "follow",
}
DOWNSAMPLE = {**EVERYTHING, **CASCADE, "strategy": "downsample"}
DELETE = {"strategy": "delete", "table_name": "metrics", "retention_period": "1d", "freeze": "never", "id": "d"}
RECOVERABLE = {**DELETE, "freeze": "allow", "recoverable": "1mo7d", "target_repository_name": "repo"}
for _name in ("where", "cutoff_by", "target_repository_name", "archive_period", "verify"):
    del DOWNSAMPLE[_name]


def test_setup_is_needed(new_db: Database) -> None:
    """Without its tables the toolkit says what to do."""
    with pytest.raises(NotFound, match="setup"):
        new_db.retention().policies()


def test_who_acts_for_somebody_else_closes_nothing(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is shared, and ends with the original: what is closed on behalf of somebody else goes on."""
    closed: list[str] = []
    monkeypatch.setattr(db.tool.engine, "close", lambda: closed.append("engine"))
    with db.tool.acting_as(Actor("somebody", "elsewhere")) as other:
        assert other.policies() == []
    db.tool.sibling().close()
    assert closed == []
    db.tool.close()
    assert closed == ["engine"]
    monkeypatch.undo()


def test_setup_twice(new_db: Database) -> None:
    """Setting up again changes nothing and loses nothing."""
    tool = new_db.retention()
    assert sum(line.startswith("created ") for line in tool.setup(journal_policy=False)) == 14
    policy = new_db.policy("delete", "metrics", "30d")
    assert tool.setup() == []
    assert [stored.policy for stored in tool.policies()] == [policy]


def test_setup_adds_what_is_missing(db: Database) -> None:
    """A table from which columns were removed gets them back, and keeps its rows."""
    policy = db.policy("delete", "metrics", "30d")
    for column in ("scheduled_at",):
        db.sql(f'ALTER TABLE {db.q("retention_policy", db.own_schema)} DROP COLUMN "{column}"')
    tool = db.retention()
    assert sorted(line.split()[2] for line in tool.setup()) == ["scheduled_at"]
    assert [stored.policy for stored in tool.policies()] == [policy]
    db.sql(f"DROP TABLE {db.q('notification', db.own_schema)}")
    with pytest.raises(NotFound, match=r"notification.* does not exist"):
        tool.probe()
    assert [line.rpartition(".")[2] for line in tool.setup()] == ["notification"]
    tool.probe()


@pytest.mark.parametrize(
    "attributes",
    [EVERYTHING, DOWNSAMPLE, DELETE, RECOVERABLE],
    ids=["snapshot", "downsample", "delete", "recoverable"],
)
def test_every_attribute(db: Database, attributes: dict[str, Any]) -> None:
    """Each attribute of a policy comes back as it went in."""
    policy = db.tool.create_policy(**attributes)
    (stored,) = db.tool.policies()
    assert stored.policy == policy == make_policy(**attributes)
    assert stored.policy.to_dict() == policy.to_dict()
    where = {"tenant": "ac'me", "site": "7", "share": "0.5", "live": "true", "none": None, "text": "7"}
    assert stored.policy.where == (where if "where" in attributes else {})
    unset = {name for name in type(policy).model_fields if name not in {**EVERYTHING, **CASCADE, **RECOVERABLE}}
    compact = {"compress", "merge", "read_only", "number_of_replicas"}
    assert unset == {"reallocation_attribute_name", "reallocation_attribute_value", *compact}


def test_stored_by_an_earlier_version(db: Database) -> None:
    """Values of any type, attributes of another strategy, and a period of nothing were accepted, and stay valid."""
    columns = '"where", strategy, table_name, retention_period, levels, late, target_repository_name, id, version'
    where = '{"site": 7, "live": true, "share": 0.5, "none": null}'
    values = f"'{where}', 'delete', 'metrics', '0d', '1h:1d', 'drop', 'cold', 'old', 1"
    db.sql(f"INSERT INTO {db.q('retention_policy', db.own_schema)} ({columns}) VALUES ({values})")
    db.refresh("retention_policy", db.own_schema)
    assert db.tool.damaged_policies() == []
    (stored,) = db.tool.policies()
    said: dict[str, Any] = {
        "strategy": "delete",
        "table_name": "metrics",
        "retention_period": "0d",
        "where": {"site": "7", "live": "true", "share": "0.5", "none": None},
        "id": "old",
    }
    assert stored.policy.to_dict() == said
    assert db.tool.edit_policy("old", {"enabled": False}).to_dict() == {**said, "enabled": False}
    assert db.tool.apply([make_policy(**{**said, "retention_period": "1d"})])[0].action is Action.UPDATE


def test_a_policy_that_is_the_same_is_not_read_again(duck: DuckDatabase) -> None:
    """A row that is as it was is the policy that it was; whatever else is different in it, is seen."""
    duck.policy("delete", "t", "30d", id="a", tags=["x"], where={"tenant": "acme"})
    duck.policy("delete", "t", "40d", id="b")
    first, again = ([item.policy for item in duck.tool.policies()] for _ in range(2))
    assert all(one is other for one, other in zip(first, again, strict=True))
    for change, shown in (("retention_period = '7d'", "7d"), ("tags = ['y']", "('y',)"), ('"where" = NULL', "{}")):
        duck.sql(f"UPDATE {duck.q('retention_policy', duck.own_schema)} SET {change} WHERE id = 'a'")
        changed, other = (item.policy for item in duck.tool.policies())
        assert shown in map(str, (changed.retention_period, changed.tags, changed.where))
        assert other is first[1]


def test_reallocate_policy(db: Database) -> None:
    """CrateDB takes policies that move data, DuckDB refuses them."""
    moves = {"reallocation_attribute_name": "storage", "reallocation_attribute_value": "cold"}
    if db.product == "DuckDB":
        moving = make_policy(strategy="reallocate", table_name="metrics", retention_period=30, **moves)
        db.policy("delete", "metrics", 30, id="p")
        for store in (
            lambda: db.policy("reallocate", "metrics", 30, **moves),
            lambda: db.tool.edit_policy("p", {"strategy": "reallocate", **moves}),
            lambda: db.tool.apply([moving]),
        ):
            with pytest.raises(Unsupported):
                store()
        assert [stored.policy.strategy for stored in db.tool.policies()] == ["delete"]
    else:
        policy = db.policy("reallocate", "metrics", 30, **moves)
        assert [stored.policy for stored in db.tool.policies()] == [policy]


def test_defaults(db: Database) -> None:
    """What was not said stays unsaid."""
    policy = db.tool.create_policy(strategy="delete", table_name="metrics", retention_period="30d")
    (stored,) = db.tool.policies()
    assert stored.policy == policy
    assert set(stored.policy.to_dict()) == {"strategy", "table_name", "retention_period", "id"}


def test_journal_of_changes(db: Database) -> None:
    """Each change is in the journal with who, before and after."""
    policy = db.policy("delete", "metrics", "30d", tags=["a"])
    key = policy.id or ""
    db.tool.edit_policy(key, {"retention_period": "60d"})
    db.tool.delete_policy(key)
    rows = {row["event"]: row for row in db.tool.journal(JournalFilter(policy_id=key[:8]))}
    assert set(rows) == {"policy-created", "policy-changed", "policy-deleted"}
    periods = {
        event: [json.loads(text)["retention_period"] if text else None for text in (row["before"], row["after"])]
        for event, row in rows.items()
    }
    assert periods == {
        "policy-created": [None, "30d"],
        "policy-changed": ["30d", "60d"],
        "policy-deleted": ["60d", None],
    }
    assert {(row["actor"], row["host"], tuple(row["tags"])) for row in rows.values()} == {("tester", "host", ("a",))}


def test_same_rule_twice(db: Database) -> None:
    """A second policy for the same data and strategy is refused, whatever its period."""
    db.policy("delete", "metrics", "30d")
    with pytest.raises(Conflict, match="already has the strategy"):
        db.policy("delete", "metrics", "60d")
    db.policy("delete", "metrics", "60d", where={"tenant": "acme"})
    assert len(db.tool.policies()) == 2


ONE = make_policy(strategy="delete", table_schema="s", table_name="t", retention_period="1d", where={"a": 1, "b": 2})


@pytest.mark.parametrize(
    ("more", "same"),
    [
        ({"retention_period": "2d", "tags": ["x"], "enabled": False, "id": "mine"}, True),
        ({"where": {"b": 2, "a": 1}}, True),
        ({"where": {"a": 1}}, False),
        ({"table_schema": "other"}, False),
        ({"strategy": "snapshot", "target_repository_name": "one"}, False),
    ],
)
def test_what_makes_a_rule(more: dict[str, Any], same: bool) -> None:
    """Two policies are the same rule if they do the same with the same data, whatever else they say."""
    assert (identity(make_policy(**{**ONE.to_dict(), **more})) == identity(ONE)) is same


@pytest.mark.parametrize(
    "attribute", ["target_repository_name", "reallocation_attribute_name", "reallocation_attribute_value"]
)
def test_where_data_goes_makes_a_rule(attribute: str) -> None:
    """The same data may be archived in two repositories, or moved to nodes with one or another attribute."""
    needs = {"reallocation_attribute_name": "storage", "reallocation_attribute_value": "cold"}
    if attribute == "target_repository_name":
        needs = {attribute: "one"}
    said = {"strategy": "snapshot" if len(needs) == 1 else "reallocate", "table_name": "t", "retention_period": "1d"}
    one, other = (make_policy(**said, **given) for given in (needs, {**needs, attribute: "other"}))
    assert identity(one) != identity(other)


@pytest.mark.parametrize("more", [{"number_of_replicas": "0"}, {"read_only": True}])
def test_how_data_is_kept_makes_a_rule(more: dict[str, Any]) -> None:
    """The same data may be compacted, and later have fewer replicas or be made read-only, by another policy."""
    said: dict[str, Any] = {"strategy": "compact", "table_name": "t", "retention_period": "1d", "merge": True}
    assert identity(make_policy(**said)) != identity(make_policy(**said, **more))


def test_same_identifier(db: Database) -> None:
    """An identifier is given once."""
    db.policy("delete", "a", "30d", id="mine")
    with pytest.raises(Conflict, match="taken"):
        db.policy("delete", "b", "30d", id="mine")
    assert len(db.journal(event="policy-created")) == 1


def test_new_policies_among_themselves(db: Database) -> None:
    """Of several that are stored at once, no two do the same or have one identifier; else none is stored."""
    for message, said in (
        ("policy mine: the identifier is taken", [{"table_name": name, "id": "mine"} for name in "ab"]),
        ("already has the strategy delete there", [{"table_name": "a", "id": key} for key in ("one", "two")]),
    ):
        policies = [make_policy(strategy="delete", retention_period="1d", **each) for each in said]
        with pytest.raises(Conflict, match=message):
            db.tool.store.policies.create_all(policies)
    assert db.tool.policies() == []


def test_a_schedule_that_was_written_by_sql(db: Database) -> None:
    """A policy of which it is not said whether it is enabled is enabled, for its schedule too."""
    columns = "strategy, table_name, retention_period, schedule, version, id, enabled"
    for key, enabled in (("unsaid", "NULL"), ("on", "TRUE"), ("off", "FALSE")):
        values = f"'delete', 'metrics', '7d', '@daily', 1, '{key}', {enabled}"
        db.sql(f"INSERT INTO {db.q('retention_policy', db.own_schema)} ({columns}) VALUES ({values})")
    db.refresh("retention_policy", db.own_schema)
    found = db.tool.store.policies.scheduled()
    assert {item.policy_id for item in found} == {"unsaid", "on"}
    assert {(str(item.misfire), item.grace.seconds, item.time_zone) for item in found} == {("catch-up", 3600, "UTC")}


def test_when_a_schedule_began(db: Database) -> None:
    """Another schedule, time zone or jitter begins a schedule, and so does enabling it; other changes do not."""
    policy = db.policy("delete", "metrics", "7d", schedule="@daily").id or ""
    began = [db.time.moment]
    changes = ({"retention_period": "8d"}, {"time_zone": "Asia/Tokyo"}, {"jitter": "1h"}, {"schedule": "@hourly"})
    for change in (*changes, {"description": "x"}, {"enabled": False}, {"enabled": True}):
        db.time.moment += dt.timedelta(hours=1)
        db.tool.edit_policy(policy, change)
        began += [item.since for item in db.tool.store.policies.scheduled() if item.since]
    hours = [(since - began[0]).total_seconds() / 3600 for since in began]
    assert hours == [0, 0, 2, 3, 4, 4, 7]


def test_of_two_services_one_tells(db: Database) -> None:
    """A notification changes only if it is as it was read, so that one of several services sends it."""
    notices, now = db.tool.store.notices, db.time.clock.now()
    new = Notice(policy_id="p", kind="failed", state=NoticeState.DUE, since=now)
    first = notices.change(None, new)
    assert first is not None
    assert notices.change(None, new) is None
    sent = replace(first, state=NoticeState.TOLD)
    assert notices.change(first, sent) is not None
    assert [notices.change(first, each) for each in (sent, None)] == [None, None]
    assert [each.state for each in notices.all().values()] == [NoticeState.TOLD]


def test_concurrent_edit(db: Database) -> None:
    """Of two who change the same version, the second one is told, and nothing of the first is lost."""
    policy = db.policy("delete", "metrics", "30d")
    key, other = policy.id or "", db.retention("somebody")
    version = other.policies()[0].version
    db.tool.edit_policy(key, {"retention_period": "60d"})
    with pytest.raises(Conflict, match="tester"):
        other.edit_policy(key, {"retention_period": "1d"}, version)
    with pytest.raises(Conflict):
        other.delete_policy(key, version)
    (stored,) = other.policies()
    assert (str(stored.policy.retention_period), stored.version) == ("60d", version + 1)
    assert len(db.journal(event="policy-changed")) == 1


def test_change_between_look_and_write(db: Database) -> None:
    """Even a change that comes right before the write is not overwritten."""
    policy = db.policy("delete", "metrics", "30d")
    store, other = db.tool.store.policies, db.retention("somebody")
    (stored,) = db.tool.policies()
    before = store._lock(policy.id or "", stored.version)
    other.edit_policy(policy.id or "", {"retention_period": "60d"})
    with pytest.raises(Conflict):
        store._conditionally(before, store._remove)
    assert len(db.tool.policies()) == 1


def test_edit_clears_an_attribute(db: Database) -> None:
    """None takes an attribute away."""
    policy = db.policy("delete", "metrics", "30d", time_column="ts", tags=["a"], description="x")
    changed = db.tool.edit_policy(policy.id or "", {"time_column": None, "tags": None, "description": None})
    assert (changed.time_column, changed.tags, changed.description) == (None, (), None)
    assert [stored.policy for stored in db.tool.policies()] == [changed]


def test_length_is_counted_in_bytes(db: Database) -> None:
    """What the database can't store is refused before, by the length that it has there."""
    db.policy("delete", "metrics", "30d", description="u" * 16_384)
    with pytest.raises(InvalidInput, match="attribute description: is longer than 32,766 bytes"):
        db.policy("delete", "others", "30d", description="ü" * 16_384)
    for text in ("u" * LONGEST, "u" * (LONGEST + 1), "ü" * LONGEST):
        assert fits(cut(text))
        assert cut(text).startswith(text[:10_000])


def test_edit_to_something_invalid(db: Database) -> None:
    """An edit that makes no valid policy changes nothing."""
    policy = db.policy("delete", "metrics", "30d")
    with pytest.raises(InvalidInput):
        db.tool.edit_policy(policy.id or "", {"strategy": "snapshot"})
    assert [(stored.policy, stored.version) for stored in db.tool.policies()] == [(policy, 1)]


MADE_UP = ("2af93f28-b5c8-4d0f-a4e2-a1b2c3d4e5f6", "2af93f29-b5c8-4d0f-a4e2-a1b2c3d4e5f6", "c0ffee" + "0" * 26)


def test_identifiers_by_prefix(db: Database) -> None:
    """An identifier that somebody chose is named as a whole; six characters are enough of one that was made up."""
    chosen = ("events-archive", "jobs-log", "abc-1", "abc", "x%y")
    for number, key in enumerate((*chosen, *MADE_UP)):
        db.policy("delete", f"t_{number}", "30d", id=key)
    for beginning in ("events", "events-", "j", "jobs-lo", "ab", "x", "%", "2af93", "c0ffe", "y"):
        with pytest.raises(NotFound):
            db.tool.edit_policy(beginning, {"retention_period": "1d"})
        with pytest.raises(NotFound):
            db.tool.delete_policy(beginning)
    with pytest.raises(InvalidInput, match="ambiguous, 2 match"):
        db.tool.delete_policy("2af93f")
    with pytest.raises(InvalidInput, match="no identifier"):
        db.tool.delete_policy("")
    assert db.tool.edit_policy("c0ffee", {"retention_period": "31d"}).id == MADE_UP[2]
    assert db.tool.delete_policy(MADE_UP[0][:8]).id == MADE_UP[0]
    assert db.tool.delete_policy("abc").id == "abc"
    left = {stored.policy.id: str(stored.policy.retention_period) for stored in db.tool.policies()}
    assert left == {**dict.fromkeys(("events-archive", "jobs-log", "abc-1", "x%y", MADE_UP[1]), "30d"),
        MADE_UP[2]: "31d"}  # fmt: skip


def test_identifiers_mean_themselves(db: Database) -> None:
    """The beginning of an identifier in the audit log is no pattern: percent sign and underscore are themselves."""
    for identifier in ("a_1", "ab1", "a%1"):
        db.policy("delete", identifier.replace("%", "x"), "30d", id=identifier)
    for wanted, found in (("a_", ["a_1"]), ("a%", ["a%1"]), ("%", []), ("_", []), ("a", ["a%1", "a_1", "ab1"])):
        rows = db.tool.journal(JournalFilter(policy_id=wanted))
        assert sorted(row["policy_id"] for row in rows) == found


def test_what_a_form_suggests(db: Database) -> None:
    """Tables of the database without the toolkit's own; with a scope, only tables and values of its own policies."""
    for name in ("acme_a", "acme_b", "other"):
        db.create(name, {"ts": TIME, "n": "TEXT"})
    db.insert("acme_a", [{"ts": "2024-01-01", "n": value} for value in ("x", "NULL", None, "x")])
    for name, repository in (("acme_*", "one"), ("other", "two")):
        db.policy("snapshot", name, "30d", target_repository_name=repository, tags=[repository])
    mine = [stored.policy for stored in db.tool.policies() if stored.policy.tags == ("one",)]
    chosen = Selector(schema=db.schema, name="acme_a")
    limited, whole = (db.tool.policies.suggestions(mine, limited=each, chosen=chosen) for each in (True, False))
    assert [table.name for table in limited.tables] == ["acme_a", "acme_b"]
    assert (limited.repositories, limited.tags) == (("one",), ("one",))
    assert [column.name for column in limited.columns] == ["ts", "n"]
    assert {"acme_a", "acme_b", "other"} <= {table.name for table in whole.tables if table.schema == db.schema}
    assert db.own_schema not in {table.schema for table in whole.tables}
    assert db.tool.policies.suggestions([], limited=True, chosen=chosen).tables == ()
    assert [table.name for table in whole.matches] == ["acme_a"]
    some = db.tool.policies.suggestions(mine, False, Selector(schema=db.schema, name="acme_*"), ["ts", "n", "nothing"])
    assert [table.name for table in some.matches] == ["acme_a", "acme_b"]
    assert some.values == {"ts": (), "n": ("'NULL'", "NULL", "x")}


def test_tables_beside_rollups(db: Database) -> None:
    """A table is listed as one with rollups, as one without, or not at all if it is a level or its distributions."""
    for name in ("metrics", "metrics_1h", "metrics_1h_sketch", "others"):
        db.create(name, {"ts": TIME, "n": "TEXT"})
    db.tool.store.rollups.register(a_level(db.schema), "1y", None)
    found = ([table.name for table in tables if table.schema == db.schema] for tables in db.tool.rollups.tables())
    assert tuple(found) == (["metrics"], ["others"])


def test_check_of_chosen_policies(db: Database) -> None:
    """Policies that are not chosen contradict nothing."""
    db.create("metrics", {"ts": TIME, "n": "TEXT"})
    db.policy("delete", "metrics", "30d", id="one", tags=["a"])
    db.policy("delete", "met*", "20d", id="other")
    assert db.tool.check()
    assert db.tool.check(Selection(policy_id="one")) == []
    assert db.tool.check(Selection(tags=parse_tag_filter(["a"]))) == []


def test_delete_by_tags(db: Database) -> None:
    """Both tags, either tag, and never without any."""
    for name, tags in (("a", ["x", "y"]), ("b", ["x"]), ("c", ["z"]), ("d", [])):
        db.policy("delete", name, "30d", tags=tags)
    assert db.tool.tags() == ["x", "y", "z"]
    with pytest.raises(InvalidInput):
        db.tool.delete_policies(parse_tag_filter([]))
    deleted = db.tool.delete_policies(parse_tag_filter(["x,y", "z"]))
    assert {policy.table_name for policy in deleted} == {"a", "c"}
    assert {stored.policy.table_name for stored in db.tool.policies()} == {"b", "d"}


def test_damaged_policy(db: Database) -> None:
    """A row that is no policy is a problem that runs report, unless disabled; the other policies are obeyed."""
    db.create("metrics", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    db.fill("metrics", ["2024-05-01T00:00:00Z", "2024-06-15T00:00:00Z"])
    db.policy("delete", "metrics", "30d")
    table = db.q("retention_policy", db.own_schema)
    damages = {"period": ("soon", None), "json": ("1d", "{"), "list": ("1d", "[1]"), "number": ("1d", "3")}
    for key, (period, where) in damages.items():
        columns = 'strategy, table_schema, table_name, retention_period, "where", id, version, enabled'
        for name, enabled in ((key, None), (f"{key}-disabled", False)):
            values = ["delete", db.schema, "metrics", period, where, name, 1, enabled]
            db.sql(f"INSERT INTO {table} ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
    db.refresh("retention_policy", db.own_schema)
    report = db.run()
    assert (report.needs_attention, report.partitions, report.ok) == (4, 1, False)
    (ended,) = db.journal(event="run-finished")
    assert (ended["outcome"], ended["message"].split(", ")[-1]) == ("needs-attention", "4 need attention")
    assert {row["policy_id"] for row in db.journal(event="blocked")} == set(damages)
    assert len(db.tool.policies()) == 1
    assert len(db.tool.check()) >= 4
    assert db.left("metrics") == ["2024-06-15T00:00:00Z"]


def test_damaged_policy_is_mended(db: Database) -> None:
    """A row that is no policy is listed with the reason, can't be edited, can be deleted, and stays in the journal."""
    new = {"strategy": "delete", "retention_period": "1d"}
    kept = db.policy("delete", "metrics", "30d")
    db.sql(
        f"INSERT INTO {db.q('retention_policy', db.own_schema)} (strategy, table_name, retention_period, id, version)"
        " VALUES ('delete', 'metrics', 'soon', 'damaged-1', 1)"
    )
    db.refresh("retention_policy", db.own_schema)
    (damaged,) = db.tool.damaged_policies()
    assert (damaged.id, damaged.row["retention_period"]) == ("damaged-1", "soon")
    assert damaged.target == TableName("", "metrics")
    with pytest.raises(
        InvalidInput, match="policy damaged-1: the stored policy is invalid: attribute retention_period"
    ):
        db.tool.edit_policy("damaged-1", {"retention_period": "3d"})
    with pytest.raises(Conflict, match="policy damaged-1: the identifier is taken"):
        db.tool.store.policies.create_all(
            [make_policy(**new, table_name="a"), make_policy(**new, table_name="b", id="damaged-1")]
        )
    assert db.tool.delete_policy("damaged-1") == damaged
    assert db.tool.damaged_policies() == []
    assert [stored.policy for stored in db.tool.policies()] == [kept]
    (entry,) = db.journal(event="policy-deleted")
    said = {"strategy": "delete", "table_name": "metrics", "retention_period": "soon"}
    expected = {**said, "id": "damaged-1", "version": 1}
    assert (json.loads(entry["before"]), entry["policy_id"]) == (expected, "damaged-1")
    assert (entry["table_name"], entry["strategy"], entry["after"]) == ("metrics", "delete", None)
    assert "retention_period" in entry["message"]


def test_apply(db: Database) -> None:
    """A file's policies are created, updated and, where wanted, deleted; once more changes nothing."""
    db.policy("delete", "a", "30d")
    db.policy("delete", "b", "30d")
    wanted = [
        make_policy(strategy="delete", table_schema=db.schema, table_name="a", retention_period="60d"),
        make_policy(strategy="delete", table_schema=db.schema, table_name="c", retention_period="1y"),
    ]
    shown = [change.action for change in db.tool.apply(wanted, prune=True, dry_run=True)]
    assert shown == [Action.UPDATE, Action.CREATE, Action.DELETE]
    assert len(db.tool.policies()) == 2
    assert [change.action for change in db.tool.apply(wanted, prune=True)] == shown
    assert {s.policy.table_name: str(s.policy.retention_period) for s in db.tool.policies()} == {"a": "60d", "c": "1y"}
    assert [change.action for change in db.tool.apply(wanted, prune=True)] == [Action.KEEP, Action.KEEP]
    another = wanted[0].model_copy(update={"id": "another"})
    assert [change.action for change in db.tool.apply([another], dry_run=True)] == [Action.CREATE]
    with pytest.raises(Conflict, match="already has the strategy delete there"):
        db.tool.apply([another])
    with pytest.raises(NotFound, match="no policy has it"):
        db.tool.apply(wanted, prune=True, tags=parse_tag_filter(["nosuch"]))


def test_apply_deletes_last(db: Database) -> None:
    """Where a new policy can't be stored, none was deleted: no data is without its policy."""
    old = db.policy("delete", "a", "30d")
    wanted = [make_policy(strategy="delete", table_schema=db.schema, table_name="b", retention_period="1y", id="b")]
    changes = db.tool.apply(wanted, prune=True, dry_run=True)
    taken = db.policy("delete", "c", "30d", id="b")
    with pytest.raises(Conflict):
        db.tool.policies.carry_out(changes)
    assert [stored.policy for stored in db.tool.policies()] == [old, taken]


@DECIDED
def test_apply_many(db: Database) -> None:
    """A thousand new policies cost a fixed number of reads; each is stored, and each is in the journal."""

    def policies(tables: range) -> list[Policy]:
        return [
            make_policy(strategy="delete", table_schema=db.schema, table_name=f"t_{i}", retention_period="60d")
            for i in tables
        ]

    db.tool.policies()
    counts = []
    for tables in (range(1), range(1, 1001)):
        with db.statements() as sent:
            db.tool.apply(policies(tables))
        counts.append(sum(statement.startswith("SELECT") for statement in sent))
        assert len(sent) < 30
    assert counts[0] == counts[1]
    assert {s.policy.table_name for s in db.tool.policies()} == {f"t_{i}" for i in range(1001)}
    entries = db.tool.journal(JournalFilter(event="policy-created", limit=2000))
    assert len({entry["policy_id"] for entry in entries}) == len(entries) == 1001
    with pytest.raises(Conflict, match="already has the strategy delete there"):
        db.tool.store.policies.create_all(policies(range(1000, 1003)))
    assert len(db.tool.policies()) == 1001


def test_policies_survive_the_connection(db: Database) -> None:
    """What was stored is there for whoever opens the database next."""
    policy = db.policy("delete", "metrics", "30d")
    db.tool.close()
    with Retention(db.uri, schema=db.own_schema, clock=db.time.clock) as again:
        assert [stored.policy for stored in again.policies()] == [policy]
        assert again.policies()[0].policy.strategy is Strategy.DELETE


def test_null_where_cratedb_says_nothing(crate: CrateDatabase) -> None:
    """A policy that somebody wrote by SQL with the least that is needed is a policy."""
    table = crate.q("retention_policy", crate.own_schema)
    crate.tool.policies()
    columns = "strategy, table_name, retention_period, id, version"
    crate.sql(f"INSERT INTO {table} ({columns}) VALUES ('delete', 'metrics', '7', 'mine', 1)")
    (stored,) = crate.tool.policies()
    assert (str(stored.policy.retention_period), stored.policy.enabled, stored.policy.tags) == ("7d", True, ())


def test_entries_that_could_not_be_written(db: Database) -> None:
    """What was noted for the audit log stays noted while it can't be written, and is written once."""
    journal = db.tool.store.journal
    journal.note(Entry(event=Event.STEP_STARTED, run_id="r", step=1))

    def refuse(statement: str) -> None:
        raise ConnectionError(statement)

    with before_statements(db.tool.engine.database.engine, refuse), pytest.raises(ConnectionError):
        journal.write(Entry(event=Event.STEP_FINISHED, run_id="r", step=1))
    for _ in range(2):
        journal.write(Entry(event=Event.STEP_FINISHED, run_id="r", step=2))
    assert [row["event"] for row in db.journal(run_id="r")][::-1] == ["step-started", "step-finished", "step-finished"]


def test_the_audit_log_of_a_period(db: Database) -> None:
    """Of two periods that meet in an instant, the later one has what was written at it, and the earlier one has not."""
    db.policy("delete", "before", "30d")
    db.time.set("2024-07-03T00:00:00+00:00")
    db.policy("delete", "at", "30d")
    now = db.time.clock.now()
    for wanted, found in ((JournalFilter(until=now), "before"), (JournalFilter(since=now), "at")):
        assert [row["table_name"] for row in db.tool.journal(wanted)] == [found]


def test_the_mark_of_the_audit_log(db: Database) -> None:
    """It changes with each entry, and each hour, so that what pages keep is never older than the last entry."""
    journal, marks = db.tool.store.journal, list[str]()
    for minute in (0, 0, 59):
        db.time.set(f"2024-07-02T00:{minute:02}:00+00:00")
        marks.append(journal.mark())
        assert journal.mark() == marks[-1]
        journal.write(Entry(event=Event.BLOCKED))
    marks.append(journal.mark())
    db.time.set("2024-07-02T01:00:00+00:00")
    marks.append(journal.mark())
    journal.write(Entry(event=Event.BLOCKED))
    marks.append(journal.mark())
    assert len(set(marks)) == len(marks), marks


def test_the_audit_log_of_a_scope(db: Database) -> None:
    """With a scope, a user sees entries about its policies, and own ones about no policy; not own ones about others."""
    about = {"a": ("acme",), "b": ("globex",), "c": ("acme", "globex"), "d": (), "e": None}
    db.tool.store.journal.write(*(Entry(event=Event.BLOCKED, run_id=r, tags=tags) for r, tags in about.items()))
    for actors, found in (({"tester"}, "ace"), ({"other"}, "ac")):
        wanted = JournalFilter(limited=parse_tag_filter(["acme"]), actors=frozenset(actors))
        assert "".join(sorted(row["run_id"] for row in db.tool.journal(wanted))) == found
    without = JournalFilter(tags=parse_tag_filter(["acme,not:globex"]))
    assert [row["run_id"] for row in db.tool.journal(without)] == ["a"]


def test_the_audit_log_of_a_step(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """It tells how long each step took, and which instant the run took for now."""
    db.create("t", {"ts": TIME, "n": "TEXT"})
    db.fill("t", ["2024-05-10", "2024-06-30"])
    db.policy("delete", "t", "30d")
    cutoff, perform = db.time.moment, db.tool.engine.perform

    def slowly(step: Step, report: Report) -> StepResult:
        db.time.moment += dt.timedelta(seconds=1.5)
        return perform(step, report)

    monkeypatch.setattr(db.tool.engine, "perform", slowly)
    run = db.run().run_id
    (step,) = db.journal(event="step-finished")
    assert (step["duration_ms"], step["rows"], step["operation"]) == (1500, 1, "delete_rows")
    assert [row["cutoff"] for row in db.journal(run_id=run)] == [cutoff] * 4


def test_steps_of_one_instant_keep_their_order(db: Database) -> None:
    """The audit log shows the last step first, also where all have the same time."""
    db.tool.store.journal.write(*(Entry(event=Event.STEP_FINISHED, run_id="r", step=step) for step in (2, 10, 1)))
    assert [row["step"] for row in db.tool.journal(JournalFilter(run_id="r"))] == [10, 2, 1]


def test_journal_without_room(duck: DuckDatabase, caplog: pytest.LogCaptureFixture) -> None:
    """Where no node has room for it, entries wait; those that may not are logged; all are added when there is room."""
    journal = duck.tool.store.journal
    full = [journal.table]
    real = journal._database.execute

    def execute(statement: sa.Executable, parameters: Any = None) -> int:
        if full:
            raise ClusterUnhealthy("CrateDB", "primary shard is not active")
        return real(statement, parameters)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal, "_unplaced", lambda: full)
        patch.setattr(journal._database, "execute", execute)
        journal.note(Entry(event=Event.BLOCKED, message="noted"))
        journal.write(Entry(event=Event.RUN_STARTED), later=True)
        journal.write(Entry(event=Event.STEP_STARTED), later=True)
        assert "not in the audit log" not in caplog.text
        with pytest.raises(DiskFull, match="no node has room for the shards of this month"):
            journal.write(Entry(event=Event.RUN_FINISHED))
        assert caplog.text.count("not in the audit log") == 4
        full.clear()
        journal.write(Entry(event=Event.VERIFIED))
    found = [row["event"] for row in duck.journal() if row["event"] != "policy-created"]
    assert sorted(found) == ["blocked", "run-finished", "run-started", "step-started", "verified"]


def test_frozen_partitions_of_tables_of_the_same_name(db: Database) -> None:
    """What is frozen is known by schema, table and partition; that one is thawed says nothing of its namesake."""
    freezes, month = db.tool.store.freezes, (Column(name="month", type=TIME, kind=Kind.TIME),)
    one, other = TableName("one", "metrics"), TableName("other", "metrics")
    assert [freezes.note(table, month, (0,)) for table in (one, other, one)] == [True, True, False]
    freezes.remove(one, [(0,)])
    assert freezes.all() == {(other, (0,)): ""}
    assert db.run().ok
    assert freezes.all() == {}, "the table is gone, and what was frozen of it"


def test_snapshots_of_the_same_name(db: Database) -> None:
    """A snapshot is known by repository and name: one of the same name in another repository is another one."""
    snapshots, table = db.tool.store.snapshots, TableName("doc", "metrics")
    for repository in ("one", "other"):
        archived = Archived(repository=repository, name="april", table=table, columns=(), values=(), rows=1)
        snapshots.add(SnapshotRecord(archived=archived, stage=SnapshotStage.CREATED, changed_at=db.time.moment))
    snapshots.mark("one", "april", SnapshotStage.ARCHIVED)
    found = {record.key: record.stage for record in snapshots.all()}
    assert found == {("one", "april"): SnapshotStage.ARCHIVED, ("other", "april"): SnapshotStage.CREATED}
    both = {("one", "april"), ("other", "april")}
    assert snapshots.taken(both) == {("one", "april")}
    assert snapshots.taken(both - {("one", "april")}) == snapshots.taken([]) == set()


def test_the_last_verification_counts(db: Database) -> None:
    """A snapshot that is read back without an error has no damage any more, such as after its repository was mended."""
    snapshots = db.tool.store.snapshots
    archived = Archived(repository="archive", name="april", table=TableName("doc", "metrics"), rows=1)
    snapshots.add(SnapshotRecord(archived=archived, stage=SnapshotStage.ARCHIVED, changed_at=db.time.moment))
    for damage in ("truncated", None):
        snapshots.verified(snapshots.all()[0], damage)
        line = ArchiveLine(record=snapshots.all()[0], state=SnapshotState(True, "SUCCESS"))
        assert (line.record.damage, line.condition) == (damage, "damaged" if damage else "complete")


def test_snapshots_of_restored_partitions(db: Database) -> None:
    """
    Only a partition with a known state that was restored from one snapshot is dropped with that snapshot again. The
    names of snapshots that are being deleted are taken.
    """
    snapshots, table = db.tool.store.snapshots, TableName("doc", "metrics")
    month = Column(name="month", type=TIME, kind=Kind.TIME)
    for name, start, token in (("a", 1, "t"), ("b", 2, "t"), ("c", 2, "t"), ("d", 3, None)):
        archived = Archived(repository="archive", name=name, table=table, columns=(month,), values=(start,))
        stage, now = SnapshotStage.RESTORED, db.time.moment
        snapshots.add(SnapshotRecord(archived=archived, stage=stage, changed_at=now, token=token))
    assert snapshots.restored() == ({(table, (1,), "t"): ("archive", "a")}, set())
    snapshots.mark("archive", "d", SnapshotStage.DELETING)
    assert snapshots.restored() == ({(table, (1,), "t"): ("archive", "a")}, {("archive", "d")})


def test_snapshots_of_tables_of_the_same_name(db: Database) -> None:
    """What is asked about the snapshots of a table is not answered by those of its namesake in another schema."""
    snapshots, tables = db.tool.store.snapshots, [TableName(schema, "metrics") for schema in ("one", "other")]
    for table in tables:
        archived = Archived(repository="archive", name=f"april of {table}", table=table, columns=(), values=(), rows=1)
        snapshots.add(SnapshotRecord(archived=archived, stage=SnapshotStage.CREATED, changed_at=db.time.moment))
    for table in tables:
        assert [record.archived.table for record in snapshots.of(table, SnapshotStage.CREATED)] == [table]


def test_which_snapshots_are_found(db: Database) -> None:
    """The database selects by each attribute alone; one whose time is unknown is of any time."""
    snapshots = db.tool.store.snapshots
    for name, table, repository, policy, tags, start, end in (
        ("a", TableName("doc", "metrics"), "one", "p", ("x",), 10, 20),
        ("ab", TableName("doc", "metrics_old"), "one", "q", ("x", "y"), 20, 30),
        ("c", TableName("lab", "Metrics"), "other", None, (), None, None),
        ("d", TableName("lab", "metrics1old"), "other", "p", ("z",), 30, 40),
    ):
        archived = Archived(repository=repository, name=name, table=table, start=start, end=end)
        record = SnapshotRecord(archived=archived, stage=SnapshotStage.ARCHIVED, changed_at=db.time.moment)
        snapshots.add(replace(record, policy_id=policy, tags=tags))
    for wanted, names in (
        (SnapshotFilter(), "a ab c d"),
        (SnapshotFilter(start=19), "a ab c d"),
        (SnapshotFilter(start=20), "ab c d"),
        (SnapshotFilter(end=21), "a ab c"),
        (SnapshotFilter(end=20), "a c"),
        (SnapshotFilter(table_name="metrics"), "a"),
        (SnapshotFilter(table_name="metrics", folds_case=True), "a c"),
        (SnapshotFilter(table_name="METRICS*", folds_case=True), "a ab c d"),
        (SnapshotFilter(table_name="metrics_*"), "ab"),
        (SnapshotFilter(table_name="?etrics"), "a c"),
        (SnapshotFilter(table_name="metrics%"), ""),
        (SnapshotFilter(table_schema="l?b"), "c d"),
        (SnapshotFilter(name="a"), "a ab"),
        (SnapshotFilter(name="_"), ""),
        (SnapshotFilter(names={"a", "c"}), "a c"),
        (SnapshotFilter(repository="one"), "a ab"),
        (SnapshotFilter(policies={"p"}), "a d"),
        (SnapshotFilter(tags=parse_tag_filter(["x,y", "z"])), "ab d"),
        (SnapshotFilter(tags=parse_tag_filter(["x", "not:z"])), "a ab c d"),  # Tags are compared again.
    ):
        found = sorted(record.archived.name for record in snapshots.stream(wanted))
        assert found == names.split(), wanted


def test_the_first_instant_of_1970(db: Database) -> None:
    """Zero is an instant as any other, and not the lack of one."""
    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    placed = [
        db.tool.hold("metrics", db.schema, start=epoch),
        db.tool.hold("metrics", db.schema, end=epoch),
    ]
    found = {hold.id: (hold.start, hold.end) for hold in db.tool.holds()}
    assert found == {placed[0].id: (0, None), placed[1].id: (None, 0)}
    policy = db.policy("delete", "metrics", "30d").id or ""
    leases = db.tool.store.leases
    leases.change([(leases.read([policy]).of(policy), {"slot": epoch})])
    assert leases.read([policy]).of(policy).slot == epoch


def test_levels_of_the_same_name(db: Database) -> None:
    """What is known of a level is known by its schema: that it is sealed or forgotten says nothing of its namesake."""
    rollups, window = db.tool.store.rollups, Window(start=0, end=1000, since=0, until=1000)
    levels = [a_level(schema) for schema in ("one", "other")]
    for level in levels:
        rollups.register(level, "1y", None)
        rollups.record(level, {window: Count(rows=5, groups=1)}, {0: f"token of {level.table}"}, {}, "run")

    def known() -> list[list[tuple[str, bool]]]:
        return [[(row.token, row.sealed) for row in rollups.windows(level.table, [0]).values()] for level in levels]

    tokens = [f"token of {level.table}" for level in levels]
    assert known() == [[(tokens[0], False)], [(tokens[1], False)]]
    rollups.seal(levels[0].table, rollups.windows(levels[0].table, [0]).values())
    assert known() == [[(tokens[0], True)], [(tokens[1], False)]]
    rollups.doubt(levels[0].table, [0])
    assert known() == [[("", True)], [(tokens[1], False)]]
    rollups.rebase(levels[0], 2000)
    rollups.forget(levels[0].table)
    assert known() == [[], [(tokens[1], False)]]
    assert list(rollups.all()) == [levels[1].table]
    rollups.register(levels[0], "1y", None)
    for level in levels[::-1]:
        rollups.set_view(level, (), f"mark of {level.table}")
    marks = {table: level.view_mark for table, level in rollups.all().items()}
    assert marks == {level.table: f"mark of {level.table}" for level in levels}
    assert db.tool.drop_rollups("metrics", "one") == [levels[0].table]
    assert list(rollups.all()) == [levels[1].table]
    (entry,) = db.journal(event="rollups-dropped")
    assert (entry["table_schema"], entry["table_name"], entry["message"]) == ("one", "metrics", "dropped metrics_1h")


def a_level(schema: str) -> Rollup:
    """The rollup by hours of a table in some schema."""
    source, interval = TableName(schema, "metrics"), parse_interval("1h")
    metric = make_metric(Column(name="x", type="double precision", kind=Kind.NUMBER), GAUGE)
    time = Column(name="ts", type="timestamp with time zone", kind=Kind.TIME)
    return Rollup(
        source=source,
        below=source,
        table=level_table(source, interval),
        interval=interval,
        time=time,
        dimensions=(),
        metrics=(metric,),
    )


def test_a_level_that_begins_anew(db: Database) -> None:
    """Windows before the instant are sealed then, later ones are computed again, and sealed ones stay as they were."""
    rollups, level = db.tool.store.rollups, a_level("one")
    windows = [Window(start=start, end=start + 10, since=start, until=start + 10) for start in (0, 10, 20, 30)]
    counts = {window: Count(rows=5, groups=1) for window in windows}
    rollups.record(level, counts, {window.start: "token" for window in windows}, {}, "run")
    rollups.seal(level.table, rollups.windows(level.table, [30]).values())
    rollups.rebase(level, 20)
    found = rollups.windows(level.table, [0, 10, 20, 30])
    assert {start: (row.token, row.sealed) for start, row in found.items()} == {
        0: ("token", True),
        10: ("token", True),
        20: ("", False),
        30: ("token", True),
    }


def test_a_policy_for_the_journal(new_db: Database) -> None:
    """A new store keeps its audit log for a year; once that policy is deleted, it does not come back."""
    tool = new_db.retention()
    assert f"created policy jobs-log: {new_db.own_schema}.jobs_log is kept for 1y" in tool.setup()
    (stored,) = tool.policies()
    assert (stored.policy.table_name, stored.policy.schedule) == ("jobs_log", "@daily")
    tool.delete_policy("jobs-log")
    assert tool.setup() == []
    assert tool.policies() == []


def test_the_journal_policy_works(new_db: Database) -> None:
    """What is older than a year goes from the audit log, and nothing else."""
    tool = new_db.retention()
    tool.setup()
    before = len(new_db.journal())
    new_db.time.set("2026-09-02T00:00:00+00:00")
    assert not [row for row in new_db.journal() if row["event"] == "run-started"]
    report = tool.run()
    assert (report.ok, report.done) == (True, 1)
    assert before
    assert {row["event"] for row in new_db.journal()} <= {
        "run-started",
        "run-finished",
        "step-started",
        "step-finished",
    }


def forget_leases(db: Database) -> None:
    """As a store was that knows neither leases nor a version."""
    for table in ("lease", "schema_version"):
        db.sql(f"DROP TABLE {db.q(table, db.own_schema)}")


def test_an_older_store_gets_the_journal_policy(db: Database) -> None:
    """``setup`` of a store without leases adds it, unless the audit log has a policy already."""
    own = {"table_schema": db.own_schema, "table_name": "jobs_log", "retention_period": "5y", "time_column": "time"}
    assert db.tool.policies() == []
    forget_leases(db)
    assert "created policy jobs-log" in str(db.retention().setup())
    (stored,) = db.tool.policies()
    db.tool.delete_policy(stored.policy.id or "")
    db.tool.create_policy(strategy="delete", id="mine", **own)
    forget_leases(db)
    assert "created policy" not in str(db.retention().setup())
    assert [stored.policy.id for stored in db.tool.policies()] == ["mine"]


def test_notes_of_several_threads(duck: Database) -> None:
    """What another thread notes while rows are written is written with the next, once, and none is lost."""
    journal = duck.tool.store.journal
    journal.note(Entry(event=Event.BLOCKED, message="first"))
    journal_table = duck.q("jobs_log", duck.own_schema)

    def meanwhile(statement: str) -> None:
        if statement.startswith("INSERT"):
            thread = threading.Thread(target=journal.note, args=[Entry(event=Event.BLOCKED, message="meanwhile")])
            thread.start()
            thread.join()

    with before_statements(duck.tool.engine.database.engine, meanwhile):
        journal.write(Entry(event=Event.BLOCKED, message="second"))
    journal.write()
    journal.write()
    rows = duck.rows(f"SELECT message FROM {journal_table} WHERE event = 'blocked' ORDER BY message")
    assert [row[0] for row in rows] == ["first", "meanwhile", "second"]


def test_reasons_in_the_audit_log(db: Database) -> None:
    """An error is written with its code and with what it tells of, and who may not hear of that does not read it."""
    journal = db.tool.store.journal
    hold = LegalHold(id="h-globex", table_schema=db.schema, table_name="metrics", reason="case globex")
    given = [Why.MISSING_SHARDS(count=2), Why.LEGAL_HOLD(hold=hold), Why.ARCHIVED_WHOLE(archiver='globex\'s "own"')]
    journal.write(
        *(Entry(event=Event.BLOCKED, run_id="r", tags=("acme",), step=i, why=why) for i, why in enumerate(given))
    )
    rows = sorted(journal.read(JournalFilter(run_id="r")), key=lambda row: row["step"])
    assert [(row["error"], row["reason"]) for row in rows] == [(str(why), why.code) for why in given]
    assert [read_subjects(row["subjects"]) for row in rows] == [why.subjects for why in given]
    acme = Access(role=Role.VIEWER, actor="me", limit=parse_tag_filter(["acme"]))
    visibility = Visibility(access=acme, policies=(), default_schema="doc", own_schema=db.own_schema)
    shown = [shown_row(visibility, row) for row in rows]
    assert [row["reason"] for row in shown] == ["missing-shards", "not-said", "not-said"]
    assert "globex" not in str(shown)


def test_the_reason_of_a_run_comes_with_what_it_tells_of(db: Database) -> None:
    """Of several errors of a run one is told, with its own code and subjects."""
    hold, now = LegalHold(id="h1", table_schema=db.schema, table_name="metrics"), db.time.clock.now()
    held = RunOfPolicy(policy_id="p", run_id="r", ended_at=now)
    for why in (Why.LEGAL_HOLD(hold=hold), Why.DISK_FULL(), Why.EMPTY()):
        held = held.plus(Event.BLOCKED, Outcome.BLOCKED, reason_values(why))
    results = db.tool.store.results
    results.keep([held])
    [run] = results.since(now)
    assert (run.error, run.reason, run.blocked) == (str(Why.LEGAL_HOLD(hold=hold)), "legal-hold", 3)
    assert read_subjects(run.subjects) == Why.LEGAL_HOLD(hold=hold).subjects
    failed = Event.STEP_FINISHED, Outcome.FAILED
    results.keep([held.plus(*failed, reason_values(Why.DISK_FULL())).plus(*failed, reason_values(Why.EMPTY()))])
    [run] = results.since(now)
    assert (run.reason, run.failed, run.blocked) == ("disk-full", 2, 3), "a failure comes before what is blocked"
    assert results.since(now + dt.timedelta(seconds=1)) == []


def test_results_of_many_policies(db: Database) -> None:
    """The last run of each of many policies replaces the one before, in one statement."""
    now, results = db.time.clock.now(), db.tool.store.results
    for run_id in ("first", "second"):
        results.keep([RunOfPolicy(policy_id=f"p{number:02}", run_id=run_id, ended_at=now) for number in range(50)])
    assert [(run.policy_id, run.run_id) for run in results.since(now)] == [(f"p{n:02}", "second") for n in range(50)]
