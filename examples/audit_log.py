"""
Read the audit log: who changed a policy, what a run did, and why data is still there.

    python examples/audit_log.py [crate://localhost:4200/]
"""

from __future__ import annotations

import datetime as dt

import sample
from cratedb_retention import JournalFilter


def main() -> None:
    """Change a policy, place a hold, run, and read the audit log about it."""
    with sample.open_retention() as retention:
        sample.create_table(retention, "alarms")
        policy = retention.policies.create(
            strategy="delete",
            table_schema=sample.SCHEMA,
            table_name="alarms",
            retention_period="1y",
            tags=[sample.TAG],
        )
        retention.policies.edit(policy.id or "", {"retention_period": "6 months"})
        retention.holds.place(
            "alarms",
            sample.SCHEMA,
            where={"tenant": "acme"},
            start=dt.datetime(2024, 2, 1, tzinfo=dt.UTC),
            end=dt.datetime(2024, 4, 1, tzinfo=dt.UTC),
            reason="case 4711",
        )
        report = retention.run(cutoff=sample.NEW_YEAR)

        print("the policy:")
        for row in reversed(retention.audit.read(JournalFilter(policy_id=policy.id))):
            if row["event"].startswith("policy-"):
                print(f"  {row['event']} by {row['actor']}: {row['before']} -> {row['after']}")
        print("the run:")
        for row in reversed(retention.audit.read(JournalFilter(run_id=report.run_id))):
            print(f"  {row['event']} {row['outcome'] or ''}: {row['message']} {row['error'] or ''}".rstrip())
        print(f"left: {sample.count(retention, 'alarms'):,} rows")


if __name__ == "__main__":
    main()
