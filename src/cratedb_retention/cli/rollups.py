"""``fetch``: query a cascade; ``verify-rollups``: compare each rollup with its source; ``accept-table``."""

from __future__ import annotations

import datetime as dt
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.options import TEXT
from cratedb_retention.cli.output import say, visible, write_data, write_table, yaml_text
from cratedb_retention.errors import InvalidInput, RetentionError
from cratedb_retention.model.rollups.aggregates import ANSWERS, PERCENTILES
from cratedb_retention.model.time import show
from cratedb_retention.model.words import plural

if TYPE_CHECKING:
    from cratedb_retention.api import Retention
    from cratedb_retention.execution.rollups.levels import Difference
    from cratedb_retention.model.query.reading import Fetched

_FORMATS = ("table", "csv", "json", "yaml", "arrow", "parquet")
_BINARY = ("arrow", "parquet")
_raw_table = options.combine(
    click.option("--table-name", type=TEXT, required=True, help="Table with the raw rows."),
    click.option("--table-schema", type=TEXT, help="Schema of the table. [default: the database's]"),
)


@click.command("fetch")
@options.database
@_raw_table
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
    """Times as text, as short as possible, and their zone."""
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


@click.command("verify-rollups")
@options.database
@_raw_table
@options.output_format
def verify_rollups(database: options.Database, table_name: str, table_schema: str | None, form: str) -> None:
    """
    Compare each rollup of a table with its source, for the time range that both contain: the number of rows, and the
    sums and counts of each metric. The exit code is 1 if they differ. The next run computes stale windows again, whose
    source changed since they were computed, but not wrong ones.

    \b
    Examples:
      cratedb-retention verify-rollups --table-name=weather crate://localhost:4200/
    """
    with database.open(read_only=True) as retention:
        found = retention.rollups.verify(table_name, table_schema)
    levels = dict.fromkeys(difference.level for difference in found)
    if form != "table":
        write_data([difference.to_dict() for difference in found], form)
    elif found:
        columns = ("level", "what", "from", "to", "source", "expected", "found", "state")
        rows = [(d.level, d.what, show(d.start), show(d.end), d.beneath, d.expected, d.found, _state(d)) for d in found]
        write_table(columns, rows, right=("expected", "found"))
        for level in levels:
            say(f"{level}: {_count(d for d in found if d.level == level)}")
    else:
        say(f"verified: each rollup of {table_name} matches its source", "green")
    if found:
        stale = "the next run computes it again" if all(difference.stale for difference in found) else ""
        reason = f"{plural(len(levels), 'level')} of {table_name} differ from their source: {_count(found)}"
        raise RetentionError("verify-rollups", reason, stale)


def _state(difference: Difference) -> str:
    return "stale" if difference.stale else "wrong"


def _count(found: Iterable[Difference]) -> str:
    """The number of differences by kind: ``2 stale, 1 wrong``."""
    return ", ".join(f"{count:,} {kind}" for kind, count in sorted(Counter(map(_state, found)).items()))


@click.command("accept-table")
@options.connected()
@click.option("--table-name", type=TEXT, required=True, help="Name of the table; * and ? are wildcards.")
@click.option("--table-schema", type=TEXT, help="Schema of the table; * and ? are wildcards. [default: the database's]")
def accept_table(retention: Retention, table_name: str, table_schema: str | None) -> None:
    """
    Accept a table that was dropped and created again, restored or copied as the one that existing rollups, snapshots
    and holds of its name refer to. From then on, rows of a time range that was rolled up and expired count as late: a
    policy with `late: drop` deletes them.

    \b
    Examples:
      cratedb-retention accept-table --table-name=weather crate://localhost:4200/
    """
    for table in retention.rollups.accept_tables(table_name, table_schema):
        say(f"accepted {table}")
