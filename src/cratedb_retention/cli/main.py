"""
The command line ``cratedb-retention``: finds the module of a command by name, and reports each error in one line, with
an exit code.

Commands are imported when they are called, which keeps ``--help`` and ``--version`` fast.

Exit codes: 0 success, 1 a step failed or the database rejected it, 2 invalid usage or input, 3 findings of ``check``.
"""

from __future__ import annotations

import atexit
import difflib
import gc
import importlib
import io
import logging
import os
import signal
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO, cast

import click
from click.shell_completion import CompletionItem, shell_complete

from cratedb_retention import __version__
from cratedb_retention.errors import EXIT_DONE, EXIT_FAILED, EXIT_USAGE, RetentionError, find_interrupt
from cratedb_retention.model.address import RedactingFormatter, redact

if TYPE_CHECKING:
    from cratedb_retention.service.settings import Loaded


class Entry(NamedTuple):
    """A command: its module in this package, its section in the help, a summary, and its aliases."""

    module: str
    section: str
    summary: str
    aliases: tuple[str, ...] = ()


_SECTIONS = ("Getting started", "Policies", "Running", "Archive and holds", "Service")
_OTHER, _POLICIES, _RUNNING, _ARCHIVE, _SERVICE = _SECTIONS

COMMANDS: Mapping[str, Entry] = {
    "setup": Entry("setup", _OTHER, "Create or upgrade the toolkit's tables."),
    "demo": Entry("setup", _OTHER, "Try the toolkit on flights and weather of 2013."),
    "create-policy": Entry("policies.editing", _POLICIES, "Create a policy.", ("create", "add", "add-policy")),
    "edit-policy": Entry("policies.editing", _POLICIES, "Change a policy.", ("edit",)),
    "list-policies": Entry("policies.commands", _POLICIES, "List the policies.", ("list",)),
    "delete-policy": Entry("policies.commands", _POLICIES, "Delete policies.", ("del", "rm")),
    "list-tags": Entry("policies.commands", _POLICIES, "List all tags."),
    "check-policies": Entry("policies.commands", _POLICIES, "Find mistakes, and tables without a policy.", ("check",)),
    "lifecycle": Entry("policies.commands", _POLICIES, "Show how data ages: hot, warm, cold, gone."),
    "apply": Entry("policies.commands", _POLICIES, "Update the stored policies to match a file."),
    "diff": Entry("forecast", _POLICIES, "Compare two sets of policies over time."),
    "export": Entry("policies.commands", _POLICIES, "Write the policies as a file for `apply`."),
    "suggest": Entry("policies.suggest", _POLICIES, "Suggest policies for tables without one."),
    "translate": Entry("policies.translate", _POLICIES, "Convert rules of Graphite or RRDtool."),
    "plan": Entry("runs", _RUNNING, "Show what a run would do, and why (dry run)."),
    "forecast": Entry("forecast", _RUNNING, "Show how much data there will be, and its cost."),
    "run": Entry("runs", _RUNNING, "Execute everything that is due."),
    "serve": Entry("serve", _RUNNING, "Run policies on their schedules, until stopped."),
    "cancel": Entry("runs", _RUNNING, "Cancel a run before its next step."),
    "status": Entry("overview", _RUNNING, "Show the state of policies, tables and active runs."),
    "jobs": Entry("audit", _RUNNING, "Show the audit log."),
    "fetch": Entry("query", _RUNNING, "Query a table together with its rollups and archives."),
    "verify-rollups": Entry("rollups", _RUNNING, "Compare each rollup with its source."),
    "accept-table": Entry("rollups", _RUNNING, "Accept a table as the earlier one of its name."),
    "list-snapshots": Entry("archive", _ARCHIVE, "List archived partitions."),
    "verify-snapshots": Entry("archive", _ARCHIVE, "Read snapshots back and compare them."),
    "delete-snapshots": Entry("archive", _ARCHIVE, "Delete archived partitions for good."),
    "adopt-snapshots": Entry("archive", _ARCHIVE, "Record the snapshots of a repository."),
    "restore": Entry("archive", _ARCHIVE, "Restore archived partitions."),
    "undo": Entry("archive", _ARCHIVE, "Bring back what recoverable policies deleted."),
    "query": Entry("query", _ARCHIVE, "Query archived rows by SQL."),
    "sync-catalog": Entry("archive", _ARCHIVE, "Bring an Iceberg catalog up to date."),
    "hold": Entry("holds", _ARCHIVE, "Place a legal hold: protect data from all policies."),
    "list-holds": Entry("holds", _ARCHIVE, "List the legal holds in force."),
    "release": Entry("holds", _ARCHIVE, "Release a legal hold."),
    "create-token": Entry("access", _SERVICE, "Create an access token for HTTP API and pages."),
    "list-tokens": Entry("access", _SERVICE, "List the access tokens."),
    "revoke-token": Entry("access", _SERVICE, "Revoke an access token."),
    "config": Entry("setup", _SERVICE, "Show all settings and their sources."),
}
_ALIASES = {alias: name for name, entry in COMMANDS.items() for alias in entry.aliases}

_NAME, _COMPLETE = "cratedb-retention", "_CRATEDB_RETENTION_COMPLETE"
_PREFIX, _URI_FILE = "CRATEDB_RETENTION_", "CRATEDB_URI_FILE"
_PLACES = ("/etc/cratedb-retention/config.toml", "cratedb-retention/config.toml")


class Commands(click.Group):
    """Finds commands by name or alias, and imports only the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        name = _ALIASES.get(cmd_name, cmd_name)
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"cratedb_retention.cli.{COMMANDS[name].module}")
        return cast(click.Command, getattr(module, name.replace("-", "_")))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete commands from the table above, without importing any; then options."""
        items = [CompletionItem(name, help=entry.summary) for name, entry in COMMANDS.items()]
        offered = [item for item in items if item.value.startswith(incomplete)]
        return [*offered, *click.Command.shell_complete(self, ctx, incomplete)]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Let help and errors show the full name of a command, not its alias."""
        if self.get_command(ctx, args[0]) is None and not args[0].startswith("-") and not ctx.resilient_parsing:
            close = difflib.get_close_matches(args[0], (*COMMANDS, *_ALIASES), n=1)
            unknown = f"No such command {args[0]!r}." + (f" Did you mean {close[0]!r}?" if close else "")
            misplaced = "The database address comes after the command, as its last argument."
            raise click.UsageError(misplaced if "://" in args[0] else unknown, ctx)
        name, command, rest = super().resolve_command(ctx, args)
        return _ALIASES.get(name or "", name), command, rest

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Without arguments, show the help, with the exit code of wrong usage."""
        if not args and not ctx.resilient_parsing:  # Set while click completes a line.
            _write_to_stderr(ctx.get_help())
            ctx.exit(EXIT_USAGE)
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by section, from the table above, without importing any."""
        for section in _SECTIONS:
            entries = [(name, entry) for name, entry in COMMANDS.items() if entry.section == section]
            rows = [(", ".join((name, *entry.aliases)), entry.summary) for name, entry in entries]
            with formatter.section(section):
                formatter.write_dl(rows)


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.option("--config", metavar="FILE", envvar="CRATEDB_RETENTION_CONFIG", help="Configuration file.")
@click.option("--log-level", metavar="LEVEL", help="Log level: debug, info, warning, error. [default: warning]")
@click.option("--log-format", metavar="FORM", help="Log format: text or json. [default: text]")
@click.option("--verbose", is_flag=True, help="Log progress and each SQL statement.")
@click.option("--debug", is_flag=True, help="Log all details and each SQL statement, and show tracebacks.")
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.pass_context
def cli(
    ctx: click.Context, config: str | None, log_level: str | None, log_format: str | None, verbose: bool, debug: bool
) -> None:
    """
    Data retention for time series in CrateDB and DuckDB: delete, move, archive and downsample expired data by policies.

    \b
    The address of the database is the last argument of each command, or CRATEDB_URI:
      crate://user:password@host:4200/   CrateDB; add ?sslmode=verify-full for TLS
      duckdb:///file.duckdb              a DuckDB file
    """
    log_level = "debug" if debug else "info" if verbose and log_level is None else log_level
    _configure(ctx, config, {"log.level": log_level, "log.format": log_format}, sql=verbose or debug)


# Settings


def _configure(ctx: click.Context, config: str | None, log: Mapping[str, str | None], sql: bool) -> None:
    """Load settings as defaults of options. Without file or variable, nothing is imported: commands stay fast."""
    logging.getLogger("cratedb_retention.sql").setLevel(logging.INFO if sql else logging.WARNING)
    # pathlib takes longer to import.
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.environ.get("HOME", ""), ".config")  # noqa: PTH118
    places = (_PLACES[0], os.path.join(home, _PLACES[1]))  # noqa: PTH118
    named = any(key.startswith(_PREFIX) or key == _URI_FILE for key in os.environ)
    if not (config or any(log.values()) or named or any(map(os.path.exists, places))):
        _log(logging.WARNING, RedactingFormatter())
        return
    from cratedb_retention.service.settings import LogFormat, load

    ctx.obj = loaded = load(os.environ, config, log)
    level, form = loaded.settings.log.level, loaded.settings.log.format
    _log(getattr(logging, level.upper()), RedactingFormatter(form is LogFormat.JSON))
    for text in loaded.former:
        logging.getLogger("cratedb_retention").warning(text)
    ctx.default_map = _defaults(loaded)


def _defaults(loaded: Loaded) -> dict[str, Any]:
    settings, given = loaded.settings, loaded.sources
    common = {"dburi": settings.database.uri} if settings.database.uri is not None else {}
    if "database.schema" in given:
        common["schema"] = settings.database.schema_
    own: dict[str, Any] = {name: dict(common) for name in COMMANDS}
    for section in ("service", "http"):
        values = getattr(settings, section).model_dump(mode="json")
        own["serve"] |= {key: value for key, value in values.items() if f"{section}.{key}" in given}
    own["sync-catalog"] |= {"catalog": settings.iceberg.catalog} if settings.iceberg.catalog else {}
    own["run"] |= {key: value for key, value in own["serve"].items() if key == "lease"}
    return own


def _log(level: int, formatter: logging.Formatter) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(level=level, handlers=[handler])
    # It warns of each attempt to connect; we report the last one as an error.
    logging.getLogger("urllib3").setLevel(logging.NOTSET if level <= logging.INFO else logging.ERROR)
    # They log each poll and each start.
    for name in ("apscheduler", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.NOTSET if level <= logging.DEBUG else logging.WARNING)


def prepare_process() -> None:
    """
    Set up the process of a command: without pandas, and with a collector of cyclic garbage that runs less often. That
    took 40 % of the time of a plan for 100,000 partitions. It does not run while a small command imports what it needs,
    and not at exit, when the memory is freed anyway: that took a sixth of its time.
    """
    gc.set_threshold(200_000, 20, 20)
    atexit.register(gc.freeze)
    sys.meta_path.insert(0, _WithoutPandas())


class _WithoutPandas:
    """DuckDB imports pandas if it can, to compare each parameter with its NaT: 0.4 s and 80 MB for nothing."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        """Say that it is not installed."""
        if fullname == "pandas":
            raise ModuleNotFoundError("pandas is not needed", name=fullname)


def main() -> None:
    """Run the command. Each error becomes one line and an exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # Escape what its encoding lacks.
            stream.reconfigure(errors="backslashreplace")
    prepare_process()
    # A run that systemd or a container engine stops releases its leases, as after Ctrl-C. Process 1 would ignore this
    # signal by default.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if instruction := os.environ.get(_COMPLETE):
            sys.exit(shell_complete(cli, {}, _NAME, _COMPLETE, instruction))
        with cli.make_context(_NAME, sys.argv[1:]) as context:  # Rather than `cli.main`, which writes errors itself.
            code = cli.invoke(context)
    except click.exceptions.Exit as error:
        code = error.exit_code
    except BrokenPipeError:  # The reader of the output (head, less) may end first.
        _stop_writing(sys.stdout)
        code = EXIT_DONE
    except RetentionError as error:
        code = _complain(str(error), error.exit_code)
    except click.UsageError as error:
        code = _complain(_usage(error), EXIT_USAGE)
    except click.ClickException as error:
        code = _complain(error.format_message(), EXIT_USAGE)
    except (EOFError, KeyboardInterrupt, click.Abort):
        code = _interrupted()
    except UnicodeEncodeError:
        code = _complain("an option or argument is not valid UTF-8", EXIT_USAGE)
    except Exception as error:
        what = f"{type(error).__name__}: {error}. This is a bug; please report it"
        code = _interrupted() if find_interrupt(error) else _complain(what, EXIT_FAILED)
    sys.exit(code if isinstance(code, int) else EXIT_DONE)


def _interrupted() -> int:
    if sys.stderr.isatty():  # The line begins with ^C.
        click.echo(err=True)
    return _complain("interrupted", EXIT_FAILED)


def _complain(message: str, code: int) -> int:
    if "--debug" in sys.argv and sys.exc_info()[1] is not None:
        logging.getLogger(__name__).exception("traceback")
    _write_to_stderr(f"Error: {redact(' '.join(message.split()))}")
    return code


def _write_to_stderr(text: str) -> None:
    try:
        click.echo(text, err=True)
    except BrokenPipeError:
        _stop_writing(sys.stderr)


def _stop_writing(stream: TextIO) -> None:
    """Discard further output: its reader has ended, and Python would raise again on flush."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _usage(error: click.UsageError) -> str:
    """The message, with similar options; compared without dashes, which make all options similar."""
    if isinstance(error, click.NoSuchOption):
        names = {each.lstrip("-"): each for each in error.possibilities or ()}
        alike = [names[each] for each in difflib.get_close_matches(error.option_name.lstrip("-"), names)]
        error = click.NoSuchOption(error.option_name, possibilities=alike, ctx=error.ctx)
    text = error.format_message()
    hint = f" Try `{error.ctx.command_path} --help`." if error.ctx else ""
    return (text if text.endswith((".", "?", "?)")) else f"{text}.") + hint
