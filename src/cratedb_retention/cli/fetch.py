"""``fetch``: read a cascade."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.output import say, visible, write_table, yaml_text
from cratedb_retention.model.aggregates import ANSWERS, PERCENTILES

if TYPE_CHECKING:
    from cratedb_retention.model.reading import Fetched

_FORMATS = ("table", "csv", "json", "yaml", "arrow", "parquet")
_BINARY = ("arrow", "parquet")


@click.command("fetch")
@options.database
@click.option("--table-name", type=options.TEXT, required=True, help="The table with the raw rows.")
@click.option("--table-schema", type=options.TEXT, help="Its schema, if not the database's default one.")
@click.option(
    "--from",
    "start",
    type=options.TEXT,
    metavar="INSTANT",
    help="From this instant on, like 2024-06-01, or so long before the end, like -7d. [default: -24h]",
)
@click.option(
    "--to", "end", type=options.TEXT, metavar="INSTANT", help="Until this instant, or so long ago. [default: now]"
)
@click.option(
    "--step", type=options.TEXT, metavar="INTERVAL", help="Length of the buckets: 10s, 5m, 1h, 1d, 1w, 1mo, 1y."
)
@click.option("--points", type=int, help="At most so many buckets, where no step is given. [default: 100]")
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    type=options.TEXT,
    metavar="NAME[:AGGREGATE]",
    help=f"What to show: {', '.join((*ANSWERS, *PERCENTILES))} of a metric, or row_count; repeat it for more. "
    "[default: the average of each, the increase of counters]",
)
@click.option(
    "--where", multiple=True, metavar="DIMENSION=VALUE", help="Only series with this value; repeat it for more."
)
@click.option(
    "--by", multiple=True, type=options.TEXT, metavar="DIMENSION", help="Tell apart by this; repeat it for more."
)
@click.option(
    "--fill",
    type=click.Choice(["none", "null", "previous", "linear"]),
    default="none",
    show_default=True,
    help="What stands in buckets without data; none leaves them out.",
)
@click.option(
    "--format", "form", type=click.Choice(_FORMATS), help="Output. [default: by the name of --output, or table]"
)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file.")
@click.option("--plot", "plotted", is_flag=True, help="Draw a chart in the terminal.")
def command(
    dburi: str | None, schema: str, form: str | None, output: Path | None, plotted: bool, fill: str, **asked: Any
) -> None:
    """
    Read a table together with its rollups: each stretch of time from the level that fits the step, or from the one that
    still has it. Which level a row is from stands in its last column. Of a table without rollups the rows are read.

    \b
    Examples:
      cratedb-retention fetch --table-name=weather crate://localhost:4200/
      cratedb-retention fetch --table-name=weather --from=-30d --metric=temp:p95 --by=origin --plot
      cratedb-retention fetch --table-name=weather --from=2024-01-01 --step=1d --output=weather.parquet
    """
    from cratedb_retention.errors import InvalidInput
    from cratedb_retention.model.pairs import read_pairs
    from cratedb_retention.model.reading import FetchRequest, Fill

    form = _form(form, output)
    if plotted and output:
        raise InvalidInput("--plot and --output", "both are given", "give one of them")
    if asked["step"] and asked["points"] is not None:
        raise InvalidInput("--step and --points", "both are given", "give one of them")
    # Where nothing is known, a line is broken rather than drawn straight on.
    filled = Fill.NULL if plotted and fill == "none" else Fill(fill)
    where = read_pairs("--where", asked.pop("where"), "station=KJFK")
    with options.open_retention(dburi, schema, read_only=True) as retention:
        request = FetchRequest.of_texts(retention.clock.now(), where=where, fill=filled, **asked)
        fetched = retention.rollups.fetch(request)
    if plotted:
        from cratedb_retention.cli.plot import draw

        draw(fetched, asked["table_name"])
    else:
        _write(fetched, form, output)
    for note in fetched.notes:
        click.echo(f"Note: {visible(note)}", err=True)


def _form(form: str | None, output: Path | None) -> str:
    """The format that is asked for, or that the file's name means."""
    if form:
        return form
    ending = output.suffix.lstrip(".").lower() if output else "table"
    return {"yml": "yaml", "feather": "arrow"}.get(ending, ending if ending in _FORMATS else "csv")


def _write(fetched: Fetched, form: str, output: Path | None) -> None:
    if form in _BINARY:
        _write_bytes(fetched.to_bytes(form), output)
    elif output:
        _write_bytes(_text(fetched, form).encode(), output)
    elif form == "table":
        _show(fetched)
    else:
        click.echo(_text(fetched, form), nl=False)


def _text(fetched: Fetched, form: str) -> str:
    if form == "json":
        return f"{fetched.to_json()}\n"
    return yaml_text(list(fetched.plain_rows())) if form == "yaml" else fetched.to_csv()


def _write_bytes(data: bytes, output: Path | None) -> None:
    from cratedb_retention.errors import InvalidInput

    if output is None:
        if sys.stdout.isatty():
            raise InvalidInput("--format", "binary data is nothing for a terminal", "name a file with --output")
        sys.stdout.buffer.write(data)
        return
    try:
        output.write_bytes(data)
    except OSError as error:
        raise InvalidInput(f"file {output}", error.strerror or str(error), "name another one") from None


def _show(fetched: Fetched) -> None:
    """A table for people: times without what is the same in all of them, six digits that mean something."""
    if not fetched.rows:
        say("nothing is there in this stretch of time")
        return
    from cratedb_retention.cli.output import shown_number, shown_times

    times = shown_times([row[0] for row in fetched.rows])
    values = slice(1 + fetched.keys, -1)
    rows = [
        (
            time,
            *("NULL" if v is None else v for v in row[1 : 1 + fetched.keys]),
            *map(shown_number, row[values]),
            row[-1],
        )
        for time, row in zip(times.texts, fetched.rows, strict=True)
    ]
    columns = (f"{fetched.columns[0]} ({times.zone})", *fetched.columns[1:])
    write_table(tuple(map(visible, columns)), rows, fetched.columns[values])
