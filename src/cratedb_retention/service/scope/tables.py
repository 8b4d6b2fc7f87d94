"""
What is kept where: the overview, and the timeline of a table.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from cratedb_retention.errors import NotFound
from cratedb_retention.execution.listing import next_runs
from cratedb_retention.execution.overview import Line, overview
from cratedb_retention.execution.preparing import Prepared, Selection
from cratedb_retention.execution.restoring import RestoreRequest
from cratedb_retention.execution.tables import TableLine, find_bounds, hide_shared, table_lines
from cratedb_retention.execution.timeline import Seen, concerning, means, sources_of, timeline
from cratedb_retention.model.access import may_hear_row
from cratedb_retention.model.areas import make_area
from cratedb_retention.model.audit import Event
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.reasons import Why
from cratedb_retention.model.timeline import Timeline
from cratedb_retention.service.narrowing import narrow_lines
from cratedb_retention.service.scope.journal import Journal
from cratedb_retention.store.journal import JournalFilter
from cratedb_retention.store.statistics import RunOfPolicy

# A policy whose last run is longer ago neither fails nor works.
_RECENT = dt.timedelta(days=90)


class Tables(Journal):
    """Tables, and what is kept in them."""

    def status(self, selection: Selection) -> tuple[list[Line], dict[str, Any] | None]:
        """Each policy on each table, and the last run."""
        lines = overview(self.prepare(selection))
        last = next(iter(self.journal(JournalFilter(event=Event.RUN_FINISHED, limit=1))), None)
        return (narrow_lines(lines) if self.access.limited else lines), last

    def tables(self, selection: Selection) -> list[TableLine]:
        """What is kept where, table by table; what fails or is held first."""
        prepared = self.prepare(selection)
        lines = overview(prepared)
        measured = self.retention.engine.measure(find_bounds(prepared))
        runs = self.retention.store.runs_of_policies(self.retention.clock.now() - _RECENT)
        times = next_runs(self.retention.store, prepared.policies, prepared.leases)
        if not self.access.limited:
            return table_lines(prepared, lines, measured, runs, times)
        return hide_shared(table_lines(prepared, narrow_lines(lines), measured, self._said(runs), times))

    def _said(self, runs: Iterable[RunOfPolicy]) -> list[RunOfPolicy]:
        holds = self._ids_of_holds()
        return [
            run if may_hear_row(self.realm, vars(run), holds) else replace(run, error=str(Why.NOT_SAID()))
            for run in runs
        ]

    def timeline(self, table: TableName) -> Timeline:
        """
        What a table holds when, and what the next run does to it, as far as it is theirs.

        :raises Forbidden: if none of their policies is about it.
        :raises NotFound: if there is nothing to tell.
        """
        policies = [item.policy for item in self._stored[0]]
        chosen = concerning(policies, table, self.retention.engine.capabilities)
        prepared = self.prepare(Selection(policy_ids=chosen))
        whole = self._is_whole(table, prepared)
        records = [r for r in self.retention.snapshots(RestoreRequest()) if r.archived.table == table]
        records = [record for record in records if self.access.sees(record.tags)]
        found = timeline(prepared, table, Seen(policies=policies, records=records, holds=self.holds(), whole=whole))
        if not found.lanes and not found.cutoffs:
            raise NotFound(f"table {table}", "does not exist, or no policy is about it", "look at the overview")
        return found

    def _is_whole(self, table: TableName, prepared: Prepared) -> bool:
        """
        Whether all of a table is theirs, rather than what their policies choose of it.

        :raises Forbidden: if nothing of it is.
        """
        area, realm = make_area(table.schema, table.name, {}, self._default_schema), self.realm
        sources = [make_area(s.schema, s.name, {}, self._default_schema) for s in sources_of(prepared, table)]
        if realm.covers(area) or any(realm.covers(source) for source in sources):
            return True
        own = area.schema.casefold() == realm.own_schema.casefold()
        if own or not any(means(policy, self.retention.engine.capabilities)(table) for policy in realm.policies):
            realm.require(area)
        return False
