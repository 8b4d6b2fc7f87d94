"""Looks that overviews share."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cratedb_retention.errors import RetentionError
from cratedb_retention.execution.overview.lines import TableLine
from cratedb_retention.ui.access import FRESH, Glances, Tables
from support.databases import FixedClock


class Looks:
    """Looks that go on until they are let go."""

    def __init__(self) -> None:
        self.begun, self.go_on = 0, asyncio.Event()

    async def take(self) -> Tables:
        self.begun += 1
        await self.go_on.wait()
        return [TableLine(title=f"look {self.begun}", lines=(), state="up-to-date")], ()


def _run(play: Coroutine[Any, Any, None]) -> None:
    """In a thread of its own, since the browser of other tests may have a loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, play).result()


async def _wait() -> None:
    """Let everything go on until it waits."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_who_waits_shares() -> None:
    """While a look is being taken nobody begins another of the same, also when who began it has left."""

    async def play() -> None:
        looks, glances = Looks(), Glances(FixedClock().clock)
        first = asyncio.ensure_future(glances.look("a", "1", looks.take))
        others = [asyncio.ensure_future(glances.look("a", "1", looks.take)) for _ in range(3)]
        await _wait()
        first.cancel()
        await _wait()
        assert looks.begun == 1
        looks.go_on.set()
        assert {glance.lines[0].title for glance in await asyncio.gather(*others)} == {"look 1"}
        assert first.cancelled()
        assert (await glances.look("b", "1", looks.take)).lines[0].title == "look 2"

    _run(play())


def test_a_look_serves_for_seconds() -> None:
    """A look serves for seconds, and not any longer, nor when something was done since."""

    async def play() -> None:
        looks, time = Looks(), FixedClock()
        glances = Glances(time.clock)
        looks.go_on.set()
        tables = [(await glances.look("", mark, looks.take)).lines[0].title for mark in ("1", "1", "2")]
        assert tables == ["look 1", "look 1", "look 2"]
        time.moment += dt.timedelta(seconds=FRESH)
        assert (await glances.look("", "2", looks.take)).lines[0].title == "look 3"

    _run(play())


def test_an_old_look_is_not_shown() -> None:
    """The last look is shown until there is a new one, unless it is an hour old."""

    async def play() -> None:
        looks, time = Looks(), FixedClock()
        glances = Glances(time.clock)
        looks.go_on.set()
        taken = await glances.look("a", "1", looks.take)
        time.moment += dt.timedelta(minutes=59)
        assert (glances.find("a"), glances.find("b")) == (taken, None)
        time.moment += dt.timedelta(minutes=1)
        assert glances.find("a") is None

    _run(play())


def test_what_was_done_meanwhile_is_seen() -> None:
    """Who did something while a look was being taken gets one that began after that, once the first is over."""

    async def play() -> None:
        looks, glances = Looks(), Glances(FixedClock().clock)
        before = asyncio.ensure_future(glances.look("", "1", looks.take))
        await _wait()
        after = asyncio.ensure_future(glances.look("", "2", looks.take))
        await _wait()
        assert looks.begun == 1
        looks.go_on.set()
        assert (await before).lines[0].title == "look 1"
        assert (await after).lines[0].title == "look 2"

    _run(play())


def test_a_failure_is_of_who_began() -> None:
    """A look that fails is an error for who began it; the others take one of their own."""

    async def play() -> None:
        looks, glances = Looks(), Glances(FixedClock().clock)

        async def fail() -> Tables:
            await looks.go_on.wait()
            raise RetentionError("token", "is worth nothing any more")

        first = asyncio.ensure_future(glances.look("", "1", fail))
        await _wait()
        other = asyncio.ensure_future(glances.look("", "1", looks.take))
        await _wait()
        assert looks.begun == 0
        looks.go_on.set()
        with pytest.raises(RetentionError):
            await first
        assert (await other).lines[0].title == "look 1"

    _run(play())
