"""
Plays a history on a database, and checks all tables after each run.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import sqlalchemy as sa

from cratedb_retention.execution.plan.preparing import Selection
from cratedb_retention.execution.runs.events import Observer, RunEvent, StepFinished
from cratedb_retention.model.rollups.rollup import RollUp
from exactness.histories import DAY, HOUR, Edit, History, NewRow, Turn, Values
from exactness.history_checks import ExpectedRows, HistoryChecker
from support.databases import TIME, CrateDatabase, Database, as_sent, before_statements
from support.oracle import Buckets, Row, moment_of, ms_of, text
from support.sql import quoted

# Longer than anything but the last level is kept, and at last than its buckets are.
_LATER = (90 * DAY, 400 * DAY)
# Months may pass without any data, for which the clock would be blamed.
ACCEPTED = Selection(accepted=True)
_PARTITIONS = {"hour": "1h", "day": "1d", "month": "1mo"}


def play(db: Database, history: History) -> list[object]:
    """
    Play all turns; in the end everything has expired that can, and the coarsest level still has everything.

    :return: What was there after each run.
    """
    player = HistoryPlayer(db, history)
    player.create()
    try:
        for turn in history.turns:
            player.play_turn(turn)
        player.end()
    finally:
        player.drop()
    return player.states


class HistoryPlayer:
    """
    Plays a history on a table of its own, and notes what the levels must hold.

    Attributes: ``now`` is the time in ms, UTC.
    """

    def __init__(self, db: Database, history: History) -> None:
        self.db, self.shape = db, history.shape
        self.now = ms_of(dt.datetime.fromisoformat(f"{history.start}+00:00"))
        self.name = f"t{uuid.uuid4().hex[:12]}"
        self.expected = ExpectedRows([{} for _ in self.shape.days_kept])
        self.checker = HistoryChecker(db=db, shape=self.shape, name=self.name, expected=self.expected)
        self.states: list[object] = []
        self._written = 0

    # The table

    def create(self) -> None:
        """The table and its policy."""
        shape, numbers = self.shape, self.shape.numbers
        by = ["d0"] * shape.by_dimension + ["part"] * bool(shape.unit)
        part = {"part": self._partition()} if shape.unit else {}
        self.db.create(self.name, {"id": "BIGINT", "ts": TIME, **shape.columns, **part}, by=by)
        self.db.policy(
            "downsample",
            self.name,
            _period(shape.raw),
            levels=",".join(f"{interval}:{_period(days)}" for interval, days in shape.levels),
            time_zone=shape.zone,
            dimensions=[f"d{i}" for i in range(len(shape.dimensions))],
            metrics=[number.name for number in numbers],
            counters=[number.name for number in numbers if number.counter],
            exclude=["id"],
            late=shape.late,
            deletions="follow",
        )

    def _partition(self) -> str:
        """The partition column, as each database writes it."""
        unit, zone = self.shape.unit, self._partition_zone
        if zone == "UTC":
            expression = f"date_trunc('{unit}', ts)"
        elif isinstance(self.db, CrateDatabase):
            expression = f"date_trunc('{unit}', '{zone}', ts)"
        else:
            expression = f"timezone('{zone}', date_trunc('{unit}', timezone('{zone}', ts)))"
        return f"{TIME} GENERATED ALWAYS AS ({expression})"

    @property
    def _partition_zone(self) -> str:
        return self.shape.zone if self.shape.local else "UTC"

    def drop(self) -> None:
        """Drop everything, so that the next history starts empty."""
        for stored in self.db.tool.policies():
            self.db.tool.delete_policy(stored.policy.id or "")
        if any(known.rollup.source.name == self.name for known in self.checker.ledger().rollups.values()):
            self.db.tool.drop_rollups(self.name, self.db.schema)
        self.db.sql(f"DROP TABLE {self.db.q(self.name)}")

    # Turns

    def play_turn(self, turn: Turn) -> None:
        """Play a turn, and check all tables."""
        self.now += turn.hours * HOUR
        self.write(turn.rows)
        for edit in turn.edits:
            self.edit(edit)
        if turn.crash is not None:
            self.crash(turn.crash)
            self.checker.check_sealed(self.now)
            self.write(turn.afterwards)
        self.run(turn.amid)
        self.check()

    def end(self) -> None:
        """Much later."""
        for later in _LATER:
            self.now += later
            self.run()
            self.check()
        for level, days in enumerate(self.shape.days_kept):
            if level and days is None:
                assert self.checker.total(level) == len(self.expected.reached[level])
        if self.shape.late == "drop" and self.shape.raw is not None:
            assert self.checker.raw() == []

    def check(self) -> None:
        """Everything."""
        self.checker.check_raw(self.now)
        self.checker.check_sealed(self.now)
        self.checker.check(self.now)
        self.checker.check_view()
        self.states.append(self._state())

    def _state(self) -> object:
        """What is there, what is due, and what verification finds, whatever the table is called."""
        plan = [(task.why.code, task.rows, [type(step) for step in task.steps]) for task in self.db.tool.plan().tasks]
        windows = [
            [
                # What expired windows were computed from is forgotten as soon as they are in a range.
                (row.start, row.end, row.whole, row.sealed, row.expired)
                + (() if self.checker.is_expired(row.start, level, self.now) else (row.rows, row.groups))
                for row in found.values()
            ]
            for level, found in enumerate(self.checker.windows(self.checker.ledger()), 1)
        ]
        levels = self.checker.levels()
        found = self.db.tool.rollups.verify(self.name, self.db.schema) if any(windows) else []
        differences = [(one.start, one.end, one.what) for one in found]
        return sorted(self.checker.raw()), levels, windows, plan, differences

    def run(self, amid: Sequence[NewRow] = ()) -> None:
        """A run that succeeds. If rows are written during it, another one follows."""
        if amid:
            self._run_disturbed(amid)
        self._run()

    def _run(self, observers: Sequence[Observer] = ()) -> None:
        self.db.time.set(moment_of(self.now).isoformat())
        report = self.db.tool.run(observers=observers, selection=ACCEPTED)
        assert report.ok, [row["error"] for row in self.db.journal() if row["error"]]

    def _run_disturbed(self, rows: Sequence[NewRow]) -> None:
        """
        Rows are written after the first windows were computed. What this run has sealed by its end they can't reach.
        """
        made: list[Row] = []

        def write(event: RunEvent) -> None:
            if not made and isinstance(event, StepFinished) and isinstance(event.step, RollUp):
                made.extend(self._insert(rows))

        self._run([write])
        self._remember(made)

    def crash(self, after: int) -> None:
        """A run that crashes after a number of statements."""
        self.db.time.set(moment_of(self.now).isoformat())
        retention = self.db.retention()
        with dying(retention.engine.database.engine, after):
            retention.run(selection=ACCEPTED)
        retention.close()
        self.db.forget_leases()

    # Rows

    def write(self, rows: Iterable[NewRow]) -> None:
        """New rows; none while partitions are frozen, since CrateDB refuses them then, and the writer knows."""
        self._remember(self._insert(rows))

    def _insert(self, rows: Iterable[NewRow]) -> list[Row]:
        made = [self._made(row) for row in rows]
        if not made or self._is_frozen():
            return []
        self.db.insert(self.name, [{**row, "ts": text(row["ts"])} for row in made])
        return made

    def _remember(self, rows: Iterable[Row]) -> None:
        windows = self.checker.windows(self.checker.ledger())
        for row in rows:
            self.expected.change(row, row, windows)

    def _made(self, row: NewRow) -> Row:
        self._written += 1
        ts = self.now - row.hours * HOUR
        return {"id": self._written, "ts": ts - ts % HOUR + row.shift, **self._named(row.values)}

    def _named(self, values: Values) -> Row:
        return dict(zip(self.shape.columns, values, strict=True))

    def edit(self, edit: Edit) -> None:
        """
        Change or delete a row that is there.

        The last row of a partition, or of a bucket of a plain table, stays: where all rows are gone the rollup is kept,
        since most likely they were expired.
        """
        there = [self.expected.reached[0][number] for number in sorted(self.checker.raw())]
        if not there or self._is_frozen():
            return
        row = there[edit.which % len(there)]
        windows = self.checker.windows(self.checker.ledger())
        if edit.values is not None:
            self._update(row, self._named(edit.values), windows)
        elif sum(self._place(other) == self._place(row) for other in there) > 1:
            self.db.sql(f"DELETE FROM {self.db.q(self.name)} WHERE id = ?", [row["id"]])
            self.expected.change(row, None, windows)
        self.db.refresh(self.name)

    def _update(self, row: Row, values: Row, windows: Any) -> None:
        if self.shape.by_dimension:
            del values["d0"]  # A partition column can't be changed.
        setting = ", ".join(f"{quoted(name)} = ?" for name in values)
        sent = [*as_sent(values.values()), row["id"]]
        self.db.sql(f"UPDATE {self.db.q(self.name)} SET {setting} WHERE id = ?", sent)
        self.expected.change(row, {**row, **values}, windows)

    def _place(self, row: Row) -> tuple[Any, ...]:
        """The partition that a row lies in, or its bucket."""
        if not self.shape.unit:
            return Buckets(self.shape.levels[0][0], self.shape.zone)(row["ts"])
        start, _ = Buckets(_PARTITIONS[self.shape.unit], self._partition_zone)(row["ts"])
        return (start, row["d0"]) if self.shape.by_dimension else (start,)

    def _is_frozen(self) -> bool:
        return isinstance(self.db, CrateDatabase) and self.db.frozen(self.name) > 0


def _period(days: int | None) -> str:
    return "forever" if days is None else f"{days}d"


class Crash(BaseException):
    """The process is gone. Nothing handles it, as nothing handles SIGKILL."""


@contextmanager
def dying(engine: sa.Engine, after: int) -> Iterator[None]:
    """
    Let the process crash after a number of statements; its attempts to clean up have no effect either.

    A statement outside of a transaction is done or not; a transaction that is not committed is undone.
    """
    left = after

    def count(statement: str) -> None:
        nonlocal left
        if left <= 0:
            raise Crash
        left -= 1

    with suppress(Crash), before_statements(engine, count):
        yield
