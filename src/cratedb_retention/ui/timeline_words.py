"""
What a table's timeline says in words: in the picture, beside it and beneath it.
"""

from __future__ import annotations

from collections.abc import Sequence

from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.time import show
from cratedb_retention.model.timeline import WORDS, Cutoff, Lane, Span, State
from cratedb_retention.model.words import plural, short, show_size
from cratedb_retention.ui import words

_SHORT = {
    State.ARCHIVE: "archive, drop",
    State.DROP: "drop",
    State.MOVE: "move",
    State.ROLL: "roll up",
    State.COPY: "archived, still there",
    State.MOVING: "moving",
    State.COMPUTED: "rolled up",
}


def short_word(state: State) -> str:
    """A state in a word or two, for a bar."""
    return _SHORT.get(state, str(state))


def when(at: int | None) -> str:
    """An instant; one outside of the calendar in milliseconds."""
    try:
        return words.moment(at)
    except OverflowError:
        return show(at)


def stretch(start: int | None, end: int | None) -> str:
    """A stretch of time."""
    return "" if start is None and end is None else f"{when(start) or '?'} to {when(end) or '?'}"


def what(span: Span) -> str:
    """The partitions of a span."""
    if span.count == 1:
        return span.first
    return f"{span.count:,}: {span.first} to {span.last}" + (", with gaps" if span.gaps else "")


def rows(span: Span) -> str:
    """How many rows it has, as far as known."""
    if span.unknown == span.count:
        return "unknown"
    more = f" and unknown in {span.unknown:,}" if span.unknown else ""
    return f"{words.count(span.rows)}{more}"


def why(span: Span) -> str:
    """The reasons for its state."""
    more = (f"and {plural(span.more, 'more reason')}",) if span.more else ()
    return "; ".join((*span.reasons, *more))


def about_span(span: Span, lane: Lane) -> list[tuple[str, str]]:
    """All about a span, as pairs of a label and a text."""
    found: Sequence[tuple[str, str]] = (
        (lane.title, what(span)),
        ("Time", stretch(span.start, span.end)),
        ("State", WORDS[span.state]),
        ("Rows", rows(span)),
        ("Size", show_size(span.size)),
        ("Due", when(span.due)),
        ("Why", why(span)),
    )
    return [(label, text) for label, text in found if text]


def mark_words(cutoff: Cutoff, table: TableName) -> str:
    """A limit, for a line in the picture."""
    return f"{cutoff.words} ({short(cutoff.policy_id)})"


def first_up(text: str) -> str:
    """With a capital letter."""
    return text[:1].upper() + text[1:]
