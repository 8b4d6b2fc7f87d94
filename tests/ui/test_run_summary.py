"""A run as the audit log tells of it."""

from __future__ import annotations

import datetime as dt
from typing import Any

from cratedb_retention.ui.audit import summarize

START = dt.datetime(2024, 7, 1, tzinfo=dt.UTC)
_EMPTY = dict.fromkeys(("outcome", "step", "rows", "bytes", "partitions", "actor"))


def row(event: str, second: int = 0, **more: Any) -> dict[str, Any]:
    """A row of the audit log."""
    return {**_EMPTY, "run_id": "r", "event": event, "time": START + dt.timedelta(seconds=second), **more}


def test_a_run_in_order() -> None:
    """Each step is told once, by its end if it has one; totals are those of the run's end."""
    run = summarize(
        [
            row("cancel-requested", 2),
            row("run-finished", 3, outcome="failed", rows=5, bytes=None, partitions=1),
            row("step-started", 2, step=2),
            row("step-finished", 1, step=1, outcome="done", rows=9),
            row("step-started", 1, step=1),
            row("run-started"),
            row("blocked", outcome="blocked"),
        ]
    )
    assert run is not None
    assert [each["event"] for each in run.rows] == [
        "run-started",
        "blocked",
        "step-finished",
        "step-started",
        "cancel-requested",
        "run-finished",
    ]
    assert (run.end["outcome"], run.counts, run.end["rows"], run.end["partitions"]) == (
        "failed",
        {"done": 1, "": 1},
        5,
        1,
    )
    assert (run.begin["time"], run.end["time"]) == (START, START + dt.timedelta(seconds=3))


def test_no_run() -> None:
    """Rows of several runs, or of none, are no run."""
    assert summarize([]) is None
    assert summarize([row("blocked", run_id=None)]) is None
    assert summarize([row("blocked"), row("blocked", run_id="s")]) is None
