"""Plans of policies, a catalog and a cutoff, as tests of planning make them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from typing import Any

from cratedb_retention.model.catalog import Catalog
from cratedb_retention.model.holds import LegalHold
from cratedb_retention.model.plan.measurements import Probe
from cratedb_retention.model.plan.plan import Plan
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.rollups.ledger import Ledger
from cratedb_retention.planning.plan.planner import Planning


def make_plan(
    policies: Iterable[Policy],
    catalog: Catalog,
    cutoff: dt.datetime,
    *,
    chosen: Callable[[Policy], bool] = lambda policy: True,
    **known: Any,
) -> Plan:
    """What a run would do; ``known`` is what else a plan rests on, see :class:`Planning`."""
    return Planning(policies=policies, catalog=catalog, cutoff=cutoff, **known).plan(chosen)


def find_probes(
    policies: Iterable[Policy],
    catalog: Catalog,
    cutoff: dt.datetime,
    holds: Iterable[LegalHold] = (),
    ledger: Ledger | None = None,
) -> list[Probe]:
    """What the plan needs to know of the rows."""
    ledger = ledger or Ledger()
    return Planning(policies=policies, catalog=catalog, cutoff=cutoff, holds=holds, ledger=ledger).probes()
