"""``fetch``: read a table together with its rollups and archives. ``query``: SQL over archives."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.options import TEXT
from cratedb_retention.cli.output import say, visible, write_notes, write_table, yaml_text
from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.rollups.aggregates import ANSWERS, PERCENTILES

if TYPE_CHECKING:
    from cratedb_retention.model.query.answer import Answer
    from cratedb_retention.model.query.reading import Fetched

_FORMATS = ("table", "csv", "json", "yaml", "arrow", "parquet")
_BINARY = ("arrow", "parquet")
_SHOWN = 1000  # Rows of a query that are shown as a table.


def _output(*formats: str) -> Callable[[options.F], options.F]:
    return options.combine(
        click.option(
            "--format", "form", type=click.Choice(formats), help="Format. [default: by the name of --output, or table]"
        ),
        click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="File to write to."),
    )


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
@_output(*_FORMATS)
@click.option("--plot", "plotted", is_flag=True, help="Draw a chart in the terminal.")
def fetch(
    database: options.Database, form: str | None, output: Path | None, plotted: bool, fill: str, **asked: Any
) -> None:
    """
    Query a table together with its rollups and archives. Each time range is read from the level that fits the step, or
    from one that still contains it; the last column names the level of each row. Without rollups, raw rows are read:
    from the table, and archived ones from Parquet files.

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
    write_notes(fetched.notes)


def _choose(form: str | None, output: Path | None) -> str:
    """The given format, or the one by the extension of the file."""
    if form is not None:
        return "csv" if output and form == "table" else form
    ending = output.suffix.lstrip(".").lower() if output else "table"
    return {"yml": "yaml", "feather": "arrow"}.get(ending, ending if ending in _FORMATS else "csv")


@contextmanager
def _opened(form: str, output: Path | None) -> Iterator[BinaryIO]:
    """The file to write to, or standard output."""
    if output is None:
        if form in _BINARY and sys.stdout.isatty():
            raise InvalidInput("--format", "cannot write binary data to a terminal", "name a file with --output")
        yield sys.stdout.buffer
        return
    try:
        with output.open("wb") as stream:
            yield cast(BinaryIO, stream)
    except OSError as error:
        raise InvalidInput(f"file {output}", error.strerror or str(error), "choose another file") from None


def _write(fetched: Fetched, form: str | None, output: Path | None) -> None:
    form = _choose(form, output)
    if form == "table":
        _show(fetched)
        return
    if form in _BINARY:
        data = fetched.to_bytes(form)
    elif form == "json":
        data = f"{fetched.to_json()}\n".encode()
    else:
        data = (yaml_text(list(fetched.plain_rows())) if form == "yaml" else fetched.to_csv()).encode()
    with _opened(form, output) as stream:
        stream.write(data)


@click.command("query")
@click.argument("query", metavar="SELECT")
@options.database
@_output("table", "csv", "json", "arrow", "parquet")
def query(database: options.Database, query: str, form: str | None, output: Path | None) -> None:
    """
    Query archived rows by SQL: a SELECT of DuckDB over the Parquet archives of all tables, which have their own names.
    Rows that are in a table as well, such as restored ones, are not read; query the table itself for these.

    \b
    Examples:
      cratedb-retention query "SELECT count(*) FROM doc.metrics WHERE month < '2023-01-01'" crate://localhost:4200/
      cratedb-retention query "FROM metrics LIMIT 10" duckdb:///metrics.duckdb
      cratedb-retention query "SELECT * FROM doc.metrics" --output=metrics.parquet
    """
    form = _choose(form, output)
    if form == "yaml":  # By the name of the file.
        raise InvalidInput("--output", "YAML is not a format of this command", "use another extension, or --format")
    with database.open(read_only=True) as retention, retention.archive.query(query) as answer:
        if form == "table":
            _show_answer(answer)
        else:
            with _opened(form, output) as stream:
                answer.write(form, stream)
        write_notes(answer.notes)


def _show_answer(answer: Answer) -> None:
    rows = list(islice(answer, _SHOWN + 1))
    if not rows:
        say("no rows")
        return
    numbers = [name for name, value in zip(answer.columns, rows[0], strict=True) if _is_number(value)]
    cells = [["NULL" if value is None else _number(value) for value in row] for row in rows[:_SHOWN]]
    write_table(tuple(map(visible, answer.columns)), cells, right=numbers)
    if len(rows) > _SHOWN:
        click.echo(f"Note: the first {_SHOWN:,} rows; the other formats write all", err=True)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


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
