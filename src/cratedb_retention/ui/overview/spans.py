"""What is said of the time ranges of a table and its policies: in words, and as columns of tables."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence

from cratedb_retention.execution.overview.lines import Line
from cratedb_retention.execution.overview.rows import NO_POLICY
from cratedb_retention.model import words
from cratedb_retention.model.overview import Cutoff, Lane, Span
from cratedb_retention.model.policies.lifecycle import Lifecycle
from cratedb_retention.model.time import TimeRange
from cratedb_retention.model.words import plural, readable, show_size
from cratedb_retention.ui.columns import Bit, Column, Number, ends, time_range, whole

# What each state of a table means, for newcomers.
MEANINGS = {
    "failing": "the last run failed",
    "needs-attention": "blocked until a person acts",
    "blocked": "due, but must not happen now",
    "due": "the next run has something to do",
    NO_POLICY: "no enabled policy governs it",
    "up-to-date": "nothing is due",
    "disabled": "no policy is enabled",
}
# How many partitions are named where nothing tells their time.
_NAMED = 10


def what(span: Span) -> str:
    if span.count == 1:
        return readable(span.first)
    return readable(f"{span.count:,}: {span.first} to {span.last}") + (", with gaps" if span.gaps else "")


def rows(span: Span) -> str:
    more = f" and unknown in {span.unknown:,}" if span.unknown else ""
    return "unknown" if span.rows is None else f"{words.count(span.rows)}{more}"


def reasons(span: Span) -> str:
    more = (f"and {plural(span.more, 'more reason')}",) if span.more else ()
    return readable("; ".join((*span.reasons, *more)))


def about(lane: Lane, span: Span) -> str:
    """What is shown on pointing at a span, a line each."""
    found = {
        "Time (UTC)": " ".join(ends(span.time)),
        "State": span.state.words,
        "Partitions": what(span),
        "Rows": rows(span),
        "Size": show_size(span.size),
        "Due": words.moment(span.due),
        "Why": reasons(span),
    }
    return "\n".join([lane.title, *(f"{label}: {text}" for label, text in found.items() if text)])


def summary(lane: Lane) -> str:
    """A lane in one sentence, for those who do not see it."""
    found: dict[str, int] = {}
    for span in lane.stretches:
        found[span.state.words] = found.get(span.state.words, 0) + span.count
    if not lane.stretches:
        return f"{lane.title}: {lane.note or 'nothing'}"
    whole = TimeRange(lane.stretches[0].time.start, max(span.time.end for span in lane.stretches))
    return f"{lane.title}, {' '.join(ends(whole))}: {', '.join(f'{n:,} {words}' for words, n in found.items())}"


def unplaced(items: Sequence[Span]) -> str:
    """The partitions whose time is unknown; empty if there are none."""
    if not items:
        return ""
    rest = f" and {len(items) - _NAMED:,} more" if len(items) > _NAMED else ""
    names = ", ".join(item.first or "the whole table" for item in items[:_NAMED])
    why = list(dict.fromkeys(reason for item in items for reason in item.reasons))[:3]
    because = f" {'; '.join(why)}." if why else ""
    of = plural(len(items), "partition")
    return f"The time of {of} is unknown, so the picture lacks them: {names}{rest}.{because}"


def notes(lane: Lane) -> Iterator[str]:
    yield from filter(None, (lane.note, unplaced(lane.unplaced)))


SPANS: Sequence[Column[tuple[Lane, Span]]] = (
    Column("Where", lambda item: item[0].title),
    Column("Time (UTC)", lambda item: time_range(item[1].time), lambda item: item[1].time.start),
    Column("State", lambda item: Bit(text=item[1].state.words, tone=f"badge is-{item[1].state}")),
    Column("Partitions", lambda item: what(item[1])),
    Number("Rows", lambda item: whole(rows(item[1])), lambda item: item[1].rows or 0),
    Number("Size", lambda item: whole(show_size(item[1].size)), lambda item: item[1].size or 0),
    Column("Due", lambda item: whole(words.moment(item[1].due)), lambda item: item[1].due or 0),
    Column("Why", lambda item: reasons(item[1])),
)


def next_words(time: dt.datetime, now: dt.datetime) -> str:
    return "due now" if time <= now else words.ago(time, now)


def due_words(lines: Sequence[Line]) -> str:
    """How much the next run takes under some policies on a table."""
    partitions = sum(line.due_partitions for line in lines)
    many = sum(line.due_rows or 0 for line in lines)
    return plural(partitions, "partition") if partitions else plural(many, "row") if many else ""


def expires(cutoff: Cutoff) -> str:
    """What a policy expires, by the time of data."""
    if not cutoff.enabled:
        return "disabled"
    return f"before {words.moment(cutoff.limit)}" if cutoff.limit is not None else "never"


LIFECYCLES: Sequence[Column[Lifecycle]] = (
    Column("Data", lambda each: words.write_pairs(each.where) or "all"),
    Column("Stages, each until an age", lambda each: each.line),
)
