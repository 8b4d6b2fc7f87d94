"""
A run as the audit log tells of it: its steps in order, each once, with totals.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cratedb_retention.model.audit import Event


@dataclass(frozen=True, kw_only=True)
class Story:
    """
    A run.

    :param actor: Who started it; empty if that is not to be seen.
    :param rows: What happened, oldest first; a step that is over has one row, the one of its end.
    :param started: When it began (aware), if that is among the rows; ``ended`` likewise.
    :param outcome: How it ended; empty while it goes on.
    :param counts: How many steps ended in which way; ``""`` are those without an end.
    :param totals: ``rows``, ``bytes`` and ``partitions`` that went or moved, as the end of the run says.
    """

    run_id: str
    actor: str
    rows: tuple[Mapping[str, Any], ...]
    started: dt.datetime | None
    ended: dt.datetime | None
    outcome: str
    counts: Mapping[str, int]
    totals: Mapping[str, int]


def tell_run(rows: Sequence[Mapping[str, Any]]) -> Story | None:
    """
    Make one story of rows of the audit log.

    :param rows: Newest first, as they are read.
    :return: None if they are of no run, or of several.
    """
    runs = {row["run_id"] for row in rows}
    if len(runs) != 1 or None in runs:
        return None
    over = {row["step"] for row in rows if row["event"] == Event.STEP_FINISHED}
    told = [row for row in rows if row["event"] != Event.STEP_STARTED or row["step"] not in over]
    begin = next((row for row in rows if row["event"] == Event.RUN_STARTED), None)
    end = next((row for row in rows if row["event"] == Event.RUN_FINISHED), None)
    return Story(
        run_id=runs.pop(),
        actor=next((row["actor"] for row in rows if row["actor"]), ""),
        rows=tuple(sorted(told, key=_place)),
        started=begin["time"] if begin else None,
        ended=end["time"] if end else None,
        outcome=(end["outcome"] or "") if end else "",
        counts=Counter(
            row["outcome"] or "" for row in told if row["event"] in (Event.STEP_STARTED, Event.STEP_FINISHED)
        ),
        totals={name: end[name] or 0 if end else 0 for name in ("rows", "bytes", "partitions")},
    )


def _place(row: Mapping[str, Any]) -> tuple[int, int, Any]:
    """The beginning, what is held, the steps by their numbers, the end."""
    order = {Event.RUN_STARTED: 0, Event.STEP_STARTED: 2, Event.STEP_FINISHED: 2, Event.RUN_FINISHED: 4}
    before = 3 if row["event"] in (Event.SLOT_FINISHED, Event.CANCEL_REQUESTED) else 1
    return order.get(row["event"], before), row["step"] or 0, row["time"]
