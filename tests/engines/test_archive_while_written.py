"""
Old rows that keep coming: a partition that is written to between plan and freeze is archived, or deleted, as it is
then, as long as all that holds for it then allows that; and no row goes that is not archived, or not expired.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest

from cratedb_retention import Report
from cratedb_retention.execution.archive import RestoreRequest
from cratedb_retention.execution.plan.preparing import Selection
from cratedb_retention.execution.runs.events import RunEvent, StepStarted
from cratedb_retention.model.plan.plan import DropArchived, FreezePartitions, SnapshotPartition, Step
from support.databases import MONTH, TIME, CrateDatabase, Database
from support.tiers import others_on_duckdb

APRIL, MAY, JUNE = "2024-04-10T00:00:00Z", "2024-05-10T00:00:00Z", "2024-06-10T00:00:00Z"
LATE, YOUNG = "2024-05-20T00:00:00Z", "2024-06-11T00:00:00Z"


def by_month(db: Database, **policy: Any) -> str:
    """A table by month, two of which are expired, and the identifier of its policy."""
    db.create("metrics", {"ts": TIME, "n": "TEXT", "month": MONTH}, by=["month"])
    db.fill("metrics", [APRIL, MAY, JUNE])
    return db.policy("snapshot", "metrics", "30d", **policy).id or ""


def by_text(db: Database, strategy: str, **policy: Any) -> None:
    """A table of whose partitions only the rows say how old they are; two of them are expired."""
    db.create("metrics", {"ts": TIME, "n": "TEXT", "part": "TEXT"}, by=["part"])
    for part, day in (("a", APRIL), ("b", MAY), ("c", JUNE)):
        db.fill("metrics", [day], part=part)
    db.policy(strategy, "metrics", "30d", partition_column="part", **policy)


def run_with(db: Database, write: Callable[[Step, int], None], selection: Selection | None = None) -> Report:
    """
    Run, and write right before each partition is frozen; on DuckDB, where nothing freezes, before it is archived.

    :param write: Gets the step, and how often it was begun.
    """
    kind = FreezePartitions if db.product == "CrateDB" else SnapshotPartition
    begun: list[RunEvent] = []

    def interfere(event: RunEvent) -> None:
        if isinstance(event, StepStarted) and isinstance(event.step, kind):
            mine = [event.step.about[0].partition.values]
            times = sum(isinstance(e, StepStarted) and mine == [e.step.about[0].partition.values] for e in begun)
            begun.append(event)
            write(event.step, times)

    report = db.tool.run(observers=[interfere], selection=selection)
    assert begun
    return report


def once(db: Database, day: str, **values: Any) -> Callable[[Step, int], None]:
    """Writes a row into the partition that a step is about, before it is begun for the first time."""

    def write(step: Step, times: int) -> None:
        (value,) = step.about[0].partition.values
        if not times:
            part = {"part": value} if isinstance(value, str) else {}
            at = (
                day
                if part
                else dt.datetime.fromtimestamp(int(value or 0) / 1000, dt.UTC).strftime("%Y-%m-20T00:00:00Z")
            )
            db.insert("metrics", [{"ts": at, "n": f"late {value}", **part, **values}])

    return write


def restored(db: Database) -> list[str]:
    """The rows that all archives hold."""
    back = db.tool.restore(RestoreRequest(into=db.table("back")))
    assert [each.error for each in back] == [None] * len(back)
    return db.left("back")


def test_archived_in_the_first_run(db: Database) -> None:
    """A row comes after each plan and before each freeze: all is archived with it at once, and no row is lost."""
    by_month(db)
    report = run_with(db, once(db, ""))
    assert (report.ok, report.deferred, report.partitions, report.rows) == (True, 0, 2, 4)
    assert db.left("metrics") == [JUNE]
    rows = restored(db)
    assert len(rows) == 4
    assert {APRIL, MAY} <= set(rows)
    assert [each.error for each in db.tool.verify_snapshots()] == [None, None]
    assert len(db.snapshot_names()) == 2
    said = [row["message"] for row in db.journal(event="step-finished", operation="drop_archived")]
    assert all("written to since the plan was made" in message for message in said)
    assert not db.journal(outcome="deferred")
    assert db.count("retention_freeze", schema=db.own_schema) == 0


def test_archived_by_its_rows(db: Database) -> None:
    """The same where the time of partitions is measured: the late rows are old enough as well."""
    by_text(db, "snapshot")
    report = run_with(db, once(db, LATE))
    assert (report.ok, report.deferred, report.partitions, report.rows) == (True, 0, 2, 4)
    assert db.left("metrics") == [JUNE]
    assert restored(db) == [APRIL, MAY, "late a", "late b"]


@pytest.mark.parametrize("strategy", ["snapshot", "delete"])
def test_young_row(db: Database, strategy: str) -> None:
    """A row that is not expired keeps its partition, and only that; it can be written to again."""
    by_text(db, strategy)

    def write(step: Step, times: int) -> None:
        if not times and any(piece.partition.values == ("a",) for piece in step.about):
            db.fill("metrics", [YOUNG], part="a")

    if db.product == "DuckDB" and strategy == "delete":
        pytest.skip("one transaction deletes what is expired, and nothing else")
    report = run_with(db, write)
    assert (report.ok, report.deferred) == (True, 1)
    assert {APRIL, YOUNG} <= set(db.left("metrics"))
    db.fill("metrics", ["2024-06-12T00:00:00Z"], part="a")


def test_held_by_its_time(db: Database) -> None:
    """A hold that the partition's rows were not under, and the late row is: it stays, with all of its partition."""
    by_text(db, "snapshot")
    start, end = (dt.datetime(2023, month, 1, tzinfo=dt.UTC) for month in (1, 2))
    db.tool.hold("metrics", db.schema, start=start, end=end)
    report = run_with(db, once(db, "2023-01-15T00:00:00Z"))
    assert (report.ok, report.deferred, report.partitions) == (True, 2, 0)
    assert db.left("metrics") == [APRIL, MAY, JUNE, "late a", "late b"]
    assert not db.snapshot_names()


def test_held_and_not_visible_yet(crate: CrateDatabase) -> None:
    """The same where no query has seen the late row, since the table was not refreshed."""
    by_text(crate, "snapshot")
    crate.sql(f"ALTER TABLE {crate.q('metrics')} SET (refresh_interval = 0)")
    start, end = (dt.datetime(2023, month, 1, tzinfo=dt.UTC) for month in (1, 2))
    crate.tool.hold("metrics", crate.schema, start=start, end=end)

    def write(step: Step, times: int) -> None:
        (value,) = step.about[0].partition.values
        row = "('2023-01-15', 'late', ?)"
        crate.sql(f"INSERT INTO {crate.q('metrics')} (ts, n, part) VALUES {row}", [value])

    report = run_with(crate, write)
    assert (report.ok, report.deferred, report.partitions) == (True, 2, 0)
    assert crate.left("metrics") == [APRIL, MAY, JUNE, "late", "late"]


def test_held_meanwhile(db: Database) -> None:
    """A hold that is placed together with the row counts."""
    by_month(db)
    write = once(db, "")

    def hold_and_write(step: Step, times: int) -> None:
        db.tool.hold("metrics", db.schema, where={"n": "nothing"})
        write(step, times)

    report = run_with(db, hold_and_write)
    assert (report.ok, report.deferred, report.partitions) == (True, 2, 0)
    assert db.count("metrics") == 4


@pytest.mark.parametrize("change", ["edited", *others_on_duckdb("disabled", "deleted")])
def test_policy_changed_meanwhile(db: Database, change: str) -> None:
    """So does what became of the policy."""
    policy, write = by_month(db), once(db, "")

    def change_and_write(step: Step, times: int) -> None:
        if change == "deleted":
            db.tool.delete_policy(policy)
        else:
            db.tool.edit_policy(policy, {"enabled": False} if change == "disabled" else {"tags": ["a"]})
        write(step, times)

    report = run_with(db, change_and_write)
    assert (report.ok, report.deferred, report.partitions) == (True, 2, 0)
    assert db.count("metrics") == 4


@pytest.mark.parametrize(("most", "deferred"), [(3, 1), *others_on_duckdb((4, 0), (2, 2))])
def test_limits_count_all_of_a_run(db: Database, most: int, deferred: int) -> None:
    """What came since the plan counts for the limit of rows, with what the run has done and is about to do."""
    by_month(db, expected_max={"rows": most})
    report = run_with(db, once(db, ""))
    assert (report.ok, report.deferred, report.partitions) == (True, deferred, 2 - deferred)
    assert db.count("metrics") == 1 + 2 * deferred


def test_accepted_beyond_a_limit(db: Database) -> None:
    """What a person accepted for a run stays accepted where rows came since the plan."""
    by_month(db, expected_max={"rows": 1})
    report = run_with(db, once(db, ""), Selection(accepted=True))
    assert (report.ok, report.deferred, report.partitions) == (True, 0, 2)
    assert db.left("metrics") == [JUNE]


def test_rolled_up_first(db: Database) -> None:
    """A row that no rollup holds keeps its partition for the next run, which rolls it up and archives it (law 3)."""
    db.create("metrics", {"ts": TIME, "n": "TEXT", "x": "BIGINT", "month": MONTH}, by=["month"])
    db.fill("metrics", [MAY, JUNE], x=1)
    db.policy("downsample", "metrics", "10y", levels="1d:forever", dimensions=["n"])
    db.policy("snapshot", "metrics", "30d")
    report = run_with(db, once(db, "", x=5))
    assert (report.deferred, report.partitions) == (1, 0)
    assert db.count("metrics") == 3
    assert db.run().ok
    assert db.count("metrics") == 1
    db.refresh("metrics_1d")
    assert db.rows(f"SELECT sum(row_count), sum(x_sum) FROM {db.q('metrics_1d')}")[0] in ([3, 7], (3, 7))


def test_written_again_and_again(duck: Database) -> None:
    """DuckDB freezes nothing: a partition that is written to at each try waits for the next run."""
    by_month(duck)

    def write(step: Step, times: int) -> None:
        duck.fill("metrics", [f"2024-04-{11 + times}T00:00:00Z"])

    report = run_with(duck, write)
    assert (report.ok, report.deferred, report.partitions) == (True, 1, 1)
    assert "2024-04-14T00:00:00Z" in duck.left("metrics")
    assert duck.run().ok
    assert duck.left("metrics") == [JUNE]


def test_deleted_in_the_first_run(crate: CrateDatabase) -> None:
    """`delete` freezes partitions of which only the rows tell the age, and goes on with late rows in the same way."""
    by_text(crate, "delete")
    report = run_with(crate, once(crate, LATE))
    assert (report.ok, report.deferred, report.partitions, report.rows) == (True, 0, 2, 3)
    assert crate.left("metrics") == [JUNE]
    assert crate.count("retention_freeze", schema=crate.own_schema) == 0


def test_unfrozen_meanwhile(crate: CrateDatabase) -> None:
    """Somebody allows writes between the freeze and the archive, and writes: what may go on changing waits."""
    by_month(crate)
    written: list[str] = []

    def unfreeze(event: RunEvent) -> None:
        if isinstance(event, StepStarted) and isinstance(event.step, SnapshotPartition):
            crate.sql(f"""ALTER TABLE {crate.q("metrics")} SET ("blocks.write" = false)""")
            written.append(f"2024-0{4 + len(written) % 2}-20T00:00:0{len(written)}Z")
            crate.fill("metrics", written[-1:])

    report = crate.tool.run(observers=[unfreeze])
    assert (report.ok, report.deferred, report.partitions) == (True, 2, 0)
    assert crate.left("metrics") == sorted([APRIL, MAY, JUNE, *written])


def test_dropped_is_what_was_archived(duck: Database) -> None:
    """A row that comes after the archive was made is in no archive, and keeps the partition."""
    by_month(duck)

    def write(event: RunEvent) -> None:
        if isinstance(event, StepStarted) and isinstance(event.step, DropArchived):
            duck.fill("metrics", ["2024-04-21T00:00:00Z"])

    report = duck.tool.run(observers=[write])
    assert (report.deferred, report.partitions) == (1, 1)
    assert "2024-04-21T00:00:00Z" in duck.left("metrics")
