"""The metrics for Prometheus, from what makes them."""

from __future__ import annotations

import datetime as dt

from cratedb_retention.service.metrics import Facts, families
from cratedb_retention.store.runs import Leases
from parts.markdown import table

# A database with nothing in it: each metric is named, and has no values.
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_NOTHING = Facts(
    now=_EPOCH,
    policies=[],
    damaged=0,
    leases=Leases(_EPOCH, {}, 0.0),
    last={},
    totals={},
    levels=[],
    running=0,
    scheduled={},
    next_runs={},
)


def metrics() -> str:
    """A table of all metrics."""
    rows = [
        (
            f"`{family.name}`",
            family.type,
            ", ".join(f"`{label}`" for label in family._labelnames),  # nothing public tells them
            family.documentation,
        )
        for family in families(_NOTHING)
    ]
    return table(("Metric", "Type", "Labels", "Meaning"), rows)
