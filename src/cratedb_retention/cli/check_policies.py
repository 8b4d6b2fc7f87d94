"""``check-policies``: mistakes and contradictions, before they matter."""

from __future__ import annotations

import sys

import click

from cratedb_retention.cli import options
from cratedb_retention.cli.cascadeview import write_cascades
from cratedb_retention.cli.output import say, write_data, write_table
from cratedb_retention.errors import EXIT_FINDINGS
from cratedb_retention.model.words import short


@click.command("check-policies")
@options.database
@options.selection
@options.output_format
def command(dburi: str | None, schema: str, chosen: options.Chosen, form: str) -> None:
    """
    Look for policies that can't do what they say (no such table, column, repository or node; missing shards), and
    for policies that contradict each other. Ends with 3 if there is anything.

    \b
    Examples:
      cratedb-retention check-policies crate://localhost:4200/
    """
    with options.open_retention(dburi, schema, read_only=True) as retention:
        wanted = chosen.read(retention)
        findings = retention.check(wanted)
        count = len(retention.policies(wanted))
        cascades = retention.rollups.planned(wanted) if form == "table" else []
    write_cascades(cascades)
    if form != "table":
        write_data(
            [
                {"table": str(f.table), "policies": f.policies, "message": str(f.why), "code": f.why.code}
                for f in findings
            ],
            form,
        )
    elif findings:
        rows = [(str(f.table), ", ".join(short(p) for p in f.policies), str(f.why)) for f in findings]
        write_table(("table", "policies", "finding"), rows)
    else:
        say(f"{count:,} {'policy' if count == 1 else 'policies'}, nothing to complain about")
    if findings:
        sys.exit(EXIT_FINDINGS)
