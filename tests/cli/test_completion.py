"""
The Tab key: commands, options and values are completed in real shells, by what click writes for each of them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cratedb_retention.cli.main import COMMANDS
from support.forkserver import fork_server
from support.missing import not_found

# What bash does when somebody presses Tab at the end of a line: it sets these variables and calls the function that is
# registered for the command.
IN_BASH = """
source <(_CRATEDB_RETENTION_COMPLETE=bash_source cratedb-retention)
registered=$(complete -p cratedb-retention)
function=${registered#* -F }
function=${function%% *}
COMP_WORDS=("$@")
COMP_CWORD=$(( $# - 1 ))
$function cratedb-retention
printf '%s\\n' "${COMPREPLY[@]}"
"""


def in_shell(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run something that finds the program."""
    path = f"{fork_server().programs}{os.pathsep}{os.environ['PATH']}"
    own = {key: value for key, value in os.environ.items() if not key.startswith("CRATEDB_")}
    return subprocess.run(
        command, env={**own, "PATH": path, **variables}, capture_output=True, text=True, check=False, timeout=60
    )


def offered(*words: str) -> list[str]:
    """What bash offers for the last of these words."""
    done = in_shell("bash", "-c", IN_BASH, "bash", "cratedb-retention", *words)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["verify"], ["verify-rollups", "verify-snapshots"]),
        (["--ver"], ["--verbose", "--version"]),
        (["create-policy", "--strat"], ["--strategy"]),
        (["add", "--strat"], ["--strategy"]),
        (["--debug", "plan", "--cutoff"], ["--cutoff", "--cutoff-day"]),
        (["run", "--format", ""], ["table", "json", "yaml"]),
        (["edit-policy", "--strategy", "d"], ["delete", "downsample"]),
        (["edit-policy", "--misfire", ""], ["catch-up", "skip"]),
        (["no-such-command", "--x"], []),
    ],
)
def test_bash_completes(words: list[str], expected: list[str]) -> None:
    """Bash offers commands, options, also of an alias and after options of the program, and values."""
    assert offered(*words) == expected


def test_bash_offers_all_commands() -> None:
    """Without a word, each command is offered, once."""
    assert sorted(offered("")) == sorted(COMMANDS)


def test_names_of_commands_need_no_command() -> None:
    """Completing the name of a command imports none of them, nor a database driver: it is quick."""
    code = (
        "import sys\nfrom cratedb_retention.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print([n for n in sys.modules if n.split('.')[0] in ('sqlalchemy', 'pydantic', 'duckdb', 'rich')])\n"
        "print([n for n in sys.modules if n == 'cratedb_retention.cli.runs'])\n"
    )
    variables = {"_CRATEDB_RETENTION_COMPLETE": "bash_complete", "COMP_WORDS": "cratedb-retention r", "COMP_CWORD": "1"}
    done = in_shell(sys.executable, "-c", code, **variables)
    assert done.stdout.splitlines() == [
        *(f"plain,{name}" for name in ("run", "restore", "release", "revoke-token")),
        "[]",
        "[]",
    ]


@pytest.mark.skipif(shutil.which("zsh") is None, reason=not_found("zsh"))
def test_zsh_completes() -> None:
    """What click writes for zsh is loaded by it, and asks for commands with what they do."""
    script = """
    autoload -Uz compinit && compinit -u -D
    eval "$(_CRATEDB_RETENTION_COMPLETE=zsh_source cratedb-retention)"
    print -r -- ${_comps[cratedb-retention]}
    COMP_WORDS='cratedb-retention verify' COMP_CWORD=1 _CRATEDB_RETENTION_COMPLETE=zsh_complete cratedb-retention
    """
    done = in_shell("zsh", "-f", "-c", script)
    lines = done.stdout.splitlines()
    assert lines[0] == "_cratedb_retention_completion", done.stderr
    assert "verify-rollups" in lines
    assert "Read snapshots back and compare them." in lines


@pytest.mark.skipif(shutil.which("fish") is None, reason=not_found("fish"))
def test_fish_completes(tmp_path: Path) -> None:
    """Fish offers commands and options, with what they do."""
    script = """
    _CRATEDB_RETENTION_COMPLETE=fish_source cratedb-retention | source
    complete --do-complete 'cratedb-retention verify'
    complete --do-complete 'cratedb-retention plan --cutoff-'
    """
    done = in_shell("fish", "--no-config", "-c", script, HOME=str(tmp_path), XDG_DATA_HOME=str(tmp_path))
    assert done.stdout.splitlines()[:2] == [
        "verify-rollups\tCompare each rollup with its source.",
        "verify-snapshots\tRead snapshots back and compare them.",
    ], done.stderr
    assert "--cutoff-day" in done.stdout
