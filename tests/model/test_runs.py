"""Runs as data: how a run ended, how far it is, and whether its process is silent."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from cratedb_retention.model.runs import SILENT, Report, RunState

NOW = dt.datetime(2024, 7, 2, 12, tzinfo=dt.UTC)


def state(**more: Any) -> RunState:
    """A run that started an hour ago."""
    return RunState(**{"run_id": "r", "started_at": NOW - dt.timedelta(hours=1), "heartbeat_at": NOW, **more})


@pytest.mark.parametrize(
    ("outcome", "phase"),
    [("done", "done"), ("failed", "failed"), ("needs-attention", "failed"), ("cancelled", "cancelled"),
     ("interrupted", "cancelled"), (None, "failed")],
)  # fmt: skip
def test_phase(outcome: str | None, phase: str) -> None:
    """Until it ends, a run is running; one that was stopped with its process counts as cancelled."""
    assert state(outcome=outcome, finished_at=NOW).phase == phase
    assert state(outcome=outcome).phase == "running"


def test_silence() -> None:
    """A run that has not ended is silent after two minutes without a heartbeat."""
    moment = dt.timedelta(milliseconds=1)
    assert [state().is_silent(NOW + SILENT + later) for later in (dt.timedelta(0), moment)] == [False, True]
    assert not state(finished_at=NOW).is_silent(NOW + 2 * SILENT)


@pytest.mark.parametrize(
    ("progress", "share"),
    [
        ({}, 0),
        ({"step": 1, "steps": 4}, 0),
        ({"step": 2, "steps": 4, "done": 5, "total": 10}, 0.375),
        ({"step": 4, "steps": 4, "done": 30, "total": 10}, 1),
    ],
)
def test_share(progress: dict[str, int], share: float) -> None:
    """Completed steps, and the completed part of the present one; from it follows when the run ends."""
    found = state(**progress)
    assert found.share == share
    assert found.expect_end(NOW) == (found.started_at + dt.timedelta(hours=1) / share if share else None)


def test_final_report() -> None:
    """The result of a run that this process completed; there is none of one that ended early, or elsewhere."""
    report = Report(run_id="r", done=3, skipped=1)
    complete = state(report=report, finished_at=NOW).final_report
    assert complete is not None
    assert (complete["done"], complete["ok"]) == (3, False)
    for other in ({"report": report}, {"report": report, "finished_at": NOW, "error": "lost"}, {"finished_at": NOW}):
        assert state(**other).final_report is None
