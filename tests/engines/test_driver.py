"""
What the drivers keep inside and the toolkit relies on: a release that changes it fails here, and not in a run.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import sqlalchemy as sa
import urllib3

CLIENT: Any = import_module("crate.client.http")
DIALECT: Any = sa.create_engine("crate://localhost:4200", paramstyle="numeric_dollar").dialect


class Answering:
    """A cursor that gets one answer for each row of parameters."""

    def executemany(self, statement: str, parameters: list[Any]) -> list[dict[str, int]]:
        """As the driver's."""
        return [{"rowcount": number} for number, _ in enumerate(parameters)]


class Context:
    """Where the dialect leaves the answers."""

    last_result: Any = None


def test_answers_for_each_row() -> None:
    """The dialect keeps what CrateDB answers of each of many rows of parameters."""
    context = Context()
    DIALECT.do_executemany(Answering(), "INSERT", [(1,), (2,)], context)
    assert context.last_result == [{"rowcount": 0}, {"rowcount": 1}]


def test_compiling_by_hand() -> None:
    """A compiled statement tells its parameters in the order of their places, and how each is converted."""
    table = sa.table("t", sa.column("b", sa.Text), sa.column("a", sa.DateTime(timezone=True)))
    compiled = sa.insert(table).compile(dialect=DIALECT, column_keys=["a", "b"])
    assert [compiled.binds[name].key for name in compiled.positiontup or ()] == ["b", "a"]
    assert compiled.binds["a"].type.dialect_impl(DIALECT).bind_processor(DIALECT) is not None


def test_the_time_to_wait() -> None:
    """The time that the driver waits is that of its pools, and can be set for each statement."""
    client = CLIENT.Client("localhost:4200", timeout=urllib3.Timeout(connect=1, read=2))
    (server,) = client.server_pool.values()
    assert server.pool.timeout.read_timeout == 2
    server.pool.timeout = urllib3.Timeout(connect=1, read=None)
    assert server.pool.request
