"""
Archive old partitions, verify the snapshots, restore some of them, and release the hold that protects these.

    python examples/archive_and_restore.py [crate://localhost:4200/]

On CrateDB, ``path.repo`` must be set, since the example creates a repository of type ``fs``.
"""

from __future__ import annotations

import sample
from cratedb_retention import RestoreRequest, TableName


def main() -> None:
    """Keep half a year in the table, and the rest in an archive."""
    with sample.open_retention() as retention:
        sample.create_table(retention, "readings")
        retention.policies.create(
            strategy="snapshot",
            table_schema=sample.SCHEMA,
            table_name="readings",
            retention_period="6 months",
            target_repository_name=sample.create_repository(retention),
            tags=[sample.TAG],
        )
        report = retention.run(cutoff=sample.NEW_YEAR)
        print(f"archived: {report.partitions} partitions, {report.rows:,} rows; all went well: {report.ok}")
        print(f"left: {sample.count(retention, 'readings'):,} rows")

        mine = RestoreRequest(table_schema=sample.SCHEMA, table_name="readings")
        snapshots = [record.archived for record in retention.archive.snapshots(mine)]
        for verified in retention.archive.verify(RestoreRequest(name=snapshots[0].name)):
            print("verified:", verified.record.archived.name, verified.error or verified.found)

        # Into its own table; a hold keeps the next run from archiving it again.
        for restored in retention.archive.restore(RestoreRequest(name=snapshots[0].name)):
            print("restored:", restored.error or f"{restored.rows:,} rows into {restored.into}")
        for action in retention.plan(cutoff=sample.NEW_YEAR).blocked:
            print("blocked:", action.reason)
        for placed in retention.holds():
            retention.holds.release(placed.id)
            print("released:", placed.id)

        # Into another table.
        sample.execute(retention, f"DROP TABLE IF EXISTS {sample.SCHEMA}.readings_restored")
        beside = TableName(sample.SCHEMA, "readings_restored")
        for restored in retention.archive.restore(RestoreRequest(name=snapshots[1].name, into=beside)):
            print("restored:", restored.error or f"{restored.rows:,} rows into {restored.into}")


if __name__ == "__main__":
    main()
