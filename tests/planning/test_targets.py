"""Targets: which column carries the time, whether partitions or rows expire, and what can't be decided."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cratedb_retention.model.catalog import Column, Grouping, Kind, TableName, Value
from cratedb_retention.planning.targets import Target, Undecided, bind_where, coerce, find_targets
from support.catalogs import DUCKDB, MONTH, TENANT, TS, VALUE, catalog, column, monthly, ms, policy, table

CREATED = column("created_at")
TEXT_MONTH = column("text_month", Kind.TEXT, "date_format('%Y-%m', ts)")
YEAR = column("year", Kind.NUMBER, "extract(year from ts)")
PLAIN = column("plain")
ACTIVE = column("active", Kind.BOOLEAN)
ARRAY = replace(column("labels", Kind.OTHER), grouping=Grouping.NEVER)
FIELD = replace(column("s['t']"), path=("s", "t"))
CREATED_MONTH = column("created_month", expression="date_trunc('month', created_at)")
CREATED_TEXT = column("created_text", Kind.TEXT, "date_format('%m', created_at)")


def target(columns: list[Column], by: list[str], strategy: str = "delete", **attributes: Any) -> Target:
    """The target of a policy on a table with these columns."""
    targets, problems = find_targets([policy(strategy, **attributes)], catalog(table(columns, by)))
    assert [problem.reason for problem in problems] == []
    return targets[0]


def problem(columns: list[Column], by: list[str], strategy: str = "delete", **attributes: Any) -> str:
    """Why a policy can't be applied to a table with these columns."""
    targets, problems = find_targets([policy(strategy, **attributes)], catalog(table(columns, by)))
    assert targets == []
    assert all(found.needs_attention for found in problems)
    return problems[0].reason


@pytest.mark.parametrize(
    ("columns", "by", "attributes", "time", "mode"),
    [
        ([TS, MONTH], ["month"], {}, "ts", "grid"),
        ([TS, TENANT, MONTH], ["tenant", "month"], {}, "ts", "grid"),
        ([TS, CREATED, MONTH], ["month"], {}, "ts", "grid"),
        ([TS, CREATED, MONTH], ["month"], {"time_column": "created_at"}, "created_at", "bounds"),
        ([TS, CREATED, MONTH, CREATED_MONTH], ["month", "created_month"], {"time_column": "ts"}, "ts", "grid"),
        ([TS, CREATED, MONTH, CREATED_MONTH], ["month", "created_month"], {"partition_column": "month"}, "ts", "grid"),
        ([TS, TEXT_MONTH], ["text_month"], {}, "ts", "bounds"),
        ([TS, CREATED, TEXT_MONTH], ["text_month"], {}, "ts", "bounds"),
        ([TS, YEAR], ["year"], {}, "ts", "bounds"),
        ([TS, TENANT], ["tenant"], {"partition_column": "tenant"}, "ts", "bounds"),
        ([TS, PLAIN], ["plain"], {}, "ts", "bounds"),
        ([PLAIN, VALUE], ["plain"], {}, "plain", "bounds"),
        ([TS, TENANT], ["tenant"], {}, "ts", "rows"),
        ([TS, VALUE], [], {}, "ts", "rows"),
        ([TS, FIELD], [], {}, "ts", "rows"),
        ([TS, MONTH], [], {}, "ts", "rows"),
        ([TS, CREATED], [], {"time_column": "created_at"}, "created_at", "rows"),
        ([TS, TENANT, MONTH], ["tenant", "month"], {"where": {"tenant": "a"}}, "ts", "grid"),
        ([TS, TENANT, MONTH], ["month"], {"where": {"tenant": "a"}}, "ts", "rows"),
    ],
)
def test_found(columns: list[Column], by: list[str], attributes: dict[str, Any], time: str, mode: str) -> None:
    """The time column is found, and whether partitions expire by definition, by their rows, or rows one by one."""
    found = target(columns, by, **attributes)
    assert found.time_column is not None
    assert found.time_column.name == time
    assert mode == ("rows" if found.by_rows else "grid" if found.grids else "bounds")
    assert (found.bounds_probe is not None) == (mode == "bounds")


@pytest.mark.parametrize(
    ("columns", "by", "attributes", "reason"),
    [
        (
            [TS, CREATED],
            [],
            {},
            "several columns could be the time column (created_at, ts); set time_column to one of them",
        ),
        ([TS, CREATED, PLAIN], ["plain"], {}, "several columns could be the time column (created_at, ts)"),
        # Partitions of two times: a row that is old by one may be young by the other.
        (
            [TS, CREATED, MONTH, CREATED_MONTH],
            ["month", "created_month"],
            {},
            "several columns could be the time column",
        ),
        ([TS, CREATED, TEXT_MONTH, CREATED_TEXT], ["text_month", "created_text"], {}, "several columns could be"),
        ([VALUE], [], {}, "the table has no timestamp column"),
        ([VALUE, TENANT], ["tenant"], {"partition_column": "tenant"}, "the table has no timestamp column"),
        ([TS, MONTH], ["month"], {"partition_column": "day"}, "partition_column: the table has no column 'day'"),
        (
            [TS, MONTH],
            ["month"],
            {"partition_column": "ts"},
            "partition_column: the table is not partitioned by 'ts', but by",
        ),
        (
            [TS, VALUE],
            [],
            {"partition_column": "ts"},
            "is not partitioned by 'ts'; remove it, and set time_column",
        ),
        ([TS, MONTH], ["month"], {"time_column": "when"}, "time_column: the table has no column 'when'"),
        ([TS, MONTH, TENANT], ["month"], {"time_column": "tenant"}, "time_column: tenant is text, not a timestamp"),
        ([TS, MONTH], ["month"], {"where": {"tenant": "a"}}, "where: the table has no column 'tenant'"),
        (
            [TS, MONTH],
            ["month"],
            {"where": {"month": "May"}},
            "where: month is timestamp with time zone; instant 'May'",
        ),
        (
            [TS, column("a['b']['c']", Kind.TEXT), column("a['b_c']", Kind.TEXT)],
            [],
            {"where": {"a_b_c": "x"}},
            "where: 'a_b_c' is ambiguous: a['b']['c'] or a['b_c']; name one of them",
        ),
        ([TS, ARRAY], [], {"where": {"labels": "x"}}, "where: labels is object, which cannot be compared with a value"),
    ],
)
def test_undecided(columns: list[Column], by: list[str], attributes: dict[str, Any], reason: str) -> None:
    """What can't be decided is a problem that says what to do; it is never guessed."""
    assert reason in problem(columns, by, **attributes)


@pytest.mark.parametrize(
    ("schema", "name", "found"),
    [
        ("doc", "metrics*", ["metrics"]),
        ("d*", "metrics_1h", []),
        ("d*", "*", ["metrics"]),
        ("doc", "metrics_1h", ["metrics_1h"]),
    ],
)
def test_patterns_match_no_level(schema: str, name: str, found: list[str]) -> None:
    """A level has its own retention period; another policy concerns it only by its name."""
    names = [TableName("doc", "metrics"), TableName("doc", "metrics_1h")]
    known = replace(catalog(*(table([TS], name=each) for each in names)), rollups=frozenset(names[1:]))
    targets, _ = find_targets([policy(table_schema=schema, table_name=name)], known)
    assert [each.table.name.name for each in targets] == found


@pytest.mark.parametrize("strategy", ["snapshot", "reallocate", "compact"])
def test_only_delete_works_on_rows(strategy: str) -> None:
    """What works on whole partitions says so where there are none, or where a filter cuts through them."""
    assert f"{strategy} works on whole partitions, but the table is not" in problem([TS, VALUE], [], strategy)
    cut = problem([TS, TENANT, MONTH], ["month"], strategy, where={"tenant": "a"})
    assert cut == f"{strategy} works on whole partitions, but tenant is not a partition column"


@pytest.mark.parametrize(
    ("kind", "value", "bound"),
    [
        (Kind.TEXT, 7, "7"),
        (Kind.TEXT, True, "true"),
        (Kind.TEXT, "a", "a"),
        (Kind.TEXT, None, None),
        (Kind.NUMBER, "7", 7),
        (Kind.NUMBER, " -7 ", -7),
        (Kind.NUMBER, "7.0", 7),
        (Kind.NUMBER, "1e3", 1000),
        (Kind.NUMBER, "007", 7),
        (Kind.NUMBER, "9007199254740993.0", 9007199254740993),
        (Kind.NUMBER, 7.0, 7),
        (Kind.NUMBER, 10**400, 10**400),
        (Kind.NUMBER, None, None),
        (Kind.TIME, "2024-05-01", ms("2024-05-01")),
        (Kind.TIME, "2024-05-01T02:00+02:00", ms("2024-05-01")),
        (Kind.TIME, "20240501", ms("2024-05-01")),
        (Kind.TIME, "2024-05-01T00:00:00.000000", ms("2024-05-01")),
        (Kind.TIME, "1704010100000", 1704010100000),
        (Kind.TIME, 5, 5),
        (Kind.TIME, 86_400_000, 86_400_000),
        (Kind.TIME, None, None),
        (Kind.BOOLEAN, True, True),
        (Kind.BOOLEAN, "True", True),
        (Kind.BOOLEAN, 1, True),
        (Kind.BOOLEAN, "no", False),
        (Kind.BOOLEAN, "on", True),
        (Kind.BOOLEAN, "OFF", False),
        (Kind.BOOLEAN, 0, False),
        (Kind.BOOLEAN, None, None),
        (Kind.OTHER, "x", "x"),
    ],
)
def test_coerce(kind: Kind, value: Value, bound: Value) -> None:
    """A filter's value gets the type that the column's values have, so that they can be equal."""
    found = coerce(column("c", kind), value)
    assert found == bound
    assert isinstance(found, bool) is isinstance(bound, bool)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Kind.NUMBER, "seven"),
        (Kind.NUMBER, ""),
        (Kind.NUMBER, "0x10"),
        (Kind.NUMBER, "1_000"),
        (Kind.NUMBER, "12:30"),
        (Kind.NUMBER, "nan"),
        (Kind.NUMBER, "\u0667"),
        (Kind.NUMBER, True),
        (Kind.NUMBER, "1e9999"),
        (Kind.NUMBER, "9" * 5000),
        # On a column of whole numbers CrateDB would cut it off, and choose the rows of 7.
        (Kind.NUMBER, "7.5"),
        (Kind.TIME, True),
        (Kind.TIME, "99999999"),
        (Kind.TIME, "2024-05-01T00:00:00.000001"),
        (Kind.TIME, "May"),
        (Kind.TIME, ""),
        # A mistyped "true" must not choose what is false.
        (Kind.BOOLEAN, "ture"),
        (Kind.BOOLEAN, ""),
        (Kind.BOOLEAN, 2),
    ],
)
def test_not_coerced(kind: Kind, value: Value) -> None:
    """A value that fits no row of the column is a mistake, and not some other value."""
    with pytest.raises(Undecided, match="where: c is"):
        coerce(column("c", kind), value)


@pytest.mark.parametrize(
    ("kind", "data_type", "text", "bound"),
    [
        (Kind.NUMBER, "DOUBLE", "7.50", 7.5),
        (Kind.NUMBER, "DECIMAL(9,2)", ".5", 0.5),
        (Kind.NUMBER, "real", "-1e-1", -0.1),
        (Kind.NUMBER, "numeric(20,2)", "12345678901234567.89", None),
        (Kind.NUMBER, "double precision", "1e-400", None),
        (Kind.OTHER, "UUID", "2AF93F28B5C84D0FA4E2A1B2C3D4E5F6", "2af93f28-b5c8-4d0f-a4e2-a1b2c3d4e5f6"),
        (Kind.OTHER, "UUID", "2af93f28", None),
    ],
)
def test_coerce_by_type(kind: Kind, data_type: str, text: str, bound: Value) -> None:
    """A value is exact, and as the database writes it, or refused."""
    if bound is None:
        with pytest.raises(Undecided, match="where: c is"):
            coerce(Column(name="c", type=data_type, kind=kind), text)
    else:
        assert coerce(Column(name="c", type=data_type, kind=kind), text) == bound


def test_bind_where() -> None:
    """A filter is connected with the table's columns, in its own order."""
    bound = bind_where(table([TS, TENANT, VALUE]), {"value": "7", "tenant": None}.items())
    assert bound == ((VALUE, 7), (TENANT, None))


@pytest.mark.parametrize(
    ("schema", "name", "found"),
    [
        (None, "metrics_*", ["doc.metrics_a", "doc.metrics_b"]),
        ("iot", "*", ["iot.metrics_c"]),
        ("*", "metrics_?", ["doc.metrics_a", "doc.metrics_b", "iot.metrics_c"]),
        (None, "metrics_b", ["doc.metrics_b"]),
    ],
)
def test_patterns(schema: str | None, name: str, found: list[str]) -> None:
    """A policy is applied to every table that it names, in order; the default schema is the database's own."""
    names = [TableName("iot", "metrics_c"), TableName("doc", "metrics_b"), TableName("doc", "metrics_a")]
    everything = catalog(*(monthly("2024-01", name=table_name) for table_name in names))
    targets, problems = find_targets([policy(table_schema=schema, table_name=name)], everything)
    assert [str(t.table.name) for t in targets] == found
    assert problems == []


def test_no_such_table() -> None:
    """A policy that fits no table is a problem that names what it looked for."""
    _, problems = find_targets([policy(table_name="metricz_*")], catalog(monthly("2024-01"), capabilities=DUCKDB))
    assert [(str(p.table), p.needs_attention) for p in problems] == [("main.metricz_*", True)]
    assert "no such table" in problems[0].reason
