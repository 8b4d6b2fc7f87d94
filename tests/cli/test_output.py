"""What is written: parsable where a program reads it, and text where people do, whatever is in it."""

from __future__ import annotations

import json
import subprocess

import pytest
import yaml

from cratedb_retention.cli.output import _cell, visible, write_data, write_list
from support.command import Command, FilledBy, argv

HOSTILE = [
    "[bold]x[/]",
    "<script>alert(1)</script>",
    "[/]",
    ":smile:",
    "{x}",
    "%s",
    "--help",
    "'\"`",
    "äöü 🌲",
    "[link=x]y",
]
FORMATS = ["table", "json", "yaml"]
READERS = [
    ["list-policies"], ["list-tags"], ["check"], ["plan", "--cutoff-day=2024-07-01"], ["status"], ["jobs"],
    ["list-snapshots"], ["list-holds"], ["run", "--dry-run", "--cutoff-day=2024-07-01"], ["verify-snapshots"],
]  # fmt: skip


def fill(command: Command) -> None:
    """A database with a policy, a run, a hold and a snapshot."""
    command.ok(
        "create", "--strategy=snapshot", "--table-name=metrics", "--retention-period=100d", "--tags=a,b",
        "--target-repository-name=archive",
    )  # fmt: skip
    command.ok("run", "--cutoff-day=2024-07-01")
    command.ok("restore", "--all")


@pytest.fixture
def filled(filled_by: FilledBy) -> Command:
    """The command on such a database."""
    return filled_by(fill)


@pytest.mark.parametrize("args", READERS, ids=" ".join)
@pytest.mark.some(5)
def test_json_and_yaml_say_the_same(filled: Command, args: list[str]) -> None:
    """Both formats can be parsed, hold the same values, and nothing else is on stdout."""
    as_json = json.loads(filled.ok(*args, "--format=json"))
    assert yaml.safe_load(filled.ok(*args, "--format=yaml")) == as_json
    assert filled.ok(*args).strip()


def test_a_run_as_data(filled: Command) -> None:
    """The report of a run is one JSON document; its exit code says whether all is well."""
    report = json.loads(filled.ok("run", "--format=json", "--cutoff-day=2024-07-01"))
    assert report["ok"] is True
    assert yaml.safe_load(filled.ok("run", "--format=yaml", "--cutoff-day=2024-07-01"))["ok"] is True
    assert report["failed"] == 0


def test_hostile_values_stay_text(command: Command) -> None:
    """Markup, HTML and formatting in names, tags and descriptions are neither obeyed nor lost, in any format."""
    for text in HOSTILE:
        command.ok(
            "create", "--strategy=delete", f"--table-name={text}", "--retention-period=1d", f"--tags={text}",
            f"--description={text}",
        )  # fmt: skip
        command.ok("hold", f"--table-name={text}", f"--reason={text}")
    assert {policy["description"] for policy in command.data("list")} == set(HOSTILE)
    assert {tag for policy in yaml.safe_load(command.ok("list", "--format=yaml")) for tag in policy["tags"]} == {
        *HOSTILE
    }
    for args in (["list"], ["status"], ["plan"], ["jobs"], ["list-holds"], ["list-tags"]):
        assert_shown(command.ok(*args))
    assert_shown(command("run").out)


def assert_shown(out: str) -> None:
    """Each text is there, also those that are a part of another one."""
    for text in HOSTILE:
        assert out.count(text) >= sum(other.count(text) for other in HOSTILE), text


@pytest.mark.parametrize("form", ["json", "yaml"])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_list_item_by_item(form: str, count: int, capsys: pytest.CaptureFixture[str]) -> None:
    """It is the text of the whole list, though no item waits for the next one."""
    item = {"text": "a\nb: [1, 'ä'", "list": [1, {"x": None}], "none": {}}
    items = [{**item, "number": number} for number in range(count)]
    write_data(items, form)
    whole, seen = capsys.readouterr().out, list[str]()

    def data(one: dict[str, object]) -> object:
        seen.append(capsys.readouterr().out)
        return one

    write_list(form, iter(items), data, {}, "nothing")
    assert "".join(seen) + capsys.readouterr().out == whole
    assert all(seen[1:])


@pytest.mark.parametrize("text", ["a\nb", "a\rb", "a\x1b[31mb", "a\x07b", "a\u202eb", "a\tb"])
@pytest.mark.some(3)
def test_control_characters_move_no_cursor_and_forge_no_line(command: Command, text: str) -> None:
    """Newlines and escape sequences in names are shown as escapes; data keeps them as they are."""
    out = command.ok("create", "--strategy=delete", f"--table-name={text}", "--retention-period=1d", f"--tags={text}")
    assert out.count("\n") == 2, "the policy, and how to make it recoverable"
    escaped = repr(text)[1:-1]
    assert f"delete {escaped} after 1d" in out
    assert command.ok("list-tags") == f"{escaped}\n"
    assert command.data("list-tags") == [text]
    for args in (["list"], ["status"], ["plan"], ["jobs"]):
        assert not set(text) & set("\r\x1b\x07\u202e") & set(command.ok(*args))


def test_each_control_character_is_escaped() -> None:
    """Those of terminals of 8 bits, and those that change the direction of text or end a line, as well."""
    for text in ("\x00", "\x7f", "\x9b", "\u2028", "\u2029", "\u202a", "\u202e", "\u2066", "\u2069", "\n", "\t"):
        assert visible(f"a{text}b") == f"a{repr(text)[1:-1]}b"
    assert visible("a\nb", keep="\n") == "a\nb"
    assert [_cell(value) for value in (None, True, False, 1234567, 0, "x\x9b")] == [
        "", "yes", "no", "1,234,567", "0", "x\\x9b",
    ]  # fmt: skip


@pytest.mark.parametrize("columns", [20, 40, 80, 200, 400])
def test_any_width_of_terminal(filled: Command, columns: int) -> None:
    """Tables fit the terminal, wrap rather than cut, and lose no value."""
    out = filled.terminal(columns, "list-policies")
    assert all(len(line) <= columns for line in out.splitlines())
    assert "…" not in out
    squeezed = "".join(out.split())
    assert "snapshot" in squeezed or columns < 80
    (policy,) = filled.data("list")
    assert columns < 40 or policy["id"][:8] in squeezed or columns < 80


def test_a_run_on_a_terminal(filled: Command) -> None:
    """On a terminal the lines of a run are the same as in a pipe, whatever the progress bar did in between."""
    filled.ok("release", filled.data("list-holds")[0]["id"])
    out = filled.terminal(200, "run", "--cutoff-day=2024-07-01")
    assert out.count("done: main.metrics: ") == 6
    assert "6 steps done on 2 partitions and 60 rows" in out


def test_names_that_the_terminal_can_not_show(command: Command) -> None:
    """Where the encoding lacks a character an escape is written, and the command goes on."""
    command.ok("create", "--strategy=delete", "--table-name=wörter", "--retention-period=1d")
    outcome = command.process("list", environment={"PYTHONIOENCODING": "ascii"})
    assert (outcome.code, outcome.err) == (0, "")
    assert "w\\xf6rter" in outcome.out


@pytest.mark.parametrize(
    "args", [["jobs"], ["jobs", "--format=json"], ["status"], ["list", "--format=yaml"]], ids=" ".join
)
def test_a_closed_pipe_is_no_error(filled: Command, args: list[str]) -> None:
    """A reader that has seen enough, like ``head``, ends the command quietly."""
    with subprocess.Popen(
        argv(*args), env=filled.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        err = process.stderr.read()
        assert (process.wait(60), err) == (0, "")


def test_a_run_goes_on_when_nobody_reads(filled: Command) -> None:
    """A run does all of its work although the reader of its lines went away."""
    filled.ok("release", filled.data("list-holds")[0]["id"])
    with subprocess.Popen(
        argv("run", "--cutoff-day=2024-07-01"), env=filled.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(60) == 0
    assert filled.data("plan", "--cutoff-day=2024-07-01")["tasks"] == []


@pytest.mark.parametrize(("level", "logged"), [("warning", True), ("error", False)])
def test_a_level_is_heeded(filled: Command, level: str, logged: bool) -> None:
    """What is below the level that is asked for is not logged."""
    outcome = filled.process(f"--log-level={level}", "list-policies", "--tags=not:nosuch")
    assert ("tag nosuch: no policy has it" in outcome.err, outcome.code) == (logged, 0)


@pytest.mark.parametrize("how", ["option", "variable"])
def test_a_log_for_programs(filled: Command, how: str) -> None:
    """With the format `json`, each line of the log is an object."""
    more, environment = (
        (["--log-format=json"], {}) if how == "option" else ([], {"CRATEDB_RETENTION_LOG_FORMAT": "json"})
    )
    outcome = filled.process(*more, "list-policies", "--tags=not:nosuch", environment=environment)
    [line] = outcome.err.splitlines()
    assert "tag nosuch: no policy has it" in json.loads(line)["message"]


def test_verbose_and_debug_log_to_stderr(filled: Command) -> None:
    """The options of the group add a log on stderr; what is written to stdout stays the same."""
    plain, verbose, debug = (
        filled.process(*more, "list-policies", "--format=json") for more in ([], ["--verbose"], ["--debug"])
    )
    assert plain.out == verbose.out == debug.out
    assert plain.err == ""
    assert {plain.code, verbose.code, debug.code} == {0}
