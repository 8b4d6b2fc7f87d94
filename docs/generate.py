"""
Writes the parts of the documentation that follow from the program: the reference of commands, the attributes of a
policy, the settings, and the toolkit's tables.

    python docs/generate.py          write them
    python docs/generate.py --check  complain if any of them is not up to date
"""

from __future__ import annotations

import difflib
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, get_args

import click
import sqlalchemy as sa
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from cratedb_retention.cli.main import COMMANDS, cli
from cratedb_retention.model.policy import ExpectedMax, Policy
from cratedb_retention.service.loading import variable
from cratedb_retention.service.settings import Settings
from cratedb_retention.store.tables import DEFAULT_SCHEMA, make_tables

ROOT = Path(__file__).parent.parent
_HEAD = "<!-- Made by docs/generate.py; do not edit. -->\n"
_TYPES = {"TEXT": "text", "BIGINT": "whole number", "INTEGER": "whole number", "BOOLEAN": "true or false"}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |\n" for line in lines)


# The attributes of a policy


def attributes() -> str:
    """A table of the attributes of a policy."""
    rows = []
    for name, field in Policy.model_fields.items():
        rows.append((f"`{name}`", field.description or "", _default(field)))
        if ExpectedMax in get_args(field.annotation):
            rows += [(f"`{name}.{key}`", f.description or "", "") for key, f in ExpectedMax.model_fields.items()]
    return table(("Attribute", "Meaning", "Default"), rows)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    if default in (None, (), {}):
        return ""
    return "yes" if default is True else f"`{default}`"


# Settings


def settings() -> str:
    """A table of all settings."""
    rows = []
    for section, part in Settings.model_fields.items():
        model = part.annotation
        if not isinstance(model, type) or not issubclass(model, BaseModel):
            raise LookupError(section)
        for key, field in model.model_fields.items():
            name = f"{section}.{field.alias or key}"
            rows.append((f"`{name}`", field.description or "", _setting_default(field), f"`{variable(name)}`"))
    return table(("Setting", "Meaning", "Default", "Environment"), rows)


def _setting_default(field: FieldInfo) -> str:
    default = field.get_default()
    if default in (None, ()):
        return ""
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


# The toolkit's tables


def tables() -> str:
    """The page about the toolkit's tables."""
    found = make_tables(DEFAULT_SCHEMA, "crate").metadata.sorted_tables
    parts = [
        f"{_HEAD}\n# The toolkit's tables\n",
        "`cratedb-retention setup` creates these tables in the schema `ext`, or the one that `--schema` or\n"
        "`CRATEDB_EXT_SCHEMA` names, and adds columns that an older version lacks. Read them as you like; change\n"
        "policies and holds through the commands or the library, so that the audit log knows. Instants are\n"
        "`TIMESTAMP WITH TIME ZONE`. On CrateDB the audit log is partitioned by month.\n",
    ]
    for one in found:
        rows = [(f"`{column.name}`", _type(column), _about(one, column)) for column in one.columns]
        parts.append(f"## {one.name}\n\n{one.info['about']}\n\n{table(('Column', 'Type', 'Meaning'), rows)}")
    return "\n".join(parts)


def _type(column: sa.Column[Any]) -> str:
    kind = column.type
    if isinstance(kind, sa.ARRAY):
        return "array of text"
    text = "instant" if isinstance(kind, sa.types.TypeDecorator) else _TYPES[str(kind)]
    return f"{text}, key" if column.primary_key else text


def _about(one: sa.Table, column: sa.Column[Any]) -> str:
    if column.doc:
        return column.doc
    text = Policy.model_fields[column.name].description or ""
    return f"{text} A JSON object." if column.name in ("where", "expected_max") else text


# The commands


def commands() -> str:
    """The reference of all commands."""
    context = click.Context(cli, info_name="cratedb-retention")
    sections: dict[str, list[str]] = {}
    for name, entry in COMMANDS.items():
        sections.setdefault(entry.section, []).append(name)
    links = [(section, ", ".join(f"[`{name}`](#{name})" for name in names)) for section, names in sections.items()]
    parts = [
        f"{_HEAD}\n# Commands\n",
        "Each command takes the address of the database as its last argument, or from `CRATEDB_URI`.\n",
        table(("", "Commands"), links),
        "## cratedb-retention\n",
        "Options that stand before the command, as in `cratedb-retention --debug run`:\n",
        _options(cli, context),
    ]
    parts += [_command(context, name) for names in sections.values() for name in names]
    return "\n".join(parts)


def _command(parent: click.Context, name: str) -> str:
    command = cli.get_command(parent, name)
    if command is None:
        raise LookupError(name)
    context = click.Context(command, parent=parent, info_name=name)
    aliases = COMMANDS[name].aliases
    also = [f"Also: {', '.join(f'`{alias}`' for alias in aliases)}.\n"] if aliases else []
    usage = f"```\n{' '.join(command.get_usage(context).removeprefix('Usage: ').split())}\n```\n"
    return "\n".join([f"## {name}\n", usage, *also, *_help(command), _options(command, context)])


def _help(command: click.Command) -> Iterator[str]:
    """The paragraphs of a help text; what click must not wrap becomes a block."""
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        first, _, rest = paragraph.partition("\n")
        if first.strip() != "\b":
            yield f"{paragraph}\n"
            continue
        title, _, lines = rest.partition("\n")
        yield f"{title}\n\n```shell\n{inspect.cleandoc(lines)}\n```\n"


def _options(command: click.Command, context: click.Context) -> str:
    rows = [row for parameter in command.get_params(context) if (row := _option(parameter, context))]
    return table(("Option", "Meaning"), rows)


def _option(parameter: click.Parameter, context: click.Context) -> tuple[str, str] | None:
    if isinstance(parameter, click.Argument):
        text = "The address of the database." if parameter.name == "dburi" else ""
        return f"`{parameter.make_metavar(context)}`", _meaning(text, parameter)
    if not isinstance(parameter, click.Option) or "--help" in parameter.opts:
        return None
    names = " / ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    if not parameter.is_flag:
        names += f" `{parameter.make_metavar(context)}`"
    return names, _meaning(parameter.help or "", parameter)


def _meaning(text: str, parameter: click.Parameter) -> str:
    notes = ["required"] if parameter.required else []
    if isinstance(parameter.default, str | int) and not isinstance(parameter.default, bool | Enum):
        notes.append(f"default: `{parameter.default}`")
    if parameter.envvar:
        notes.append(f"environment: `{parameter.envvar}`")
    if parameter.multiple if isinstance(parameter, click.Option) else False:
        notes.append("can be repeated")
    return f"{text} ({', '.join(notes)})" if notes else text


# Files


def filled(path: Path, parts: Mapping[str, Callable[[], str]]) -> str:
    """A file's text with what stands between its markers made anew."""
    text = path.read_text(encoding="utf-8")
    for name, make in parts.items():
        start, end = f"<!-- generated: {name} -->\n", "<!-- end of generated -->"
        pattern = re.compile(f"({re.escape(start)}).*?({re.escape(end)})", re.DOTALL)
        if not pattern.search(text):
            raise LookupError(f"{path.name} has no {start.strip()}")
        content = make()
        text = pattern.sub(lambda match, content=content: f"{match[1]}{content}{match[2]}", text)  # type: ignore[misc]
    return text


def wanted() -> dict[Path, str]:
    """Each file that is made here, or in part, with the text that it should have."""
    policy = {"policy attributes": attributes}
    return {
        ROOT / "README.md": filled(ROOT / "README.md", policy),
        ROOT / "docs" / "configuration.md": filled(ROOT / "docs" / "configuration.md", {"settings": settings}),
        ROOT / "docs" / "commands.md": commands(),
        ROOT / "docs" / "tables.md": tables(),
    }


def main(arguments: Sequence[str]) -> int:
    """Write the files, or with ``--check`` only compare them; 1 if any differs."""
    check, code = "--check" in arguments, 0
    for path, text in wanted().items():
        present = path.read_text(encoding="utf-8") if path.exists() else ""
        if present == text:
            continue
        name = str(path.relative_to(ROOT))
        if check:
            code = 1
            print(f"{name} is not up to date; run `make docs`")
            print("\n".join(difflib.unified_diff(present.splitlines(), text.splitlines(), "is", "should be", n=0)))
        else:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {name}")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
