"""The first run over years of partitions works in bulk: what it sends about a table does not grow with their number."""

from __future__ import annotations

import pytest

from cratedb_retention.model.time import from_ms
from cratedb_retention.planning.facts import Facts
from support.databases import DuckDatabase, before_statements
from support.rollups import DAY, START, to_ms

DAYS = 40


def fill(duck: DuckDatabase, name: str, days: list[int]) -> None:
    """A table with two rows in each of its daily partitions."""
    day = "day TIMESTAMPTZ GENERATED ALWAYS AS (date_trunc('day', ts))"
    duck.sql(f"CREATE TABLE {duck.q(name)} (ts TIMESTAMPTZ, host TEXT, x DOUBLE, {day})")
    at = f"make_timestamptz(({START} + d * {DAY} + h * 3600000) * 1000)"
    rows = f"SELECT {at}, 'a', h FROM (SELECT unnest(?::BIGINT[]) d), range(2) r(h)"
    duck.sql(f"INSERT INTO {duck.q(name)} (ts, host, x) {rows}", [days])


@pytest.mark.parametrize("every", [1, 3])
def test_statements_do_not_grow(duck: DuckDatabase, every: int) -> None:
    """As many statements for eight times as many partitions, also if there are gaps between them."""
    sent = []
    for count in (DAYS, 8 * DAYS):
        name, days = f"m{count}", [day * every for day in range(count)]
        fill(duck, name, days)
        policy = duck.policy("downsample", name, "10d", levels="1h:20d,1d:forever", metrics=["x"])
        duck.time.set(from_ms(START + count * every * DAY).isoformat())
        assert type(duck.tool.prepare().facts) is Facts  # Rather than the planner, with all its partitions and windows.
        with duck.statements() as statements:
            assert duck.run().ok
        sent.append(sum(name in statement for statement in statements))
        duck.tool.delete_policy(policy.id or "")
        assert duck.tool.rollups.verify(name, duck.schema) == []
        assert duck.rows(f"SELECT count(*), sum(row_count) FROM {duck.q(f'{name}_1d')}") == [(count, 2 * count)]
        kept = {(to_ms(at) or 0) // DAY - START // DAY for (at,) in duck.rows(f"SELECT ts FROM {duck.q(name)}")}
        assert kept == {day for day in days if day >= count * every - 10}
        ledger = duck.tool.store.rollups.windows(duck.table(f"{name}_1h"), [START + day * DAY for day in days])
        assert [row.rows for row in ledger.values()] == [2] * count
    assert sent[0] == sent[1]


def test_late_rows_far_apart(duck: DuckDatabase) -> None:
    """Late rows cost the windows that they fall into, and not what lies between them: that is read by no statement."""
    fill(duck, "m", list(range(100)))
    duck.policy("downsample", "m", "1y", levels="1h:2y,1d:forever", metrics=["x"])
    duck.time.set(from_ms(START + 100 * DAY).isoformat())
    assert duck.run().ok
    fill_late = f"INSERT INTO {duck.q('m')} (ts, host, x) SELECT make_timestamptz(({START} + d * {DAY}) * 1000), 'b', 1"
    for days in ([10, 30], [5, 60]):
        duck.sql(f"{fill_late} FROM (SELECT unnest(?::BIGINT[]) d)", [days])
        with duck.statements() as statements:
            assert duck.run().ok
        computed = [one for one in statements if one.startswith("INSERT INTO") and "m_1h" in one.split("SELECT")[0]]
        assert len(computed) == (1 if days[1] - days[0] < 31 else 2)
        assert duck.tool.rollups.verify("m", duck.schema) == []


def test_levels_stay_while_their_source_does(duck: DuckDatabase) -> None:
    """
    If a row arrives before raw rows are dropped, neither they nor the level's own rows go, since their windows will be
    computed again; the next run does all of it, and nothing reads the raw table to drop rows of a level alone.
    """
    fill(duck, "m", list(range(90)))
    duck.policy("downsample", "m", "10d", levels="1h:20d,1d:forever", metrics=["x"])
    duck.time.set(from_ms(START + 60 * DAY).isoformat())
    assert duck.run().ok
    duck.time.set(from_ms(START + 90 * DAY).isoformat())
    arrived = list[str]()

    def arrive(statement: str) -> None:
        if statement.startswith("INSERT INTO") and "m_1d" in statement.split("SELECT", maxsplit=1)[0] and not arrived:
            arrived.append(statement)
            late = f"make_timestamptz({START + 55 * DAY} * 1000)"
            duck.sql(f"INSERT INTO {duck.q('m')} (ts, host, x) SELECT {late}, 'late', 1")

    with before_statements(duck.tool.engine.database.engine, arrive):
        assert duck.run().deferred == 2
    # Raw rows of forty days, and one more; hours of all days.
    assert (duck.count("m"), duck.count("m_1h")) == (81, 2 * 90)
    with duck.statements() as statements:
        assert duck.run().ok
    assert duck.rows(f"SELECT count(*), sum(row_count) FROM {duck.q('m_1d')}") == [(91, 181)]
    assert (duck.count("m"), duck.count("m_1h")) == (20, 40)
    dropped = next(i for i, one in enumerate(statements) if one.startswith("DELETE") and '"m"' in one)
    assert not any('"m"' in one for one in statements[dropped + 1 :] if "VIEW" not in one)
    assert duck.tool.prepare().plan.tasks == ()
