"""Budgets on real databases: whole partitions go, the oldest first, by the sizes that the database tells."""

from __future__ import annotations

from collections import Counter

from cratedb_retention.execution.plan.preparing import Look, Prepared, Selection
from cratedb_retention.model.catalog import Table
from cratedb_retention.model.policies.policy import make_policy
from cratedb_retention.model.time import from_ms
from support.databases import NUMBER, TIME, Database, DuckDatabase

DAY = f"{TIME} GENERATED ALWAYS AS (date_trunc('day', ts))"
# Of twelve days in June, the first six are older than 25 days.
DAYS, OLD, FLOOR = 12, 6, "25d"
ROWS = 20_000


def make(db: Database, name: str, rows: int = ROWS) -> None:
    """A table with a partition for each of some days, which all have the same number of rows."""
    db.create(name, {"ts": TIME, "v": NUMBER, "w": NUMBER, "day": DAY}, ["day"])
    values = f"FROM generate_series(0, {DAYS - 1}) AS d(d), generate_series(1, {rows}) AS i(i)"
    if isinstance(db, DuckDatabase):
        time = "TIMESTAMPTZ '2024-06-01 00:00:00Z' + to_days(CAST(d AS INTEGER)) + to_seconds(i % 86400)"
        db.sql(f"INSERT INTO {db.q(name)} (ts, v, w) SELECT {time}, random(), random() {values}")
        db.sql("CHECKPOINT")
    else:
        time = "'2024-06-01T00:00:00Z'::TIMESTAMP WITH TIME ZONE + (d * 86400000 + i)::BIGINT"
        db.sql(f"INSERT INTO {db.q(name)} (ts, v, w) (SELECT {time}, random(), random() {values})")
        db.refresh(name)


def per_day(db: Database, name: str) -> dict[int, int]:
    """How many rows there are of each day of June."""
    db.refresh(name)
    return Counter(from_ms(ms).day for (ms,) in db.rows(f"SELECT {EPOCH[db.product]} FROM {db.q(name)}"))


EPOCH = {"DuckDB": "epoch_ms(ts)", "CrateDB": "ts::BIGINT"}


def sizes(prepared: Prepared, name: str) -> list[int]:
    """The bytes of each partition, oldest first, as the plan knows them."""
    found: Table = next(table for table in prepared.facts.catalog.tables.values() if table.name.name == name)
    return [partition.size or 0 for partition in sorted(found.partitions, key=lambda each: str(each.values))]


def test_the_oldest_partitions_go(db: Database) -> None:
    """As many as bring the table below its budget, by the sizes that were read; then none; and never a younger one."""
    rows = ROWS if isinstance(db, DuckDatabase) else 200
    make(db, "readings", rows)
    db.policy("delete", "readings", "forever", max_size="1TB", min_retention=FLOOR, id="p")
    known = sizes(db.tool.prepare(), "readings")
    assert len(known) == DAYS
    assert all(known)
    day = 1
    for budget in (sum(known) * 3 // 4, 1):
        db.tool.policies.edit("p", {"max_size": budget})
        prepared = db.tool.prepare(selection=Selection(accepted=True))  # Each change is unusual.
        now, gone = sizes(prepared, "readings"), 0
        while day + gone <= OLD and sum(now[gone:]) > budget:
            gone += 1
        report = db.tool.run(prepared)
        assert (day > 1 or gone > 0) and report.ok == (sum(now[gone:]) <= budget)
        day += gone
        assert per_day(db, "readings") == dict.fromkeys(range(day, DAYS + 1), rows)
    assert day == OLD + 1
    assert "more than max_size 1B" in db.tool.prepare().plan.needs_attention[0].reason


def test_a_table_too_small_to_measure_is_empty(duck: DuckDatabase) -> None:
    """DuckDB knows no size of less than some blocks, so that nothing of it is removed by size."""
    make(duck, "readings", 10)
    duck.policy("delete", "readings", "forever", max_size="1kB", min_retention=FLOOR)
    assert sizes(duck.tool.prepare(), "readings") == [0] * DAYS
    assert (duck.run().ok, duck.count("readings")) == (True, DAYS * 10)


def test_a_plan_for_one_table_knows_the_others(duck: DuckDatabase) -> None:
    """Tables that share a budget are planned together, also for a look at one of them; deleted rows do not count."""
    for name in ("readings_a", "readings_b"):
        make(duck, name)
    shared = {"max_size": "6MB", "min_retention": FLOOR, "max_size_per": "policy"}
    duck.policy("delete", "readings_*", "forever", **shared)
    whole = duck.tool.prepare().plan
    look = Look(duck.tool.engine, duck.tool.store)
    part = look.part(look.cascade(duck.table("readings_b"))).prepare(duck.time.moment)
    alone = part.plan
    assert {task.table.name for task in whole.tasks} == {"readings_a", "readings_b"}
    other = make_policy(strategy="delete", table_schema=duck.schema, table_name="readings_b", retention_period="2d")
    assert duck.tool.preview(other, alone=True).before.plan == whole
    own = [[task for task in plan.tasks if task.table.name == "readings_b"] for plan in (whole, alone)]
    assert own[0] == own[1] != []
    assert list(alone.tasks) == own[1], "of other tables, not all policies are known"
    before = duck.count("readings_b")
    assert duck.tool.run(part).ok and duck.count("readings_b") == before, "it is shown only"
    assert duck.run(accepted=True).ok, "as after a run that removed nothing"
    left = duck.count("readings_a") + duck.count("readings_b")
    assert 0 < left < 2 * DAYS * ROWS
    duck.sql("CHECKPOINT")
    assert duck.tool.prepare().plan.tasks == ()
