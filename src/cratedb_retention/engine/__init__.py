"""Databases: the only layer that knows a dialect. Drivers are imported late, since that takes most of a second."""

from __future__ import annotations

from cratedb_retention.clock import Clock
from cratedb_retention.engine.base import Engine
from cratedb_retention.model.address import DatabaseAddress

__all__ = ["Engine", "open_engine"]


def open_engine(address: DatabaseAddress, clock: Clock, create: bool = False, read_only: bool = False) -> Engine:
    """
    Open the database at an address. A file may be created, or opened read-only, so that others can read it, too.

    :raises ConnectionLost: if it is unreachable; `Locked` if another process has the file open.
    :raises AccessDenied: if user or password is wrong; `InvalidInput` if its driver is not installed.
    """
    if address.dialect == "duckdb":
        from cratedb_retention.engine.duckdb.engine import DuckDBEngine

        return DuckDBEngine(address, create, read_only)
    from cratedb_retention.engine.cratedb.engine import CrateDBEngine

    return CrateDBEngine(address, clock)
