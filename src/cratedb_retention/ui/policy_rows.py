"""
A policy as a row of a table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cratedb_retention.execution.listing import Listing
from cratedb_retention.model.duration import Duration
from cratedb_retention.model.pairs import write_pairs
from cratedb_retention.model.policy import Policy
from cratedb_retention.store.policies import Damaged
from cratedb_retention.ui import links, words
from cratedb_retention.ui.parts import Bit, Cell, Column, state

COLUMNS = (
    Column("state", "State"),
    Column("strategy", "Strategy"),
    Column("table", "Table"),
    Column("where", "Where"),
    Column("kept", "Kept for"),
    Column("schedule", "Schedule"),
    Column("tags", "Tags"),
    Column("description", "Description"),
)
# What sorts behind every number: forever, never.
_LAST = 1e18


def row_of(policy: Policy, listing: Listing) -> dict[str, Cell]:
    """The row of a policy."""
    return {
        "state": state("enabled" if policy.enabled else "disabled"),
        "strategy": Bit(text=str(policy.strategy), tone="whole"),
        "table": Bit(text=table_of(policy), href=links.policy(policy.id or ""), hint="Look at this policy"),
        "where": Bit(text=_where(policy), tone="many"),
        "kept": _kept(policy),
        "schedule": _schedule(policy, listing),
        "tags": [
            Bit(text=tag, href=links.tagged(tag), tone="tag", hint=f"All policies with the tag {tag}")
            for tag in policy.tags
        ],
        "description": Bit(text=policy.description or "", tone="many"),
    }


def order_of(policy: Policy, listing: Listing) -> Mapping[str, Any]:
    """What a row is sorted by, where that is not its text."""
    time = listing.times.get(policy.id or "")
    return {"kept": _seconds(policy.retention_period), "schedule": time.timestamp() if time else _LAST}


def damaged_row(damaged: Damaged) -> dict[str, Cell]:
    """The row of what is no valid policy."""
    said = damaged.row
    return {
        "state": state("damaged"),
        "strategy": str(said["strategy"] or ""),
        "table": str(damaged.target),
        "kept": str(said["retention_period"] or ""),
        "description": Bit(text=f"No valid policy: {damaged.reason}", tone="bad many"),
    }


def damaged_order() -> Mapping[str, Any]:
    """What such a row is sorted by."""
    return {"kept": -1, "schedule": -1}


def table_of(policy: Policy) -> str:
    """The table or pattern, without the filter."""
    return f"{policy.table_schema}.{policy.table_name}" if policy.table_schema else policy.table_name


def _where(policy: Policy) -> str:
    return write_pairs(policy.where, "\n")


def _kept(policy: Policy) -> Cell:
    levels = "\n".join(f"{level.interval}: {level.retention_period}" for level in policy.levels)
    period = Bit(text=str(policy.retention_period), tone="whole")
    return (
        [period, Bit(text=levels, tone="muted many line", hint="Rollups, and how long each is kept")]
        if levels
        else period
    )


def _schedule(policy: Policy, listing: Listing) -> Cell:
    if not policy.schedule:
        return Bit(text="by hand", tone="muted")
    time = listing.times.get(policy.id or "")
    named = Bit(text=policy.schedule, hint=f"Time zone {policy.time_zone}")
    if time is None:
        return named
    said = "due now" if time <= listing.now else f"next {words.moment(time)}"
    return [
        named,
        Bit(text=said, tone="muted line whole", hint=f"{words.exact(time)} UTC, {words.ago(time, listing.now)}"),
    ]


def _seconds(duration: Duration) -> float:
    return min(duration.approximate_seconds(), _LAST)
