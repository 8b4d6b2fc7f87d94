"""``translate``: convert the configuration of another tool to a policy file."""

from __future__ import annotations

from typing import Any

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.output import visible
from cratedb_retention.errors import InvalidInput


@click.command("translate")
@click.argument("file", type=options.TEXT)
@click.option(
    "--from",
    "tool",
    type=click.Choice(["graphite", "rrdtool"]),
    required=True,
    help="Format of the file. graphite: storage-schemas.conf; rrdtool: `rrdtool create` commands, lists of RRA:..., "
    "or the output of `rrdtool info` or `rrdtool dump`.",
)
@click.option(
    "--aggregation", type=options.TEXT, metavar="FILE", help="graphite: storage-aggregation.conf, for the aggregates."
)
@click.option("--section", "sections", type=options.TEXT, multiple=True, help="graphite: only these sections.")
@click.option("--step", type=options.TEXT, help="rrdtool: step of lists of RRA:..., such as 300 or 5m.")
@click.option("--table-name", type=options.TEXT, help="Name of the table, if there is only one section or RRD.")
@click.option("--table-schema", type=options.TEXT, help="Schema of all tables.")
@click.option("--round", "rounding", is_flag=True, help="Round unsupported intervals down to supported ones.")
def translate(file: str, tool: str, aggregation: str | None, step: str | None, **wanted: Any) -> None:
    """
    Convert the configuration of another tool to a policy file for `apply`, without a database. FILE may be - for stdin.
    Rules that cannot be converted exactly cause a warning, and a comment in the file. Review it before you apply it.

    \b
    Examples:
      cratedb-retention translate --from=graphite storage-schemas.conf > policies.yaml
      cratedb-retention translate --from=graphite storage-schemas.conf --aggregation=storage-aggregation.conf
      rrdtool info power.rrd | cratedb-retention translate --from=rrdtool - --table-name=power
    """
    from cratedb_retention.model.translation import Wanted, write_policies
    from cratedb_retention.model.translation.graphite import translate_graphite
    from cratedb_retention.model.translation.rrdtool import translate_rrdtool

    unsupported = (
        {"--step": step} if tool == "graphite" else {"--aggregation": aggregation, "--section": wanted["sections"]}
    )
    for option in (option for option, value in unsupported.items() if value):
        raise InvalidInput(option, f"not supported for {tool}", "omit it")
    if tool == "graphite":
        rules = _read(aggregation) if aggregation else None
        found = translate_graphite(_read(file), rules, Wanted(**wanted), (_name(file), _name(aggregation or "")))
    else:
        found = translate_rrdtool(_read(file), Wanted(**wanted), _name(file), step)
    for warning in found.all_warnings:
        click.echo(visible(f"Warning: {warning}"), err=True)
    click.echo(write_policies(found, f"Translated by cratedb-retention from {_name(file)} of {tool}."), nl=False)


def _name(file: str) -> str:
    return "input" if file == "-" else file


def _read(file: str) -> str:
    """A file's text, or that of the standard input; raises InvalidInput if it can't be read."""
    try:
        with click.open_file(file, encoding="utf-8") as stream:
            return str(stream.read())
    except UnicodeDecodeError as error:
        remedy = "give the output of `rrdtool info FILE`, not the RRD itself" if file.endswith(".rrd") else ""
        raise InvalidInput(_name(file), f"not UTF-8 text ({error.reason})", remedy) from None
    except OSError as error:
        raise InvalidInput(_name(file), f"can't be read ({error.strerror})") from None
