"""Runs as plain data: their options, what they did, and how far they are."""

from __future__ import annotations

import datetime as dt
import threading
from dataclasses import dataclass, fields
from typing import Annotated, Any

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.audit import OUTCOMES
from cratedb_retention.model.former import Former

# The only default of the lease duration, and its only limits, in seconds.
LEASE_SECONDS, SHORTEST_LEASE, LONGEST_LEASE = 60, 5, 86_400
LEASE_MEANING = "Seconds without a sign of life after which another run may take over."
# A run that has not written for this long is of a process that is dead, or cut off.
SILENT = dt.timedelta(minutes=2)


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """
    How a run goes on, whoever starts it: the command line, the schedule, the HTTP API or a page.

    :param lease: Seconds without renewal after which another run may take the policies over.
    :param stop: Set when the process is to end; a run then ends before its next step.
    :param threads: Whether a thread renews leases and writes progress while a step takes long; without, only the run
        itself does between steps, as in a simulation.
    :raises InvalidInput: if the lease is too short or too long.
    """

    lease: float = LEASE_SECONDS
    stop: threading.Event | None = None
    threads: bool = True

    def __post_init__(self) -> None:
        if not SHORTEST_LEASE <= self.lease <= LONGEST_LEASE:
            remedy = f"choose from {SHORTEST_LEASE:g} to {LONGEST_LEASE:g} seconds"
            raise InvalidInput(f"lease of {self.lease:g} seconds", "too short or too long", remedy)


@dataclass(frozen=True, kw_only=True)
class Report:
    """
    What a run did.

    :param done: Steps that were done.
    :param failed: Steps that failed.
    :param skipped: Tasks that were not tried after a failure.
    :param deferred: Tasks that the next run takes, since the data or the policy changed in the meantime.
    :param blocked: What is due and must not happen now; ``needs_attention``: how much of that, until a person acts.
    :param partitions: Partitions that were dropped or moved.
    :param rows: Rows that were removed or moved, as far as the database says.
    :param failed_policies: The policies of steps that failed.
    """

    run_id: str
    done: int = 0
    failed: int = 0
    skipped: int = 0
    deferred: int = 0
    blocked: int = 0
    needs_attention: int = 0
    partitions: int = 0
    rows: int = 0
    bytes: int = 0
    failed_policies: tuple[str, ...] = ()

    held, problems = Former("blocked"), Former("needs_attention")

    @property
    def ok(self) -> bool:
        """Whether everything that was due is done, blocked as intended, or deferred."""
        return not (self.failed or self.skipped or self.needs_attention)


@dataclass(frozen=True, kw_only=True)
class RunState:
    """How far a run is. What has a meaning beside it is a column of the table ``job_state``."""

    run_id: Annotated[str, "The run."]
    policies: Annotated[tuple[str, ...], "The policies that it has something to do for."] = ()
    tags: Annotated[tuple[str, ...], "Their tags."] = ()
    actor: Annotated[str, "Who started it."] = ""
    host: Annotated[str, "On which machine."] = ""
    state: Annotated[str, "`running` or `finished`."] = "running"
    outcome: Annotated[str | None, f"How it ended: {OUTCOMES}."] = None
    started_at: Annotated[dt.datetime, "When it began."]
    heartbeat_at: Annotated[dt.datetime, "When this row was last written; one that is old is of a dead process."]
    finished_at: Annotated[dt.datetime | None, "When it ended."] = None
    expected_end: Annotated[dt.datetime | None, "When it may end, reckoned from what is done."] = None
    step: Annotated[int, "The number of the present step, from 1."] = 0
    steps: Annotated[int, "How many steps there are."] = 0
    table_name: Annotated[str | None, "The table of the present step, with its schema."] = None
    doing: Annotated[str | None, "The present step in words."] = None
    done: Annotated[int | None, "Units of the present step that are done."] = None
    total: Annotated[int | None, "Units of the present step in all, if known."] = None
    unit: Annotated[str | None, "What is counted: `row`, `shard`, `partition`."] = None
    partitions_done: Annotated[int, "Partitions of tasks that are completed."] = 0
    partitions: Annotated[int, "Partitions of all tasks, as planned."] = 0
    rows_done: Annotated[int, "Rows of tasks that are completed, as far as known."] = 0
    rows: Annotated[int | None, "Rows of all tasks, as planned, as far as known."] = None
    bytes_done: Annotated[int, "Bytes of tasks that are completed, as far as known."] = 0
    bytes: Annotated[int | None, "Bytes of all tasks, as planned, as far as known."] = None
    cancel_by: Annotated[str | None, "Who asked for its end."] = None
    cancel_at: Annotated[dt.datetime | None, "When."] = None
    steps_done: int = 0  # How many steps are over, failed and skipped ones too.
    report: Report | None = None  # What it did so far; None: it is a run of another process.
    error: str | None = None  # Why it ended early, if this process knows.
    code: str | None = None  # What tells the error from others: ``cancelled``, ``disk-full``.

    def row(self) -> dict[str, Any]:
        """What is written to the database."""
        mine = ("steps_done", "report", "error", "code")
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name not in mine}

    def is_silent(self, now: dt.datetime) -> bool:
        """Whether nothing was heard of it for a while."""
        return self.finished_at is None and self.heartbeat_at + SILENT < now

    @property
    def phase(self) -> str:
        """``running``, ``done``, ``failed`` or ``cancelled``: what the HTTP API and pages say."""
        if self.finished_at is None:
            return "running"
        return {"done": "done", "cancelled": "cancelled", "interrupted": "cancelled"}.get(self.outcome or "", "failed")

    @property
    def present(self) -> str | None:
        """What it does at present, in words; None once it is over."""
        return self.doing if self.finished_at is None else None

    @property
    def final_report(self) -> dict[str, Any] | None:
        """What it did, of one that ended by itself in this process."""
        ended = self.report is not None and self.finished_at is not None and not self.error
        return {**vars(self.report), "ok": self.report.ok} if self.report and ended else None

    @property
    def units(self) -> str:
        """How far the present step is, in words: ``1,200 of 5,000 rows``; empty if it does not tell."""
        if self.done is None or self.unit is None:
            return ""
        of = "" if self.total is None else f" of {self.total:,}"
        return f"{self.done:,}{of} {self.unit}s"

    @property
    def removed(self) -> tuple[int, int]:
        """Rows and bytes that were removed or moved so far, as far as is known."""
        report = self.report
        return (self.rows_done, self.bytes_done) if report is None else (report.rows, report.bytes)

    @property
    def share(self) -> float:
        """How much of it is over, from 0 to 1."""
        within = self.done / self.total if self.done and self.total else 0.0
        return min((max(self.step - 1, 0) + min(within, 1.0)) / self.steps, 1.0) if self.steps else 0.0

    def expect_end(self, now: dt.datetime) -> dt.datetime | None:
        """When it ends if what is left takes as long as what is done; None while nothing is."""
        if self.finished_at is not None or not self.share:
            return self.finished_at
        return self.started_at + (now - self.started_at) / self.share
