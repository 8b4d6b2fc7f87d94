"""Retries while the connection is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import tenacity

from cratedb_retention.errors import ConnectionLost, NoAnswer, Recovering

T = TypeVar("T")
# With pauses of 0.5, 1, 2, 4 and 8 seconds: the time that a node takes to restart its HTTP endpoint.
ATTEMPTS = 6
# Each attempt takes minutes itself.
ATTEMPTS_WITHOUT_ANSWER = 2
# The cluster is starting: further pauses of 8 seconds, two minutes in total.
ATTEMPTS_WHILE_RECOVERING = 19


def retry(work: Callable[[], T], sleep: Callable[[float], None], on: type[ConnectionLost] = ConnectionLost) -> T:
    """Do something; repeat it with growing pauses while it raises `on`. The last error is raised."""
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(on),
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
