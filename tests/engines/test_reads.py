"""
What is read does not grow with the history: a page, a command or a check reads as many rows after years as after a day.

Rows are counted where the toolkit receives them, and the statements are looked at for what the database has to touch.
"""

from __future__ import annotations

import datetime as dt
import itertools
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from cratedb_retention.engine import database
from cratedb_retention.errors import Conflict, PartitionChanged
from cratedb_retention.execution.archive import RestoreRequest, tidy_copies
from cratedb_retention.execution.plan.preparing import Selection, check_preconditions
from cratedb_retention.model.access import Access, Role
from cratedb_retention.model.audit import OF_RUNS, Event, Outcome
from cratedb_retention.model.catalog import Column, Kind
from cratedb_retention.model.plan.reasons import Why
from cratedb_retention.model.policies.tags import parse_tag_filter
from cratedb_retention.model.runs import RunOptions
from cratedb_retention.model.time import EPOCH
from cratedb_retention.service.access import Scope
from cratedb_retention.service.metrics import read_facts
from cratedb_retention.store import archive as archives
from cratedb_retention.store import audit, rows
from cratedb_retention.store.archive import partition_to_text
from cratedb_retention.store.audit import Entry, JournalFilter, RunPlace, place_after
from support.databases import MONTH, TIME, Database, before_statements
from support.tiers import others_on_duckdb

OPTIONS = RunOptions(threads=False)
YEARS_AGO = "2021-01-01T00:00:00+00:00"
LATER = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)
YEARS = itertools.count(1990)
ENDS = frozenset({Event.RUN_STARTED, Event.RUN_FINISHED})


@contextmanager
def rows_read(db: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The number of rows of each query of the toolkit's own tables; some are sent at the same time."""
    found, transact = list[int](), database.Database.transact
    own = [f"{db.own_schema}.{table.name}" for table in db.tool.store.tables.metadata.sorted_tables]

    def counting(self: Any, work: Any, statement: Any = None) -> Any:
        result = transact(self, work, statement)
        if isinstance(statement, sa.Select) and any(name in str(statement).replace('"', "") for name in own):
            found.append(len(result))
        return result

    with monkeypatch.context() as patch:
        patch.setattr(database.Database, "transact", counting)
        yield found


def looks_at_log(sent: list[str]) -> list[str]:
    """The queries of the audit log among some statements, without quotes."""
    return [text.replace('"', "") for text in sent if text.startswith("SELECT") and "jobs_log" in text]


def remember(db: Database, runs: int) -> None:
    """Write runs of long ago, of one policy, to the audit log."""
    now, first = db.time.moment, dt.datetime.fromisoformat(YEARS_AGO)
    about: dict[str, Any] = {"policy_id": "old", "table_schema": db.schema, "table_name": "metrics", "message": "x"}
    for number in range(runs):
        db.time.moment = first + dt.timedelta(hours=number)
        steps = [Entry(event=Event.STEP_FINISHED, outcome=Outcome.FAILED, step=n, **about) for n in range(10)]
        db.tool.store.journal.note(*steps, Entry(event=Event.RUN_FINISHED, outcome=Outcome.DONE, run_id="r"))
    db.tool.store.journal.write()
    db.time.moment = now


def prepare_today(db: Database) -> None:
    """Policies that are due, one of which is held."""
    for name in ("plain", "held"):
        db.create(name, {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
        db.fill(name, ("2024-03-10", "2024-04-10"))
        db.policy("delete", name, "30d", id=name, schedule="@daily")
    db.tool.hold("held", db.schema)
    db.time.set("2024-07-03T00:00:10+00:00")


def run_today(db: Database) -> None:
    """Policies that are due, one of which is held; and their run."""
    prepare_today(db)
    db.tool.run_due(options=OPTIONS)


def admin(db: Database) -> Scope:
    """Who may see everything."""
    return Scope(db.tool, Access(role=Role.ADMIN, actor="x"))


def archive(db: Database, table: str, days: int, **more: Any) -> None:
    """Record snapshots of a table's days, as if they had been archived and dropped."""
    c, about = db.tool.store.tables.snapshot.c, {"changed_at": db.time.moment, "policy_id": "cold", **more}
    day = Column(name="day", type="TEXT", kind=Kind.TEXT)
    rows = [
        {
            "name": f"{table}-{number:06}",
            "repository": db.repository,
            "table_schema": db.schema,
            "table_name": table,
            "partition": partition_to_text((day,), (f"{number:06}",)),
            "start": number * 86_400_000,
            "end": (number + 1) * 86_400_000,
            "state": "archived",
            "tags": [],
            **about,
        }
        for number in range(days)
    ]
    own = db.tool.engine.own([])
    own.execute(sa.insert(c.name.table), rows)
    own.refresh(c.name.table)


READS: dict[str, Callable[[Database], object]] = {
    "the newest entries": lambda db: db.tool.journal(JournalFilter(limit=5)),
    "the last run": lambda db: admin(db).status(Selection()),
    "whether something was done": lambda db: db.tool.audit.mark(),
    "the state of tables": lambda db: admin(db).tables(Selection()),
    "metrics": lambda db: read_facts(db.tool),
    "a plan": lambda db: db.tool.plan(),
}


READ_OFTEN = ("the last run", "metrics")


@pytest.mark.parametrize("what", [*READ_OFTEN, *others_on_duckdb(*(what for what in READS if what not in READ_OFTEN))])
@pytest.mark.some(3)
def test_the_audit_log_is_not_read_as_a_whole(db: Database, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows are the same, however much happened; and all statements on the audit log say from which time on."""
    remember(db, 3)
    run_today(db)
    READS[what](db)
    with rows_read(db, monkeypatch) as before:
        first = READS[what](db)
    remember(db, 40)
    with db.statements() as sent, rows_read(db, monkeypatch) as after:
        again = READS[what](db)
    assert sorted(after) == sorted(before)
    if what in ("the newest entries", "whether something was done"):
        assert again == first
    looks = looks_at_log(sent)
    assert all("jobs_log.time >= " in statement for statement in looks)
    assert bool(looks) is (what not in ("a plan", "the state of tables"))


def test_the_last_run_of_each_policy_is_kept(db: Database) -> None:
    """A row for each policy that has been run, whatever its number of runs; what a later run mended is over."""
    run_today(db)
    for number in range(2, 6):
        db.time.set(f"2024-07-{number + 2:02}T00:00:10+00:00")
        db.tool.run_due(options=OPTIONS)
    since = db.time.moment - dt.timedelta(days=9)
    found = {run.policy_id: run for run in db.tool.runs.of_policies(since)}
    assert set(found) == {"plain", "held"} and db.count("last_run", schema=db.own_schema) == 2
    assert (found["held"].blocked, found["held"].reason, found["plain"].blocked) == (1, "legal-hold", 0)
    assert {run.ended_at for run in found.values()} == {db.time.moment}
    (hold,) = db.tool.holds()
    db.tool.release(hold.id)
    db.tool.run(options=OPTIONS)
    found = {run.policy_id: run for run in db.tool.runs.of_policies(since)}
    assert (found["held"].blocked, found["held"].error) == (0, None)


def test_a_run_that_could_not_plan_is_kept(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its error is that of each policy that was due."""
    run_today(db)
    db.time.set("2024-07-04T00:00:10+00:00")
    monkeypatch.setattr(db.tool, "prepare", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        db.tool.run_due(options=OPTIONS)
    found = db.tool.runs.of_policies(db.time.moment)
    assert {run.policy_id for run in found} == {"plain", "held"}
    assert all("division by zero" in (run.error or "") for run in found)


class Killed(BaseException):
    """The process is dead."""


@contextmanager
def killed_at(db: Database, *words: str) -> Iterator[None]:
    """No statement of a run reaches the database from the first one with these words on."""
    dead = False

    def act(statement: str) -> None:
        nonlocal dead
        dead = dead or all(word in statement for word in words)
        if dead:
            raise Killed

    with before_statements(db.tool.engine.database.engine, act), pytest.raises(Killed):
        yield


def test_a_run_that_was_killed(db: Database) -> None:
    """What it left in the audit log is the last run, once its leases have expired; then that of the run after it."""
    prepare_today(db)
    with killed_at(db, "INSERT", "last_run"):
        db.tool.run_due(options=OPTIONS)
    began = db.time.moment
    assert db.tool.runs.of_policies(began) == []
    db.time.set("2024-07-03T01:00:00+00:00")
    (run,) = db.tool.runs.of_policies(began)
    assert (run.policy_id, run.blocked, run.reason, run.ended_at) == ("held", 1, "legal-hold", began)
    db.time.moment = began + dt.timedelta(seconds=9)
    more: dict[str, Any] = {"policy_id": "held", "run_id": run.run_id, "why": Why.SKIPPED(cause="the disk broke")}
    db.tool.store.journal.write(Entry(event=Event.STEP_FINISHED, outcome=Outcome.FAILED, **more))
    db.time.set("2024-07-03T01:00:00+00:00")
    run = {run.policy_id: run for run in db.tool.runs.of_policies(began)}["held"]
    assert (run.blocked, run.failed, run.reason, run.ended_at - began) == (1, 1, "skipped", dt.timedelta(seconds=9))
    assert db.tool.runs.of_policies(db.time.moment) == []
    report = db.tool.run_due(options=OPTIONS)
    assert report is not None and db.count("last_run", schema=db.own_schema) == 2
    assert {run.run_id for run in db.tool.runs.of_policies(began)} == {report.run_id}


def test_a_run_without_steps_is_recorded_before_its_leases_are_released(db: Database) -> None:
    """Its start, and its result for each policy: a run that is killed while it releases them leaves both."""
    db.create("fresh", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    db.fill("fresh", ["2024-07-01"])
    db.policy("delete", "fresh", "30d", id="idle", schedule="@daily")
    db.time.set("2024-07-03T00:00:10+00:00")
    with killed_at(db, "UPDATE", "lease"):
        db.tool.run_due(options=OPTIONS)
    assert (len(db.journal(event="slot-started", policy_id="idle")), len(db.journal(event="run-started"))) == (1, 1)
    assert [run.policy_id for run in db.tool.runs.of_policies(db.time.moment)] == ["idle"]


def test_totals_of_a_day(db: Database) -> None:
    """Of all runs of a policy together; what is older, or is about no step, does not count."""
    remember(db, 2)
    done: dict[str, Any] = {"event": Event.STEP_FINISHED, "policy_id": "p", "rows": 5, "bytes": 7}
    db.tool.store.journal.write(
        *(Entry(outcome=Outcome.DONE, operation="drop_partitions", run_id=str(n), **done) for n in range(3)),
        Entry(outcome=Outcome.FAILED, operation="snapshot_partition", **done),
        Entry(event=Event.SLOT_FINISHED, outcome=Outcome.FAILED, policy_id="p"),
        Entry(event=Event.RUN_FINISHED, outcome=Outcome.FAILED, rows=100),
    )
    (totals,) = db.tool.audit.totals(db.time.moment - dt.timedelta(days=1))
    assert (totals.policy_id, totals.failed, totals.rows, totals.bytes) == ("p", 1, 15, 21)


def prepare_archive(db: Database) -> None:
    """A table of which some partitions were archived, and one is due."""
    db.create("metrics", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    db.fill("metrics", ("2024-03-10", "2024-04-10", "2024-06-10"))
    db.policy("snapshot", "metrics", "30d", id="cold", archive_period="100y")
    db.tool.run(options=OPTIONS)
    db.fill("metrics", ["2024-05-10"])
    archive(db, "metrics", 10)


OF_METRICS = RestoreRequest(table_name="metrics", start=dt.datetime(1970, 1, 2, 12, tzinfo=dt.UTC))


def run_again(db: Database) -> None:
    """Archive another month."""
    db.fill("metrics", [f"{next(YEARS)}-03-10"])
    assert db.tool.run(options=OPTIONS).done


def others_copies(db: Database) -> object:
    """The snapshots whose copies another run may need."""
    found: list[Any] = []
    db.tool.store.leases.change([(db.tool.store.leases.read().of("cold"), {"holder": "x", "expires_at": LATER})])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(db.tool.engine.archive, "tidy", lambda schema, in_use: found.append(in_use()))
        tidy_copies(db.tool.engine, db.tool.store)
    return found


OF_ARCHIVE: dict[str, Callable[[Database], object]] = {
    "a plan": lambda db: db.tool.plan(),
    "a run": run_again,
    "a page of the archive": lambda db: admin(db).snapshots(RestoreRequest(), 2, 1),
    "snapshots of a table": lambda db: db.tool.snapshots(OF_METRICS),
    "what could be restored": lambda db: db.tool.restorable(OF_METRICS),
    "the page of a table": lambda db: admin(db).table(db.table("metrics")),
    "what is of an earlier table": lambda db: db.tool.rollups.find_earlier(db.table("metrics")),
    "snapshots to adopt": lambda db: db.tool.adopt_snapshots(db.repository),
    "copies of other runs": others_copies,
}


AT_THE_DATABASE = ("a run", "snapshots to adopt")


@pytest.mark.parametrize(
    "what", [*AT_THE_DATABASE, *others_on_duckdb(*(what for what in OF_ARCHIVE if what not in AT_THE_DATABASE))]
)
@pytest.mark.some(4)
def test_the_archive_is_not_read_as_a_whole(db: Database, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done about one table reads no snapshot of another one, nor of another repository or policy."""
    monkeypatch.setattr(archives, "PAGE", 4)
    monkeypatch.setattr(rows, "PAGE", 4)
    prepare_archive(db)
    OF_ARCHIVE[what](db)
    with rows_read(db, monkeypatch) as before:
        OF_ARCHIVE[what](db)
    archive(db, "zoo", 50, policy_id="other", repository="elsewhere")
    with rows_read(db, monkeypatch) as after:
        OF_ARCHIVE[what](db)
    assert sorted(after) == sorted(before)


def test_each_snapshot_comes_once(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Page by page, also where the time is unknown or several have the same; and a filter finds what it describes."""
    monkeypatch.setattr(rows, "PAGE", 3)
    archive(db, "b", 7, start=None, tags=["acme"])
    archive(db, "a_%", 5)
    archive(db, "a_x", 5, start=5, policy_id=None, repository="other", tags=["acme", "eu"])
    archive(db, "c", 4)
    archive(db, "c", 4, start=None, repository="other")
    every = db.tool.snapshots()
    found = [(each.archived.table.name, each.archived.name) for each in every]
    tables = (("a_%", 5), ("a_x", 5), ("b", 7), ("c", 4), ("c", 4))
    assert found == [(table, f"{table}-{number:06}") for table, count in tables for number in range(count)]
    day, acme = dt.timedelta(days=1), parse_tag_filter(["acme"])
    requests = [
        RestoreRequest(table_name="a_%"),
        RestoreRequest(table_name="a_?"),
        RestoreRequest(table_name="A_*"),
        RestoreRequest(table_schema="*", table_name="*b"),
        RestoreRequest(name="b-0000"),
        RestoreRequest(name="a_%-00"),
        RestoreRequest(repository="other"),
        RestoreRequest(start=EPOCH + day, end=EPOCH + 2 * day),
        RestoreRequest(start=EPOCH + 6 * day),
        RestoreRequest(tags=acme),
        RestoreRequest(tags=parse_tag_filter(["not:acme"])),
        RestoreRequest(tags=parse_tag_filter(["eu", "not:acme"])),
        RestoreRequest(chosen=frozenset({("other", "a_x-000001"), (db.repository, "a_x-000002")})),
        RestoreRequest(chosen=frozenset()),
    ]
    folds = db.tool.store.folds_case
    for request in requests:
        assert db.tool.snapshots(request) == [each for each in every if request.fits(each, folds)], request


def test_a_change_of_a_policy_reads_that_policy(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others are read only where they are about the same tables."""
    keys = [str(uuid.uuid4()) for _ in range(20)]
    for key in keys:
        db.policy("delete", f"t_{key}", "30d", id=key)
    with rows_read(db, monkeypatch) as found:
        db.tool.edit_policy(keys[3][:8], {"retention_period": "2d"})
        new = db.policy("delete", "new", "30d")
        db.tool.delete_policy(new.id or "")
    assert max(found) == 1
    with pytest.raises(Conflict, match=keys[4]):
        db.policy("delete", f"t_{keys[4]}", "1d")
    with pytest.raises(Conflict, match="is taken"):
        db.policy("delete", "another", "1d", id=keys[5])


def test_holds_that_a_plan_knows_are_not_read_for_each_task(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task is about holds that were placed since; placing one reads that one."""
    db.create("metrics", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    db.fill("metrics", ["2024-03-10"])
    db.policy("delete", "metrics", "30d")
    for number in range(20):
        db.tool.hold(f"other_{number}", db.schema)
    prepared = db.tool.prepare()
    (task,) = prepared.plan.tasks
    with rows_read(db, monkeypatch) as found:
        check_preconditions(db.tool.store, prepared, task)
        db.tool.hold("metrics", db.schema)
    assert max(found) == 1
    with pytest.raises(PartitionChanged, match="a hold was placed"):
        check_preconditions(db.tool.store, prepared, task)


def test_tokens_matter_to_those_with_a_scope(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Callers without a scope need no tokens of others; a scope still hides what others did."""
    for number in range(20):
        db.tool.create_token(f"t{number}", Role.VIEWER, parse_tag_filter(["acme"]) if number % 2 else None)
    db.tool.journal()
    with rows_read(db, monkeypatch) as found:
        assert admin(db).visibility.foreign_tags == frozenset()
    assert sum(found) == 0
    scope = Scope(db.tool, Access(role=Role.VIEWER, actor="x", limit=parse_tag_filter(["globex"])))
    assert scope.visibility.foreign_tags == {"acme"}


@pytest.mark.parametrize("limit", [3, *others_on_duckdb(1, 4, 100)])
def test_pages_of_the_audit_log(db: Database, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Page after page, each row comes once, also where several have the same time; so does all that is streamed."""
    monkeypatch.setattr(audit, "PAGE", 2)
    for hours, count in ((0, 5), (1, 1), (20, 3), (30, 4), (1000, 2), (2000, 3)):
        db.time.moment = dt.datetime(2024, 7, 2, tzinfo=dt.UTC) - dt.timedelta(hours=hours)
        entries = (Entry(event=Event.RUN_FINISHED, message=f"{hours:04} {number}") for number in range(count))
        db.tool.store.journal.write(*entries)
    db.time.moment = dt.datetime(2024, 7, 2, tzinfo=dt.UTC)
    wanted = JournalFilter(limit=limit, event=Event.RUN_FINISHED)
    found, place = list[str](), None
    for _ in range(19):
        if page := db.tool.journal(JournalFilter(limit=limit, event=Event.RUN_FINISHED, after=place)):
            found += [row["message"] for row in page]
            place = place_after(page, place)
    assert found == sorted(found) and len(found) == 18
    assert [row["message"] for row in db.tool.audit.stream(wanted)] == found[:limit]
    skipping = JournalFilter(limit=limit, offset=4)
    assert [row["message"] for row in db.tool.journal(skipping)] == found[4 : 4 + limit]


def test_the_list_of_runs(db: Database) -> None:
    """Latest first, each once however long it went on, part after part; what it did is added up, and by table."""
    now, journal = db.time.moment, db.tool.store.journal
    about: dict[str, Any] = {"table_schema": db.schema, "policy_id": "p", "tags": ("acme",)}
    blocked: dict[str, Any] = {"table_name": "u", "outcome": Outcome.NEEDS_ATTENTION, "partitions": 9, **about}
    step: dict[str, Any] = {"table_name": "t", "step": 1, "operation": "drop_partitions", **about}
    done: dict[str, Any] = {"outcome": Outcome.DONE, "partitions": 2, "rows": 5, "bytes": 7, "duration_ms": 3}
    # What is blocked is written before the steps, and is not when they were done.
    db.time.moment = now - dt.timedelta(hours=802)
    journal.write(Entry(event=Event.BLOCKED, run_id="b", table_name="t", outcome=Outcome.BLOCKED, **about))
    # Run a went on during all others; b and c ended at one time, long ago.
    for run_id, began, ended in (("a", 900, 1), ("b", 800, 700), ("c", 750, 700), ("d", 3, 2)):
        db.time.moment = now - dt.timedelta(hours=began)
        start = Entry(event=Event.RUN_STARTED, run_id=run_id)
        first = Entry(event=Event.BLOCKED, run_id=run_id, **blocked)
        journal.write(start, first, Entry(event=Event.STEP_STARTED, run_id=run_id, **step))
        db.time.moment = now - dt.timedelta(hours=ended)
        end = Entry(event=Event.RUN_FINISHED, outcome=Outcome.DONE, run_id=run_id)
        journal.write(Entry(event=Event.STEP_FINISHED, run_id=run_id, **step, **done), end)
    db.time.moment = now
    audited, wanted = db.tool.audit, JournalFilter(events=ENDS, limit=1)
    found = list[RunPlace]()
    while len(found) < 6 and (part := audited.runs(wanted, found[-1] if found else None)):
        found += part
    assert [each.run_id for each in found] == ["a", "d", "b", "c"]
    with db.statements() as sent:
        assert audited.runs(replace(wanted, limit=2)) == found[:2]
    assert len(looks_at_log(sent)) == 1, "in one look, of a day"
    tagged = JournalFilter(tags=parse_tag_filter(["acme"]), outcome=Outcome.NEEDS_ATTENTION)
    assert [each.run_id for each in audited.runs(tagged)] == ["d", "c", "b", "a"]
    assert audited.runs(JournalFilter(tags=parse_tag_filter(["globex"]))) == []

    [whole] = audited.run_totals(JournalFilter(run_ids=frozenset({"a"}), events=OF_RUNS))
    assert (whole.steps, whole.partitions, whole.rows, whole.bytes, whole.duration_ms) == (1, 2, 5, 7, 3)
    assert (whole.scheduled, whole.finished, whole.ended - whole.began) == (False, True, dt.timedelta(hours=899))
    assert (whole.tables, whole.table) == (2, None)
    assert {name: count for name, count in whole.outcomes.items() if count} == {"done": 1, "needs-attention": 1}
    first_table, second = audited.run_totals(JournalFilter(run_ids=frozenset({"b"}), without=ENDS), by_table=True)
    assert [each.table for each in (first_table, second)] == [db.table("t"), db.table("u")]
    assert (first_table.rows, second.rows, second.policy_id) == (5, 0, "p")
    assert [each.ended - each.began for each in (first_table, second)] == [dt.timedelta(hours=100), dt.timedelta()]
    assert len(audited.run_totals(JournalFilter(run_ids=frozenset("abcd")))) == 4


def test_a_filter_by_time_ends_the_search(db: Database) -> None:
    """Nothing before the time that is asked for is read, and nothing is read twice where one look is enough."""
    remember(db, 3)
    now = db.time.moment
    for since, many in ((now - dt.timedelta(hours=5), 1), (now - dt.timedelta(days=5), 2), (None, 3)):
        with db.statements() as sent:
            db.tool.journal(JournalFilter(since=since, policy_id="nobody"))
        assert len(looks_at_log(sent)) == many
