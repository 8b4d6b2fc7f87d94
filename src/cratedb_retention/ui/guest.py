"""
Who looks at the pages: the one way by which a page reaches the toolkit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from starlette.types import Scope as Request

from cratedb_retention.service.http.access import Context, admit
from cratedb_retention.service.scope import Scope
from cratedb_retention.ui.glances import Glances

T = TypeVar("T")
_KEY = "cratedb_retention.guest"


@dataclass(frozen=True, kw_only=True)
class Guest:
    """
    Somebody who looks at the pages.

    :param session: What their cookie says; empty where no tokens are asked for.
    :param token: The text of their access token, likewise.
    :param host: The address that they come from.
    :param glances: Looks that overviews share.
    """

    context: Context
    session: str
    token: str
    host: str
    glances: Glances

    def scoped(self) -> Scope:
        """
        The toolkit for them, as far as their token reaches at this moment. Talks to the database.

        :raises Failed: if the token is worth nothing any more, or they ask too often.
        """
        return admit(self.context, self.token, self.host)

    async def ask(self, work: Callable[[Scope], T]) -> T:
        """
        Do something with the toolkit, in a thread of its own, so that other pages go on meanwhile.

        :raises RetentionError: what ``work`` raises.
        :raises Failed: see :meth:`scoped`.
        """
        return await asyncio.to_thread(lambda: work(self.scoped()))

    def enter(self, scope: Request) -> None:
        """Let a request say who it is of."""
        scope[_KEY] = self


def guest_of(scope: Request) -> Guest:
    """Who a request is of."""
    guest: Guest = scope[_KEY]
    return guest
