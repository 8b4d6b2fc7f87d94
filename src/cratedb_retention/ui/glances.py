"""
Looks at what is kept where, for overviews: a look takes seconds where there are thousands of partitions.

Of those who see the same, all who ask while a look is being taken share it, so that pages that nobody waits for any
more hold up nobody. One that is seconds old serves as well, unless something was done since. Before there is a new
one, what the last showed is shown at once, with its time.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from cratedb_retention.clock import Clock
from cratedb_retention.execution.overview import TableLine

REMEMBERED = 100
# Seconds for which a look serves. What nobody wrote into the audit log, such as new data, is seen after that.
FRESH = 10.0
# What is older says too little, and is perhaps not theirs to see any more.
_RECENT = dt.timedelta(hours=1)
Take = Callable[[], Awaitable[Sequence[TableLine]]]


@dataclass(frozen=True, kw_only=True)
class Glance:
    """
    What a look saw.

    :param taken: When it began (aware).
    :param begun: The same in seconds of a clock that is never set back.
    :param number: Looks are numbered as they begin.
    :param mark: What stood for the state of the audit log then.
    """

    lines: Sequence[TableLine]
    taken: dt.datetime
    begun: float
    number: int
    mark: str


class Glances:
    """
    The last look of each limit by tags: those with the same one see the same.

    Belongs to the event loop of the pages.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._found: OrderedDict[str, Glance] = OrderedDict()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._looks = 0

    def find(self, limit: str) -> Glance | None:
        """The last one, if it is of late."""
        found = self._found.get(limit)
        return found if found and self._clock.now() - found.taken < _RECENT else None

    def fresh(self, limit: str, mark: str) -> Glance | None:
        """The last one, if it serves still: see :meth:`look`."""
        return self._found[limit] if self._serves(limit, mark, self._looks) else None

    async def look(self, limit: str, mark: str, take: Take) -> Glance:
        """
        What is now.

        :param limit: Whose, as text.
        :param mark: Stands for the present state of the audit log.
        :param take: Takes a look, if there must be a new one.
        :raises RetentionError: what ``take`` raises.
        """
        known = self._looks
        while not self._serves(limit, mark, known):
            if limit in self._running:
                # Should it fail, that is of those who began it: their session may be over.
                await asyncio.wait([self._running[limit]])
            else:
                self._looks += 1
                begun = Glance(
                    lines=[], taken=self._clock.now(), begun=self._clock.uptime(), number=self._looks, mark=mark
                )
                self._running[limit] = asyncio.create_task(self._take(limit, begun, take), name="look")
                await asyncio.shield(self._running[limit])
        return self._found[limit]

    def _serves(self, limit: str, mark: str, known: int) -> bool:
        """Whether the last look began after the first ``known`` ones, or not long ago, with nothing done since."""
        found = self._found.get(limit)
        if found is None:
            return False
        return found.number > known or (found.mark == mark and self._clock.uptime() - found.begun < FRESH)

    async def _take(self, limit: str, begun: Glance, take: Take) -> None:
        try:
            lines = await take()
            self._found.pop(limit, None)
            self._found[limit] = replace(begun, lines=lines)
            if len(self._found) > REMEMBERED:
                self._found.popitem(last=False)
        finally:
            del self._running[limit]
