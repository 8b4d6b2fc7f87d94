"""
What the HTTP API works with: handed over when it is made, so that nothing is looked up elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from cratedb_retention.api import Retention
from cratedb_retention.service.http.limits import Buckets
from cratedb_retention.service.operations import Operations
from cratedb_retention.service.runs import Runs


@dataclass(frozen=True, kw_only=True)
class Limits:
    """
    What a single caller may ask.

    :param body: Bytes of a request's body.
    :param body_seconds: How long a body may take to arrive.
    :param rate: Requests a second, for each token, or address where there is none.
    :param burst: So many at once, after a pause.
    """

    body: int = 1024 * 1024
    body_seconds: float = 30.0
    rate: float = 20.0
    burst: int = 100


@dataclass(frozen=True, kw_only=True)
class Context:
    """
    The parts of the HTTP API.

    :param authenticate: Whether a token is needed; otherwise everybody is an admin.
    :param hosts: The names that a request may call this service by; empty: any.
    :param metrics: Makes the text of ``/metrics``; None: there are none.
    """

    retention: Retention
    authenticate: bool = True
    hosts: frozenset[str] = frozenset()
    limits: Limits = field(default_factory=Limits)
    runs: Runs = field(default_factory=Runs)
    operations: Operations = field(default_factory=Operations)
    metrics: Callable[[], bytes] | None = None

    @cached_property
    def buckets(self) -> Buckets:
        """How often each caller may ask still."""
        return Buckets(self.retention.clock, self.limits.rate, self.limits.burst)
