"""What small commands import: scripts and timers start them often, and most of what that costs are imports."""

from __future__ import annotations

import subprocess
import sys

import pytest

from support.command import Command

SMALL = (["list-policies"], ["plan"], ["run", "--due"])
# Of each engine the driver of the other one, and libraries that take more time than everything else.
FOREIGN = {
    "duckdb": ("crate", "sqlalchemy_cratedb", "sqlalchemy.dialects.postgresql", "sqlalchemy.orm", "urllib3"),
    "crate": ("duckdb",),
}
UNUSED = ("pandas", "numpy", "pyarrow", "yaml", "apscheduler", "fastapi")
LOADED = """
import sys
from cratedb_retention.cli.main import main
for command in {commands!r}:
    sys.argv = ["cratedb-retention", *command]
    try:
        main()
    except SystemExit as end:
        assert end.code == 0, (command, end.code)
print("loaded:", *(name for name in {names!r} if sys.modules.get(name)))
"""


def loaded(command: Command, *names: str) -> str:
    """Which of these modules the small commands load, all in one process."""
    program = LOADED.format(commands=SMALL, names=names)
    done = subprocess.run(
        [sys.executable, "-c", program], env=command.environment, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()[-1].removeprefix("loaded:").strip()


def _create(command: Command, *more: str) -> None:
    rule = ("--strategy=delete", "--table-name=metrics", "--retention-period=forever", "--schedule=@daily")
    command.ok("create", *rule, *more)


def test_small_commands_on_duckdb(command: Command) -> None:
    """Commands that find nothing to do load nothing of CrateDB, and not pandas, which DuckDB would import."""
    _create(command)
    assert loaded(command, *FOREIGN["duckdb"], *UNUSED) == ""


def test_small_commands_on_cratedb(crate: Command, crate_schema: str) -> None:
    """Commands that find nothing to do load nothing of DuckDB."""
    _create(crate, f"--table-schema={crate_schema}")
    assert loaded(crate, *FOREIGN["crate"], *UNUSED) == ""


def test_policies_are_read_once(command: Command, caplog: pytest.LogCaptureFixture) -> None:
    """`list-policies` reads the policies with one statement, also those that are not valid."""
    _create(command)
    caplog.clear()
    command("--verbose", "list-policies")
    sent = [record.getMessage() for record in caplog.records if record.name == "cratedb_retention.sql"]
    assert len([text for text in sent if "retention_policy" in text]) == 1, sent


def test_tables_of_arrow_need_no_pandas() -> None:
    """What `fetch` writes does not depend on pandas, which is there and is not loaded."""
    pytest.importorskip("pyarrow")
    program = (
        "import sys\nfrom cratedb_retention.cli.main import main\nsys.argv = ['cratedb-retention', '--version']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "import pyarrow\nprint(pyarrow.array([1, None]).to_pylist(), 'pandas' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout.splitlines()[-1], done.stderr) == ("[1, None] False", "")


def test_duckdb_looks_for_pandas_once(duckdb_uri: str) -> None:
    """Where there is no pandas, DuckDB does not look for it again for each value of a statement."""
    program = f"""
import sys
from cratedb_retention import Retention
looked = []

class NotThere:
    def find_spec(self, name, path, target=None):
        if name == "pandas":
            looked.append(name)
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NotThere())
with Retention({duckdb_uri!r}, create=True) as retention:
    before = len(looked)
    retention.setup()
    retention.policies.create(strategy="delete", table_name="metrics", retention_period="1y", id="p")
    print(len(looked) - before, "pandas" in sys.modules, retention.policies.get("p").policy.table_name)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("0 False metrics\n", "")
