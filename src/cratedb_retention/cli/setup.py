"""``setup``: create or upgrade the toolkit's tables; ``config``: settings; ``demo``."""

from __future__ import annotations

import os

import click
from click.core import ParameterSource

from cratedb_retention.cli import options
from cratedb_retention.cli.output import say, write_data, write_table

_NEXT = (
    "next: `cratedb-retention suggest` writes a policy for each table; what policies with `recoverable` delete can be "
    "brought back by `undo`"
)


@click.command("setup")
@options.database
@click.option("--no-journal-policy", is_flag=True, help="Do not create the policy for the audit log.")
@click.option("--dry-run", is_flag=True, help="Only show what would be done, with the statements.")
def setup(database: options.Database, no_journal_policy: bool, dry_run: bool) -> None:
    """
    Create or upgrade the toolkit's tables. Can be repeated.

    The first setup also creates a policy that keeps the audit log for a year. Change or delete it as you like.

    If a retention_policy table of cratedb-toolkit exists, its policies are migrated, and the outcome of each is
    reported. The old table is preserved.

    \b
    Examples:
      cratedb-retention setup --dry-run crate://localhost:4200/
      cratedb-retention setup crate://localhost:4200/
      cratedb-retention setup --schema=retention duckdb:///metrics.duckdb
    """
    with database.open(create=True, read_only=dry_run) as retention:
        if dry_run:
            done, statements = retention.rehearse_setup(journal_policy=not no_journal_policy)
            what = "setup would create or upgrade the tables" if done else "setup would change nothing"
            there = "responds" if retention.exists else "does not exist, and would be created"
            say(f"{retention.address.safe} {there}; {what} in schema {database.schema}")
            for line in (*done, *(f"{statement};" for statement in statements)):
                say(f"dry run: {line}")
            return
        done = retention.setup(journal_policy=not no_journal_policy)
        for line in done or [f"schema {database.schema} is up to date"]:
            say(line)
        if f"created {database.schema}.retention_policy" in done:
            say(_NEXT)


@click.command("config")
@options.database
@options.output_format
@click.pass_context
def config(ctx: click.Context, database: options.Database, form: str) -> None:
    """
    Show all settings with their values and sources. An option takes precedence over the environment, the environment
    over the file, and the file over the default. Secrets are redacted.

    \b
    Examples:
      cratedb-retention config
      cratedb-retention --config=retention.toml config --format=json
    """
    from cratedb_retention.service.settings import load, shown_settings, variable

    said = {"database.uri": ("dburi", database.dburi), "database.schema": ("schema", database.schema)}
    written = ParameterSource.COMMANDLINE
    given = {name: value for name, (own, value) in said.items() if ctx.get_parameter_source(own) is written}
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


@click.command("demo")
@click.argument("dburi", envvar="CRATEDB_URI", required=False)
@click.option("--repository", help="CrateDB: an existing repository, if the server does not permit a new one.")
def demo(dburi: str | None, repository: str | None) -> None:
    """
    Try the toolkit on real data: 336,776 flights and 26,115 hours of weather of New York in 2013. The demo creates
    policies, shows a plan, runs it, verifies and restores archived partitions, and queries a year of weather by days
    and months. It uses a DuckDB file in the folder cratedb-retention-demo, or the schema retention_demo of the given
    CrateDB.

    \b
    Examples:
      cratedb-retention demo
      cratedb-retention demo crate://localhost:4200/
    """
    from cratedb_retention.cli.demo import show_demo

    show_demo(dburi, repository)
