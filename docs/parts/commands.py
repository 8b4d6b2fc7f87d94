"""The page about the commands, from the commands."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from enum import Enum

import click

from cratedb_retention.cli.main import COMMANDS, cli
from parts.markdown import HEAD, table


def commands() -> str:
    """The reference of all commands."""
    context = click.Context(cli, info_name="cratedb-retention", **cli.context_settings)
    sections: dict[str, list[str]] = {}
    for name, entry in COMMANDS.items():
        sections.setdefault(entry.section, []).append(name)
    links = [(section, ", ".join(f"[`{name}`](#{name})" for name in names)) for section, names in sections.items()]
    parts = [
        f"{HEAD}\n# Commands\n",
        "Each command takes the address of the database as its last argument, or from `CRATEDB_URI`.\n",
        table(("", "Commands"), links),
        "## cratedb-retention\n",
        "Options before the command, as in `cratedb-retention --debug run`:\n",
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
        text = "Address of the database." if parameter.name == "dburi" else ""
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
