"""
Exactness of downsampling from end to end (laws 1, 3, 4, 5 and 7): whatever is written, changed and deleted, in any
order of time, and wherever runs die, each level is what plain Python finds from all rows that were ever written.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from cratedb_retention.model.rollups.ledger import LARGEST_RANGE
from exactness.histories import History, NewRow, Number, Shape, Turn, histories
from exactness.history_player import play
from support.databases import TIME, CrateDatabase, Database, DuckDatabase
from support.tiers import DECIDED, examples, others_on_duckdb

# One database serves all examples; each has a table of its own. The histories are the same in each run of the tests;
# who sets HUNT looks for others.
SHARED = settings(suppress_health_check=list(HealthCheck), derandomize="HUNT" not in os.environ)


@pytest.mark.slow("whole histories are played")
@pytest.mark.timeout(900)
@settings(SHARED, max_examples=examples(3, long=150))
@given(histories(most_turns=3, most_rows=6, last_statement=120))
def test_levels_are_exact_on_duckdb(duck: DuckDatabase, history: History) -> None:
    """Each level on DuckDB is right after each run, and holds every row in the end."""
    play(duck, history)


@pytest.mark.slow("whole histories are played")
@pytest.mark.timeout(900)
@settings(SHARED, max_examples=examples(2, long=30))
@given(histories(most_turns=2, most_rows=6, last_statement=150))
def test_levels_are_exact_on_cratedb(crate: CrateDatabase, history: History) -> None:
    """The same on CrateDB."""
    play(crate, history)


def play_both(db: Database, history: History) -> None:
    """Play a history with single windows, and with ranges."""
    calm = replace(history, turns=tuple(replace(turn, crash=None) for turn in history.turns))
    states = []
    for largest in (0, LARGEST_RANGE):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("cratedb_retention.model.rollups.ledger.LARGEST_RANGE", largest)
            states.append(play(db, calm))
    assert states[0] == states[1]


@pytest.mark.slow("whole histories are played twice")
@pytest.mark.timeout(900)
@settings(SHARED, max_examples=examples(2, long=100))
@given(histories(most_turns=4, most_rows=6, last_statement=1))
def test_ranges_make_no_difference_on_duckdb(duck: DuckDatabase, history: History) -> None:
    """Whether sealed windows are stored as ranges: rows, windows, plans and what verification finds are the same."""
    play_both(duck, history)


@pytest.mark.slow("whole histories are played twice")
@pytest.mark.timeout(900)
@settings(SHARED, max_examples=examples(1, long=20))
@given(histories(most_turns=3, most_rows=6, last_statement=1))
def test_ranges_make_no_difference_on_cratedb(crate: CrateDatabase, history: History) -> None:
    """The same on CrateDB."""
    play_both(crate, history)


@pytest.mark.parametrize("unit", ["day", *others_on_duckdb("")])
@DECIDED
def test_increase_after_a_window_that_is_new(db: Database, unit: str) -> None:
    """What a counter grew since a day that came late, and was empty before, is in the day after it."""
    levels = (("1m", 30), ("1d", None))
    counter = Number("c", "BIGINT", counter=True)
    shape = Shape(
        unit=unit,
        local=False,
        by_dimension=False,
        raw=20,
        levels=levels,
        zone="UTC",
        dimensions=("TEXT",),
        numbers=(counter,),
        late="keep",
    )
    turns = (Turn(hours=1, rows=(NewRow(26, 0, ("a", 10)),)), Turn(hours=1, rows=(NewRow(50, 0, ("a", 4)),)))
    play(db, History(shape, "2024-05-10T12:00", turns))


@DECIDED
def test_view_shows_a_week_across_months_once(db: Database) -> None:
    """A week that lasts into a month whose raw rows are there is shown as a week, and not these rows as well."""
    levels = (("6h", 20), ("1w", None))
    shape = Shape(
        unit="month",
        local=False,
        by_dimension=False,
        raw=2,
        levels=levels,
        zone="UTC",
        dimensions=(),
        numbers=(Number("m0", "BIGINT"),),
        late="keep",
    )
    rows = (NewRow(360, 0, (1,)), NewRow(480, 0, (2,)))
    play(db, History(shape, "2023-11-24T23:00", (Turn(hours=576, rows=rows), Turn(hours=1, rows=()))))


@DECIDED
def test_late_for_one_window_and_not_for_the_next(db: Database) -> None:
    """
    Days of New York lie across partitions of UTC: a partition whose rows are too late for one day, and are dropped, has
    rows of the next day as well, which is sealed before they go.
    """
    shape = Shape(
        unit="day",
        local=False,
        by_dimension=False,
        raw=1,
        levels=(("1d", 14), ("1w", None)),
        zone="America/New_York",
        dimensions=(),
        numbers=(Number("m0", "BIGINT"),),
        late="drop",
    )
    rows = (NewRow(68, 0, (None,)), *(NewRow(0, 0, (None,)) for _ in range(3)))
    first = Turn(hours=4, rows=rows, amid=(NewRow(26, 0, (None,)),))
    play(db, History(shape, "2024-03-10T18:00", (first, Turn(hours=1, rows=()), Turn(hours=1, rows=()))))


@DECIDED
def test_late_before_everything_that_a_level_has(db: Database) -> None:
    """A counter's value that comes for a time of which only coarser levels have anything later adds no bucket there."""
    counter = Number("c", "BIGINT", counter=True)
    shape = Shape(
        unit="",
        local=True,
        by_dimension=False,
        raw=2,
        levels=(("1m", 3), ("1h", 8), ("1d", None)),
        zone="UTC",
        dimensions=(),
        numbers=(counter,),
        late="keep",
    )
    turns = (
        Turn(hours=16, rows=(NewRow(10, 0, (1,)), NewRow(150, 0, (None,)))),
        Turn(hours=48, rows=(NewRow(0, 0, (4,)),)),
        Turn(hours=1, rows=(NewRow(294, 0, (5,)),)),
    )
    play(db, History(shape, "2024-03-31T13:00", turns))


KINDS = {"host": "TEXT", "inside": "BOOLEAN", "floor": "INTEGER"}
SERIES: list[dict[str, Any]] = [
    {"host": None, "inside": None, "floor": None},
    {"host": "a", "inside": None, "floor": None},
    {"host": None, "inside": True, "floor": None},
    {"host": None, "inside": None, "floor": 0},
    {"host": "", "inside": False, "floor": 1},
]


@pytest.mark.parametrize("by", [["day"], ["host", "day"]])
def test_null_dimensions_are_at_each_level(crate: CrateDatabase, by: list[str]) -> None:
    """
    Rows whose dimensions, partition columns among them, are NULL are in each level, as groups of their own. CrateDB
    drops a row of an ``INSERT ... SELECT`` without a word if a column of its key is NULL.
    """
    day = f"{TIME} GENERATED ALWAYS AS (date_trunc('day', ts))"
    crate.create("readings", {"ts": TIME, **KINDS, "x": "BIGINT", "day": day}, by=by)
    times = ("2024-05-10T10:10:10", "2024-05-10T10:10:20", "2024-05-10T11:00:00")
    crate.insert("readings", [{"ts": at, **one, "x": number} for number, one in enumerate(SERIES) for at in times])
    crate.policy(
        "downsample", "readings", "7d", levels="1m:100d,1h:200d,1d:forever", dimensions=list(KINDS), metrics=["x"]
    )
    assert crate.run().ok
    assert crate.count("readings") == 0
    for level, buckets in (("1m", [2, 1]), ("1h", [2, 1]), ("1d", [3])):
        crate.refresh(f"readings_{level}")
        found = crate.rows(
            f"SELECT host, inside, floor, row_count, x_sum FROM {crate.q(f'readings_{level}')} ORDER BY x_sum, ts"
        )
        wanted = [[*one.values(), rows, number * rows] for number, one in enumerate(SERIES) for rows in sorted(buckets)]
        assert sorted(found, key=str) == sorted(wanted, key=str), level
