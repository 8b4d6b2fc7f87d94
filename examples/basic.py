"""
Create a policy, show the plan, and run it.

    python examples/basic.py [crate://localhost:4200/]
"""

from __future__ import annotations

import sample


def main() -> None:
    """Keep the measurements of the last 90 days."""
    with sample.open_retention() as retention:
        sample.create_table(retention, "measurements")
        policy = retention.policies.create(
            strategy="delete",
            table_schema=sample.SCHEMA,
            table_name="measurements",
            retention_period="90d",
            tags=[sample.TAG],
        )
        print("policy:", policy.strategy, policy.target, "after", policy.retention_period)

        prepared = retention.prepare(cutoff=sample.NEW_YEAR)
        for task in prepared.plan.tasks:
            print(f"due: {task.partitions} partitions of {task.table}, {task.reason}")
        for kept in prepared.plan.up_to_date:
            print(f"kept: {kept.partitions} partitions of {kept.table}")

        report = retention.run(prepared)
        print(f"done: {report.partitions} partitions, {report.rows:,} rows; all went well: {report.ok}")
        print(f"left: {sample.count(retention, 'measurements'):,} rows")


if __name__ == "__main__":
    main()
