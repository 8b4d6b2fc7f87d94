"""
Points in time as people ask for them: as they are, or so long ago.
"""

from __future__ import annotations

import datetime as dt

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.duration import parse_duration
from cratedb_retention.model.instant import parse_instant


def read_moment(text: str | None, base: dt.datetime) -> dt.datetime:
    """
    An instant as ISO 8601, or so long before another one: ``-7d``, ``now-7d``; None or ``now`` means that one.

    :raises InvalidInput: if it is neither.
    """
    relative = (text or "now").strip().removeprefix("now").strip()
    if not relative:
        return base
    if not relative.startswith("-"):
        return parse_instant(relative)
    moment = parse_duration(relative[1:]).before(base)
    if moment is None:
        raise InvalidInput(f"instant {text!r}", "it lies before the year 1", "choose a later one")
    return moment
