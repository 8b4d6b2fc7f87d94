"""Reads what suggestions depend on, and makes them."""

from __future__ import annotations

from cratedb_retention.engine.base import Engine
from cratedb_retention.execution.overview.survey import measured, read_tables
from cratedb_retention.execution.plan.preparing import Prepared
from cratedb_retention.model.duration import Duration
from cratedb_retention.model.translation import Translation
from cratedb_retention.planning.overview.suggest import Suggesting


def suggest(engine: Engine, prepared: Prepared, retention_period: Duration | None, enabled: bool) -> Translation:
    """See :meth:`cratedb_retention.api.Retention.suggest`; ``prepared`` has the policies that exist."""
    suggesting = Suggesting(
        facts=prepared.facts,
        tables=read_tables(engine, prepared),
        period=retention_period,
        enabled=enabled,
    )
    asked = suggesting.probes()
    drafts = suggesting.draft(engine.measure(asked))
    return drafts.write(measured(engine, drafts.plan(), frozenset(asked)))
