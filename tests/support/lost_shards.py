"""
Takes the shards of a table away from a CrateDB of one node, without killing anything: the node has to give them up,
and must recover none.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from support.databases import CrateDatabase, before_statements

# How many shards a node may recover at once. It is a setting of the cluster: what others open meanwhile waits as well.
_RECOVERIES = "\"cluster\"['routing']['allocation']['node_initial_primaries_recoveries']"


@contextmanager
def lost(bench: CrateDatabase, name: str, schema: str | None = None, partition: str = "") -> Iterator[None]:
    """
    Until the end of the block, no node holds the shards of a table.

    :param partition: Only those of this partition, as ``month = '2024-05-01'``.
    """
    take_shards(bench, name, schema, partition)
    try:
        yield
    finally:
        give_back(bench, name, schema)


def take_shards(bench: CrateDatabase, name: str, schema: str | None = None, partition: str = "") -> None:
    """Let no node hold the shards any more, and wait until CrateDB says so."""
    target = bench.q(name, schema) + (f" PARTITION ({partition})" if partition else "")
    query = "SELECT DISTINCT node['name'], id FROM sys.shards WHERE schema_name = ? AND table_name = ?"
    places = bench.rows(query, bench.table(name, schema))
    bench.sql(f"SET GLOBAL TRANSIENT {_RECOVERIES} = 0")
    for node, shard in places:
        bench.sql(f"ALTER TABLE {target} REROUTE CANCEL SHARD {shard} ON '{node}' WITH (allow_primary = true)")
    _await(lambda: _missing(bench, name, schema) >= len(places))


def give_back(bench: CrateDatabase, name: str, schema: str | None = None) -> None:
    """Undo that, and wait until all shards are there."""
    bench.sql(f"RESET GLOBAL {_RECOVERIES}")
    _await(lambda: _missing(bench, name, schema) == 0)


@contextmanager
def before_statement(bench: CrateDatabase, part: str, act: Callable[[], None]) -> Iterator[list[str]]:
    """
    Act once, right before the toolkit sends the first statement with some text in it.

    :return: That statement, once it was sent.
    """
    lock, seen = threading.Lock(), list[str]()

    def before(statement: str) -> None:
        with lock:
            if part in statement and not seen:
                seen.append(statement)
                act()

    with before_statements(bench.tool.engine.database.engine, before):
        yield seen


def _missing(bench: CrateDatabase, name: str, schema: str | None) -> int:
    query = "SELECT sum(missing_shards) FROM sys.health WHERE table_schema = ? AND table_name = ?"
    return int(bench.rows(query, bench.table(name, schema))[0][0] or 0)


def _await(fulfilled: Callable[[], bool]) -> None:
    """Ask until it is so; each question waits for its answer."""
    for _ in range(2000):
        if fulfilled():
            return
    raise AssertionError("the shards' state does not change")
