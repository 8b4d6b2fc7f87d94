"""
The commands of the documentation are run, as a reader would: of each page the blocks after ``<!-- test -->``, in their
order, in an empty directory. Blocks after ``<!-- test: duckdb -->`` or ``<!-- test: cratedb -->`` are for one database;
a page with such a block for CrateDB is run there as well.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from cratedb_retention import Retention
from cratedb_retention.api import Former
from cratedb_retention.cli.main import COMMANDS
from support.cratedb import CrateDB
from support.databases import Database
from support.markdown import PAGES, ROOT, SHELLS, blocks, calls, commands, links, run_script, script
from support.sql import SqlError, quoted

PACKAGE = ROOT / "src" / "cratedb_retention"
SERVER = "crate://localhost:4200/"
# What the others do on CrateDB is what it does itself, or is tested elsewhere.
ON_CRATEDB = {"docs/tutorial.md"}
# Packages of extras that a page needs, and that may not be installed.
NEEDS = {"docs/how-to/iceberg.md": "pyiceberg"}
OTHERS = pytest.mark.long("make test follows the tutorial on CrateDB")
# Long pages, whose commands tests of their own have as well.
_AT_NIGHT = ("cascades", "iceberg", "legal-hold", "multi-tenancy", "read-archives", "restore")
AT_NIGHT = {f"docs/how-to/{name}.md" for name in _AT_NIGHT}
NIGHTLY = pytest.mark.long("make test follows the tutorial, the README and most other pages")
NAMES = {str(page.relative_to(ROOT)): [block for block in blocks(page.read_text()) if block.tested] for page in PAGES}


# What must be so where a reader arrives who followed a page, as a script for a shell.
AFTER = {
    "README.md": """
cratedb-retention check-policies
cratedb-retention plan --check --cutoff-day=2014-01-01
python - <<'END'
import duckdb
with duckdb.connect("cratedb-retention-demo/demo.duckdb") as db:
    oldest = db.execute("SELECT strftime(min(month), '%Y-%m') FROM retention_demo.flights").fetchone()
    assert oldest == ("2013-10",), oldest  # the demo's own policy keeps 90 days, as of 2014
END
""",
    "docs/how-to/legal-hold.md": """
cratedb-retention list-holds --format=json | python -c '
import json, sys
reasons = sorted(hold["reason"] for hold in json.load(sys.stdin))
assert "case 4712" in reasons and "case 4711" not in reasons and len(reasons) == 2, reasons'
""",
}


def read(name: str) -> str:
    """A page's text."""
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(name, marks=NIGHTLY if name in AT_NIGHT else ())
        for name, found in NAMES.items()
        if any(block.only != "cratedb" for block in found)
    ],
)
def test_commands_work(page: str, tmp_path: Path) -> None:
    """A reader who follows the page meets no error."""
    if page in NEEDS:
        pytest.importorskip(NEEDS[page], reason=f"{NEEDS[page]} is not installed; see requirements.lock")
    result = run_script(script(read(page)) + AFTER.get(page, ""), tmp_path)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-3000:]


@pytest.mark.parametrize("page", NAMES)
def test_what_is_not_run_says_why(page: str) -> None:
    """A page whose commands are run has none that a reader would type and that nobody tried, without a reason."""
    found = blocks(read(page))
    silent = [b.text for b in found if b.language in SHELLS and list(calls(b.text)) and not (b.tested or b.why)]
    assert not silent or not any(block.tested for block in found), silent


@pytest.mark.parametrize("page", NAMES)
def test_no_row_says_the_same_twice(page: str) -> None:
    """A line of a table leads to each page once."""
    rows = [links(line) for line in read(page).splitlines() if line.startswith("|")]
    assert [row for row in rows if len(set(row)) < len(row)] == []


# The commands that do nothing to policies or data, or whose work is a function beside the class.
NO_METHOD = {"config", "demo", "export", "serve", "status", "translate"}
METHODS = {
    "accept-table": "rollups.accept_tables",
    "adopt-snapshots": "archive.adopt",
    "apply": "policies.apply",
    "cancel": "runs.cancel",
    "check-policies": "check",
    "create-policy": "policies.create",
    "create-token": "access.create",
    "delete-snapshots": "archive.delete",
    "delete-policy": "policies.delete",
    "diff": "compare",
    "edit-policy": "policies.edit",
    "fetch": "rollups.fetch",
    "forecast": "forecast",
    "hold": "holds.place",
    "jobs": "audit.read",
    "lifecycle": "policies.lifecycles",
    "list-holds": "holds.__call__",
    "list-policies": "policies.__call__",
    "list-snapshots": "archive.snapshots",
    "list-tags": "policies.tags",
    "list-tokens": "access.tokens",
    "plan": "plan",
    "query": "archive.query",
    "release": "holds.release",
    "restore": "archive.restore",
    "revoke-token": "access.revoke",
    "run": "run",
    "setup": "setup",
    "suggest": "suggest",
    "sync-catalog": "archive.sync",
    "verify-rollups": "rollups.verify",
    "undo": "undo",
    "verify-snapshots": "archive.verify",
}


def test_the_library_does_what_commands_do() -> None:
    """What the page says of commands and methods of the library is so."""
    said = read("docs/reference/library.md").partition("These commands\nhave no method:")[2].partition(".\n")[0]
    assert set(re.findall(r"`([a-z-]+)`", said)) == NO_METHOD
    assert set(METHODS) == set(COMMANDS) - NO_METHOD
    for path in METHODS.values():
        part, _, name = path.rpartition(".")
        kind = vars(Retention)[part].kind if part else Retention
        assert inspect.isfunction(vars(kind).get(name)), path


def test_former_names_still_work(duck: Database) -> None:
    """What version 0.1 called a method of the class is one of a part, and can be called so for one more version."""
    former = [name for name, value in vars(Retention).items() if isinstance(value, Former)]
    assert len(former) > 30
    assert [name for name in former if not callable(getattr(duck.tool, name))] == []
    assert duck.tool.tags() == duck.tool.policies.tags()


def test_a_command_that_fails_is_noticed(tmp_path: Path) -> None:
    """The test above would not pass if a block in the middle failed."""
    text = "<!-- test -->\n```shell\ntrue\nfalse\n```\n\n<!-- test -->\n```python\nprint(1)\n```\n"
    result = run_script(script(text), tmp_path)
    assert result.returncode == 1
    assert result.stdout == ""


def test_blocks_for_one_database() -> None:
    """A block for one database is left out on the other; one that stands in a list is run as well."""
    text = "<!-- test: duckdb -->\n```shell\na\n```\n<!-- test: cratedb -->\n```sh\nb\n```\n"
    text += "- x\n\n  <!-- test -->\n  ```sh\n  c\n  ```\n"
    assert script(text) == "a\n\nc\n"
    assert script(text, "cratedb") == "b\n\nc\n"


@pytest.mark.slow("a page has up to thirty commands, each of which waits for CrateDB")
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(name, marks=() if name in ON_CRATEDB else OTHERS)
        for name, found in NAMES.items()
        if any(b.only == "cratedb" for b in found)
    ],
)
def test_commands_work_on_cratedb(page: str, cratedb: CrateDB, tmp_path: Path) -> None:
    """On CrateDB, too, a reader who follows the page meets no error."""
    text, schema = script(read(page), "cratedb"), f"{Path(page).stem.replace('-', '_')}_ext"
    assert SERVER in text
    try:
        result = run_script(text.replace(SERVER, cratedb.uri), tmp_path, CRATEDB_EXT_SCHEMA=schema)
        assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-3000:]
    finally:
        clean_up(cratedb, text, schema)


def clean_up(cratedb: CrateDB, text: str, schema: str) -> None:
    """Drop what a script created, with its rollups: tables in the schema ``doc``, and repositories."""
    cratedb.drop_schemas(schema)
    made = tuple(re.findall(r"CREATE TABLE (\w+) \(", text))
    found = cratedb.rows("SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = 'doc'")
    for name, kind in found:
        if str(name).startswith(made):
            cratedb.sql(f"DROP {'VIEW' if kind == 'VIEW' else 'TABLE'} IF EXISTS {quoted('doc', str(name))}")
    for repository in re.findall(r"CREATE REPOSITORY (\w+)", text):
        try:
            cratedb.sql(f'DROP REPOSITORY "{repository}"')
        except SqlError as error:  # The page got no further.
            assert "RepositoryMissing" in str(error)


def test_the_first_commands_are_the_demo() -> None:
    """The first thing that a reader is told to do needs nothing but a copy of the project."""
    first, *_ = (block.text for block in blocks(read("README.md")) if block.language == "shell")
    assert first.startswith("make demo\n")
    assert script(read("README.md")).startswith("cratedb-retention demo\n")


def test_the_test_command_is_in_the_section_on_tests() -> None:
    """The README says how to run the tests."""
    section = read("README.md").partition("\n## Tests\n")[2].partition("\n## ")[0]
    assert "```shell\nmake test\n```" in section
    assert "CRATEDB_HOME" in section
    assert "CRATEDB_URI" in section


def test_commands_in_a_page_are_found() -> None:
    """Commands are read with continued lines, and without comments and redirections."""
    text = "```shell\nmake demo\ncratedb-retention run \\\n  --tags='a b' # now\ncratedb-retention export > file\n```\n"
    assert list(commands(text)) == [["run", "--tags=a b"], ["export"]]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("pip install cratedb-retention", []),
        ("CRATEDB_URI=x cratedb-retention run --due >> log 2>&1", [["run", "--due"]]),
        ("sudo -u retention /opt/x/bin/cratedb-retention status", [["status"]]),
        (
            "X=$(cratedb-retention list-holds | jq '.[0]') && cratedb-retention release $X",
            [["list-holds"], ["release", "$X"]],
        ),
        ("if ! cratedb-retention check; then exit; fi", [["check"]]),
        ("for x in a b; do cratedb-retention plan --tags=$x; done", [["plan", "--tags=$x"]]),
        ("python - <<END\ncratedb-retention nothing\nEND\ncratedb-retention jobs", [["jobs"]]),
        ("cratedb-retention serve &", [["serve"]]),
    ],
)
def test_commands_among_others_are_found(line: str, found: list[list[str]]) -> None:
    """A call is found wherever a shell would see one, and nowhere else."""
    assert list(calls(line)) == found
