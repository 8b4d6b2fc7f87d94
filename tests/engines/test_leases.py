"""
Law 8: two runs never run the same policy at once; a lease names its holder, and a holder that lost it stops.

No thread renews anything here: time goes on when a test says so, and the runs do by themselves what is due by then.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
import sqlalchemy as sa

from cratedb_retention import Report, Retention
from cratedb_retention.clock import Actor, name_holder
from cratedb_retention.errors import (
    Cancelled,
    ClusterUnhealthy,
    ConnectionLost,
    DatabaseError,
    DiskFull,
    LeaseLost,
    NotFound,
    RunEnded,
    Stopped,
)
from cratedb_retention.execution.runs.events import LeftOut, RunEvent, RunStarted, StepFinished, StepStarted, TakenOver
from cratedb_retention.execution.runs.leasing import LeaseHolder, new_session
from cratedb_retention.execution.runs.recorder import outcomes_after
from cratedb_retention.model.audit import Outcome
from cratedb_retention.model.catalog import Column, Kind, Partition
from cratedb_retention.model.plan.plan import FreezePartitions, Task, ThawPartitions
from cratedb_retention.model.plan.reasons import Why
from cratedb_retention.model.runs import RunOptions
from cratedb_retention.model.step import Piece
from support.databases import TIME, CrateDatabase, Database, DuckDatabase

OLD = [f"2024-05-{day:02}T00:00:00Z" for day in range(1, 6)]
ALONE = RunOptions(lease=60, threads=False)
SLOT = dt.datetime(2024, 7, 1, tzinfo=dt.UTC)


def holder(db: Database, name: str = "someone", ttl: float = 60, fresh: float = 0) -> LeaseHolder:
    """One who holds leases, and asks the database before each step."""
    tool = db.tool
    named = name_holder(Actor(name, "host"))
    return LeaseHolder(tool.store.leases, tool.clock, named, f"run-of-{name}", ttl, fresh)


def wait(db: Database, seconds: float) -> None:
    """Let time pass."""
    db.time.moment += dt.timedelta(seconds=seconds)


def test_one_of_two(db: Database) -> None:
    """Of two who want the same policies each gets what the other has not, and is told who has the rest."""
    one, other = holder(db, "one"), holder(db, "other")
    assert set(one.take({"a": None, "b": SLOT}).won) == {"a", "b"}
    taken = other.take({"b": SLOT, "c": None})
    assert set(taken.won) == {"c"}
    assert {policy: lease.holder for policy, lease in taken.refused.items()} == {"b": one.holder}
    one.release({})
    assert set(other.take({"b": SLOT}).won) == {"b"}


def test_stale_knowledge_takes_nothing(db: Database) -> None:
    """Who read the leases before another one took them changes none, be they new or known."""
    one, other = holder(db, "one"), holder(db, "other")
    one.take({"known": None})
    one.release({})
    stale = db.tool.store.leases.read()
    assert set(one.take({"known": None, "new": None}).won) == {"known", "new"}
    taken = other.take({"known": None, "new": None}, stale)
    assert not taken.won
    assert {lease.holder for lease in taken.refused.values()} == {one.holder}
    one.check("known")


def test_many_in_few_statements(db: Database) -> None:
    """A thousand leases cost as many statements as two; DuckDB, which is no server, takes them one by one."""
    counts = []
    for number in (2, 1000 if db.product == "CrateDB" else 50):
        keys = {f"{number}-{i}": SLOT for i in range(number)}
        for _ in range(2):
            one = holder(db)
            with db.statements() as sent:
                assert len(one.take(keys).won) == number
                one.renew()
                one.release(dict.fromkeys(keys, Outcome.DONE))
            counts.append(len(sent) if db.product == "CrateDB" else 0)
        done = db.tool.store.leases.read().by_policy
        assert {done[key].done_slot for key in keys} == {SLOT}
    assert counts[:2] == counts[2:]
    assert max(counts) <= 10


def test_expiry_and_fence(db: Database) -> None:
    """A lease that nobody renews is another one's, with a greater fence, and its old holder is told at once."""
    one, other = holder(db, "one"), holder(db, "other")
    one.take({"a": SLOT})
    wait(db, 59)
    assert not other.take({"a": SLOT}).won
    one.renew()
    wait(db, 59)
    assert not other.take({"a": SLOT}).won
    wait(db, 1)
    taken = other.take({"a": SLOT})
    assert taken.over["a"].holder == one.holder
    assert taken.won["a"].fence == 2
    with pytest.raises(LeaseLost, match="could not renew its leases for 60 seconds"):
        one.check_time()
    with pytest.raises(LeaseLost, match=r"taken over by other@host:"):
        one.renew()
    assert not one.release({"a": Outcome.DONE})
    with pytest.raises(LeaseLost):
        one.check_released()
    assert db.tool.store.leases.read().of("a").done_slot is None
    other.release({"a": Outcome.DONE})
    assert db.tool.store.leases.read().of("a").done_slot == SLOT


def test_a_machine_whose_clock_is_ahead(duck: DuckDatabase) -> None:
    """The clock of the database decides whether a lease has expired, not that of the machine that wants it."""
    one, tool = holder(duck, "one"), duck.tool
    one.take({"a": None})
    ahead = replace(tool.clock, now=lambda: tool.clock.now() + dt.timedelta(hours=1), counter=tool.clock.uptime)
    other = LeaseHolder(tool.store.leases, ahead, name_holder(Actor("other", "host")), "run-of-other")
    assert not other.take({"a": None}).won
    one.check("a")


def test_the_fence_is_looked_at(db: Database) -> None:
    """A holder whose own clock stood still, as in a machine that was frozen, finds out by the fence."""
    one, other = holder(db, "one", ttl=1e9), holder(db, "other")
    one.take({"a": None})
    db.refresh("lease", db.own_schema)
    db.sql(f"UPDATE {db.q('lease', db.own_schema)} SET expires_at = taken_at")
    db.refresh("lease", db.own_schema)
    other.take({"a": None})
    with pytest.raises(LeaseLost, match=r"taken over by other@host:"):
        one.check("a")


@pytest.mark.parametrize("renewed", [False, True])
def test_gives_up_before_another_can_have_it(db: Database, renewed: bool) -> None:
    """However long the database takes to answer, a holder gives up no later than another one can take the lease."""
    one, other = holder(db, "one"), holder(db, "other")

    def slow(*args: object) -> None:
        wait(db, 7)

    engine = db.tool.engine.database.engine
    sa.event.listen(engine, "after_cursor_execute", slow)
    one.take({"a": None})
    if renewed:
        one.renew()
    sa.event.remove(engine, "after_cursor_execute", slow)
    one.check_time()
    free_at = db.tool.store.leases.read().of("a").expires_at
    assert free_at is not None
    db.time.moment = free_at - dt.timedelta(seconds=1)
    assert not other.take({"a": None}).won
    db.time.moment = free_at
    with pytest.raises(LeaseLost):
        one.check_time()
    assert other.take({"a": None}).won


def test_one_of_several_is_lost(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A holder that could not renew one of its leases gives up, although it has the others."""
    one, leases = holder(db), db.tool.store.leases
    one.take({"a": None, "b": None})
    change = leases.change
    monkeypatch.setattr(leases, "change", lambda wanted: {p: v for p, v in change(wanted).items() if p != "b"})
    with pytest.raises(LeaseLost, match="lease of policy b"):
        one.renew()


def test_more_leases_prolong_none(db: Database) -> None:
    """Who takes another lease holds those before it for no longer: somebody else can have them."""
    one, other = holder(db, "one"), holder(db, "other")
    one.take({"a": None})
    wait(db, 50)
    assert one.take({"b": None}).won
    wait(db, 10)
    assert other.take({"a": None}).won
    with pytest.raises(LeaseLost):
        one.check_time()


def test_a_run_that_goes_on_keeps_its_leases(db: Database) -> None:
    """A run renews its leases as long as it goes on: nobody else has them, though it lasts for longer than they do."""
    policies = [table(db, name) for name in ("one", "two", "three", "four")]
    other, started = holder(db, "other"), db.time.moment

    def pause(event: RunEvent) -> None:
        if isinstance(event, StepStarted | StepFinished):
            wait(db, 25)
            assert not other.take(dict.fromkeys(policies)).won

    report = db.tool.run(observers=[pause], options=ALONE)
    assert (report.ok, report.done) == (True, 4)
    assert (db.time.moment - started).total_seconds() == 200


def test_what_is_frozen_is_left_to_who_took_over(crate: CrateDatabase) -> None:
    """A run that lost its lease thaws nothing: what it froze may be another one's work by now, which knows of it."""
    crate.create("texts", {"ts": TIME, "n": "TEXT", "part": "TEXT"}, by=["part"])
    crate.fill("texts", OLD, part="a")
    policy = crate.policy("delete", "texts", "30d", partition_column="part").id or ""
    other = holder(crate, "other")

    def pause(event: RunEvent) -> None:
        if isinstance(event, StepFinished) and isinstance(event.step, FreezePartitions):
            wait(crate, 61)
            assert other.take({policy: None}).won

    with pytest.raises(LeaseLost):
        crate.tool.run(observers=[pause], options=ALONE)
    assert (crate.frozen("texts"), len(crate.tool.store.freezes.all())) == (1, 1)
    other.release({})
    assert crate.run().ok
    assert (crate.left("texts"), crate.frozen("texts"), crate.tool.store.freezes.all()) == ([], 0, {})


@pytest.mark.parametrize("error", [Cancelled, Stopped])
def test_what_is_frozen_is_thawed_at_the_end(crate: CrateDatabase, error: type[RunEnded]) -> None:
    """A run that is cancelled or stopped after it froze a partition leaves it as it was: writes are taken again."""
    crate.create("texts", {"ts": TIME, "n": "TEXT", "part": "TEXT"}, by=["part"])
    crate.fill("texts", OLD, part="a")
    crate.policy("delete", "texts", "30d", partition_column="part")

    stop = threading.Event()

    def end(event: RunEvent) -> None:
        if isinstance(event, RunStarted | StepFinished):
            wait(crate, 2)  # So long that the run is written down, and looks whether it was cancelled.
        if isinstance(event, StepFinished) and isinstance(event.step, FreezePartitions):
            assert crate.frozen("texts") == 1
            if error is Stopped:
                stop.set()
            else:
                (run,) = crate.tool.running()
                crate.tool.cancel(run.run_id)

    with pytest.raises(error):
        crate.tool.run(observers=[end], options=replace(ALONE, stop=stop))
    assert (crate.frozen("texts"), crate.tool.store.freezes.all()) == (0, {})
    crate.fill("texts", OLD, part="a")


def test_released_twice(db: Database) -> None:
    """Where the answer to a release was lost, doing it again finds that it is done."""
    one = holder(db)
    one.take({"a": SLOT, "b": SLOT})
    held = dict(one.held)
    one.release({"a": Outcome.DONE})
    one.held.update(held)
    assert one.release({"a": Outcome.DONE}) == {"a", "b"}
    one.check_released()
    assert db.tool.store.leases.read().of("a").done_slot == SLOT


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (Cancelled("run", "cancelled"), Outcome.CANCELLED),
        (ZeroDivisionError(), Outcome.FAILED),
        (DatabaseError("table", "is broken"), Outcome.FAILED),
        *[(kind("run", "why"), None) for kind in (Stopped, LeaseLost, ConnectionLost, ClusterUnhealthy, DiskFull)],
        (KeyboardInterrupt(), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_which_end_is_repeated(error: BaseException, outcome: Outcome | None) -> None:
    """What would end in the same way again ends its slots; what another time or place may mend leaves them due."""
    assert outcomes_after(error, ["p"]) == ({} if outcome is None else {"p": outcome})


def test_released_by_another_run(db: Database) -> None:
    """A lease that another run took over and released since was not ours to the end, although it is free again."""
    one, other = holder(db, "one"), holder(db, "other")
    one.take({"a": SLOT})
    wait(db, 60)
    other.take({"a": SLOT})
    other.release({})
    assert one.release({"a": Outcome.DONE}) == set()
    with pytest.raises(LeaseLost):
        one.check_released()
    assert db.tool.store.leases.read().of("a").done_slot is None


def table(db: Database, name: str = "events", rows: bool = True) -> str:
    """A table whose rows are due, and its policy."""
    db.create(name, {"ts": TIME, "n": "TEXT"})
    if rows:
        db.fill(name, OLD)
    return db.policy("delete", name, "30d").id or ""


def seen(tool: Retention, terms: RunOptions = ALONE) -> tuple[Report, list[RunEvent]]:
    """Run, and collect what happens."""
    events: list[RunEvent] = []
    return tool.run(observers=[events.append], options=terms), events


def test_a_run_leaves_what_another_one_is_at(db: Database) -> None:
    """The policy of another run is left out with that run's name; everything else is done, and all is well."""
    first, second = table(db, "one"), table(db, "two")
    other = holder(db, "other")
    other.take({first: None})
    report, events = seen(db.tool)
    assert report.ok
    assert (report.done, report.deferred) == (1, 1)
    assert (len(db.left("one")), len(db.left("two"))) == (5, 0)
    (left,) = (event for event in events if isinstance(event, LeftOut))
    assert (left.policy_id, left.holder) == (first, other.holder)
    (entry,) = db.journal(event="blocked", outcome="deferred")
    assert (entry["policy_id"], entry["error"]) == (first, f"locked by {other.holder}")
    known = db.tool.store.leases.read()
    assert known.of(second).is_free(known.now)
    assert known.of(second).outcome == "done"
    other.release({})
    assert seen(db.tool)[0].done == 1
    assert not db.left("one")


def test_each_table_that_is_left_out_is_told(db: Database) -> None:
    """Of a policy for several tables that another run is at, the journal names each."""
    for name in ("events_1", "events_2"):
        db.create(name, {"ts": TIME, "n": "TEXT"})
        db.fill(name, OLD)
    holder(db, "other").take({db.policy("delete", "events_*", "30d").id or "": None})
    assert seen(db.tool)[0].deferred == 2
    told = sorted((row["table_name"], row["message"]) for row in db.journal(event="blocked", outcome="deferred"))
    assert told == [("events_1", "1 task"), ("events_2", "1 task")]


def test_what_a_lease_tells_of_the_end(db: Database) -> None:
    """A policy that ended with a problem has ended then, and did not succeed; nobody has its lease."""
    policy = table(db)
    assert seen(db.tool)[0].ok
    first = db.time.moment
    db.tool.edit_policy(policy, {"time_column": "nosuch"})
    wait(db, 3600)
    session = new_session(db.tool.store, db.tool.clock, db.tool.actor, ALONE)
    session = replace(session, taken=session.leases.take({policy: SLOT}))
    wait(db, 10)
    assert db.tool.run(options=ALONE, session=session).needs_attention == 1
    lease = db.tool.store.leases.read().of(policy)
    assert (lease.outcome, lease.finished_at, lease.succeeded_at) == ("needs-attention", db.time.moment, first)
    assert (lease.holder, lease.expires_at, lease.done_slot) == (None, None, SLOT)
    (slot,) = db.journal(event="slot-finished")
    assert (slot["table_name"], slot["slot"], slot["outcome"], slot["host"]) == ("events", SLOT, lease.outcome, "host")


def test_tidying_up_waits(db: Database) -> None:
    """What is frozen may be another run's work, so it is not thawed while anybody is at work."""
    table(db, rows=False)
    prepared = db.tool.prepare()
    piece = Piece(partition=Partition(values=("a",)), start=None, end=None)
    step = ThawPartitions(
        table=db.table("events"), columns=(Column(name="part", type="text", kind=Kind.TEXT),), pieces=(piece,)
    )
    plan = replace(
        prepared.plan, tasks=(Task(policy_id=None, table=db.table("events"), steps=(step,), why=Why.LEFT_FROZEN()),)
    )
    other = holder(db, "other")
    other.take({"p": None})
    events: list[RunEvent] = []
    report = db.tool.run(replace(prepared, plan=plan), observers=[events.append], options=ALONE)
    assert (report.deferred, report.done) == (1, 0)
    (left,) = (event for event in events if isinstance(event, LeftOut))
    assert (left.policy_id, left.holder) == (None, other.holder)
    wait(db, 60)
    assert db.tool.run(replace(prepared, plan=plan), options=ALONE).deferred == 0, "who died is at nothing any more"


def test_an_expired_run_is_taken_over(db: Database) -> None:
    """After a run that died, the next one takes its policy over, and the journal says from whom."""
    policy = table(db)
    dead = holder(db, "dead")
    dead.take({policy: SLOT})
    assert seen(db.tool)[0].done == 0
    wait(db, 61)
    report, events = seen(db.tool)
    assert report.done == 1
    assert [event.holder for event in events if isinstance(event, TakenOver)] == [dead.holder]
    (entry,) = db.journal(event="lease-taken-over")
    assert (entry["policy_id"], entry["slot"]) == (policy, SLOT)
    assert re.search("dead@host:[^ ]+, run run-of-dead", entry["message"])


def interrupted(
    db: Database, error: type[Exception], at: Callable[[RunEvent], None], terms: RunOptions = ALONE
) -> list[RunEvent]:
    """A run of two tables that something ends after its first step; returns what happened."""
    events: list[RunEvent] = []

    def observe(event: RunEvent) -> None:
        events.append(event)
        if isinstance(event, StepFinished):
            at(event)

    with pytest.raises(error):
        db.tool.run(observers=[observe], options=terms)
    assert sum(isinstance(event, StepStarted) for event in events) == 1, "no step begins after it"
    return events


def test_a_run_that_lost_its_lease_stops(db: Database) -> None:
    """Paused for longer than its leases last, a run ends before its next step; another one does the rest."""
    policies = [table(db, "one"), table(db, "two")]
    other = holder(db, "other")

    def pause(event: RunEvent) -> None:
        wait(db, 61)
        assert len(other.take(dict.fromkeys(policies)).won) == 2

    interrupted(db, LeaseLost, pause)
    assert sorted((len(db.left("one")), len(db.left("two")))) == [0, 5]
    (end,) = db.journal(event="run-finished")
    assert (end["outcome"], "lease" in end["error"]) == ("interrupted", True)
    assert {lease.holder for lease in db.tool.store.leases.read().by_policy.values()} == {other.holder}
    other.release({})
    assert seen(db.tool)[0].done == 1
    assert (db.left("one"), db.left("two")) == ([], [])


def test_a_run_whose_clock_stood_still_stops(db: Database) -> None:
    """Where its own clock does not tell that its leases are another one's, a run finds out before its next step."""
    policies = [table(db, "one"), table(db, "two")]
    other = holder(db, "other")

    def pause(event: RunEvent) -> None:
        db.refresh("lease", db.own_schema)
        db.sql(f"UPDATE {db.q('lease', db.own_schema)} SET expires_at = taken_at")
        db.refresh("lease", db.own_schema)
        wait(db, 2)
        assert len(other.take(dict.fromkeys(policies)).won) == 2

    interrupted(db, LeaseLost, pause, RunOptions(lease=86_400, threads=False))
    assert sorted((len(db.left("one")), len(db.left("two")))) == [0, 5]


def test_cancel(db: Database) -> None:
    """A run that lasts longer than a second can be seen and cancelled by others, and says who did it."""
    due, other = {table(db, "one"), table(db, "two")}, db.retention("operator")
    table(db, "three", rows=False)

    def ask(event: RunEvent) -> None:
        (job,) = other.running()
        assert (job.step, job.steps, job.rows, job.actor, set(job.policies)) == (0, 2, 10, "tester", due)
        with pytest.raises(NotFound, match="rite the whole identifier"):
            other.cancel(job.run_id[:5])
        for _ in range(2):
            assert other.cancel(job.run_id[:6]).run_id == job.run_id
        wait(db, 2)

    first = {"asked": False}

    def both(event: RunEvent) -> None:
        if isinstance(event, StepFinished) and not first["asked"]:
            first["asked"] = True
            ask(event)

    tool = db.tool
    with pytest.raises(Cancelled, match="cancelled by operator@host"):
        tool.run(observers=[_late_start(db), both], options=ALONE)
    (end,) = db.journal(event="run-finished")
    assert (end["outcome"], end["error"][-26:]) == ("cancelled", "cancelled by operator@host")
    assert [row["actor"] for row in db.journal(event="cancel-requested")] == ["operator"]
    assert sorted((len(db.left("one")), len(db.left("two")))) == [0, 5]
    assert other.running() == []
    with pytest.raises(NotFound, match="is not running"):
        other.cancel("nothing")
    assert tool.run(options=ALONE).done == 1


def _late_start(db: Database) -> Callable[[RunEvent], None]:
    """Lets two seconds pass before the first step, so that the run is written down."""
    from cratedb_retention.execution.runs.events import RunStarted

    def observe(event: RunEvent) -> None:
        if isinstance(event, RunStarted):
            wait(db, 2)

    return observe


def test_a_long_step_hears_it_too(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two batches of rows a run notices that its lease is lost, and deletes no more."""
    from cratedb_retention.engine.cratedb.engine import CrateDBEngine
    from cratedb_retention.engine.duckdb.engine import DuckDBEngine
    from cratedb_retention.execution.runs.events import StepProgressed

    for engine in (CrateDBEngine, DuckDBEngine):
        monkeypatch.setattr(engine, "batch", 2)
    policy, other = table(db), holder(db, "other")

    def pause(event: RunEvent) -> None:
        if isinstance(event, StepProgressed):
            wait(db, 61)
            assert other.take({policy: None}).won

    with pytest.raises(LeaseLost, match=r"taken over by other@host:"):
        db.tool.run(observers=[pause], options=ALONE)
    assert len(db.left("events")) == 3
    ended = db.journal(event="step-finished")
    assert [row["outcome"] for row in ended] == ["interrupted"]


def test_holders_have_names_of_their_own(db: Database) -> None:
    """Two runs of one process are two holders."""
    assert name_holder(db.tool.actor) != name_holder(db.tool.actor)
    assert name_holder(db.tool.actor).startswith("tester@host:")


def test_what_dead_processes_hold_in_a_file(duck: DuckDatabase) -> None:
    """Who has a DuckDB file open knows that no other process lives: what one of them held is free at once."""
    duck.create("t", {"ts": TIME, "n": "TEXT"})
    duck.fill("t", OLD)
    policy = duck.policy("delete", "t", "30d")
    tool, identifier = duck.tool, policy.id or ""
    for dead in ("root@host:1:0a0a0a0a-0b0b0b0b", "root@host:1:0b0b0b0b", f"root@host:{os.getpid()}:0a0a0a0a-0b0b0b0b"):
        duck.forget_leases()
        other = LeaseHolder(tool.store.leases, tool.clock, dead, "run-of-dead")
        other.take({identifier: None})
        assert set(holder(duck).take({identifier: None}).over) == {identifier}
    duck.forget_leases()
    LeaseHolder(tool.store.leases, tool.clock, dead, "run-of-dead").take({identifier: None})
    assert duck.run().done == 1
    assert duck.left("t") == []
    assert len(duck.journal(event="lease-taken-over")) == 1


def test_what_others_hold_on_a_server(crate: CrateDatabase) -> None:
    """Elsewhere nobody knows whether another process lives, so its leases last."""
    tool = crate.tool
    LeaseHolder(tool.store.leases, tool.clock, "root@host:1:0a0a0a0a-0b0b0b0b", "r").take({"a": None})
    assert holder(crate).take({"a": None}).won == {}
