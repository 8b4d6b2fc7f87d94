"""
The commands of the documentation are run, as a reader would: the blocks after ``<!-- test -->``, in their order, in an
empty directory.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.cratedb import CrateDB
from support.markdown import ROOT, blocks, script
from support.sql import SqlError

DEMO_FILE = "duckdb:///cratedb-retention-demo/demo.duckdb"


def read(name: str) -> str:
    """A page's text."""
    return (ROOT / name).read_text(encoding="utf-8")


def run_script(text: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a script until a command fails."""
    own = {key: value for key, value in os.environ.items() if not key.startswith("CRATEDB_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-x", "-c", text],
        cwd=folder,
        env={**own, "PATH": path, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "docs/holds-and-archive.md",
        "docs/duckdb.md",
        "docs/migrate-from-rrdtool-and-graphite.md",
        "docs/multi-tenancy.md",
    ],
)
def test_commands_work(page: str, tmp_path: Path) -> None:
    """A reader who follows the page meets no error."""
    result = run_script(script(read(page)), tmp_path)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-3000:]


def test_a_command_that_fails_is_noticed(tmp_path: Path) -> None:
    """The test above would not pass if a block in the middle failed."""
    text = "<!-- test -->\n```shell\ntrue\nfalse\n```\n\n<!-- test -->\n```python\nprint(1)\n```\n"
    result = run_script(script(text), tmp_path)
    assert result.returncode == 1
    assert result.stdout == ""


@pytest.mark.slow
def test_commands_work_on_cratedb(cratedb: CrateDB, tmp_path: Path) -> None:
    """The same commands work on CrateDB, with its address in place of the file's."""
    text = script(read("README.md"))
    assert f"export CRATEDB_URI={DEMO_FILE}" in text
    try:
        result = run_script(text.replace(DEMO_FILE, cratedb.uri), tmp_path, CRATEDB_URI=cratedb.uri)
        assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-3000:]
    finally:
        cratedb.drop_schemas("retention_demo", "retention_demo_ext")
        drop_repository(cratedb, "retention_demo")


def drop_repository(cratedb: CrateDB, name: str) -> None:
    """Drop a repository, if there is one."""
    try:
        cratedb.sql(f'DROP REPOSITORY "{name}"')
    except SqlError as error:
        assert "RepositoryMissing" in str(error)


def test_the_first_commands_are_the_demo() -> None:
    """The first thing that a reader is told to do needs nothing but a copy of the project."""
    shell = [block.text for block in blocks(read("README.md")) if block.language == "shell"]
    assert shell[0] == "make demo\n"
    assert "cratedb-retention demo\n" in shell[1]


def test_the_test_command_is_in_the_section_on_tests() -> None:
    """The README says how to run the tests."""
    section = read("README.md").partition("\n## Tests\n")[2].partition("\n## ")[0]
    assert "```shell\nmake test\n```" in section
    assert "CRATEDB_HOME" in section
    assert "CRATEDB_URI" in section
