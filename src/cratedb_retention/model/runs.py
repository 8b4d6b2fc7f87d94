"""Runs as plain data: options, results and progress."""

from __future__ import annotations

import datetime as dt
import threading
from dataclasses import dataclass, fields
from typing import Annotated, Any, NamedTuple

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.audit import OUTCOMES
from cratedb_retention.model.former import Former

# The only default of the lease duration, and its only limits, in seconds.
LEASE_SECONDS, SHORTEST_LEASE, LONGEST_LEASE = 60, 5, 86_400
LEASE_MEANING = "Duration of a lease: after this many seconds without renewal, another run may take over."
# How many of the latest runs a removal is compared with.
COMPARED = 3
# If a run has not written for this long, its process is dead or cut off.
SILENT = dt.timedelta(minutes=2)


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """
    Options of a run, for the command line, the schedule, the HTTP API and the pages alike.

    :param lease: Seconds without renewal after which another run may take over the policies.
    :param stop: If set, the run ends before its next step, since the process is about to end.
    :param threads: Whether a thread renews leases and writes progress during long steps; otherwise, the run does so
        only between steps, as in a simulation.
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
    The result of a run.

    :param done: Steps that succeeded.
    :param failed: Steps that failed.
    :param skipped: Tasks that were skipped after a failure.
    :param deferred: Tasks that were deferred to the next run, since the data or the policy changed.
    :param blocked: Due actions that must not happen now; ``needs_attention``: those of them that need a person to act.
    :param partitions: Partitions that were dropped, moved or compacted.
    :param rows: Rows that were removed, moved or compacted, if the database reports their number.
    :param failed_policies: The policies of steps that failed, or whose archives an Iceberg catalog did not follow.
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
        """Whether everything due was done or deferred, or is blocked as intended."""
        return not (self.failed or self.skipped or self.needs_attention)


class Removed(NamedTuple):
    """An amount of data that is removed; of archives, their number and rows."""

    partitions: int
    rows: int | None  # None if unknown.

    @property
    def number(self) -> int:
        """Its rows; its partitions if they are unknown."""
        return self.partitions if self.rows is None else self.rows


@dataclass(frozen=True, kw_only=True)
class Past:
    """
    What is known of earlier runs of a policy on a table, for comparison.

    :param cutoff: That of the last run that removed all that was due.
    :param time: When that run took place (aware), by the clock that it had.
    :param removed: What the latest runs that did so removed, newest first.
    """

    cutoff: dt.datetime
    time: dt.datetime
    removed: tuple[Removed, ...] = ()

    @property
    def is_long(self) -> bool:
        """Whether there were enough runs to know what is usual."""
        return len(self.removed) == COMPARED


@dataclass(frozen=True, kw_only=True)
class RunState:
    """The progress of a run. Annotated fields are columns of the table ``job_state``."""

    run_id: Annotated[str, "The identifier of the run."]
    policies: Annotated[tuple[str, ...], "The policies with tasks in this run."] = ()
    tags: Annotated[tuple[str, ...], "The tags of these policies."] = ()
    actor: Annotated[str, "The user who started it."] = ""
    host: Annotated[str, "The machine that it runs on."] = ""
    state: Annotated[str, "`running` or `finished`."] = "running"
    outcome: Annotated[str | None, f"How it ended: {OUTCOMES}."] = None
    started_at: Annotated[dt.datetime, "The start of the run."]
    heartbeat_at: Annotated[dt.datetime, "When this row was last written; if that is long ago, the process is dead."]
    finished_at: Annotated[dt.datetime | None, "The end of the run."] = None
    expected_end: Annotated[dt.datetime | None, "The expected end, estimated from the progress."] = None
    step: Annotated[int, "The number of the present step, from 1."] = 0
    steps: Annotated[int, "The total number of steps."] = 0
    table_name: Annotated[str | None, "The table of the present step, with its schema."] = None
    doing: Annotated[str | None, "A description of the present step."] = None
    done: Annotated[int | None, "Completed units of the present step."] = None
    total: Annotated[int | None, "Total units of the present step, if known."] = None
    unit: Annotated[str | None, "The unit that is counted: `row`, `shard`, `partition`."] = None
    partitions_done: Annotated[int, "Partitions of completed tasks."] = 0
    partitions: Annotated[int, "Partitions of all tasks, as planned."] = 0
    rows_done: Annotated[int, "Rows of completed tasks, if known."] = 0
    rows: Annotated[int | None, "Rows of all tasks, as planned, if known."] = None
    bytes_done: Annotated[int, "Bytes of completed tasks, if known."] = 0
    bytes: Annotated[int | None, "Bytes of all tasks, as planned, if known."] = None
    cancel_by: Annotated[str | None, "The user who requested cancellation."] = None
    cancel_at: Annotated[dt.datetime | None, "When cancellation was requested."] = None
    steps_done: int = 0  # The number of steps that ended, including failed and skipped ones.
    report: Report | None = None  # The result so far; None: another process runs it.
    error: str | None = None  # Why it ended early, if this process knows.
    code: str | None = None  # Identifies the error for programs: ``cancelled``, ``disk-full``.

    def row(self) -> dict[str, Any]:
        """The values of its columns."""
        mine = ("steps_done", "report", "error", "code")
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name not in mine}

    def is_silent(self, now: dt.datetime) -> bool:
        """Whether its last heartbeat is long ago, and it has not ended."""
        return self.finished_at is None and self.heartbeat_at + SILENT < now

    @property
    def phase(self) -> str:
        """``running``, ``done``, ``failed`` or ``cancelled``, for the HTTP API and the pages."""
        if self.finished_at is None:
            return "running"
        return {"done": "done", "cancelled": "cancelled", "interrupted": "cancelled"}.get(self.outcome or "", "failed")

    @property
    def present(self) -> str | None:
        """A description of the present step; None once the run has ended."""
        return self.doing if self.finished_at is None else None

    @property
    def final_report(self) -> dict[str, Any] | None:
        """The result of a run that this process completed; None for other runs."""
        ended = self.report is not None and self.finished_at is not None and not self.error
        return {**vars(self.report), "ok": self.report.ok} if self.report and ended else None

    @property
    def units(self) -> str:
        """The progress of the present step: ``1,200 of 5,000 rows``; empty if unknown."""
        if self.done is None or self.unit is None:
            return ""
        of = "" if self.total is None else f" of {self.total:,}"
        return f"{self.done:,}{of} {self.unit}s"

    @property
    def removed(self) -> tuple[int, int]:
        """The known numbers of rows that were removed, moved or compacted so far, and of bytes, or those saved."""
        report = self.report
        return (self.rows_done, self.bytes_done) if report is None else (report.rows, report.bytes)

    @property
    def share(self) -> float:
        """Its progress, from 0 to 1."""
        within = self.done / self.total if self.done and self.total else 0.0
        return min((max(self.step - 1, 0) + min(within, 1.0)) / self.steps, 1.0) if self.steps else 0.0

    def expect_end(self, now: dt.datetime) -> dt.datetime | None:
        """The end of the run if it continues at the same speed; None before there is any progress."""
        if self.finished_at is not None or not self.share:
            return self.finished_at
        return self.started_at + (now - self.started_at) / self.share
