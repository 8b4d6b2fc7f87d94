"""``forecast``: how much data there will be, what is removed when, when the disk is full, and what it costs."""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.options import TEXT
from cratedb_retention.cli.output import say, write_data, write_table
from cratedb_retention.model.words import plural, short, show_size

if TYPE_CHECKING:
    from cratedb_retention.model.forecast import Forecast, Rate, Series

_FORMATS = ("table", "csv", "json", "yaml")
_CSV = ("date", "part", "table", "repository", "rows", "bytes", "partitions", "shards")
_SCALES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_COUNTS = ("", "thousand", "million", "billion", "trillion")


_until = click.option(
    "--until",
    type=TEXT,
    default="+1y",
    show_default=True,
    metavar="INSTANT",
    help="End: a length such as +90d or +2y, or an instant such as 2030-01-01.",
)
_prices = options.combine(
    click.option("--price", type=click.FloatRange(0), metavar="AMOUNT", help="Price of a GB of tables in a month."),
    click.option(
        "--archive-price", type=click.FloatRange(0), metavar="AMOUNT", help="Price of a GB of archives in a month."
    ),
)
_FILE = click.File(encoding="utf-8")


@click.command("forecast")
@options.database
@_until
@click.option("-f", "--file", type=_FILE, help="Policy file to use instead of the stored policies; - for stdin.")
@click.option("--capacity", type=TEXT, metavar="SIZE", help="Size of the disks, such as 2TB. [default: as reported]")
@_prices
@options.selection
@click.option("--format", "form", type=click.Choice(_FORMATS), default="table", show_default=True, help="Format.")
def forecast(  # noqa: PLR0913 - one for each option
    database: options.Database,
    chosen: options.Chosen,
    until: str,
    file: TextIO | None,
    capacity: str | None,
    price: float | None,
    archive_price: float | None,
    form: str,
) -> None:
    """
    Forecast tables, levels and archives: rows, size, partitions and shards on each day, what runs remove when, when the
    disks are full, and what the data costs. The plans of real runs are made for each day, for data that grows as it did
    in the recent past. Nothing is changed, and a policy file is not stored.

    \b
    Examples:
      cratedb-retention forecast crate://localhost:4200/
      cratedb-retention forecast --until=+2y --capacity=2TB --price=0.10
      cratedb-retention forecast -f policies.yaml
      cratedb-retention forecast --until=2030-01-01 --format=csv > forecast.csv
    """
    from cratedb_retention.model.forecast import read_until
    from cratedb_retention.model.size import parse_size

    policies = None if file is None else options.read_policies(file)
    size = None if capacity is None else parse_size(capacity, "--capacity").bytes
    with database.open(read_only=True) as retention:
        found = retention.forecast(
            read_until(until, retention.clock.now()),
            policies=policies,
            selection=chosen.read(retention),
            capacity=size,
            price=price,
            archive_price=archive_price,
        )
    if form == "csv":
        click.echo(_to_csv(found), nl=False)
    elif form == "table":
        _write(found)
    else:
        from cratedb_retention.execution.results import Forecast as Result

        write_data(Result.of(found), form)


@click.command("diff")
@options.database
@click.option("-f", "--file", type=_FILE, required=True, help="Policy file; - for stdin.")
@click.option("--base", type=_FILE, help="Policy file to compare with. [default: the stored policies]")
@_until
@_prices
@options.output_format
def diff(
    database: options.Database,
    file: TextIO,
    base: TextIO | None,
    until: str,
    price: float | None,
    archive_price: float | None,
    form: str,
) -> None:
    """
    Compare the policies of a file with the stored ones, or with those of another file: how much data there will be
    under each, and how far it reaches back. Nothing is changed, and no policy is stored.

    \b
    Examples:
      cratedb-retention diff -f policies.yaml crate://localhost:4200/
      cratedb-retention diff --base=old.yaml -f new.yaml --until=+2y --price=0.10
    """
    from cratedb_retention.model.forecast import read_until

    policies, others = options.read_policies(file), None if base is None else options.read_policies(base)
    with database.open(read_only=True) as retention:
        instant = read_until(until, retention.clock.now())
        before, after = retention.compare(instant, policies, others, price=price, archive_price=archive_price)
    if form != "table":
        from cratedb_retention.execution.results import Comparison
        from cratedb_retention.execution.results import Forecast as Result

        write_data(Comparison(before=Result.of(before), after=Result.of(after)), form)
        return
    _write_difference(before, after, (base.name if base else "stored policies", file.name))


def _to_csv(found: Forecast) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_CSV)
    for series in found.series:
        for day, instant in enumerate(found.times):
            size = None if series.size is None else series.size[day]
            shards = None if series.shards is None else series.shards[day]
            counts = (series.rows[day], size, series.partitions[day], shards)
            writer.writerow((_moment(instant).isoformat(), series.part, series.table, series.repository, *counts))
    return text.getvalue()


def _write(found: Forecast) -> None:
    if not found.series:
        say("no tables to forecast: no policy matches a table")
        return
    _draw(found)
    _write_series(found)
    for line in _conclusions(found):
        say(line)
    if found.events:
        columns = ("first", "last", "table", "what", "policy", "partitions", "rows", "size")
        write_table(columns, _gone(found), "What runs will do", right=("partitions", "rows", "size"))
    for remark in found.remarks:
        say(f"Note: {remark}")


def _draw(found: Forecast) -> None:
    sized = found.size is not None
    lines: dict[str, Sequence[int]] = {"tables": found.size or found.rows}
    if sized and found.archived and any(found.archived):
        lines["archives"] = found.archived
    # A capacity far above the data would flatten its line.
    if sized and found.capacity is not None and found.capacity - found.other <= 4 * max(map(max, lines.values())):
        lines["capacity"] = [found.capacity - found.other] * len(found.times)
    _draw_lines(found.times, lines, sized)


def _draw_lines(times: Sequence[int], lines: Mapping[str, Sequence[int]], sized: bool) -> None:
    """A chart of bytes, or of rows, from zero on."""
    from cratedb_retention.cli.plot import canvas, plot_lines

    power, base, scales = 0, 1024 if sized else 1000, _SCALES if sized else _COUNTS
    while max(map(max, lines.values())) >= 10 * base ** (power + 1) and power + 1 < len(scales):
        power += 1
    colours, width = canvas()
    # Without colours, each value is drawn as a letter, so there are not more than columns.
    step = 1 if colours else max(1, len(times) // width)
    points = [
        (label, [(instant / 1000, value / base**power) for instant, value in zip(times, values, strict=True)][::step])
        for label, values in lines.items()
    ]
    unit = f", in {scales[power]}" if scales[power] else ""
    title = f"{'Size' if sized else 'Rows'} of all tables until {_day(times[-1])}{unit}"
    click.echo(
        plot_lines(points, (_moment(times[0]), _moment(times[-1])), title, width, colours, from_zero=True),
        color=colours,
    )


def _write_difference(before: Forecast, after: Forecast, names: tuple[str, str]) -> None:
    from cratedb_retention.model.forecast import differences

    found, both = differences(before, after), (before, after)
    if not found:
        say(f"the same data until {_day(before.times[-1])} under both")
        return
    sized = all(each.size is not None for each in both)
    lines = {name: (each.size if sized else each.rows) or () for name, each in zip(names, both, strict=True)}
    _draw_lines(before.times, lines, sized)
    what = "size" if sized else "rows"
    columns = ("table", f"{what} before", f"{what} after", "difference", "reaches back", "then")
    rows = []
    for each in found:
        pair = each.both
        values = [(0 if s is None else (s.size[-1] if sized and s.size else s.rows[-1])) for s in pair]
        gap = values[1] - values[0]
        shown = [show_size(value) if sized else f"{value:,}" for value in (*values, abs(gap))]
        back = ["" if s is None or s.reach[-1] is None else plural(s.reach[-1], "day") for s in pair]
        rows.append((each.about.title, *shown[:2], f"{'-' if gap < 0 else '+'}{shown[2]}", *back))
    write_table(columns, rows, f"On {_day(before.times[-1])}", right=columns[1:])
    if before.cost is not None and after.cost is not None:
        say(f"Cost: {before.cost:,.2f} before, {after.cost:,.2f} after: {after.cost - before.cost:+,.2f}.")
    for remark in dict.fromkeys((*before.remarks, *after.remarks)):
        say(f"Note: {remark}")


def _write_series(found: Forecast) -> None:
    """A table with the first, the greatest and the last value of each series."""
    sized, sharded = (any(getattr(s, name) is not None for s in found.series) for name in ("size", "shards"))
    columns = ["table", "", "rows now", "then"]
    columns += ["size now", "then", "most"] if sized else ["most"]
    columns += ["partitions", *(["shards"] if sharded else []), "rows per day", "measured from"]
    rows = []
    for series in found.series:
        row: list[object] = [series.title, str(series.part), series.rows[0], series.rows[-1]]
        values = series.size if sized else series.rows
        if sized:
            row += [show_size(values[day]) if values else None for day in (0, -1)]
        row.append((show_size(max(values)) if sized else f"{max(values):,}") if values else None)
        row.append(_change(series.partitions) if any(series.partitions) else None)
        row += [None if series.shards is None else _change(series.shards)] if sharded else []
        row += [_growth(series), series.rate.source if series.rate.known else None]
        rows.append(row)
    right = ("rows now", "then", "size now", "most", "partitions", "shards", "rows per day")
    write_table(columns, rows, right=right)


def _change(values: Sequence[int]) -> str:
    return f"{values[0]:,}" if values[0] == values[-1] else f"{values[0]:,} → {values[-1]:,}"


def _growth(series: Series) -> str | None:
    rate: Rate = series.rate
    if not rate.units and not rate.daily:
        return "unknown" if not rate.known else None
    trend = f", {rate.trend * 30.44:+,.0f} a month" if round(rate.trend * 30.44) else ""
    return f"{rate.daily:,.0f}{trend}{', by weekday' if rate.has_rhythm else ''}"


def _conclusions(found: Forecast) -> Iterator[str]:
    if found.size is not None:
        now, then, most = (show_size(found.size[day]) for day in (0, -1, found.peak))
        end, peak = _day(found.times[-1]), _day(found.times[found.peak])
        yield f"Tables: {now} now, {then} on {end}; most on {peak}: {most}."
    if found.archived is not None and any(found.archived):
        now, then = (show_size(found.archived[day]) for day in (0, -1))
        yield f"Archives: {now} now, {then} on {_day(found.times[-1])}."
    if found.capacity is not None and found.size is not None:
        other = f", of which other data takes {show_size(found.other)}" if found.other else ""
        disks = f"The disks have {show_size(found.capacity)}{other}"
        if found.full is None:
            share = 100 * (found.size[found.peak] + found.other) / found.capacity
            most = f"at most {share:.0f} %" if share >= 1 else "less than 1 %"
            yield f"{disks}; they are not full until {_day(found.times[-1])}: {most}."
        else:
            when = "already" if found.full == 0 else f"on {_day(found.times[found.full])}, in {found.full:,} days"
            yield f"{disks}. They are full {when}."
    elif found.size is None:
        yield "Sizes are unknown, so it is unknown when the disks are full."
    if found.cost is not None and found.monthly is not None:
        first, last = found.monthly[0], found.monthly[-1]
        yield f"Cost: {found.cost:,.2f} until then; {first:,.2f} a month now, {last:,.2f} a month then."


def _gone(found: Forecast) -> list[tuple[object, ...]]:
    """A line for each table, policy and kind of work, in order of time."""
    rows: list[tuple[object, ...]] = []
    for work in found.works:
        whole, when = work.whole, (_day(found.times[each.day]) for each in (work.first, work.last))
        size = None if whole.size is None else show_size(whole.size)
        about = (str(whole.table), str(whole.kind), short(whole.policy_id))
        rows.append((*when, *about, whole.partitions or None, whole.rows, size))
    return rows


def _moment(instant: int) -> dt.datetime:
    from cratedb_retention.model.time import from_ms

    return from_ms(instant)


def _day(instant: int) -> str:
    return _moment(instant).date().isoformat()
