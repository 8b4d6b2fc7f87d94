"""
The examples run as they are, and print what they should, on both databases.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import cratedb_retention
from cratedb_retention import parse_policies
from support.cratedb import CrateDB
from support.forkserver import fork_server
from support.markdown import ROOT
from support.sql import SqlError
from support.tiers import examples

EXAMPLES = ROOT / "examples"
# What each one prints, among other things. 2024 has 8,784 hours, and there are two tenants.
EXPECTED = {
    "basic": ["due: 18 partitions", "done: 18 partitions, 13,152 rows; all went well: True", "left: 4,416 rows"],
    "archive_and_restore": [
        "archived: 12 partitions, 8,736 rows; all went well: True",
        "left: 8,832 rows",
        "verified: retention_example-readings-2024-01-01-acme-",
        "restored: 744 rows into retention_example.readings\n",
        "blocked: hold ",
        "restored: 744 rows into retention_example.readings_restored\n",
    ],
    "policies_as_code": [
        "would create retention_example.events where tenant=acme",
        "acme: 11 partitions, 8,040 rows; all went well: True",
        "all others: 6 partitions, 4,368 rows; all went well: True",
        "left: 5,160 rows",
        "policies:\n- strategy: delete\n",
    ],
    "downsample": [
        "14,640 raw rows expired; all went well: True",
        "sensors: 2,928 rows",
        "sensors_1d: 732 rows",
        "sensors_1mo: 24 rows",
        "'value_avg': 20.5, 'row_count': 1392, 'level': '1mo'",
        "differences between the levels: []",
    ],
    "audit_log": [
        "policy-created by",
        "policy-changed by",
        "(case 4711)",
        "step-finished done: drop",
        "left: 10,272 rows",
    ],
}
PROGRAMS = sorted(path for path in EXAMPLES.glob("*.py") if path.stem not in ("sample", "airflow_dag"))
NAMES = [path.stem for path in PROGRAMS]
each_example = pytest.mark.parametrize("name", NAMES)
# What the others do is tested on CrateDB elsewhere; that they are right, on DuckDB.
ON_CRATEDB = {"archive_and_restore", "policies_as_code"}
OTHERS = pytest.mark.long("make test has two examples there, and all on DuckDB")


def run_example(name: str, *arguments: str) -> str:
    """What an example prints."""
    own = {key: value for key, value in os.environ.items() if not key.startswith("CRATEDB_")}
    program = str(EXAMPLES / f"{name}.py")
    result = fork_server().run("python", program, *arguments, env={**own, "PYTHONWARNINGS": "error"})
    assert result.returncode == 0, result.stdout + result.stderr[-3000:]
    return result.stdout


@each_example
def test_example_on_duckdb(name: str) -> None:
    """Without an argument an example runs on a file that it makes itself."""
    output = run_example(name)
    assert [text for text in EXPECTED[name] if text not in output] == [], output


@pytest.fixture
def crate_uri(cratedb: CrateDB) -> Iterator[str]:
    """A CrateDB on which the traces of the examples are removed."""
    yield cratedb.uri
    cratedb.drop_schemas("retention_example", "retention_example_ext")
    try:
        cratedb.sql("DROP REPOSITORY retention_example")
    except SqlError as error:
        assert "RepositoryMissing" in str(error)


@pytest.mark.slow("examples archive and restore on CrateDB")
@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in ON_CRATEDB else OTHERS) for name in NAMES])
def test_example_on_cratedb(name: str, crate_uri: str) -> None:
    """The same example does the same on CrateDB, also when it is repeated (in the long tier)."""
    for _ in range(examples(1, long=2)):
        output = run_example(name, crate_uri)
        assert [text for text in EXPECTED[name] if text not in output] == [], output


def test_policy_file_is_valid() -> None:
    """The policy file of the examples can be read, and is about two tenants."""
    policies = parse_policies((EXAMPLES / "policies.yaml").read_text(encoding="utf-8"), "policies.yaml")
    assert {str(policy.where["tenant"]) for policy in policies} == {"acme", "globex"}


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_examples_are_small_and_use_public_names_only(path: Path) -> None:
    """An example has less than 80 lines, and imports of the package only what `__all__` promises."""
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 80
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cratedb_retention"):
            assert node.module == "cratedb_retention"
            assert {alias.name for alias in node.names} <= set(cratedb_retention.__all__)
