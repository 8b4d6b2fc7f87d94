"""The way that everybody goes, on both databases: from ``setup`` to ``release``."""

from __future__ import annotations

from pathlib import Path

from support.command import Command
from support.cratedb import CrateDB

CUTOFF = "--cutoff-day=2024-07-01"


def test_duckdb(command: Command, tmp_path: Path) -> None:
    """On DuckDB each step of the way shows what the next one relies on."""
    _walk(command, "main", str(tmp_path / "archive"))


def test_cratedb(crate: Command, cratedb: CrateDB, crate_schema: str, crate_repository: str) -> None:
    """On CrateDB the same commands do the same, and the server agrees on what is left."""
    _walk(crate, crate_schema, crate_repository)
    assert cratedb.value(f'SELECT count(*) FROM "{crate_schema}"."metrics"') == 120 + 31


def _walk(command: Command, schema: str, repository: str) -> None:
    own = command.schema or "ext"
    assert command.ok("setup") == f"schema {own} is up to date\n"
    table = ("--table-schema", schema, "--table-name", "metrics", "--partition-column=month")
    created = command.ok(
        "create-policy", "--strategy=SNAPSHOT", *table, "--retention-period=100",
        f"--target-repository-name={repository}", "--tags=acme,metrics",
    )  # fmt: skip
    assert created.startswith("created policy ")
    assert created.endswith(f": snapshot {schema}.metrics after 100d\n")
    (policy,) = command.data("list")
    assert policy["tags"] == ["acme", "metrics"]
    assert policy["partition_column"] == "month"
    assert command.ok("check").startswith("1 policy checked, no findings\n")
    planned = command.data("plan", CUTOFF)
    assert [task["rows"] for task in planned["tasks"]] == [31, 29]
    dry = command.ok("run", "--dry-run", CUTOFF)
    assert "month=2024-01-01" in dry
    assert "month=2024-03-01" not in dry
    ran = command.ok("run", CUTOFF)
    assert "on 2 partitions and 60 rows" in ran.splitlines()[-1]
    assert command.data("plan", CUTOFF)["tasks"] == []
    jobs = command.data("jobs", "--outcome=done")
    assert jobs[0]["event"] == "run-finished"
    (line,) = command.data("status")["policies"]
    assert line["table"] == f"{schema}.metrics"
    assert line["rows"] == 120
    snapshots = command.data("list-snapshots")
    assert [snapshot["rows"] for snapshot in snapshots] == [31, 29]
    verified = command.ok("verify-snapshots")
    assert verified.count("verified: ") == 2
    restored = command.ok("restore", "--table-name=metrics", "--from=2024-01-01", "--to=2024-02-01")
    assert "31 rows" in restored
    _release(command, restored)


def _release(command: Command, restored: str) -> None:
    """What was restored is on hold; the hold that `restore` names is the one that `release` ends."""
    plan = command.data("plan", CUTOFF)
    assert plan["tasks"] == []
    assert [hold["partitions"] for hold in plan["blocked"]] == [["month=2024-01-01"]]
    name = restored.rpartition("`cratedb-retention release ")[2].rstrip("`\n")
    assert command.ok("release", name).startswith(f"released hold {name}")
    assert command.ok("list-holds") == "no legal holds are in force\n"
    assert len(command.data("plan", CUTOFF)["tasks"]) == 1
