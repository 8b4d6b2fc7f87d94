"""``config``: the settings, and where each comes from."""

from __future__ import annotations

import os

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.output import say, write_data, write_table


@click.command("config")
@options.database
@options.output_format
@click.pass_context
def command(ctx: click.Context, dburi: str | None, schema: str, form: str) -> None:
    """
    Show all settings, with the value of each and where it comes from: an option beats the environment, which beats the
    file, which beats the default. Secrets are masked.

    \b
    Examples:
      cratedb-retention config
      cratedb-retention --config=retention.toml config --format=json
    """
    from click.core import ParameterSource

    from cratedb_retention.service.settings import load, shown_settings, variable

    said = {"database.uri": dburi, "database.schema": schema}
    own = {"database.uri": "dburi", "database.schema": "schema"}
    given = {n: v for n, v in said.items() if ctx.get_parameter_source(own[n]) is ParameterSource.COMMANDLINE}
    top = ctx.find_root().params
    given |= {"log.level": top["log_level"], "log.format": top["log_format"]}
    loaded = load(os.environ, top["config"], given)
    rows = [
        {"name": name, "value": value, "source": loaded.sources.get(name, "default"), "variable": variable(name)}
        for name, value in shown_settings(loaded.settings)
    ]
    if form != "table":
        write_data({"file": str(loaded.file) if loaded.file else None, "settings": rows}, form)
        return
    say(f"file: {loaded.file}" if loaded.file else "no configuration file")
    write_table(("setting", "value", "from"), [(row["name"], _text(row["value"]), row["source"]) for row in rows])


def _text(value: object) -> object:
    return " ".join(map(str, value)) if isinstance(value, list) else value
