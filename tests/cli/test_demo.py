"""``demo``: the toolkit's main job from start to end on real data."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.command import Command, Outcome
from support.cratedb import CrateDB
from support.markdown import ROOT, run_script, script

DEMO_FILE = "duckdb:///cratedb-retention-demo/demo.duckdb"
LEFT = "362,891 rows before, 265,394 removed, 97,497 left: it adds up"


def _right(outcome: Outcome) -> None:
    assert (outcome.code, outcome.err) == (0, "")
    assert LEFT in outcome.out
    assert "NOT" not in outcome.out
    assert "restored 2,010 rows from " in outcome.out
    assert "364 days represent 26,115 hourly rows" in outcome.out
    assert "12 months represent 26,115 hourly rows" in outcome.out
    assert "Each resolution represents the same rows: it adds up" in outcome.out


@pytest.mark.long("make test runs it once from the wheel, and once as the first command of the README")
def test_without_a_server_twice(tmp_path: Path) -> None:
    """In an empty folder the demonstration ends well, and once more in the same folder."""
    nowhere = Command(None)
    _right(nowhere.process("demo", cwd=tmp_path))
    assert (tmp_path / "cratedb-retention-demo" / "demo.duckdb").exists()
    again = nowhere.process("demo", cwd=tmp_path)
    _right(again)
    _shown_commands_work(again.out, tmp_path)


def _shown_commands_work(out: str, folder: Path) -> None:
    """Who goes on with the last command that was shown sees what happened."""
    uri, schema = f"duckdb:///{folder / 'cratedb-retention-demo' / 'demo.duckdb'}", "retention_demo_ext"
    assert f"CRATEDB_EXT_SCHEMA={schema}" in out
    assert out.rstrip().endswith("$ cratedb-retention jobs")
    assert len(Command(uri, schema).data("list")) == 3
    assert Command(uri, schema).data("jobs")


@pytest.mark.slow("it loads a year of flights into CrateDB, and archives them")
@pytest.mark.long("make test does it in a file, and what the tutorial does on CrateDB")
@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.timeout(600)
def test_on_cratedb(cratedb: CrateDB, tmp_path: Path, twice: bool) -> None:
    """
    On a server the demonstration has a schema of its own, and can be repeated: the commands of the README, which begin
    with it, work there with the server's address in place of the file's.
    """
    commands = script((ROOT / "README.md").read_text(encoding="utf-8"))
    assert f"cratedb-retention demo\nexport CRATEDB_URI={DEMO_FILE}\n" in commands
    try:
        if twice:
            _right(Command(cratedb.uri)("demo"))
        result = run_script(commands.replace(DEMO_FILE, cratedb.uri), tmp_path, CRATEDB_URI=cratedb.uri)
        assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-3000:]
        assert LEFT in result.stdout
    finally:
        cratedb.drop_schemas("retention_demo", "retention_demo_ext")
        cratedb.sql("DROP REPOSITORY retention_demo")
