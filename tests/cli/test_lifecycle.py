"""``lifecycle``: how data ages by the stored policies, or by those of a file."""

from __future__ import annotations

from pathlib import Path

from support.command import Command

FILE = """\
policies:
- {strategy: compact, table_name: metrics, retention_period: 30d}
- {strategy: snapshot, table_name: metrics, retention_period: 1y, target_repository_name: vault, archive_period: 7y}
- {strategy: downsample, table_name: metrics, retention_period: 1y, levels: "1h:2y,1d:forever"}
- {strategy: delete, table_name: events, retention_period: 7d, where: {tenant: acme}}
"""
LINE = "hot until 30d -> warm (merge) until 1y -> cold (vault) until 7y -> gone; rollups: 1h until 2y, 1d forever"


def test_stored_policies(command: Command) -> None:
    """Each table and filter has a line; without policies, nothing is shown."""
    assert command.ok("lifecycle") == "no enabled policy\n"
    command.ok("create-policy", "--strategy=delete", "--table-name=metrics", "--retention-period=90d", "--id=del")
    many = ("--table-name=m*", "--target-repository-name=vault", "--where=tenant=acme")
    command.ok(
        "create-policy", "--strategy=snapshot", "--retention-period=30d", "--archive-period=7y", "--id=arch", *many
    )
    rows = [" ".join(row.split()) for row in command.ok("lifecycle").splitlines()]
    assert [row for row in rows if row.startswith("main.")] == [
        "main.m* tenant=acme hot until 30d -> cold (vault) until 7y -> gone",
        "main.metrics hot until 90d -> gone",
        "main.metrics tenant=acme hot until 30d -> cold (vault) until 7y -> gone",
    ]
    [found] = command.data("lifecycle", "--table-name=mem", "--table-schema=main")
    assert {key: found[key] for key in ("table", "where", "line", "rollups")} == {
        "table": "main.mem",
        "where": {"tenant": "acme"},
        "line": "hot until 30d -> cold (vault) until 7y -> gone",
        "rollups": [],
    }
    assert found["stages"] == [
        {"temperature": "hot", "since": "0d", "until": "30d", "budget": None, "how": None, "policy_ids": []},
        {"temperature": "cold", "since": "30d", "until": "7y", "budget": None, "how": "vault", "policy_ids": ["arch"]},
        {"temperature": "gone", "since": "7y", "until": "forever", "budget": None, "how": None, "policy_ids": ["arch"]},
    ]
    assert command.ok("lifecycle", "--table-name=x") == "no enabled policy applies to x\n"
    assert command.data("lifecycle", "--table-name=mem", "--table-schema=other") == []
    assert "requires --table-name" in command.refused(2, "lifecycle", "--table-schema=main")


def test_policy_file(tmp_path: Path) -> None:
    """A policy file is shown without a database, before it is applied; a mistake in it names its line."""
    path, nowhere = tmp_path / "policies.yaml", Command(None)
    path.write_text(FILE)
    rows = [" ".join(row.split()) for row in nowhere.ok("lifecycle", "-f", str(path)).splitlines()]
    assert f"metrics {LINE}" in rows
    assert "events tenant=acme hot until 7d -> gone" in rows
    [found] = nowhere.data("lifecycle", f"--file={path}", "--table-name=metrics")
    assert (found["table"], found["line"]) == ("metrics", LINE)
    assert found["rollups"] == [{"interval": "1h", "until": "2y"}, {"interval": "1d", "until": "forever"}]
    path.write_text(FILE.replace("7d", "soon"))
    assert "line 5" in nowhere.refused(2, "lifecycle", "-f", str(path))
    assert "CRATEDB_URI" in nowhere.refused(2, "lifecycle")


def test_on_cratedb(crate: Command, crate_schema: str) -> None:
    """All stages, by policies that only CrateDB supports."""
    table = (f"--table-schema={crate_schema}", "--table-name=metrics")
    nodes = ("--reallocation-attribute-name=storage", "--reallocation-attribute-value=cold")
    crate.ok("create-policy", "--strategy=reallocate", *table, "--retention-period=30d", *nodes)
    crate.ok("create-policy", "--strategy=compact", *table, "--retention-period=90d", "--compress")
    crate.ok("create-policy", "--strategy=delete", *table, "--retention-period=1y")
    [found] = crate.data("lifecycle")
    assert (found["table"], found["line"]) == (
        f"{crate_schema}.metrics",
        "hot until 30d -> warm (storage=cold) until 90d -> warm (compress, merge) until 1y -> gone",
    )
    assert crate.data("lifecycle", *table) == [found]
