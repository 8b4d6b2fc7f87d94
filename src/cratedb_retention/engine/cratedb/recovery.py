"""
Tells what is gone from what is not there yet. After a full restart CrateDB answers before it knows its tables: for some
seconds their schemas are "unknown", for some more they lack shards, and both look like loss.
"""

from __future__ import annotations

import re
from typing import Any

import sqlalchemy as sa
import urllib3
from sqlalchemy.exc import SQLAlchemyError

from cratedb_retention.clock import Clock
from cratedb_retention.engine.cratedb.errors import recovering, translate
from cratedb_retention.errors import ClusterUnwell, ConnectionLost, NotFound, RetentionError
from cratedb_retention.model.address import DatabaseAddress

_UNKNOWN = re.compile(r"(?:Schema|Relation) '(.*)' unknown", re.DOTALL)
_SEEN = """
    SELECT count(*), sum(CASE WHEN $1 IN (table_schema, concat(table_schema, '.', table_name)) THEN 1 ELSE 0 END)
    FROM information_schema.tables WHERE table_schema NOT IN ('sys', 'information_schema', 'pg_catalog', 'blob')
"""
_STARTING_SHARDS = "SELECT count(*) FROM sys.shards WHERE \"primary\" AND routing_state = 'INITIALIZING'"
# A node says that it is ready a moment before its tables are known.
SETTLING_SECONDS = 1.0
_STATUS_SECONDS = 5.0
_NOT_READY = (400, 503)


def explain(
    engine: sa.Engine, address: DatabaseAddress, clock: Clock, error: Exception, statement: str
) -> RetentionError:
    """
    Make one of our errors from one of the driver's; asks the cluster whether what is missing is about to come.

    A table that is gone is told at once, as others are known.
    """
    found = translate(address, error, statement)
    unknown = _UNKNOWN.fullmatch(found.reason) if isinstance(found, NotFound) else None
    missing = isinstance(found, ClusterUnwell)
    if not unknown and not missing:
        return found
    try:
        with engine.connect() as connection:
            coming = _is_coming(connection, clock, unknown[1]) if unknown else _ask(connection, _STARTING_SHARDS)[0] > 0
    except SQLAlchemyError as problem:
        other = translate(address, problem, "")
        return other if isinstance(other, ConnectionLost) else found
    return recovering(address) if coming else found


def _is_coming(connection: sa.Connection, clock: Clock, name: str) -> bool:
    """Whether a schema or table that was unknown is there by now, or no table can be known yet."""
    tables, same = _ask(connection, _SEEN, name)
    if tables:
        return bool(same)
    if not _is_ready(connection):
        return True
    clock.sleep(SETTLING_SECONDS)
    return bool(_ask(connection, _SEEN, name)[1])


def _ask(connection: sa.Connection, query: str, *arguments: str) -> Any:
    return connection.exec_driver_sql(query, arguments).one()


def _is_ready(connection: sa.Connection) -> bool:
    """Whether a node says that the cluster's state is read; one that does not say it to us is taken for ready."""
    client: Any = connection.connection.driver_connection.client  # type: ignore[union-attr]
    for server in client.server_pool.values():
        try:
            answer = server.pool.request("GET", "/", retries=False, timeout=_STATUS_SECONDS)
        except urllib3.exceptions.HTTPError:
            continue
        return answer.status not in _NOT_READY
    return False
