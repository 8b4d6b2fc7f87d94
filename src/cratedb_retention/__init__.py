"""
cratedb-retention: expires, moves, archives and downsamples time-series data by policies stored in the database.

The names below are the public ones; they are imported when they are first used, since a command that prints its help
needs none of them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cratedb_retention.api import Retention
    from cratedb_retention.errors import NotFound, RetentionError
    from cratedb_retention.execution.archive import RestoreRequest
    from cratedb_retention.execution.preparing import Selection
    from cratedb_retention.model.address import DatabaseAddress
    from cratedb_retention.model.cascade import Interval, parse_interval
    from cratedb_retention.model.catalog import TableName
    from cratedb_retention.model.duration import Duration, parse_duration
    from cratedb_retention.model.plan import Plan
    from cratedb_retention.model.policy import Policy, make_policy
    from cratedb_retention.model.policyfile import dump_policies, parse_policies
    from cratedb_retention.model.reading import FetchRequest
    from cratedb_retention.model.runs import Report, RunOptions
    from cratedb_retention.model.strategies import Strategy
    from cratedb_retention.model.tags import TagFilter, parse_tag_filter
    from cratedb_retention.store.audit import JournalFilter

__version__ = "0.1.0"

_WHERE = {
    "Retention": "api",
    "RetentionError": "errors",
    "NotFound": "errors",
    "FetchRequest": "model.reading",
    "Interval": "model.cascade",
    "parse_interval": "model.cascade",
    "Report": "model.runs",
    "RunOptions": "model.runs",
    "Selection": "execution.preparing",
    "RestoreRequest": "execution.archive",
    "DatabaseAddress": "model.address",
    "TableName": "model.catalog",
    "Duration": "model.duration",
    "parse_duration": "model.duration",
    "Plan": "model.plan",
    "Policy": "model.policy",
    "Strategy": "model.strategies",
    "make_policy": "model.policy",
    "dump_policies": "model.policyfile",
    "parse_policies": "model.policyfile",
    "TagFilter": "model.tags",
    "parse_tag_filter": "model.tags",
    "JournalFilter": "store.audit",
}

__all__ = [
    "DatabaseAddress",
    "Duration",
    "FetchRequest",
    "Interval",
    "JournalFilter",
    "NotFound",
    "Plan",
    "Policy",
    "Report",
    "RestoreRequest",
    "Retention",
    "RetentionError",
    "RunOptions",
    "Selection",
    "Strategy",
    "TableName",
    "TagFilter",
    "dump_policies",
    "make_policy",
    "parse_duration",
    "parse_interval",
    "parse_policies",
    "parse_tag_filter",
]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
