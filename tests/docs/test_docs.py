"""
The documentation is complete and right: what follows from the program is up to date, links lead somewhere, policies in
it are valid, and commands in it exist.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
import tomllib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import click
import pytest
import yaml
from cratedb_sqlparse import sqlparse  # type: ignore[import-untyped]

import generate
from cratedb_retention.cli.main import COMMANDS, cli
from cratedb_retention.engine.cratedb.engine import CrateDBEngine
from cratedb_retention.engine.duckdb.engine import DuckDBEngine
from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.plan.plan import Step
from cratedb_retention.model.policies.file import parse_policies
from cratedb_retention.model.policies.policy import Policy
from cratedb_retention.model.policies.strategies import Strategy
from cratedb_retention.store.tables import DEFAULT_SCHEMA, Tables
from support.markdown import PAGES, ROOT, anchors, blocks, broken_links, commands

PACKAGE = ROOT / "src" / "cratedb_retention"
DOCS = ROOT / "docs"
ARCHITECTURE = [DOCS / "architecture.md", *sorted((DOCS / "architecture").glob("*.md"))]
_OVER = re.MULTILINE | re.DOTALL
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def read(name: str) -> str:
    """A page's text."""
    return (ROOT / name).read_text(encoding="utf-8")


def test_generated_parts_are_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    """What follows from the program is what `make docs` would write."""
    assert generate.main(["--check"]) == 0, capsys.readouterr().out


# In each file that is made by the program, in whole or in part, something that it does not say.
OUTDATED = [
    ("docs/reference/policies.md", "`retention_period`", "`retention_time`"),
    ("docs/reference/policies.schema.json", '"retention_period"', '"retention_time"'),
    ("docs/reference/commands.md", "`--schema`", "`--x`"),
    ("docs/reference/configuration.md", "`http.listen`", "`http.x`"),
    ("docs/reference/tables.md", "`retention_period`", "`retention_time`"),
    ("docs/reference/http-api.md", "`GET /policies` | viewer", "`GET /policies` | admin"),
    ("docs/reference/metrics.md", "`cratedb_retention_needs_attention`", "`cratedb_retention_x`"),
    ("docs/reference/exit-codes.md", "`InvalidInput` | 2", "`InvalidInput` | 1"),
    ("docs/reference/audit-log.md", "`run-started`", "`run-x`"),
    ("docs/architecture.md", "| `holds` |", "| `hold` |"),
    ("docs/architecture/files.md", "Rules of access: roles", "Rules of roles"),
    ("docs/reference/library.md", "policies.edit(identifier: str", "policies.edit(name: str"),
    *((f"docs/diagrams/{name}.svg", "</text>", "!</text>") for name in ("row", "plan", "cascade", "windows", "lease")),
]


def test_each_file_is_outdated_once() -> None:
    """The cases above are about all files that are made by the program."""
    assert sorted(name for name, *_ in OUTDATED) == sorted([*generate.IN_PART, *generate.WHOLE])


@pytest.mark.parametrize(("name", "was", "becomes"), OUTDATED)
def test_outdated_parts_are_found(
    name: str, was: str, becomes: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The check fails when a page says something else, names it, and does not change it; `make docs` repairs it."""
    for folder in ("architecture", "diagrams", "reference"):
        shutil.copytree(DOCS / folder, tmp_path / "docs" / folder)
    shutil.copy(DOCS / "architecture.md", tmp_path / "docs")
    page = tmp_path / name
    present = page.read_text(encoding="utf-8")
    outdated = present.replace(was, becomes)
    assert outdated != present
    page.write_text(outdated, encoding="utf-8")
    assert generate.main(["--check"], tmp_path) == 1
    assert re.findall("^(.*) is not up to date", capsys.readouterr().out, re.MULTILINE) == [name]
    assert page.read_text(encoding="utf-8") == outdated
    assert generate.main([], tmp_path) == 0
    assert page.read_text(encoding="utf-8") == present
    assert generate.main(["--check"], tmp_path) == 0


def each_command() -> Iterator[tuple[str, click.Command]]:
    """All commands with their names."""
    context = click.Context(cli, **cli.context_settings)
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        yield name, command


@pytest.mark.parametrize(("name", "command"), list(each_command()), ids=list(COMMANDS))
def test_each_command_is_documented(name: str, command: click.Command) -> None:
    """Each command has a section with its aliases and all of its options, and a help text with an example."""
    section = read("docs/reference/commands.md").partition(f"\n## {name}\n")[2].partition("\n## ")[0]
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
    """Each attribute of a policy is in the table of the page about policies, with its meaning."""
    assert re.search(rf"^\| `{name}` \| \S+", read("docs/reference/policies.md"), re.MULTILINE)


@pytest.mark.parametrize("strategy", Strategy)
def test_each_strategy_is_documented(strategy: Strategy) -> None:
    """Each strategy is in the README, and has an example among the policies."""
    assert f"| `{strategy}` |" in read("README.md")
    assert f"- strategy: {strategy}\n" in read("docs/reference/policies.md")


def test_the_readme_lists_each_page_once() -> None:
    """No page is twice in the table of the documentation, however many topics it has."""
    table = read("README.md").partition("\n## Documentation\n")[2].partition("\n## ")[0]
    pages = re.findall(r"\]\((docs/[^)#]+)", table)
    assert len(pages) > 30 and sorted(set(pages)) == sorted(pages)


def test_each_column_is_documented() -> None:
    """Each column of the toolkit's tables has a meaning."""
    text = read("docs/reference/tables.md")
    for table in Tables(DEFAULT_SCHEMA, partitions=True).metadata.sorted_tables:
        section = text.partition(f"\n## {table.name}\n")[2].partition("\n## ")[0]
        for column in table.columns:
            assert re.search(rf"^\| `{column.name}` \| [^|]+ \| \S+", section, re.MULTILINE), (table.name, column.name)


def test_rows_in_a_delete() -> None:
    """The page on DuckDB says how many rows a statement deletes on each database."""
    wanted = f"| rows in a `DELETE` | {CrateDBEngine.batch:,} | {DuckDBEngine.batch:,} |"
    assert wanted in read("docs/reference/duckdb.md")


def test_nothing_is_installed_by_a_name_that_no_index_has() -> None:
    """There is no release yet: an extra is installed from a copy of the repository."""
    wrong = re.compile(r"install [^\n`]*cratedb-retention\[")
    assert [each for each in (*PAGES, *PACKAGE.rglob("*.py")) if wrong.search(each.read_text(encoding="utf-8"))] == []


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
def test_each_page_begins_with_its_title(page: Path) -> None:
    """A page has one title, at its beginning, and no heading skips a level."""
    text = re.sub(r"^<!--.*?-->\n+", "", page.read_text(encoding="utf-8"))
    levels = [len(marks) for marks in re.findall(r"^(#+) ", re.sub(r"^ *```.*?^ *```$", "", text, flags=_OVER), re.M)]
    if page.parent != ROOT / ".github":
        assert text.startswith("# ")
        assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def policies_within(data: object) -> Iterator[str]:
    """Each policy file in plain data: itself, or a text in it, as in a ConfigMap."""
    if isinstance(data, dict):
        if isinstance(data.get("policies"), list) and any("strategy" in each for each in data["policies"]):
            yield yaml.safe_dump({"policies": data["policies"]})
        for value in data.values():
            yield from policies_within(value)
    elif isinstance(data, list):
        if any(isinstance(each, dict) and "strategy" in each and "table_name" in each for each in data):
            yield yaml.safe_dump(data)
        for value in data:
            yield from policies_within(value)
    elif isinstance(data, str) and "policies:\n" in data:
        yield data


@pages
def test_files_in_blocks_are_valid(page: Path) -> None:
    """Policy files that are shown can be applied; YAML, JSON and TOML can be read."""
    for block in blocks(page.read_text(encoding="utf-8")):
        if block.language in ("yaml", "yml"):
            for data in yaml.safe_load_all(block.text):
                for found in policies_within(data):
                    assert parse_policies(found, page.name)
                if isinstance(data, dict) and list(data) == ["policies"]:  # as it is, with its own words for values
                    assert parse_policies(block.text, page.name)
        elif block.language == "json":
            json.loads(block.text)
        elif block.language == "toml":
            tomllib.loads(block.text)
        elif block.language == "python":
            ast.parse(block.text)


def test_wrong_policies_in_blocks_are_found() -> None:
    """Policies are found wherever a file of another kind holds them."""
    inner = "policies:\n- strategy: delete\n"
    for data in ({"data": {"policies.yaml": inner}}, {"a": [{"policies": [{"strategy": "delete"}]}]}):
        (found,) = policies_within(data)
        with pytest.raises(InvalidInput):
            parse_policies(found, "x")


@pages
def test_sql_is_that_of_cratedb(page: Path) -> None:
    """CrateDB's own grammar can read each statement in SQL that is shown."""
    for block in blocks(page.read_text(encoding="utf-8")):
        if block.language == "sql":
            for statement in sqlparse(block.text):
                assert statement.exception is None, statement.query


@pages
def test_commands_exist(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command that is shown exists, and so do its options and their values."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(click.File, "convert", lambda self, value, param, ctx: value)  # it need not be there
    for given in commands(page.read_text(encoding="utf-8")):
        check_call(given)


def check_call(given: Sequence[str]) -> None:
    """
    Parse the arguments of a call, without doing anything.

    :raises click.UsageError: if there is no such command, option or value.
    """
    of_program = {option for parameter in cli.params for option in (*parameter.opts, *parameter.secondary_opts)}
    rest = list(given)
    while rest and rest[0].startswith("-"):
        name = rest.pop(0).partition("=")[0]
        if name not in (*of_program, "--help", "-h"):
            raise click.NoSuchOption(name)
    if not rest:
        return
    context = click.Context(cli, info_name="cratedb-retention", **cli.context_settings)
    name_found, command, rest = cli.resolve_command(context, rest)
    assert command is not None
    if {"--help", "-h"} & set(rest):
        return
    with command.make_context(name_found, rest, parent=context):
        pass


@pytest.mark.parametrize(
    "call", [["rnu"], ["run", "--deu"], ["run", "--format=xml"], ["--debugg", "run"], ["create-policy", "a", "b", "c"]]
)
def test_commands_that_do_not_exist_are_found(call: list[str]) -> None:
    """The check above notices what the program would refuse."""
    with pytest.raises(click.UsageError):
        check_call(call)


def test_architecture_names_files_that_exist() -> None:
    """A path in these pages leads to a file."""
    text = "".join(read(str(page.relative_to(ROOT))) for page in ARCHITECTURE)
    paths = re.findall(r"`([\w./]+/[\w.]*|\w+\.py)`", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))
    assert len(paths) > 50
    assert [path for path in paths if not (PACKAGE / path).exists() and not (ROOT / path).exists()] == []


def test_architecture_names_each_module() -> None:
    """A stranger finds each module in the map of files; those of commands are named like the commands."""
    text = read("docs/architecture/files.md")
    of_commands = {f"cli/{entry.module}.py" for entry in COMMANDS.values()}
    modules = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if not path.name.startswith("__")}
    assert sorted(module for module in modules - of_commands if f"`{module}`" not in text) == []


def test_architecture_names_steps_that_exist() -> None:
    """A step that these pages name is one."""
    steps = {step.__name__ for step in Step.__args__}
    text = "".join(read(str(page.relative_to(ROOT))) for page in ARCHITECTURE)
    named = set(re.findall(r"`((?:Drop|Delete|Move|Freeze|Thaw|Snapshot|Verify)[A-Z]\w+)`", text))
    assert named
    assert named <= steps
