"""
Keep raw rows for two months, days for a year and months forever; then read all of them as one series.

    python examples/downsample.py [crate://localhost:4200/]
"""

from __future__ import annotations

import datetime as dt

import sample
from cratedb_retention import FetchRequest, parse_interval


def main() -> None:
    """Roll up a year."""
    with sample.open_retention() as retention:
        sample.create_table(retention, "sensors")
        retention.policies.create(
            strategy="downsample",
            table_schema=sample.SCHEMA,
            table_name="sensors",
            retention_period="2 months",
            levels="1d:1y,1mo:forever",
            tags=[sample.TAG],
        )
        report = retention.run(cutoff=sample.NEW_YEAR)
        print(f"done: {report.done} steps, {report.rows:,} raw rows expired; all went well: {report.ok}")
        for name in ("sensors", "sensors_1d", "sensors_1mo"):
            print(f"{name}: {sample.count(retention, name):,} rows")

        request = FetchRequest(
            table_name="sensors",
            table_schema=sample.SCHEMA,
            start=dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
            end=sample.NEW_YEAR,
            step=parse_interval("1mo"),
            metrics=("value:avg", "row_count"),
        )
        for row in retention.rollups.fetch(request).to_rows():
            print(row)
        print("differences between the levels:", retention.rollups.verify("sensors", sample.SCHEMA))


if __name__ == "__main__":
    main()
