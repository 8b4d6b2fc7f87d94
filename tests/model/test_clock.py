"""Clocks: what several machines compare is reckoned by the clock of the database, unless a test says otherwise."""

from __future__ import annotations

import datetime as dt

from cratedb_retention.clock import Clock, system_clock


def test_nobody_shares_a_clock_by_default() -> None:
    """The mode of simulations has to be asked for."""
    assert not Clock(now=lambda: dt.datetime.now(dt.UTC), sleep=lambda seconds: None).shared
    assert not system_clock().shared
