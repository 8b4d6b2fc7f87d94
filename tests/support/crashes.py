"""
Runs that die in the middle, without a process of their own: from one statement on, the database is not reached.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa


class Crash(BaseException):
    """The process is gone. Nothing handles it, as nothing handles SIGKILL."""


@contextmanager
def dying(engine: sa.Engine, after: int) -> Iterator[None]:
    """
    Let the process die after so many statements; what it tries to tidy up then does not happen either.

    A statement outside of a transaction is done or not; a transaction that is not committed is undone.
    """
    left = after

    def count(*about: Any) -> None:
        nonlocal left
        if left <= 0:
            raise Crash
        left -= 1

    sa.event.listen(engine, "before_cursor_execute", count)
    try:
        yield
    except Crash:
        pass
    finally:
        sa.event.remove(engine, "before_cursor_execute", count)
