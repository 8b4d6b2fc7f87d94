"""
The steps of a cascade in a run: reads change tokens before windows are computed or sealed, and updates the ledger (laws
3, 4 and 7).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from cratedb_retention.engine.base import Engine
from cratedb_retention.engine.expressions import table_ref
from cratedb_retention.engine.step import StepResult
from cratedb_retention.errors import DatabaseError, PartitionChanged
from cratedb_retention.execution.plan.preparing import Prepared
from cratedb_retention.model.catalog import Selector, TableName
from cratedb_retention.model.plan.measurements import Measurements, WindowRows
from cratedb_retention.model.plan.plan import DeleteRows, Step, Task
from cratedb_retention.model.plan.reasons import Reason
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.rollups import rollup as steps
from cratedb_retention.model.rollups.ledger import MOST_SMALL, LedgerRow
from cratedb_retention.model.rollups.rollup import Rollup, Window, find_view
from cratedb_retention.model.step import Piece
from cratedb_retention.model.time import EVER, TimeRange, from_ms, show, to_ms
from cratedb_retention.planning.pieces import make_pieces
from cratedb_retention.planning.rollups.cascades import below_as_target, name_taken
from cratedb_retention.planning.rollups.coverage import find_expired
from cratedb_retention.planning.rollups.windows import OpenWindow, Source, WindowGrid, digest, sources_of_windows
from cratedb_retention.planning.targets import Undecided
from cratedb_retention.store.store import Store

Perform = Callable[[Step], StepResult]
FindSources = Callable[[Iterable[Window]], Mapping[int, Source]]


class Roller:
    def __init__(self, engine: Engine, store: Store, prepared: Prepared, run_id: str) -> None:
        self._engine, self._store, self._prepared, self._run_id = engine, store, prepared, run_id
        self._ledger, self._known = store.rollups, prepared.facts.ledger.rollups
        self._registered = {table: known.rollup for table, known in self._known.items()}
        self._taken: set[TableName] = set()  # levels whose names other tables have by now
        self._identities: dict[TableName, str] = {}
        self._sources: dict[TableName, FindSources] = {}
        self._sealed = Counter[TableName]()  # the number of rows that windows sealed by this run have, by level
        self._expiring: dict[TableName, int] = {}  # until when rows of each level expire in this run

    def before(self, task: Task, step: Step) -> None:
        """Record and check before a step; PartitionChanged if a source changed, or a user's table has the name."""
        if not isinstance(step, steps.RollupStep):
            if step.expires and step.expires[0] in self._registered:
                # The instant from which a level is complete, so that readers use all remaining rows.
                table, until = step.expires
                gone = self._expiring.get(table, self._gone(table))
                self._expiring[table] = until if gone is None else max(until, gone)
                self._ledger.set_gone(table, self._expiring[table])
            return
        match step:
            case steps.CreateRollup(rollup=rollup) | steps.AlterRollup(rollup=rollup):
                # The plan may be old: a table created in the meantime under a level's name must not be written to.
                catalog = self._engine.read_named([rollup.table, rollup.sketch])
                there = name_taken(rollup, self._registered.get(rollup.table), catalog)
                if there is not None:
                    self._taken.add(rollup.table)
                    raise _changed(f"table {there}", "was created since the plan was made")
                self._register(task, rollup)
            case steps.RollUp(rollup=rollup):
                self._require_own(rollup.table)
                self._register(task, rollup)
            case steps.ReplaceView():
                self._require_own(*(part.table for part in step.parts))
                catalog = self._engine.read_named([step.view])
                there, own = find_view(catalog, step.rollup, [part.table for part in step.parts], step.marks)
                if there and not own:
                    raise _changed(f"view {there}", "was changed since the plan was made")
                self._ledger.set_view(step.rollup)
            case steps.RebaseRollup(rollup=rollup, before=before):
                self._ledger.rebase(rollup, before)
                self._register(task, rollup)
            case steps.SealWindows(rollup=rollup, windows=windows, idents=idents):
                known = self._check(task, rollup, windows, set(idents))
                self._sealed[rollup.table] += self._ledger.seal(rollup.table, known)

    def _require_own(self, *tables: TableName) -> None:
        """PartitionChanged if a level was not created by this run, since another table has its name by now."""
        for table in self._taken.intersection(tables):
            raise _changed(f"table {table}", "was created since the plan was made")

    def roll_up(self, task: Task, step: steps.RollUp, perform: Perform) -> StepResult:
        """
        Compute windows. The change tokens are read before the rows, so that rows written in between make the windows
        dirty again. Those of the plan suffice, unless the plan itself changed the source.
        """
        present = self._open(step)
        tokens, parts = self._tokens(task, step), self._parts(step, present)
        result = perform(step)
        # Only some buckets of an open window were computed, so all of its rows are counted.
        counted = self._engine.counts(step.rollup).level(present)
        windows = {window: count for window, count in result.windows.items() if window.whole} | counted
        self._ledger.record(step.rollup, windows, tokens, parts, self._run_id)
        return result

    def _open(self, step: steps.RollUp) -> list[Window]:
        """The open windows of a step, up to the end of their computed part after it."""
        until: dict[tuple[int, int], int] = {}
        known = self._prepared.facts.ledger.of(step.rollup.table)
        for window in step.windows:
            if not window.whole:
                row, key = known.get(window.start), (window.start, window.end)
                until[key] = max(window.until, until.get(key, window.until), row.until if row else window.until)
        return [Window(start=start, end=end, since=start, until=to) for (start, end), to in until.items()]

    def _parts(self, step: steps.RollUp, present: Sequence[Window]) -> dict[int, str]:
        """The change tokens of the parts of open windows, as :meth:`_tokens`."""
        if step.parts:
            return {window.start: parts for window, parts in zip(step.windows, step.parts, strict=True)}
        windows = [
            OpenWindow(rollup=step.rollup, start=w.start, end=w.end, until=w.start, complete=w.until, known={})
            for w in present
        ]
        found = self._measure([window.probe(window.until, window.complete) for window in windows])
        return {window.start: replace(window, measurements=found).parts() for window in windows}

    def _measure(self, probes: Sequence[WindowRows]) -> Measurements:
        """Measure rows; an error is raised, since no result would look like deleted rows."""
        found = self._engine.measure(probes)
        for probe, reason in found.failed.items():
            raise DatabaseError(f"table {probe.table}", f"cannot read its rows: {reason}")
        return found

    def _tokens(self, task: Task, step: steps.RollUp) -> dict[int, str]:
        """The change tokens of windows, read once for all steps of a level, after the finer level is done."""
        if step.tokens:
            return {window.start: token for window, token in zip(step.windows, step.tokens, strict=True)}
        table = step.rollup.table
        self._sources[table] = find = self._sources.get(table) or self._find_sources(task, step.rollup)
        return {start: source.token for start, source in find(step.windows).items()}

    def after(self, task: Task, step: Step) -> None:
        if isinstance(step, steps.ReplaceView):
            view = self._engine.read_view(step.view)
            self._ledger.set_view(step.rollup, step.parts, view.mark if view else "")
        elif isinstance(step, DeleteRows):
            for seal in (other for other in task.steps if isinstance(other, steps.SealWindows)):
                self._ledger.expire(seal.rollup.table, [window.start for window in seal.windows])

    def pack(self) -> None:
        """Join ranges of sealed windows where many are small, and shorten those whose own rows have expired."""
        known = self._prepared.facts.ledger
        small = {
            table: count + sum(row.sealed and row.windows <= MOST_SMALL for row in known.of(table).stored)
            for table, count in self._sealed.items()
            if count
        }
        tables = {table for table, count in small.items() if count > MOST_SMALL}
        for table, until in self._expiring.items():
            before = self._gone(table) or EVER.start
            tables |= {table for row in known.of(table).stored if row.windows > 1 and before < row.end <= until}
        now = {
            t: replace(self._known[t], gone=self._expiring.get(t, self._gone(t))) for t in tables if t in self._known
        }
        expired = {table: found for table, one in now.items() if (found := find_expired(self._prepared.facts, one))}
        self._ledger.pack(sorted(tables), expired)

    def _gone(self, table: TableName) -> int | None:
        return self._known[table].gone if table in self._known else None

    def _register(self, task: Task, rollup: Rollup) -> None:
        known = self._known.get(rollup.table)
        unnamed = known is not None and not known.identity and rollup.source not in self._identities
        if self._registered.get(rollup.table) == rollup and not unnamed:
            return
        policy = self._policy(task)
        level = next(level for level in policy.levels if level.interval == rollup.interval)
        new = known is None and rollup.table not in self._registered
        self._ledger.register(rollup, str(level.retention_period), policy.id, self.identity(rollup.source), new)
        self._registered[rollup.table] = rollup

    def identity(self, table: TableName) -> str:
        """The identity of a table of the plan, which distinguishes it from others of the same name."""
        if table not in self._identities:
            self._identities[table] = self._engine.identify(self._prepared.facts.catalog.tables[table])
        return self._identities[table]

    def _policy(self, task: Task) -> Policy:
        return self._prepared.policies[task.policy_id or ""]

    def _check(self, task: Task, rollup: Rollup, windows: Sequence[Window], going: set[str]) -> Sequence[LedgerRow]:
        """
        Law 3: rows to be removed were rolled up as they are, and the level still has them.

        :return: The windows as the ledger has them.
        """
        rows = self._ledger.windows(rollup.table, [window.start for window in windows])
        if task.table in rollup.tables and _are_final(windows, rows):
            return list(rows.values())
        within = TimeRange(windows[0].start, windows[-1].end)
        sources = self._find_sources(task, rollup, within)(windows)
        if any(_is_empty(piece) and piece.partition.ident in going for s in sources.values() for piece in s.pieces):
            # Rows that were written right before a partition was frozen may not be counted yet.
            self._engine.database.refresh(table_ref(rollup.below))
            sources = self._find_sources(task, rollup, within)(windows)
        between = min(set(sources) - {window.start for window in windows}, default=None)
        if between is not None:
            raise _changed(f"table {rollup.below}, from {show(between)}", "was written to since the plan was made")
        for window in windows:
            row, source = rows.get(window.start), sources.get(window.start)
            if row is None or not (row.whole or row.sealed):
                thing, remedy = f"table {rollup.below}, from {show(window.start)}", "the next run does it first"
                raise PartitionChanged(thing, f"is not rolled up into {rollup.table}", remedy)
            if source is None or (row.sealed and not going) or source.token == row.token:
                continue
            present = source.digests
            if going:
                mine = [piece for piece in source.pieces if piece.partition.ident in going]
                # No row is lost with a partition that came after its window was sealed and is empty.
                mine = [piece for piece in mine if not (row.sealed and _is_empty(piece))]
                present = present if len(mine) == len(source.pieces) else set(map(digest, mine))
            if not present.issubset(row.token.split()):
                thing = f"table {rollup.below}, from {show(window.start)}"
                raise _changed(thing, f"was written to since it was rolled up into {rollup.table}")
        self._check_level(task, rollup, [w for w in windows if not rows[w.start].sealed], rows)
        return list(rows.values())

    def _check_level(
        self, task: Task, rollup: Rollup, windows: Sequence[Window], rows: Mapping[int, LedgerRow]
    ) -> None:
        """Check that the level still has the computed rows, except for its own expired ones."""
        policy = self._source_policy(task, rollup)
        level = next((level for level in policy.levels if level.interval == rollup.interval), None)
        limit = level.retention_period.before(from_ms(self._prepared.plan.cutoff), policy.zone) if level else None
        kept = [window for window in windows if limit is None or window.start >= to_ms(limit)]
        found = self._engine.counts(rollup).level(kept)
        lost = [window for window in kept if found[window].rows != rows[window.start].rows]
        if lost:
            self._ledger.doubt(rollup.table, [window.start for window in lost])
            expected, actual = rows[lost[0].start].rows, found[lost[0]].rows
            thing = f"table {rollup.table}, from {show(lost[0].start)}"
            reason = f"accounts for {actual:,} rows, but {expected:,} were rolled up"
            raise PartitionChanged(thing, reason, "the next run computes it again")

    def _find_sources(self, task: Task, rollup: Rollup, within: TimeRange | None = None) -> FindSources:
        """The present source of a level, for any of its windows, or those within a time range."""
        policy = self._source_policy(task, rollup)
        name = rollup.below
        selector = Selector(
            schema=name.schema, name=name.name, partition_column=policy.partition_column, tokens=True, within=within
        )
        catalog = self._engine.read_catalog([selector], self._store.schema)
        if name not in catalog.tables:
            raise DatabaseError(f"table {name}", "does not exist any more", "make a new plan")
        identity = self._prepared.facts.ledger.identity(name)
        if identity and identity != catalog.tables[name].identity:
            raise _changed(f"table {name}", "was replaced by another table since the plan was made")
        try:
            target = below_as_target(policy, rollup, catalog.tables[name])
        except Undecided as error:
            raise _changed(f"table {name}", error.why) from None
        if target.grids:
            pieces = make_pieces(target.table, target.grids, {}, times=self._prepared.facts.pieces.times(target.grids))
            return lambda windows: sources_of_windows(windows, pieces)
        grid = WindowGrid.of(rollup)
        probe = grid.probe(within)
        found = grid.sources(self._measure([probe]).windows.get(probe, ()))
        return lambda windows: found

    def _source_policy(self, task: Task, rollup: Rollup) -> Policy:
        """The policy that downsamples; another policy may be the one that deletes."""
        own, known = self._policy(task), self._known.get(rollup.table)
        return own if own.levels or known is None else self._prepared.policies.get(known.policy_id or "", own)


def _are_final(windows: Sequence[Window], rows: Mapping[int, LedgerRow]) -> bool:
    """Whether no window in the time of these will be computed again, whatever their source has by now (law 4)."""
    sealed = all(window.start in rows and rows[window.start].sealed for window in windows)
    return sealed and all(one.end == other.start for one, other in pairwise(windows))


def _is_empty(piece: Piece) -> bool:
    return piece.partition.rows == 0


def _changed(thing: str, reason: str | Reason) -> PartitionChanged:
    return PartitionChanged(thing, reason, "the next run checks it again")
