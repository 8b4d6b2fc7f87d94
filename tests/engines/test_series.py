"""
Tables as Telegraf and CrateDB's adapter for Prometheus create them, and as they fill them: what tells series apart is a
dimension, what rows say of their series is a metric or left out, and names are accepted as they are here and in levels.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from cratedb_retention.model.query.reading import FetchRequest
from cratedb_retention.model.rollups.cascade import parse_interval
from cratedb_retention.model.time import parse_instant
from support.databases import TIME, CrateDatabase, Database
from support.sql import quoted
from support.tiers import DECIDED, others_on_duckdb

LEVELS = "1h:30d,1d:forever"
BEGIN = "2024-06-24T03:00:00+00:00"  # Within the last 30 days of tests.
START = 1_719_198_000_000  # The same in milliseconds.
# Fields that Telegraf's plugins `system` and `net` have, and a tag that is a number.
TAGS, FIELDS = (
    {"host": "TEXT", "rack": "BIGINT"},
    {"uptime_format": "TEXT", "up": "BOOLEAN", "load1": "DOUBLE PRECISION"},
)
MORE_FIELDS = {"bytes_recv": "BIGINT", "bytes_sent": "BIGINT"}


def object_type(db: Database, fields: Mapping[str, str]) -> str:
    """A column with fields of these types."""
    if isinstance(db, CrateDatabase):
        return f"OBJECT(DYNAMIC) AS ({', '.join(f'{quoted(n)} {kind}' for n, kind in fields.items())})"
    return f"STRUCT({', '.join(f'{quoted(n)} {kind}' for n, kind in fields.items())})"


def telegraf(db: Database, key: bool = True, **more: str) -> None:
    """The table ``metrics`` as Telegraf creates it, with what it adds to its objects as it writes."""
    columns = {
        "hash_id": "BIGINT",
        "timestamp": TIME,
        "name": "TEXT",
        "tags": object_type(db, TAGS),
        "fields": object_type(db, FIELDS | MORE_FIELDS),
        "day": f"{TIME} GENERATED ALWAYS AS (date_trunc('day', \"timestamp\"))",
        **more,
    }
    # DuckDB has no keys with generated columns.
    keys = '"timestamp", "hash_id", "day"' if isinstance(db, CrateDatabase) else '"timestamp", "hash_id"'
    db.create("metrics", columns, ["day"], key=f"PRIMARY KEY ({keys})" if key else "")
    rows = []
    for i in range(1_000):
        host, step = i % 4, i // 4
        at = START + step * 60_000
        fields = {"uptime_format": f"{step // 60:>2}:{step % 60:02}", "up": i % 8 > 3, "load1": i / 10}
        fields |= {"bytes_recv": step * 100, "bytes_sent": step * 10}
        tags = {"host": f"h{host}", "rack": host % 2}
        rows.append({"hash_id": host, "timestamp": at, "name": "system", "tags": tags, "fields": fields})
    fill(db, "metrics", rows)


def prometheus(db: Database, key: bool = True) -> None:
    """The table ``metrics`` as the adapter for Prometheus has it: a gauge and a counter of two hosts."""
    columns = {
        "timestamp": TIME,
        "labels_hash": "TEXT",
        "labels": object_type(db, {"__name__": "TEXT", "instance": "TEXT"}),
        "value": "DOUBLE PRECISION",
        "valueRaw": "BIGINT",
        "day__generated": f"{TIME} GENERATED ALWAYS AS (date_trunc('day', \"timestamp\"))",
    }
    keys = '"timestamp", "labels_hash"' + (', "day__generated"' if isinstance(db, CrateDatabase) else "")
    db.create("metrics", columns, ["day__generated"], key=f"PRIMARY KEY ({keys})" if key else "")
    rows = []
    for step in range(180):
        for name in ("up", "requests_total"):
            for host in ("a", "b"):
                value = 1.0 - step % 2 if name == "up" else float(step % 100 * 10)
                labels = {"__name__": name, "instance": host}
                row = {"timestamp": START + step * 60_000, "labels_hash": f"{name}{host}", "labels": labels}
                rows.append({**row, "value": value, "valueRaw": 4_607_182_418_800_017_408 + step})
    fill(db, "metrics", rows)


def fill(db: Database, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Insert rows; DuckDB reads times and objects from JSON."""
    rows = list(rows)
    names = ", ".join(map(quoted, rows[0]))
    if isinstance(db, CrateDatabase):
        places = ", ".join("?" * len(rows[0]))
        db.server.bulk(f"INSERT INTO {db.q(table)} ({names}) VALUES ({places})", [list(row.values()) for row in rows])
    else:
        query = "SELECT UNNEST(from_json(?, '[\"JSON\"]')) AS r"
        types = {row[0]: row[1] for row in db.rows(f"DESCRIBE {db.q(table)}")}
        values = [(f"r->'$.{name}'", types[name]) for name in rows[0]]
        parts = [f"epoch_ms(CAST({v} AS BIGINT))" if kind == TIME else f"CAST({v} AS {kind})" for v, kind in values]
        db.sql(f"INSERT INTO {db.q(table)} ({names}) SELECT {', '.join(parts)} FROM ({query})", [json.dumps(rows)])
    db.refresh(table)


def found(db: Database) -> tuple[list[str], list[str], list[str]]:
    """The dimensions, metrics and columns left out that a plan finds."""
    assert [hold.reason for hold in db.tool.plan().needs_attention] == []
    (cascade,) = db.tool.planned_cascades()
    rollup = cascade.levels[0].rollup
    metrics = [metric.column.name for metric in rollup.metrics]
    return [c.name for c in rollup.dimensions], metrics, [c.name for c in cascade.left_out]


def policy(db: Database, **more: Any) -> None:
    """A policy of hours and days."""
    db.policy("downsample", "metrics", "30d", **{"levels": LEVELS, **more})


def answer(db: Database, **more: Any) -> Any:
    """The rows of an answer from all of the data, as one bucket for each series."""
    asked = FetchRequest(
        table_name="metrics", table_schema=db.schema, start=parse_instant(BEGIN), step=parse_interval("1mo"), **more
    )
    return [row[1:-1] for row in db.tool.fetch(asked).rows if row[-1] is not None]


@pytest.mark.parametrize("key", [True, *others_on_duckdb(False)])
def test_telegraf(db: Database, key: bool) -> None:
    """Fields are metrics or left out, tags and the hash of them are dimensions: levels are smaller."""
    telegraf(db, key)
    policy(db)
    dimensions, metrics, left_out = found(db)
    assert sorted(dimensions) == ["hash_id", "name", "tags['host']", "tags['rack']"]
    assert metrics == ["fields['load1']", "fields['bytes_recv']", "fields['bytes_sent']"]
    assert left_out == ["fields['uptime_format']", "fields['up']", "day"]
    assert db.run().ok, [row["error"] for row in db.journal() if row["error"]]
    assert db.count("metrics_1h") == 20
    names = db.rows(f"SELECT tags_host, tags_rack, sum(row_count) FROM {db.q('metrics_1h')} GROUP BY 1, 2 ORDER BY 1")
    assert [tuple(row) for row in names] == [(f"h{i}", i % 2, 250) for i in range(4)]


@pytest.mark.parametrize("key", [True, *others_on_duckdb(False)])
def test_prometheus(db: Database, key: bool) -> None:
    """Labels and their hash are dimensions; what repeats the value is left out, unless the policy names it."""
    prometheus(db, key)
    policy(db, id="one")
    dimensions, metrics, left_out = found(db)
    assert sorted(dimensions) == ["labels['__name__']", "labels['instance']", "labels_hash"]
    assert (metrics, left_out) == (["value"], ["valueRaw", "day__generated"])
    assert db.run().ok
    assert db.count("metrics_1h") == 12
    db.tool.delete_policy("one")
    policy(db, metrics=["value", "valueRaw"])
    assert found(db)[1] == ["value", "valueRaw"]


def test_objects_that_are_empty(crate: CrateDatabase) -> None:
    """A table that Telegraf has just created, or whose rows have no tags, is as good as any other."""
    kind = "OBJECT(DYNAMIC)"
    crate.create("metrics", {"hash_id": "BIGINT", "timestamp": TIME, "name": "TEXT", "tags": kind, "fields": kind})
    policy(crate, id="one", exclude=["tags"])
    assert found(crate) == (["hash_id", "name"], [], [])
    crate.tool.delete_policy("one")
    policy(crate)
    fill(crate, "metrics", [{"hash_id": 1, "timestamp": START, "name": "x", "tags": {}, "fields": {"v": 1.5}}])
    assert found(crate) == (["hash_id", "name"], ["fields['v']"], [])
    assert crate.run().ok
    fill(crate, "metrics", [{"hash_id": 2, "timestamp": START, "name": "x", "tags": {"a": "b"}, "fields": {"v": 1}}])
    assert crate.run().ok
    query = f"SELECT hash_id, tags_a, fields_v_sum FROM {crate.q('metrics_1h')} ORDER BY 1"
    assert [tuple(row) for row in crate.rows(query)] == [(1, None, 1.5), (2, "b", 1.0)]


def test_new_columns_of_objects(db: Database) -> None:
    """A new tag is a further dimension, a new field is none, in levels that exist already."""
    telegraf(db)
    policy(db)
    assert db.run().ok
    kinds = (("tags", "rack2", "BIGINT"), ("fields", "message", "TEXT"), ("fields", "load5", "DOUBLE PRECISION"))
    for outer, name, kind in kinds:
        column = f"{outer}['{name}']" if isinstance(db, CrateDatabase) else f"{outer}.{name}"
        db.sql(f"ALTER TABLE {db.q('metrics')} ADD COLUMN {column} {kind}")
    dimensions, metrics, left_out = found(db)
    assert "tags['rack2']" in dimensions
    assert "fields['load5']" in metrics
    assert "fields['message']" in left_out
    assert db.run().ok


@DECIDED
def test_levels_that_exist_stay(db: Database) -> None:
    """What is a dimension of a level, by the user's word once, stays one: no series are merged from now on."""
    telegraf(db)
    policy(db, id="one", dimensions=["hash_id", "tags", "fields['up']"])
    assert db.run().ok
    db.tool.delete_policy("one")
    policy(db)
    assert "fields['up']" in found(db)[0]


def test_names_of_objects(db: Database) -> None:
    """An object stands for what is in it, and a column has two names, wherever a policy names columns."""
    telegraf(db)
    policy(db, id="one", exclude=["fields"], metrics=["fields_load1"], counters=["fields_load1"])
    dimensions, metrics, _ = found(db)
    assert (len(dimensions), metrics) == (4, ["fields['load1']"])
    db.tool.delete_policy("one")
    policy(db, id="one", dimensions=["tags"], metrics=["fields"], exclude=["fields_load1", "tags['rack']"])
    assert found(db)[:2] == (["tags['host']"], ["fields['bytes_recv']", "fields['bytes_sent']"])
    db.tool.delete_policy("one")
    policy(db, id="two", exclude=["fields", "tags"])
    assert found(db)[:2] == (["hash_id", "name"], [])
    db.tool.delete_policy("two")
    policy(db, id="two", dimensions=["tag"])
    assert any("the table has no column 'tag'" in hold.reason for hold in db.tool.plan().needs_attention)


def test_reading_by_objects(db: Database) -> None:
    """Answers are the same from raw rows and from levels, and under both names; an object stands for all in it."""
    telegraf(db)
    policy(db, counters=["fields_bytes_*"])
    for _ in range(2):
        plain = answer(db, metrics=("fields['load1']:max",), by=("tags['host']",))
        assert plain == [(f"h{i}", pytest.approx(99.6 + i / 10)) for i in range(4)]
        assert answer(db, metrics=("fields_load1:max",), by=("tags_host",)) == plain
        both = [(f"h{i}", i % 2, 24_900.0, 2_490.0) for i in range(4)]
        wanted = ("fields['bytes_recv']", "fields['bytes_sent']")
        assert answer(db, metrics=wanted, by=("tags",)) == both
        assert answer(db, metrics=("fields:increase",), by=("tags",), where={"tags_rack": "1"})[0][0] == "h1"
        with pytest.raises(Exception, match="stands for several dimensions"):
            answer(db, where={"tags": "h1"})
        assert db.run().ok, [row["error"] for row in db.journal() if row["error"]]


def test_filters_under_both_names(db: Database) -> None:
    """Policies and holds filter by what is in an object, under the name in levels as well."""
    telegraf(db)
    db.time.set("2024-09-01T00:00:00+00:00")
    db.tool.hold("metrics", db.schema, where={"tags_rack": 1}, reason="case")
    db.policy("delete", "metrics", "30d", where={"tags_host": "h0"})
    db.policy("delete", "metrics", "30d", where={"tags['host']": "h1"})
    assert db.run().failed == 0
    assert db.count("metrics") == 750
    assert db.count("metrics", "tags['host'] = 'h1'") == 250


def test_counters_by_pattern(db: Database) -> None:
    """A pattern names counters, and finds those that are not there yet."""
    telegraf(db)
    policy(db, id="one", counters=["fields_bytes_*", "*_total"])
    (cascade,) = db.tool.planned_cascades()
    kept = {metric.column.name: list(map(str, metric.aggregates)) for metric in cascade.levels[0].rollup.metrics}
    counter = ["count", "first", "last", "increase"]
    assert kept["fields['bytes_recv']"] == kept["fields['bytes_sent']"] == counter
    assert "increase" not in kept["fields['load1']"]


@DECIDED
def test_counters_by_the_value_of_a_dimension(db: Database) -> None:
    """
    Of a table with gauges and counters in one column, increases are kept of counters alone: the same from raw rows and
    from each level, when raw rows are gone as well.
    """
    prometheus(db)
    policy(db, counters=["labels['__name__']=*_total"])
    # From 0 to 990, back to 0, and up to 790: twice, from two hosts.
    increases = [("requests_total", 2 * (990.0 + 790.0)), ("up", None)]
    for _ in range(3):
        assert answer(db, metrics=("value:increase",), by=("labels['__name__']",)) == increases
        assert answer(db, metrics=("value",), by=("labels___name__",), where={"labels_instance": "a"})[1][1] == 0.5
        assert db.run(accepted=True).ok, [row["error"] for row in db.journal() if row["error"]]
        db.time.set("2024-08-01T00:00:00+00:00")
    assert db.count("metrics") == 0
    query = (
        f"SELECT labels___name__, sum(value_increase), min(value_min) FROM {db.q('metrics_1d')} GROUP BY 1 ORDER BY 1"
    )
    assert [tuple(row) for row in db.rows(query)] == [(*increases[0], 0.0), (*increases[1], 0.0)]
    assert db.tool.verify_rollups("metrics", db.schema) == []


def test_patterns_of_series_are_literal(db: Database) -> None:
    """In patterns of values only ``*`` and ``?`` are special; a dimension that is none is refused."""
    prometheus(db)
    policy(
        db, id="one", counters=[f"labels___name__={wrong}" for wrong in ("%_total", "reque!ts_total", "request__total")]
    )
    assert answer(db, metrics=("value:increase",)) == [(None,)]
    db.tool.delete_policy("one")
    policy(db, id="one", counters=["labels___name__=reque?ts_total"])
    assert answer(db, metrics=("value:increase",)) == [(3560.0,)]
    db.tool.delete_policy("one")
    policy(db, counters=["value=*"])
    (hold,) = db.tool.plan().needs_attention
    assert "'value' is not a text dimension; available: labels_hash, labels['__name__']" in hold.reason


def messages(db: Database, different: int) -> None:
    """A table of readings with a text that has so many values."""
    db.create("metrics", {"ts": TIME, "host": "TEXT", "message": "TEXT", "x": "DOUBLE PRECISION"})
    minutes = [(f"2024-06-30T{10 + i // 60}:{i % 60:02}:00Z", i) for i in range(300)]
    rows = [{"ts": at, "host": "a", "message": f"took {i % different} ms", "x": 1.0} for at, i in minutes]
    db.insert("metrics", rows)


@DECIDED
def test_a_rollup_that_does_not_shrink_its_rows(db: Database) -> None:
    """Nothing is created until the policy says what a column is that makes each row a series; it is named."""
    messages(db, 300)
    policy(db, id="one")
    (hold,) = db.tool.plan().needs_attention
    assert "metrics_1h would have 300 rows for the newest 300 rows" in hold.reason
    assert "a series of its own: message (300 values); exclude" in hold.reason
    assert [finding.message for finding in db.tool.check()] == [hold.reason]
    assert not db.run().ok
    assert not db.exists("metrics_1h")
    db.tool.delete_policy("one")
    policy(db, id="one", exclude=["message"])
    assert db.run().ok
    assert db.count("metrics_1h") == 5


@pytest.mark.parametrize("more", [{}, *others_on_duckdb({"dimensions": ["host", "message"]})])
def test_rollups_that_do_not_need_to_be_asked_about(db: Database, more: dict[str, Any]) -> None:
    """What the user names is the user's word; and a text that recurs is a dimension like others."""
    messages(db, 300 if more else 3)
    policy(db, **more)
    assert db.run().ok
    assert db.count("metrics_1h") == (300 if more else 15)


@DECIDED
def test_a_level_that_does_not_shrink_is_told(db: Database) -> None:
    """Of a level that exists, ``check`` says that it is about as large as its source, unless the user means it."""
    messages(db, 300)
    policy(db, id="one", dimensions=["host", "message"])
    assert db.run().ok
    assert db.tool.check() == []
    db.tool.delete_policy("one")
    policy(db)
    (finding,) = db.tool.check()
    assert finding.message.startswith(f"{db.schema}.metrics_1h has 300 rows for 300 of {db.schema}.metrics; exclude")
    assert db.run().ok


@pytest.mark.parametrize("more", [{}, {"exclude": ["fields_up"]}, {"dimensions": ["hash_id", "tags", "fields_up"]}])
def test_fields_that_tell_series_apart(db: Database, more: dict[str, Any]) -> None:
    """Where rows of one time and series differ in a field that would be left out, the user is asked."""
    telegraf(db, key=False)
    empty, tags = dict.fromkeys([*FIELDS, *MORE_FIELDS]), {"host": "h0", "rack": 0}
    rows = [
        {
            "hash_id": 0,
            "timestamp": START + 1 + i // 2,
            "name": "system",
            "tags": tags,
            "fields": {**empty, "up": i % 2 == 1},
        }
        for i in range(10)
    ]
    fill(db, "metrics", rows)
    policy(db, **more)
    problems = [hold.reason for hold in db.tool.plan().needs_attention]
    assert bool(problems) is not bool(more)
    if problems:
        assert "5 rows of" in problems[0]
        assert "(fields['uptime_format'], fields['up']); add these to exclude" in problems[0]
