"""
Random runs, undone: what was there before is there again, with all that arrived meanwhile, and no row twice.

A model of two counters knows what must be there: the rows that are in the tables, and those that each run took away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from cratedb_retention.errors import NotFound
from support.cratedb import CrateDB
from support.databases import MONTH, TIME, CrateDatabase, Database, DuckTemplate
from support.tiers import examples
from support.workspace import Workspace

DAYS = tuple(f"2024-{month:02}-{day:02}T00:00:00Z" for month in (3, 4, 5, 6) for day in (1, 17))
COLUMNS = {"ts": TIME, "n": "TEXT", "tenant": "TEXT", "month": MONTH}
TABLES = ("one", "two")
PARTS = 20  # Of the examples of the long tier, which can be run one by one.


class Killed(BaseException):
    """As a kill would: nothing of the toolkit catches it."""


class Insert(NamedTuple):
    """Rows that arrive, some of them twice, some again."""

    table: str
    rows: list[tuple[str, str, str]]


class Run(NamedTuple):
    """A run, which may be killed at a statement that writes; 0: it is not."""

    killed: int


class Undo(NamedTuple):
    """An undo of everything, which may be killed, too; then the holds are released."""

    killed: int


_ROWS = st.lists(st.tuples(st.sampled_from(DAYS), st.sampled_from("ab"), st.sampled_from(("x", "y"))), max_size=6)
_KILLED = st.one_of(st.just(0), st.integers(1, 60))
_ACTS = st.one_of(
    st.builds(Insert, st.sampled_from(TABLES), _ROWS),
    st.builds(Run, _KILLED),
    st.builds(Undo, _KILLED),
)


@pytest.mark.some(1)
@pytest.mark.timeout(1800)
@pytest.mark.slow("runs and undoes, some of them killed, of two tables for each example")
@pytest.mark.parametrize("part", range(PARTS))
def test_random_runs(duck_template: DuckTemplate, part: int) -> None:
    """On DuckDB."""
    check_random_runs(duck_template.open, part, examples(4, long=500 // PARTS))


@pytest.mark.timeout(1800)
@pytest.mark.long("make test undoes random runs on DuckDB, and others on CrateDB")
def test_random_runs_on_cratedb(workspaces: Workspace, cratedb: CrateDB) -> None:
    """On CrateDB."""

    def open_emptied() -> CrateDatabase:
        workspaces.prepare()
        return CrateDatabase(cratedb, workspaces.schema, workspaces.repository)

    check_random_runs(open_emptied, 0, 12, workspaces.clear)


def check_random_runs(
    open_database: Callable[[], Database], part: int, number: int, clear: Callable[[], None] = lambda: None
) -> None:
    """
    Play some examples, each on a database without tables.

    :param part: Chooses the examples of the long tier, so that they are the same each time.
    """

    @given(
        by=st.sampled_from([("month",), ("tenant", "month")]),
        where=st.booleans(),
        periods=st.tuples(st.sampled_from(["30d", "60d"]), st.sampled_from(["30d", "90d"])),
        acts=st.lists(_ACTS, max_size=6),
    )
    @settings(max_examples=number, deadline=None, suppress_health_check=list(HealthCheck))
    def check(by: tuple[str, ...], where: bool, periods: tuple[str, str], acts: list[Any]) -> None:
        db = open_database()
        try:
            given_where = {"tenant": "x"} if where and "tenant" in by else {}
            for table, period in zip(TABLES, periods, strict=True):
                db.create(table, COLUMNS, by=by)
                db.policy("delete", table, period, recoverable="7d", id=table, where=given_where)
            play(db, [*(Insert(table, [(day, "first", "x") for day in DAYS]) for table in TABLES), *acts, Run(0)])
        finally:
            db.close()
            clear()

    (seed(part)(check) if examples(0, long=1) else check)()


def play(db: Database, acts: list[Any]) -> None:
    """Do one after the other; at the end, undo everything."""
    taken: list[Counter[Any]] = []
    for act in acts:
        before = look(db)
        if isinstance(act, Insert):
            if not (isinstance(db, CrateDatabase) and db.frozen(act.table)):  # By a run that was killed.
                db.insert(act.table, [{"ts": ts, "n": n, "tenant": tenant} for ts, n, tenant in act.rows])
            continue
        if isinstance(act, Run):
            with killing(db, act.killed):
                assert db.run().ok
            gone = before - look(db)
            assert look(db) - before == Counter(), "a run adds nothing"
            assert all(ts < "2024-06" for _, ts, *_ in gone), "only what has expired"
            taken.append(gone)
            continue
        wanted = union(before, taken)
        with killing(db, act.killed):
            undo(db)
        assert look(db) <= wanted, "no row is twice"
        assert before <= look(db), "rows that arrived stay"
        undo(db)
        assert look(db) == wanted
        for hold in db.tool.holds():
            db.tool.release(hold.id)
        taken = []
    wanted = union(look(db), taken)
    undo(db)
    assert look(db) == wanted
    assert db.run().ok
    assert look(db) == wanted, "what came back is on hold"


def look(db: Database) -> Counter[Any]:
    found: Counter[Any] = Counter()
    for table in TABLES:
        db.refresh(table)
        day = "date_format('%Y-%m-%d', ts)" if isinstance(db, CrateDatabase) else "strftime(ts, '%Y-%m-%d')"
        found.update((table, *row) for row in db.rows(f"SELECT {day}, n, tenant FROM {db.q(table)}"))
    return found


def union(there: Counter[Any], taken: list[Counter[Any]]) -> Counter[Any]:
    """Each row as often as it is in the tables, or as a run took it away."""
    for each in taken:
        there = there | each
    return there


def undo(db: Database) -> None:
    with suppress(NotFound):
        found = db.tool.undo(table_schema=db.schema, table_name="*")
        assert [item.error for item in found if item.error] == []


@contextmanager
def killing(db: Database, at: int) -> Iterator[None]:
    """Let what is done within be killed at a statement that writes, counted from 1; 0: at none."""
    engine, number = db.tool.engine.database.engine, 0

    def before(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        nonlocal number
        number += not statement.startswith(("SELECT", "REFRESH"))
        if at and number >= at:
            raise Killed

    listening: Callable[..., None] = before
    sa.event.listen(engine, "before_cursor_execute", listening)
    try:
        with suppress(Killed):
            yield
    finally:
        sa.event.remove(engine, "before_cursor_execute", listening)
    if at:
        db.forget_leases()
