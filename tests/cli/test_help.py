"""Help and version: complete, with examples, and quick."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cratedb_retention.cli.main import COMMANDS, cli
from cratedb_retention.model.policies.strategies import Strategy
from support.command import Command

NOWHERE = Command(None)
# What a command like --help must not load: it would take most of a second.
SLOW = ("sqlalchemy", "pydantic", "crate", "duckdb", "sqlalchemy_cratedb", "yaml", "rich")
LOADED = """
import sys
from cratedb_retention.cli.main import main
sys.argv = ["cratedb-retention", {argument!r}]
try:
    main()
except SystemExit as end:
    assert end.code == 0, end.code
print("loaded:", *(name for name in {slow!r} if name in sys.modules))
"""


@pytest.mark.parametrize(
    ("typed", "offered"), [("creat", "create-policy\nplain,create-token"), ("run --strat", "--strategy")]
)
def test_the_shell_can_complete(typed: str, offered: str) -> None:
    """Asked by a shell as completion scripts ask, the program offers commands, and options of a command."""
    words = ["cratedb-retention", *typed.split()]
    environment = {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)}
    outcome = NOWHERE.process(environment={**environment, "_CRATEDB_RETENTION_COMPLETE": "bash_complete"})
    assert (outcome.code, outcome.out, outcome.err) == (0, f"plain,{offered}\n", "")


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help_with_an_example(name: str) -> None:
    """The help of a command names it in full and shows at least one example that calls it."""
    out = NOWHERE.ok(name, "--help")
    assert out.startswith(f"Usage: cratedb-retention {name} ")
    _, _, examples = out.partition("Examples:\n")
    assert f"cratedb-retention {name}" in examples


@pytest.mark.parametrize(("name", "alias"), [(name, alias) for name in COMMANDS for alias in COMMANDS[name].aliases])
def test_an_alias_is_the_command(name: str, alias: str) -> None:
    """Each other name leads to the same command, and the help says the full name."""
    assert NOWHERE.ok(alias, "-h") == NOWHERE.ok(name, "--help")


@pytest.mark.parametrize("name", COMMANDS)
def test_each_summary_is_of_its_command(name: str) -> None:
    """The table from which the overview is made names modules that hold a command of that very name."""
    command = cli.get_command(None, name)  # type: ignore[arg-type]
    assert command is not None
    assert command.name == name
    assert COMMANDS[name].summary.endswith(".")
    assert (command.help or "").strip()


def test_names_and_aliases_are_unique() -> None:
    """No alias hides a command or another alias."""
    names = [name for entry in COMMANDS.items() for name in (entry[0], *entry[1].aliases)]
    assert len(names) == len(set(names))


def test_the_overview_lists_every_command_in_its_section() -> None:
    """The help shows all commands with aliases and summaries, and the two options of the group."""
    out = NOWHERE.ok("--help")
    for name, entry in COMMANDS.items():
        assert f"  {', '.join((name, *entry.aliases))}" in out
        assert entry.summary in out
        assert f"{entry.section}:\n" in out
    assert "--verbose" in out
    assert "--debug" in out


def test_without_anything_the_help_is_shown() -> None:
    """Who types the bare name sees the help, and an exit code that a script notices."""
    outcome = NOWHERE()
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err.startswith("Usage: cratedb-retention [OPTIONS] COMMAND")
    assert "Getting started:\n" in outcome.err


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_and_version_load_nothing_slow(argument: str) -> None:
    """No driver, no SQLAlchemy, no pydantic: the answer is there at once."""
    program = LOADED.format(argument=argument, slow=SLOW)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded:"


def test_help_of_a_command_loads_no_driver() -> None:
    """Even the options that are made from the attributes of a policy need no database driver."""
    program = LOADED.replace("{argument!r}]", "'create-policy', '--help']").format(
        slow=("sqlalchemy", "crate", "duckdb", "sqlalchemy_cratedb")
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded:"


def test_strategies_of_the_help() -> None:
    """Help names every strategy, and loads nothing slow for that."""
    assert ", ".join(Strategy) in " ".join(NOWHERE.ok("list-policies", "--help").split())
    program = LOADED.replace("{argument!r}]", "'list-policies', '--help']").format(slow=SLOW)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded:"
