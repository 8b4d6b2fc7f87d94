"""
Who looks at the pages: the one way by which a page reaches the toolkit. And the looks at what is kept where that
overviews share, since one takes seconds where there are thousands of partitions.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from cratedb_retention.clock import Clock
from cratedb_retention.execution.overview import TableLine
from cratedb_retention.model.access import Access, Role
from cratedb_retention.service.http.access import Context, admit
from cratedb_retention.service.scope import Scope

T = TypeVar("T")
# Where the scope of a request has whose it is.
GUEST = "cratedb_retention.guest"
REMEMBERED = 100
# Seconds for which a look serves. What nobody wrote into the audit log, such as new data, is seen after that.
FRESH = 10.0
# What is older says too little, and is perhaps not theirs to see any more.
_RECENT = dt.timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class Glance:
    """What a look saw."""

    lines: Sequence[TableLine] = ()
    taken: dt.datetime  # When it began (aware).
    begun: float  # The same in seconds of a clock that is never set back.
    number: int  # Looks are numbered as they begin.
    mark: str  # What stood for the state of the audit log then.


class Glances:
    """
    The last look of each limit by tags: those with the same one see the same. Belongs to the event loop of the pages.

    All who ask while a look is being taken share it, so that pages that nobody waits for any more hold up nobody. One
    that is seconds old serves as well, unless something was done since.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._found: OrderedDict[str, Glance] = OrderedDict()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._looks = 0

    def find(self, limit: str) -> Glance | None:
        """The last one, if it is of late: to be shown, with its time, before there is a new one."""
        found = self._found.get(limit)
        return found if found and self._clock.now() - found.taken < _RECENT else None

    def fresh(self, limit: str, mark: str) -> Glance | None:
        """The last one, if it serves still: see :meth:`look`."""
        return self._found[limit] if self._serves(limit, mark, self._looks) else None

    async def look(self, limit: str, mark: str, take: Callable[[], Awaitable[Sequence[TableLine]]]) -> Glance:
        """
        What is now.

        :param limit: Whose, as text; ``mark`` stands for the present state of the audit log.
        :param take: Takes a look, if there must be a new one; what it raises is raised.
        """

        async def begin(begun: Glance) -> None:
            try:
                lines = await take()
                self._found.pop(limit, None)
                self._found[limit] = replace(begun, lines=lines)
                if len(self._found) > REMEMBERED:
                    self._found.popitem(last=False)
            finally:
                del self._running[limit]

        known = self._looks
        while not self._serves(limit, mark, known):
            if limit in self._running:
                # Should it fail, that is of those who began it: their session may be over.
                await asyncio.wait([self._running[limit]])
            else:
                self._looks += 1
                begun = Glance(taken=self._clock.now(), begun=self._clock.uptime(), number=self._looks, mark=mark)
                self._running[limit] = asyncio.create_task(begin(begun), name="look")
                await asyncio.shield(self._running[limit])
        return self._found[limit]

    def _serves(self, limit: str, mark: str, known: int) -> bool:
        """Whether the last look began after the first ``known`` ones, or not long ago, with nothing done since."""
        found = self._found.get(limit)
        if found is None:
            return False
        return found.number > known or (found.mark == mark and self._clock.uptime() - found.begun < FRESH)


@dataclass(kw_only=True)
class Guest:
    """Somebody who looks at the pages."""

    context: Context
    session: str  # What their cookie says; empty where no tokens are asked for.
    token: str  # The text of their access token, likewise.
    host: str  # The address that they come from.
    glances: Glances
    # What they might do when the page was loaded: for what it offers. What is done is checked by itself.
    access: Access = field(init=False)

    def may(self, role: Role) -> bool:
        """Whether to offer what takes a role."""
        return self.access.role.includes(role)

    def scoped(self) -> Scope:
        """The toolkit for them, as far as their token reaches at this moment; raises Failed, see :func:`admit`."""
        return admit(self.context, self.token, self.host)

    async def ask(self, work: Callable[[Scope], T]) -> T:
        """Do something with the toolkit, in a thread of its own, so that other pages go on meanwhile."""
        return await asyncio.to_thread(lambda: work(self.scoped()))
