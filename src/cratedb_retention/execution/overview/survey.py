"""Reads all tables of a database, and compares them with the policies on them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from cratedb_retention.engine.base import Engine
from cratedb_retention.execution.plan.preparing import EVERY, Prepared, Selection
from cratedb_retention.model.duration import Duration
from cratedb_retention.model.plan.measurements import Probe
from cratedb_retention.model.plan.plan import Plan
from cratedb_retention.model.time import to_ms
from cratedb_retention.planning.overview.limits import find_unlimited
from cratedb_retention.planning.overview.survey import (
    Survey,
    UserTable,
    find_empty,
    find_older,
    find_ungoverned,
    find_unmatched,
    find_user_tables,
    plan_older,
)
from cratedb_retention.planning.plan.planner import Planning
from cratedb_retention.planning.policies import Finding


def survey(engine: Engine, prepared: Prepared, older_than: Duration | None = None) -> Survey:
    """
    The tables of a database beside the policies of a plan; with a selection, the tables of these policies only.

    :param older_than: Also find data that is older; None: rows are not read.
    """
    facts, selection = prepared.facts, prepared.selection
    tables, now = read_tables(engine, prepared), to_ms(facts.cutoff)
    if selection != Selection(limit=selection.limit):
        tables = [each for each in tables if any(map(selection.fits, each.policies))]
    findings: Iterable[Finding] = ()
    if older_than is not None:
        findings = find_older(tables, measured(engine, plan_older(facts, tables, older_than)), older_than)
    return Survey(
        findings=tuple(findings),
        notes=(*find_unmatched(facts, selection.fits), *find_empty(tables, now)),
        ungoverned=tuple(find_ungoverned(tables, now)),
        unlimited=tuple(find_unlimited(facts, selection.fits)),
    )


def read_tables(engine: Engine, prepared: Prepared) -> list[UserTable]:
    """All tables of users, those that have policies as the plan knows them; read unless the plan did."""
    facts = prepared.facts
    others = {} if prepared.every else engine.read_catalog([EVERY], facts.own_schema).tables
    return find_user_tables(facts, {**others, **facts.catalog.tables})


def measured(engine: Engine, planning: Planning, asked: Collection[Probe] = ()) -> Plan:
    """A plan after its questions about rows are answered, except those that were asked before."""
    found = engine.measure([probe for probe in planning.probes() if probe not in asked])
    return replace(planning, measurements=planning.measurements | found).plan()
