"""
Times and numbers of an answer as people like to read them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple


class Times(NamedTuple):
    """
    Times as text.

    :param zone: The zone that all of them are in.
    """

    texts: list[str]
    zone: str


def shown_times(times: Sequence[object]) -> Times:
    """Times as text: the day alone where all are midnights, otherwise as much as tells them apart."""
    moments = [time for time in times if isinstance(time, dt.datetime)]
    if all(moment.time() == dt.time() for moment in moments):
        form = "%Y-%m-%d"
    else:
        form = "%Y-%m-%d %H:%M:%S" if any(moment.second for moment in moments) else "%Y-%m-%d %H:%M"
    texts = [moment.strftime(form) for moment in moments]
    if len(set(texts)) < len({(m.utcoffset(), text) for m, text in zip(moments, texts, strict=True)}):
        texts = [moment.strftime(f"{form} %z") for moment in moments]  # The hour that is there twice in autumn.
    return Times(texts, str(moments[0].tzinfo) if moments else "UTC")


def shown_number(value: object) -> object:
    """Six digits that mean something; whole numbers as they are, and decimals with all their digits."""
    if isinstance(value, Decimal):
        return f"{value:,f}"
    if not isinstance(value, float):
        return value
    if value.is_integer() and abs(value) < 1e15:
        return int(value)
    return (
        f"{value:,.6g}"
        if 1e-4 <= abs(value) < 1e6
        else f"{value:,.2f}"
        if abs(value) < 1e15 and value
        else f"{value:g}"
    )
