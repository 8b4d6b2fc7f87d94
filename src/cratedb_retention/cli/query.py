"""``fetch``: read a table together with its rollups."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.options import TEXT
from cratedb_retention.cli.output import say, visible, write_table, yaml_text
from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.rollups.aggregates import ANSWERS, PERCENTILES

if TYPE_CHECKING:
    from cratedb_retention.model.query.reading import Fetched

_FORMATS = ("table", "csv", "json", "yaml", "arrow", "parquet")
_BINARY = ("arrow", "parquet")


@click.command("fetch")
@options.database
@options.raw_table
@click.option(
    "--from",
    "start",
    type=TEXT,
    metavar="INSTANT",
    help="Start: an instant such as 2024-06-01, or an age before --to such as -7d. [default: -24h]",
)
@click.option("--to", "end", type=TEXT, metavar="INSTANT", help="End: an instant, or an age (-2h). [default: now]")
@click.option("--step", type=TEXT, metavar="INTERVAL", help="Length of the buckets: 10s, 5m, 1h, 1d, 1w, 1mo, 1y.")
@click.option("--points", type=int, help="Maximum number of buckets, instead of --step. [default: 100]")
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    type=TEXT,
    metavar="NAME[:AGGREGATE]",
    help="Metric and aggregate to show, or row_count; may be repeated. "
    f"Aggregates: {', '.join((*ANSWERS, *PERCENTILES))}. [default: avg of each metric, increase of counters]",
)
@click.option("--where", multiple=True, metavar="DIMENSION=VALUE", help="Only series with this value; may be repeated.")
@click.option("--by", multiple=True, type=TEXT, metavar="DIMENSION", help="Group by this dimension; may be repeated.")
@click.option(
    "--fill",
    type=click.Choice(["none", "null", "previous", "linear"]),
    default="none",
    show_default=True,
    help="Value for empty buckets; none omits them.",
)
@click.option(
    "--format", "form", type=click.Choice(_FORMATS), help="Format. [default: by the name of --output, or table]"
)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="File to write to.")
@click.option("--plot", "plotted", is_flag=True, help="Draw a chart in the terminal.")
def fetch(
    database: options.Database, form: str | None, output: Path | None, plotted: bool, fill: str, **asked: Any
) -> None:
    """
    Query a table together with its rollups. Each time range is read from the level that fits the step, or from one that
    still contains it; the last column names the level of each row. Without rollups, the table itself is read.

    \b
    Examples:
      cratedb-retention fetch --table-name=weather crate://localhost:4200/
      cratedb-retention fetch --table-name=weather --from=-30d --metric=temp:p95 --by=origin --plot
      cratedb-retention fetch --table-name=weather --from=2024-01-01 --step=1d --output=weather.parquet
    """
    from cratedb_retention.model.query.reading import FetchRequest, Fill
    from cratedb_retention.model.words import read_pairs

    if plotted and output:
        raise InvalidInput("--plot and --output", "cannot be combined", "omit one of them")
    if asked["step"] and asked["points"] is not None:
        raise InvalidInput("--step and --points", "cannot be combined", "omit one of them")
    # A gap in the data is a gap in the line.
    filled = Fill.NULL if plotted and fill == "none" else Fill(fill)
    where = read_pairs("--where", asked.pop("where"), "station=KJFK")
    with database.open(read_only=True) as retention:
        request = FetchRequest.of_texts(retention.clock.now(), where=where, fill=filled, **asked)
        fetched = retention.rollups.fetch(request)
    if plotted:
        from cratedb_retention.cli.plot import draw

        draw(fetched, asked["table_name"])
    else:
        _write(fetched, form, output)
    for note in fetched.notes:
        click.echo(f"Note: {visible(note)}", err=True)


def _write(fetched: Fetched, form: str | None, output: Path | None) -> None:
    if form is None:  # By the extension of the file.
        ending = output.suffix.lstrip(".").lower() if output else "table"
        form = {"yml": "yaml", "feather": "arrow"}.get(ending, ending if ending in _FORMATS else "csv")
    if form == "table" and not output:
        _show(fetched)
        return
    if form in _BINARY:
        data = fetched.to_bytes(form)
    elif form == "json":
        data = f"{fetched.to_json()}\n".encode()
    else:
        data = (yaml_text(list(fetched.plain_rows())) if form == "yaml" else fetched.to_csv()).encode()
    if output:
        try:
            output.write_bytes(data)
        except OSError as error:
            raise InvalidInput(f"file {output}", error.strerror or str(error), "choose another file") from None
    elif form not in _BINARY:
        click.echo(data.decode(), nl=False)
    elif sys.stdout.isatty():
        raise InvalidInput("--format", "cannot write binary data to a terminal", "name a file with --output")
    else:
        sys.stdout.buffer.write(data)


def _show(fetched: Fetched) -> None:
    """Write a table, with times as short as possible."""
    if not fetched.rows:
        say("no data in this time range")
        return
    times, zone = _times([row[0] for row in fetched.rows])
    keys, values = slice(1, 1 + fetched.keys), slice(1 + fetched.keys, -1)
    rows = [
        (time, *("NULL" if value is None else value for value in row[keys]), *map(_number, row[values]), row[-1])
        for time, row in zip(times, fetched.rows, strict=True)
    ]
    columns = (f"{fetched.columns[0]} ({zone})", *fetched.columns[1:])
    write_table(tuple(map(visible, columns)), rows, right=fetched.columns[values])


def _times(times: Sequence[object]) -> tuple[list[str], str]:
    moments = [time for time in times if isinstance(time, dt.datetime)]
    exact = "%Y-%m-%d %H:%M:%S" if any(moment.second for moment in moments) else "%Y-%m-%d %H:%M"
    form = "%Y-%m-%d" if all(moment.time() == dt.time() for moment in moments) else exact
    texts = [moment.strftime(form) for moment in moments]
    if len(set(texts)) < len({(m.utcoffset(), text) for m, text in zip(moments, texts, strict=True)}):
        texts = [moment.strftime(f"{form} %z") for moment in moments]  # The hour that occurs twice in autumn.
    return texts, str(moments[0].tzinfo) if moments else "UTC"


def _number(value: object) -> object:
    """Six significant digits; whole numbers and decimals with all digits."""
    if isinstance(value, Decimal):
        return f"{value:,f}"
    if not isinstance(value, float):
        return value
    size = abs(value)
    if value.is_integer() and size < 1e15:
        return int(value)
    return f"{value:,.6g}" if 1e-4 <= size < 1e6 else f"{value:,.2f}" if 0 < size < 1e15 else f"{value:g}"
