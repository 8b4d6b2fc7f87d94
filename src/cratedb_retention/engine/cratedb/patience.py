"""
How long to wait for CrateDB: seconds for a connection, minutes for small statements, forever for those that may take
hours, as long as the host is alive.

The driver waits forever by default. A host that is gone, or a CrateDB that leaves a query unanswered while a node
joins or leaves, would then hold up a run without a word.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
import urllib3

from cratedb_retention.engine.database import BRIEF
from cratedb_retention.model.address import DatabaseAddress

# The driver lets urllib3 try eleven times, so that an address where nothing answers is given up after half a minute.
CONNECT_SECONDS = 3.0
# CrateDB itself gives up waiting for a lost shard after one minute, and says so.
BRIEF_SECONDS = 90.0
# A dead host is noticed within 60 + 4 * 15 seconds, also while a statement takes hours.
KEEPALIVE = {
    "socket_keepalive": True,
    "socket_tcp_keepidle": 60,
    "socket_tcp_keepintvl": 15,
    "socket_tcp_keepcnt": 4,
}


def connect_args(address: DatabaseAddress) -> dict[str, Any]:
    """Arguments for the driver; a parameter that the address names is left to it."""
    ours = {**KEEPALIVE, "timeout": _timeout(BRIEF_SECONDS)}
    return {name: value for name, value in ours.items() if name not in address.parameters}


def watch(engine: sa.Engine, address: DatabaseAddress) -> None:
    """Set the time to wait for each statement, unless the address names one for all."""
    if "timeout" not in address.parameters:
        sa.event.listen(engine, "before_cursor_execute", _set_timeout)


def _set_timeout(connection: sa.Connection, *rest: Any) -> None:
    brief = connection.get_execution_options().get(BRIEF, False)
    driver: Any = connection.connection.driver_connection
    for server in driver.client.server_pool.values():
        server.pool.timeout = _timeout(BRIEF_SECONDS if brief else None)


def _timeout(read: float | None) -> urllib3.Timeout:
    return urllib3.Timeout(connect=CONNECT_SECONDS, read=read)
