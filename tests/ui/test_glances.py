"""Overviews that users with the same scope share."""

from __future__ import annotations

import datetime as dt
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from cratedb_retention.errors import RetentionError
from cratedb_retention.execution.overview.rows import Overview
from cratedb_retention.ui.access import FRESH, Glances
from support.databases import FixedClock


class Looks:
    """Overviews, by number in place of their time, that go on until they are let go."""

    def __init__(self) -> None:
        self.count, self.begun, self.go_on = 0, threading.Event(), threading.Event()

    def take(self) -> Overview:
        self.count += 1
        number = self.count
        self.begun.set()
        assert self.go_on.wait(60)
        return Overview(lines=(), rows=(), causes=(), next_run=None, unscheduled=(), now=number)


def test_who_waits_shares() -> None:
    """While an overview is computed, it is computed for all of its scope; another scope has its own."""
    looks, glances = Looks(), Glances(FixedClock().clock)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(glances.look, "a", "1", looks.take)
        assert looks.begun.wait(60)
        others = [pool.submit(glances.look, "a", "1", looks.take) for _ in range(3)]
        looks.go_on.set()
        assert {each.result().now for each in (first, *others)} == {1}
    assert glances.look("b", "1", looks.take).now == 2
    assert glances.look("a", "1", looks.take).now == 1


def test_one_serves_for_seconds() -> None:
    """An overview serves for seconds, and not any longer, nor when something was done since."""
    looks, time = Looks(), FixedClock()
    glances = Glances(time.clock)
    looks.go_on.set()
    assert [glances.look("", mark, looks.take).now for mark in ("1", "1", "2")] == [1, 1, 2]
    time.moment += dt.timedelta(seconds=FRESH)
    assert glances.look("", "2", looks.take).now == 3


def test_what_was_done_meanwhile_is_seen() -> None:
    """Who did something while an overview was computed gets one that began after that."""
    looks, glances = Looks(), Glances(FixedClock().clock)
    with ThreadPoolExecutor(2) as pool:
        before = pool.submit(glances.look, "", "1", looks.take)
        assert looks.begun.wait(60)
        after = pool.submit(glances.look, "", "2", looks.take)
        looks.go_on.set()
        assert (before.result().now, after.result().now) == (1, 2)


def test_a_failure_is_of_who_began() -> None:
    """What fails is an error for who began it; another caller gets an overview."""
    looks, glances = Looks(), Glances(FixedClock().clock)
    looks.go_on.set()

    def fail() -> Overview:
        raise RetentionError("token", "is no longer valid")

    with pytest.raises(RetentionError):
        glances.look("", "1", fail)
    assert glances.look("", "1", looks.take).now == 1
