"""Windows: how long they are, what the parts of the open one are computed from, and how work is divided."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.plan.measurements import Measurements
from cratedb_retention.model.rollups.cascade import parse_interval, parse_levels
from cratedb_retention.model.rollups.ledger import LedgerRow
from cratedb_retention.model.rollups.rollup import Rollup, Window, level_table
from cratedb_retention.model.step import Piece
from cratedb_retention.model.time import TimeRange
from cratedb_retention.planning.rollups.cascades import choose_partition
from cratedb_retention.planning.rollups.windows import OpenWindow, WindowGrid, batches, digest, part_length, sources_of
from support.catalogs import DAY, METRICS, TS, part

MINUTE, HOUR = 60_000, 3_600_000
MONTH = 2_629_746


def level(text: str, zone: str = "UTC", below: TableName = METRICS) -> Rollup:
    """A level on ``doc.metrics``."""
    interval = parse_interval(text)
    name = level_table(METRICS, interval)
    return Rollup(
        source=METRICS, below=below, table=name, interval=interval, time=TS, dimensions=(), metrics=(), zone=zone
    )


@pytest.mark.parametrize(
    ("rollup", "partition", "zone", "window"),
    [
        (level("1m"), None, None, "1d UTC"),
        (level("1h"), None, None, "1mo UTC"),
        (level("1d"), None, None, "1mo UTC"),
        (level("1w"), None, None, "1w UTC"),
        (level("1h"), 3600, "UTC", "1h UTC"),
        (level("1h"), 7200, "UTC", "1d UTC"),
        (level("1h"), 86_400, "UTC", "1d UTC"),
        (level("1h"), 2 * 86_400, "UTC", "1w UTC"),
        (level("1h"), MONTH, "UTC", "1mo UTC"),
        (level("1d"), 3600, "UTC", "1d UTC"),
        (level("1h"), 86_400, "Europe/Vienna", "1d Europe/Vienna"),
        # Days of another time zone than the partitions' cross their boundaries.
        (level("1d"), MONTH, "Europe/Vienna", "1d UTC"),
        (level("1d", "Europe/Vienna"), MONTH, "Europe/Vienna", "1mo Europe/Vienna"),
        # Once chosen, windows stay.
        (replace(level("1h"), window=parse_interval("1w"), window_zone="Asia/Tokyo"), 3600, "UTC", "1w Asia/Tokyo"),
    ],
)
def test_length(rollup: Rollup, partition: int | None, zone: str | None, window: str) -> None:
    """The shortest that hold whole buckets and whole partitions of the source; without partitions, a day or a month."""
    grid = WindowGrid.of(rollup, partition, zone)
    assert f"{grid.interval} {grid.zone_name}" == window


@pytest.mark.parametrize(
    ("text", "partition"),
    [
        ("1h:3d", "1d"),
        ("1h:4d", "1d"),
        ("1h:27d", "1d"),
        ("1h:28d", "1w"),
        ("1h:6mo", "1mo"),
        ("1d:90d", "1w"),
        ("1w:1y", "1w"),
        ("1mo:1y", "1mo"),
        ("1h:forever", "1mo"),
        ("1d:forever", "1y"),
        ("1w:forever", "None"),
    ],
)
def test_partitions_of_a_level(text: str, partition: str) -> None:
    """A level expires in about four parts or more; one that is kept forever has long partitions."""
    [wanted] = parse_levels(text)
    assert str(choose_partition(wanted, "UTC")) == partition


@pytest.mark.parametrize(("text", "length", "found"), [("1h", 31 * DAY, "1h"), ("1m", DAY, "1h"), ("1s", DAY, "1h")])
def test_parts_of_a_window(text: str, length: int, found: str) -> None:
    """Single buckets if there are no more than a thousand, else the shortest unit of which there are no more."""
    assert str(part_length(level(text), length, 1000)) == found


def test_batches() -> None:
    """A batch has a maximum number of items and of rows; an item with too many rows is alone."""
    items = [("a", 5), ("b", 5), ("c", 1), ("d", 20), ("e", 1), ("f", 1), ("g", 1)]
    found = list(batches(items, 2, 10))
    assert found == [(["a", "b"], 10), (["c"], 1), (["d"], 20), (["e", "f"], 2), (["g"], 1)]


def test_sources() -> None:
    """A partition's digest changes with its token and its name; rows that queries may miss are hidden."""
    one = part(0, ident="a", token="t1")
    others = (one._replace(token="t2"), one._replace(ident="b"), one)
    digests = [digest(Piece(partition=each, start=0, end=DAY)) for each in (one, *others)]
    assert len(set(digests)) == 3
    cases: list[tuple[dict[str, Any], bool, bool]] = [
        ({}, False, True),
        ({"rows": 0}, False, True),
        ({"rows": None}, True, True),
        ({"missing_shards": 1}, True, False),
        ({"closed": True}, False, False),
    ]
    sound = Piece(partition=part(0), start=0, end=DAY)
    for facts, hidden, readable in cases:
        for pieces in ([Piece(partition=part(0, **facts), start=0, end=DAY)], [sound]):
            pieces.append(Piece(partition=part(0, **facts), start=0, end=DAY))
            source = sources_of(pieces, lambda time: [time])[0]
            assert (source.hidden, source.readable, source.pieces) == (hidden, readable, pieces), facts


def opened(measured: dict[tuple[int, int], list[tuple[int, int, str]]], **facts: Any) -> OpenWindow:
    """The window of a day, whose first two hours were computed, and four are complete."""
    known: dict[str, Any] = {"start": 0, "end": DAY, "until": 2 * HOUR, "complete": 4 * HOUR, "rollup": level("1h")}
    window = OpenWindow(known={0: (5, 50), HOUR: (6, 60)}, **{**known, **facts})
    answers = {window.probe(*time): rows for time, rows in measured.items()}
    return replace(window, measurements=Measurements(windows=answers))


CHANGED = {(0, 2 * HOUR): [(0, 5, "x:50"), (HOUR, 7, "x:70")], (2 * HOUR, 4 * HOUR): [(3 * HOUR, 1, "x:10")]}


def test_changed_parts() -> None:
    """Parts whose rows changed are computed again; those without any row left stay, since the rows expired."""
    assert list(opened(CHANGED).stale()) == [(HOUR, 2 * HOUR)]
    assert list(opened({(0, 2 * HOUR): [(0, 5, "x:51")]}).stale()) == [(0, HOUR)]
    assert list(opened({(0, 2 * HOUR): []}).stale()) == list(opened({}).stale()) == []
    unknown = replace(opened(CHANGED), known=None)
    assert list(unknown.stale()) == [(0, 2 * HOUR)]


def test_parts_in_the_ledger() -> None:
    """The ledger has what each part is computed from now; parts that are not changed keep what they had."""
    assert opened(CHANGED).parts() == f"0:5:50 {HOUR}:7:70 {3 * HOUR}:1:10"
    assert opened(CHANGED).parts([TimeRange(HOUR, 2 * HOUR)]) == f"0:5:50 {HOUR}:6:60 {3 * HOUR}:1:10"
    assert replace(opened(CHANGED), known=None).parts([TimeRange(HOUR, 2 * HOUR)]) == ""
    # Minutes are together in parts of an hour, to which later minutes add their rows.
    minutes: dict[str, Any] = {
        "rollup": level("1m"),
        "until": 30 * MINUTE,
        "complete": 50 * MINUTE,
        "known": {0: (5, 50)},
    }
    with_more = replace(opened({}), **minutes)
    answers = {with_more.probe(30 * MINUTE, 50 * MINUTE): [(0, 2, "x:20")]}
    assert replace(with_more, measurements=Measurements(windows=answers)).parts() == "0:7:70"


def test_rows_before() -> None:
    """The ledger tells the raw rows of exactly one part; a level's own rows are no raw rows."""
    window = Window(start=0, end=DAY, since=HOUR, until=2 * HOUR)
    assert opened({}).before(TimeRange(HOUR, 2 * HOUR)) == (window, 6)
    assert opened({}).before(TimeRange(0, 2 * HOUR))[1] is None
    from_level = opened({}, rollup=level("1h", below=TableName("doc", "metrics_1m")))
    assert from_level.before(TimeRange(HOUR, 2 * HOUR))[1] is None


@pytest.mark.parametrize(
    ("facts", "cutoff", "until"),
    [
        (None, 3 * HOUR + 1, 0),
        (None, HOUR - 1, None),
        ({}, 3 * HOUR, 2 * HOUR),
        ({"whole": True}, 3 * HOUR, None),
        ({"sealed": True}, 3 * HOUR, None),
    ],
)
def test_the_open_window(facts: dict[str, bool] | None, cutoff: int, until: int | None) -> None:
    """The window at the cutoff is open if it has a complete bucket, and was not computed as a whole."""
    computed = {"until": 2 * HOUR, "below": METRICS, "token": "t", "rows": 1, "groups": 1, "parts": "0:1:7"}
    known: dict[str, Any] = {"whole": False, "sealed": False, **computed, **(facts or {})}
    rows = {} if facts is None else {0: LedgerRow(start=0, end=DAY, **known)}
    grid = WindowGrid(level("1h"), parse_interval("1d"), "UTC")
    found = grid.open(rows, cutoff, Measurements())
    assert (found and found.until) == until
    assert found is None or found.known == (None if facts is None else {0: (1, 7)})
