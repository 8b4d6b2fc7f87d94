"""
Keep policies in a file under version control: preview the changes, apply them, and run those of one tenant.

    python examples/policies_as_code.py [crate://localhost:4200/]
"""

from __future__ import annotations

from pathlib import Path

import sample
from cratedb_retention import Policy, Retention, Selection, dump_policies, parse_policies, parse_tag_filter

FILE = Path(__file__).with_name("policies.yaml")


def read_file(retention: Retention) -> list[Policy]:
    """The policies of the file, with a repository that this database supports."""
    place = sample.create_repository(retention)
    text = FILE.read_text(encoding="utf-8").replace(
        "target_repository_name: archive", f"target_repository_name: {place}"
    )
    return parse_policies(text, FILE.name)


def main() -> None:
    """Two tenants of one table, each with its own retention period."""
    with sample.open_retention() as retention:
        sample.create_table(retention, "events")
        wanted = read_file(retention)
        for change in retention.policies.apply(wanted, prune=True, tags=parse_tag_filter([sample.TAG]), dry_run=True):
            print("would", change.action, change.policy.target)
        for change in retention.policies.apply(wanted, prune=True, tags=parse_tag_filter([sample.TAG])):
            print(change.action, change.policy.target)
        for finding in retention.check():
            print("finding:", finding.table, finding.message)

        acme = Selection(tags=parse_tag_filter(["acme"]))
        report = retention.run(cutoff=sample.NEW_YEAR, selection=acme)
        print(f"acme: {report.partitions} partitions, {report.rows:,} rows; all went well: {report.ok}")
        # The first run left them out, although it could have included them, which is unusual.
        report = retention.run(cutoff=sample.NEW_YEAR, selection=Selection(accepted=True))
        print(f"all others: {report.partitions} partitions, {report.rows:,} rows; all went well: {report.ok}")
        print(f"left: {sample.count(retention, 'events'):,} rows")

        # The opposite direction: write the stored policies as a file.
        print(dump_policies(stored.policy for stored in retention.policies()))


if __name__ == "__main__":
    main()
