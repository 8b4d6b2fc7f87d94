"""Tries again while the connection is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import tenacity

from cratedb_retention.errors import ConnectionLost, NoAnswer, Recovering

T = TypeVar("T")
# Waits of 0.5, 1, 2, 4 and 8 seconds between them: as long as a node takes to restart its HTTP endpoint.
ATTEMPTS = 6
# Each of these takes minutes itself.
ATTEMPTS_WITHOUT_ANSWER = 2
# It is there, and on its way: another 8 seconds each, two minutes in all.
ATTEMPTS_WHILE_RECOVERING = 19


def retry(work: Callable[[], T], sleep: Callable[[float], None]) -> T:
    """Do something, again while the connection is lost; ConnectionLost: for good."""
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(ConnectionLost),
        stop=_enough,
        wait=tenacity.wait_exponential(multiplier=0.5, max=8),
        sleep=sleep,
        reraise=True,
    )(work)


def _enough(state: tenacity.RetryCallState) -> bool:
    error = state.outcome.exception() if state.outcome is not None else None
    if isinstance(error, Recovering):
        return state.attempt_number >= ATTEMPTS_WHILE_RECOVERING
    return state.attempt_number >= (ATTEMPTS_WITHOUT_ANSWER if isinstance(error, NoAnswer) else ATTEMPTS)
