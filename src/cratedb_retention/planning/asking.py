"""
What a request to read a cascade means: names become columns, defaults are filled in, and each stretch of time gets the
table that answers it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.aggregates import ANSWERS, PERCENTILES, find_formula
from cratedb_retention.model.catalog import Column, Value
from cratedb_retention.model.reading import (
    DEFAULT_RANGE,
    Cascade,
    FetchRequest,
    Holding,
    Reading,
    Stretch,
    Wanted,
)
from cratedb_retention.model.rollup import ROW_COUNT, Metric, find_columns
from cratedb_retention.model.time import show, to_ms
from cratedb_retention.planning.reading import choose_step, find_stretches, whole_buckets
from cratedb_retention.planning.targets import Undecided, coerce


def make_reading(cascade: Cascade, request: FetchRequest, now: datetime, undivided: str = "") -> Reading:
    """
    Find out everything that a request leaves open.

    :param now: The present instant, aware.
    :param undivided: Why longer buckets are read as a whole, even where the end of them is left in shorter ones.
    :raises InvalidInput: if it names what there is not, its range makes no sense, or what it wants is not kept.
    """
    wanted = find_wanted(cascade.metrics, request.metrics)
    end = to_ms(request.end or now)
    start = _start(request, end)
    if start >= end:
        raise InvalidInput("range", f"it begins at {show(start)} and ends at {show(end)}", "let it end later")
    step = request.step or choose_step(cascade, start, end, request.points)
    start, end = whole_buckets(start, end, step, cascade.tzinfo)
    able = [holding for holding in cascade.holdings if _answers(holding, wanted)]
    untold = () if request.partly else [want.name for want in wanted if not want.told_by_rest]
    undivided = undivided or (f"ask from then on to see them, or without {', '.join(untold)}" if untold else "")
    stretches = find_stretches(cascade, able, start, end, step, undivided)
    if len(able) < len(cascade.holdings):
        _check_kept(stretches, find_stretches(cascade, cascade.holdings, start, end, step, undivided), wanted)
    return Reading(
        cascade=cascade,
        start=start,
        end=end,
        step=step,
        wanted=wanted,
        by=tuple(dict.fromkeys(column for name in request.by for column in _dimensions(cascade, name, "by"))),
        where=_bind(cascade, request.where),
        stretches=stretches,
        fill=request.fill,
    )


def _start(request: FetchRequest, end: int) -> int:
    if request.start:
        return to_ms(request.start)
    return end - round(DEFAULT_RANGE.total_seconds() * 1000)


def find_wanted(metrics: Sequence[Metric], texts: Iterable[str]) -> tuple[Wanted, ...]:
    """
    Read what is asked of metrics: ``temperature:avg``, ``temperature``, ``temperature:p95``, ``row_count``. The name of
    an object stands for all that is in it.

    :raises InvalidInput: if there is no such metric or aggregate.
    """
    given = tuple(dict.fromkeys(texts))
    if given:
        return tuple(dict.fromkeys(want for text in given for want in _read(metrics, text)))
    return tuple(_default(metric) for metric in metrics) or (Wanted(None, ROW_COUNT),)


def _read(metrics: Sequence[Metric], text: str) -> list[Wanted]:
    by_name = {metric.column.name: metric for metric in metrics}
    columns = [metric.column for metric in metrics]
    whole = find_columns(columns, text)
    if whole:  # A column's name may hold a colon.
        return [_default(by_name[column.name]) for column in whole]
    if text == ROW_COUNT:
        return [Wanted(None, ROW_COUNT)]
    name, colon, aggregate = text.rpartition(":")
    named = [by_name[column.name] for column in find_columns(columns, name)] if colon else []
    if not named:
        known = ", ".join(metric.name for metric in metrics) or "none"
        raise InvalidInput(f"metric {name or text!r}", "there is none of this name", f"there are: {known}, {ROW_COUNT}")
    if find_formula(aggregate.lower()) is None:
        raise InvalidInput(
            f"metric {text!r}",
            f"{aggregate!r} is no aggregate",
            f"write one of {', '.join(ANSWERS)} or {', '.join(PERCENTILES)}",
        )
    return [Wanted(metric, aggregate.lower()) for metric in named]


def _default(metric: Metric) -> Wanted:
    """The increase of what is a counter in all series, the average of everything else, or what else is kept."""
    return Wanted(metric, metric.answers[0])


def _answers(holding: Holding, wanted: Iterable[Wanted]) -> bool:
    return holding.rollup is None or all(want.kept_by(holding.rollup) for want in wanted)


def _check_kept(stretches: Sequence[Stretch], possible: Sequence[Stretch], wanted: Iterable[Wanted]) -> None:
    """
    Make sure that nothing is left out only because of what is asked.

    :raises InvalidInput: if a level that alone holds a stretch does not keep what is asked.
    """
    for stretch in possible:
        covered = sum(max(0, min(s.end, stretch.end) - max(s.start, stretch.start)) for s in stretches)
        rollup = stretch.holding.rollup
        if covered >= stretch.end - stretch.start or rollup is None:
            continue
        lacking = [
            f"{want.metric.name}:{want.aggregate}" for want in wanted if want.metric and not want.kept_by(rollup)
        ]
        if lacking:
            raise InvalidInput(
                f"metric {', '.join(lacking)}",
                f"{show(stretch.start)} to {show(stretch.end)} is left only as {rollup.interval}, which lacks it",
                "choose another aggregate, or another stretch of time",
            )


def _dimensions(cascade: Cascade, name: str, role: str) -> list[Column]:
    """The dimension of a name, or those in the object of this name."""
    found = find_columns(cascade.dimensions, name)
    if not found:
        known = ", ".join(column.name for column in cascade.dimensions) or "none"
        raise InvalidInput(f"{role} {name!r}", "it is no dimension of the cascade", f"there are: {known}")
    return found


def _bind(cascade: Cascade, where: Mapping[str, Value]) -> tuple[tuple[Column, Value], ...]:
    bound = []
    for name, value in where.items():
        column, *others = _dimensions(cascade, name, "where")
        if others:
            there = ", ".join(each.name for each in (column, *others))
            raise InvalidInput(f"where {name!r}", "it stands for several dimensions", f"name one of them: {there}")
        try:
            bound.append((column, coerce(column, value)))
        except Undecided as error:
            raise InvalidInput("filter", str(error).removeprefix("where: ")) from None
    return tuple(bound)
