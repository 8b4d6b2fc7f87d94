"""
The documentation is complete and right: what follows from the program is up to date, links lead somewhere, policies in
it are valid, and commands in it exist.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import dropwhile
from pathlib import Path

import click
import pytest

from cratedb_retention.cli.main import COMMANDS, cli
from cratedb_retention.model.plan import Step
from cratedb_retention.model.policy import Policy, Strategy
from cratedb_retention.model.policyfile import parse_policies
from cratedb_retention.store.tables import DEFAULT_SCHEMA, make_tables
from support.markdown import PAGES, ROOT, anchors, blocks, broken_links, commands

PACKAGE = ROOT / "src" / "cratedb_retention"
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def read(name: str) -> str:
    """A page's text."""
    return (ROOT / name).read_text(encoding="utf-8")


def generate(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the generator of a copy of the project."""
    command = [sys.executable, str(root / "docs" / "generate.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_generated_parts_are_up_to_date() -> None:
    """What follows from the program is what `make docs` would write."""
    result = generate(ROOT, "--check")
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("name", ["README.md", "docs/commands.md", "docs/configuration.md", "docs/tables.md"])
def test_outdated_parts_are_found(tmp_path: Path, name: str) -> None:
    """The check fails when a page says something else, names it, and does not change it; `make docs` repairs it."""
    shutil.copy(ROOT / "README.md", tmp_path)
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("__pycache__"))
    page = tmp_path / name
    outdated = page.read_text(encoding="utf-8").replace("retention_period", "retention_time").replace("--schema", "--x")
    outdated = outdated.replace("`http.listen`", "`http.x`")
    page.write_text(outdated, encoding="utf-8")
    result = generate(tmp_path, "--check")
    assert result.returncode == 1
    assert name in result.stdout
    assert page.read_text(encoding="utf-8") == outdated
    assert generate(tmp_path).returncode == 0
    assert generate(tmp_path, "--check").returncode == 0


def each_command() -> Iterator[tuple[str, click.Command]]:
    """All commands with their names."""
    context = click.Context(cli)
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        yield name, command


@pytest.mark.parametrize(("name", "command"), list(each_command()), ids=list(COMMANDS))
def test_each_command_is_documented(name: str, command: click.Command) -> None:
    """Each command has a section with its aliases and all of its options, and a help text with an example."""
    section = read("docs/commands.md").partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    wanted = [f"`{alias}`" for alias in COMMANDS[name].aliases]
    wanted += [f"`{option}`" for p in command.params for option in (*p.opts, *p.secondary_opts) if option[0] == "-"]
    assert [word for word in wanted if word not in section] == []
    assert "```shell\ncratedb-retention" in section


def test_each_option_says_what_it_does() -> None:
    """No option is without a help text."""
    silent = [
        f"{name} {parameter.opts[0]}"
        for name, command in each_command()
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.help and "--format" not in parameter.opts
    ]
    assert silent == []


@pytest.mark.parametrize("name", Policy.model_fields)
def test_each_attribute_is_documented(name: str) -> None:
    """Each attribute of a policy is in the table of the README, with its meaning."""
    assert re.search(rf"^\| `{name}` \| \S+", read("README.md"), re.MULTILINE)


@pytest.mark.parametrize("strategy", Strategy)
def test_each_strategy_is_documented(strategy: Strategy) -> None:
    """Each strategy is in the README, and has an example among the policies."""
    assert f"| `{strategy}` |" in read("README.md")
    assert f"- strategy: {strategy}\n" in read("docs/policies.md")


def test_each_column_is_documented() -> None:
    """Each column of the toolkit's tables has a meaning."""
    text = read("docs/tables.md")
    for table in make_tables(DEFAULT_SCHEMA, "crate").metadata.sorted_tables:
        section = text.partition(f"\n## {table.name}\n")[2].partition("\n## ")[0]
        for column in table.columns:
            assert re.search(rf"^\| `{column.name}` \| [^|]+ \| \S+", section, re.MULTILINE), (table.name, column.name)


@pages
def test_links_lead_somewhere(page: Path) -> None:
    """Each link within the project leads to a file that exists, and to a heading in it."""
    assert list(broken_links(page)) == []


def test_broken_links_are_found(tmp_path: Path) -> None:
    """The search above finds what is broken."""
    page = tmp_path / "page.md"
    page.write_text(
        "# One `two`\n[a](#one-two) [b](#three) [c](no.md) [d](page.md#no) [e](page.md) [f](https://a.b/c)\n"
    )
    assert list(broken_links(page)) == ["#three", "no.md", "page.md#no"]
    assert anchors(page.read_text()) == {"one-two"}


@pages
def test_policies_are_valid(page: Path) -> None:
    """Each policy file that is shown can be applied."""
    for block in blocks(page.read_text(encoding="utf-8")):
        if block.language == "yaml":
            assert parse_policies(block.text, page.name)


@pages
def test_commands_exist(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command that is shown exists, and so do its options."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policies.yaml").touch()
    for given in commands(page.read_text(encoding="utf-8")):
        arguments = list(dropwhile(lambda word: word.startswith("--"), given))
        context = cli.make_context("cratedb-retention", list(arguments))
        name, command, rest = cli.resolve_command(context, list(arguments))
        assert command is not None
        with command.make_context(name, rest, parent=context):
            pass


def test_missing_commands_are_found() -> None:
    """Commands in a page are read with continued lines, and without comments and redirections."""
    text = "```shell\nmake demo\ncratedb-retention run \\\n  --tags='a b' # now\ncratedb-retention export > file\n```\n"
    assert list(commands(text)) == [["run", "--tags=a b"], ["export"]]


def test_architecture_names_files_that_exist() -> None:
    """A path in the page leads to a file."""
    text = read("docs/architecture.md")
    paths = re.findall(r"`([\w./]+/[\w.]*|\w+\.py)`", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))
    assert len(paths) > 50
    assert [path for path in paths if not (PACKAGE / path).exists() and not (ROOT / path).exists()] == []


def test_architecture_names_each_module() -> None:
    """A stranger finds each module; those of commands are named like the commands."""
    text = read("docs/architecture.md")
    of_commands = {f"cli/{entry.module}.py" for entry in COMMANDS.values()}
    modules = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if not path.name.startswith("__")}
    assert sorted(module for module in modules - of_commands if f"`{module}`" not in text) == []


def test_architecture_names_steps_that_exist() -> None:
    """A step that the page names is one."""
    steps = {step.__name__ for step in Step.__args__}
    named = set(
        re.findall(r"`((?:Drop|Delete|Move|Freeze|Thaw|Snapshot|Verify)[A-Z]\w+)`", read("docs/architecture.md"))
    )
    assert named
    assert named <= steps
