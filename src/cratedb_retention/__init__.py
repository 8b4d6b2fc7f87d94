"""
cratedb-retention: expires, moves, archives and downsamples time-series data by policies stored in the database.

The public names below are imported on first use, so that commands that only print help start fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cratedb_retention.api import Retention as Retention
    from cratedb_retention.errors import NotFound as NotFound
    from cratedb_retention.errors import RetentionError as RetentionError
    from cratedb_retention.execution.archive import RestoreRequest as RestoreRequest
    from cratedb_retention.execution.plan.preparing import Selection as Selection
    from cratedb_retention.model.address import DatabaseAddress as DatabaseAddress
    from cratedb_retention.model.catalog import TableName as TableName
    from cratedb_retention.model.duration import Duration as Duration
    from cratedb_retention.model.duration import parse_duration as parse_duration
    from cratedb_retention.model.forecast import Forecast as Forecast
    from cratedb_retention.model.plan.plan import Plan as Plan
    from cratedb_retention.model.policies.file import dump_policies as dump_policies
    from cratedb_retention.model.policies.file import parse_policies as parse_policies
    from cratedb_retention.model.policies.policy import Policy as Policy
    from cratedb_retention.model.policies.policy import make_policy as make_policy
    from cratedb_retention.model.policies.strategies import Strategy as Strategy
    from cratedb_retention.model.policies.tags import TagFilter as TagFilter
    from cratedb_retention.model.policies.tags import parse_tag_filter as parse_tag_filter
    from cratedb_retention.model.query.answer import Answer as Answer
    from cratedb_retention.model.query.reading import FetchRequest as FetchRequest
    from cratedb_retention.model.rollups.cascade import Interval as Interval
    from cratedb_retention.model.rollups.cascade import parse_interval as parse_interval
    from cratedb_retention.model.runs import Report as Report
    from cratedb_retention.model.runs import RunOptions as RunOptions
    from cratedb_retention.store.audit import JournalFilter as JournalFilter

__version__ = "0.1.0"

_NAMES = {
    "api": ("Retention",),
    "errors": ("NotFound", "RetentionError"),
    "execution.archive": ("RestoreRequest",),
    "execution.plan.preparing": ("Selection",),
    "model.address": ("DatabaseAddress",),
    "model.rollups.cascade": ("Interval", "parse_interval"),
    "model.catalog": ("TableName",),
    "model.duration": ("Duration", "parse_duration"),
    "model.forecast": ("Forecast",),
    "model.plan.plan": ("Plan",),
    "model.policies.policy": ("Policy", "make_policy"),
    "model.policies.file": ("dump_policies", "parse_policies"),
    "model.query.answer": ("Answer",),
    "model.query.reading": ("FetchRequest",),
    "model.runs": ("Report", "RunOptions"),
    "model.policies.strategies": ("Strategy",),
    "model.policies.tags": ("TagFilter", "parse_tag_filter"),
    "store.audit": ("JournalFilter",),
}
_WHERE = dict(sorted((name, module) for module, names in _NAMES.items() for name in names))
__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
