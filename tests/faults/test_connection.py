"""
Lost connections: what was lost is tried again with growing pauses, also where only the answer was lost and the
database did what it was told. Who loses the connection is a proxy in front of a real CrateDB.
"""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
import sqlalchemy as sa

from cratedb_retention import Retention
from cratedb_retention.clock import Clock
from cratedb_retention.errors import (
    ConnectionLost,
    DatabaseError,
    LeaseLost,
    NoAnswer,
    NotFound,
    PartitionChanged,
    PartitionGone,
    Recovering,
    RetentionError,
)
from cratedb_retention.execution.runs.retrying import ATTEMPTS, ATTEMPTS_WHILE_RECOVERING, retry
from support.databases import CrateDatabase
from support.kill_harness import READS
from support.kill_scenarios import COMPACTING, CUTOFF, SCENARIOS, CrateScenarioDatabase, Scenario
from support.proxy import Answer, Decide, Fate, Proxy, lose, lose_each_answer_once, proxy_to, refused, statement_of

PAUSES = [0.5, 1, 2, 4, 8]
DELETE = SCENARIOS[0]


@dataclass
class Line:
    """The toolkit with a line to its database that can be cut."""

    retention: Retention
    proxy: Proxy
    pauses: list[float] = field(default_factory=list)


@pytest.fixture
def line(crate: CrateDatabase) -> Iterator[Line]:
    """A line to the database of the test."""
    with proxy_to(crate.uri) as proxy:
        pauses: list[float] = []
        clock = Clock(now=lambda: CUTOFF, sleep=pauses.append, shared=True)
        with Retention(proxy.uri, crate.own_schema, clock=clock) as retention:
            yield Line(retention, proxy, pauses)


def journal(crate: CrateDatabase, **equal: Any) -> list[str]:
    """Outcomes of steps in the journal."""
    return [row["outcome"] for row in crate.journal(event="step-finished", **equal)]


@pytest.mark.parametrize(
    ("error", "pauses"),
    [
        (ConnectionLost("database", "is gone"), PAUSES),
        (NoAnswer("database", "says nothing"), PAUSES[:1]),
        (Recovering("database", "was just started"), [*PAUSES, *[8] * (ATTEMPTS_WHILE_RECOVERING - 1 - len(PAUSES))]),
        (DatabaseError("database", "refused"), []),
        (PartitionChanged("partition", "was written to"), []),
        (LeaseLost("lease", "another one has it"), []),
    ],
)
def test_only_what_is_lost_is_tried_again(error: RetentionError, pauses: list[float]) -> None:
    """A lost connection is tried six times, an answer that does not come twice; what was refused has failed at once."""
    waited, tried = list[float](), list[int]()

    def work() -> None:
        tried.append(1)
        raise error

    with pytest.raises(type(error)):
        retry(work, waited.append)
    assert (waited, len(tried)) == (pauses, len(pauses) + 1)


FEWER = pytest.mark.long("make test loses as many as are borne; the test above counts tries without a database")


@pytest.mark.parametrize("fate", [Fate.LOSE_REQUEST, Fate.LOSE_ANSWER])
@pytest.mark.parametrize("times", [*(pytest.param(times, marks=FEWER) for times in (1, 3)), ATTEMPTS - 1])
def test_pauses_grow(crate: CrateDatabase, line: Line, fate: Fate, times: int) -> None:
    """A connection that is lost up to five times costs nothing but pauses: half a second, and twice that each time."""
    database = CrateScenarioDatabase(DELETE, crate)
    database.reset()
    prepared = line.retention.prepare()
    line.proxy.decide = lose(fate, "DELETE", times)
    report = line.retention.run(prepared)
    assert (report.ok, report.done, line.pauses) == (True, 1, PAUSES[:times])
    assert database.see(line.retention).rows == DELETE.kept
    assert journal(crate) == ["done"]


def test_gives_up(crate: CrateDatabase, line: Line) -> None:
    """What is lost for the sixth time has failed; the journal says so, and another table goes on."""
    database = CrateScenarioDatabase(DELETE, crate)
    database.reset()
    crate.create("other", DELETE.columns, DELETE.by)
    crate.insert("other", DELETE.rows)
    other = crate.policy("delete", "other", "30d")
    prepared = line.retention.prepare()
    line.proxy.decide = lose(Fate.LOSE_REQUEST, f'DELETE FROM "{crate.schema}"."readings"', 100)
    report = line.retention.run(prepared)
    assert (report.ok, report.done, report.failed, line.pauses) == (False, 1, 1, PAUSES)
    assert journal(crate, policy_id=other.id) == ["done"]
    (failure,) = crate.journal(event="step-finished", outcome="failed")
    assert line.retention.address.safe in failure["error"]
    assert "no answer" in failure["error"]
    assert len(database.look("SELECT n FROM {table}")) == len(DELETE.rows)


def test_database_gone_for_good(crate: CrateDatabase, line: Line) -> None:
    """Where not even the journal can be written, the run ends with the error, after as many tries."""
    CrateScenarioDatabase(DELETE, crate).reset()
    prepared = line.retention.prepare()
    line.proxy.decide = lose(Fate.LOSE_REQUEST, "", 100)
    with pytest.raises(ConnectionLost, match="no answer"):
        line.retention.run(prepared)
    assert line.pauses == PAUSES


def test_lost_while_preparing(crate: CrateDatabase, line: Line) -> None:
    """A run tries again what is lost while it prepares, too; a plan is for somebody who waits, and says it at once."""
    database = CrateScenarioDatabase(DELETE, crate)
    database.reset()
    line.proxy.decide = lose(Fate.LOSE_REQUEST, "SELECT", 1)
    with pytest.raises(ConnectionLost):
        line.retention.plan()
    assert line.pauses == []
    line.proxy.decide = lose(Fate.LOSE_REQUEST, "SELECT", 2)
    report = line.retention.run()
    assert (report.ok, report.done, line.pauses) == (True, 1, PAUSES[:2])
    assert database.see(line.retention).rows == DELETE.kept


def test_gone_in_the_middle(crate: CrateDatabase, line: Line) -> None:
    """A database that goes away while a partition is frozen: the error comes up, and the next run makes it good."""
    scenario = next(s for s in SCENARIOS if s.name == "snapshot")
    database = CrateScenarioDatabase(scenario, crate)
    database.reset()
    prepared = line.retention.prepare()

    def gone_from_the_snapshot_on(body: str) -> Fate | Answer:
        if "CREATE SNAPSHOT" in body:
            line.proxy.decide = lambda body: Fate.LOSE_REQUEST
        return line.proxy.decide(body) if "CREATE SNAPSHOT" in body else Fate.PASS

    line.proxy.decide = gone_from_the_snapshot_on
    with pytest.raises(ConnectionLost):
        line.retention.run(prepared)
    assert database.frozen() == 1
    state = database.finish()
    assert (state.rows, state.frozen, state.noted, state.due) == (scenario.kept, 0, 0, 0)
    assert state.repository == (("SUCCESS", 1),)


TWICE = ("delete-rows", "snapshot", "compact")
OTHERS = pytest.mark.long("make test does so with each kind of statement that these have")


@pytest.mark.parametrize(
    "scenario",
    [pytest.param(scenario, marks=() if scenario.name in TWICE else OTHERS) for scenario in SCENARIOS + COMPACTING[:1]],
    ids=lambda scenario: scenario.name,
)
def test_each_change_happens_twice(crate: CrateDatabase, line: Line, scenario: Scenario) -> None:
    """Where the answer to each change is lost once, so that all are done twice, the end is the same."""
    database = CrateScenarioDatabase(scenario, crate)
    database.reset()
    undisturbed = database.finish()
    database.reset()
    prepared = line.retention.prepare()
    line.proxy.decide = lose_each_answer_once(lambda statement: bool(statement) and not statement.startswith(READS))
    report = line.retention.run(prepared)
    line.proxy.decide = lambda body: Fate.PASS
    assert (report.ok, report.deferred, report.done) == (True, 0, sum(len(t.steps) for t in prepared.plan.tasks))
    assert len(line.pauses) > 3
    assert database.see(line.retention) == undisturbed


BLOCKED = "ClusterBlockException[blocked by: [SERVICE_UNAVAILABLE/1/state not recovered / initialized];]"
NO_STATE = 'NullPointerException[Cannot invoke "ClusterState.nodes()" because "clusterState" is null]'
SHARDS = "UnavailableShardsException[[t] shard 0 is not available]"


def starting(line: Line, word: str, error: Answer, known: bool, pauses: int) -> Decide:
    """
    A cluster that was just started, until the toolkit has waited some times.

    :param word: The statements that begin so fail.
    :param known: Whether its tables are seen by now, so that the next try goes well.
    """

    def decide(body: str) -> Fate | Answer:
        statement = statement_of(body)
        if len(line.pauses) >= pauses:
            return Fate.PASS
        if not body:
            return Answer(503, {"ok": False, "status": 503})
        if not known and "information_schema.tables" in statement:
            return Answer(200, {"cols": ["n", "same"], "rows": [[0, None]], "rowcount": 1})
        return error if statement.startswith(word) else Fate.PASS

    return decide


NO_SCHEMA, NO_TABLE = "SchemaUnknownException[Schema '{}' unknown]", "RelationUnknown[Relation '{}' unknown]"


@pytest.mark.parametrize(
    ("word", "known", "error"),
    [
        ("REFRESH", True, NO_SCHEMA),
        ("DELETE", False, NO_TABLE),
        pytest.param("DELETE", True, NO_SCHEMA, marks=pytest.mark.long("make test has each value once")),
        pytest.param("REFRESH", False, NO_TABLE, marks=pytest.mark.long("make test has each value once")),
    ],
)
def test_tables_that_are_not_known_yet(crate: CrateDatabase, line: Line, word: str, known: bool, error: str) -> None:
    """After a restart tables are unknown for a while, which is waited for, longer than a lost connection is."""
    database = CrateScenarioDatabase(DELETE, crate)
    database.reset()
    name = crate.schema if "Schema" in error else f"{crate.schema}.readings"
    unknown = refused(error.format(name))
    line.proxy.decide = starting(line, word, unknown, known, ATTEMPTS + 3)
    report = line.retention.run()
    assert (report.ok, report.done, len(line.pauses)) == (True, 1, ATTEMPTS + 3)
    assert database.see(line.retention).rows == DELETE.kept
    assert journal(crate) == ["done"]


@pytest.mark.parametrize("error", [BLOCKED, NO_STATE])
def test_state_that_is_not_recovered(crate: CrateDatabase, line: Line, error: str) -> None:
    """So is what a node says before it has a cluster state."""
    database = CrateScenarioDatabase(DELETE, crate)
    database.reset()
    line.proxy.decide = starting(line, "REFRESH", refused(error, 500), True, 3)
    with pytest.raises(Recovering, match="was just started"):
        line.retention.plan()
    assert line.pauses == []
    report = line.retention.run()
    assert (report.ok, report.done, len(line.pauses)) == (True, 1, 3)


def test_a_table_that_is_gone(crate: CrateDatabase, line: Line) -> None:
    """Where other tables are known, one that is unknown is gone: that is said at once."""
    CrateScenarioDatabase(DELETE, crate).reset()
    prepared = line.retention.prepare()
    crate.sql(f"DROP TABLE {crate.q('readings')}")
    report = line.retention.run(prepared)
    assert (report.ok, report.failed, line.pauses) == (False, 1, [])
    [failure] = crate.journal(event="step-finished", outcome="failed")
    assert "unknown" in failure["error"]
    with pytest.raises(NotFound, match="setup"), Retention(line.proxy.uri, "no_such_schema") as other:
        other.run()
    assert line.pauses == []


def missing_shards(line: Line, on_their_way: int) -> Decide:
    """Refuses to delete, until two pauses are over; other tests have shards that are on their way, too."""

    def decide(body: str) -> Fate | Answer:
        if len(line.pauses) >= 2:
            return Fate.PASS
        if "INITIALIZING" in body:
            return Answer(200, {"cols": ["n"], "rows": [[on_their_way]], "rowcount": 1})
        return refused(SHARDS, 500) if statement_of(body).startswith("DELETE") and "readings" in body else Fate.PASS

    return decide


def test_shards_that_do_not_come_back(crate: CrateDatabase, line: Line) -> None:
    """Missing shards are waited for only while some are on their way."""
    CrateScenarioDatabase(DELETE, crate).reset()
    prepared = line.retention.prepare()
    line.proxy.decide = missing_shards(line, on_their_way=0)
    report = line.retention.run(prepared)
    assert (report.ok, report.failed, line.pauses) == (False, 1, [])


def test_shards_that_come_back(crate: CrateDatabase, line: Line) -> None:
    """While some are, a step is tried again."""
    database = CrateScenarioDatabase(DELETE, crate)
    database.reset()
    prepared = line.retention.prepare()

    line.proxy.decide = missing_shards(line, on_their_way=1)
    report = line.retention.run(prepared)
    assert (report.ok, report.done, len(line.pauses)) == (True, 1, 2)
    assert database.see(line.retention).rows == DELETE.kept


NO_INDEX = "IndexNotFoundException[no such index [t..partitioned.readings.0400/QJ49-BWtSmWdTdU-HDEO1w]]"
NO_RELATION = NO_TABLE.format("Relation not found for indexUUID=OaWTS8eyRBK0AZYOvqEoBw")


@pytest.mark.parametrize("error", [NO_INDEX, NO_RELATION])
def test_a_partition_is_dropped_meanwhile(crate: CrateDatabase, line: Line, error: str) -> None:
    """By another client: a query is repeated at once, a change by the step that makes it, and neither forever."""
    database, seen = CrateScenarioDatabase(DELETE, crate), Counter[str]()
    database.reset()

    def decide(body: str) -> Fate | Answer:
        statement = statement_of(body)
        word = statement.partition(" ")[0]
        if not (word == "DELETE" and "readings" in body) and "information_schema.table_partitions" not in statement:
            return Fate.PASS
        seen[word] += 1
        return refused(error) if seen[word] <= most[word] else Fate.PASS

    most, line.proxy.decide = {"SELECT": 2, "DELETE": 2}, decide
    report = line.retention.run()
    assert (report.ok, report.done, line.pauses) == (True, 1, [0.5, 1])
    assert database.see(line.retention).rows == DELETE.kept
    most["SELECT"] = 1000
    with pytest.raises(PartitionGone, match=r"a partition was dropped while a statement used its table\. Try again"):
        line.retention.plan()


def test_queries_while_partitions_go(crate: CrateDatabase) -> None:
    """What CrateDB says of a partition that goes between planning and reading never comes out."""
    crate.create("busy", {"n": "INTEGER", "x": "INTEGER"}, by=["n"])
    crate.insert("busy", [{"n": n, "x": 1} for n in (-1, -2)])
    column: sa.ColumnClause[int] = sa.column("x")
    over = threading.Event()
    query = sa.select(sa.func.sum(column)).select_from(sa.table("busy", column, schema=crate.schema))

    def drop_partitions() -> None:
        for number in itertools.cycle(range(5)):
            if over.is_set():
                return
            crate.insert("busy", [{"n": number, "x": 1}])
            crate.sql(f"DELETE FROM {crate.q('busy')} WHERE n = {number}")

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(drop_partitions)
        try:
            for _ in range(300):
                assert crate.tool.engine.database.rows(query)[0][0] >= 2
        finally:
            over.set()
        other.result()
