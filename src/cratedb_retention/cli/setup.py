"""``setup``: create or upgrade the toolkit's tables."""

from __future__ import annotations

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.output import say


@click.command("setup")
@options.database
@click.option("--no-journal-policy", is_flag=True, help="Leave out the policy for the audit log.")
@click.option("--dry-run", is_flag=True, help="Only show what would be done, with its statements.")
def command(dburi: str | None, schema: str, no_journal_policy: bool, dry_run: bool) -> None:
    """
    Create or upgrade the toolkit's tables. Can be repeated.

    At first it also creates a policy that keeps the audit log for a year; change it or delete it as you like.

    A retention_policy table of cratedb-toolkit is taken over with all its policies, and it is said what becomes of
    each; the old table stays beside it.

    \b
    Examples:
      cratedb-retention setup --dry-run crate://localhost:4200/
      cratedb-retention setup crate://localhost:4200/
      cratedb-retention setup --schema=retention duckdb:///metrics.duckdb
    """
    with options.open_retention(dburi, schema, create=True, read_only=dry_run) as retention:
        if dry_run:
            done, statements = retention.rehearse_setup(journal_policy=not no_journal_policy)
            what = "setup would create or upgrade the tables" if done else "setup would change nothing"
            there = "answers" if retention.exists else "does not exist, and would be created"
            say(f"{retention.address.safe} {there}; {what} in schema {schema}")
            for line in (*done, *(f"{statement};" for statement in statements)):
                say(f"dry run: {line}")
            return
        done = retention.setup(journal_policy=not no_journal_policy)
        for line in done or [f"schema {schema} is up to date"]:
            say(line)
