"""What the pages about schedules say is so: expressions, units, crontab line and DAG."""

from __future__ import annotations

import ast
import datetime as dt
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cratedb_retention import Retention
from cratedb_retention.clock import Clock
from cratedb_retention.model.schedule import NICKNAMES, following
from support.forkserver import fork_server
from support.markdown import ROOT

PAGE = (ROOT / "docs" / "reference" / "scheduling.md").read_text(encoding="utf-8")
CRON = (ROOT / "docs" / "how-to" / "cron-and-systemd.md").read_text(encoding="utf-8")
UNITS = sorted((ROOT / "deploy" / "systemd").iterdir())
DAG = ROOT / "examples" / "airflow_dag.py"


def test_nicknames() -> None:
    """The table of nicknames is complete and right."""
    rows = re.findall(r"^\| (`@.*) \| `(.*)` \|$", PAGE, re.MULTILINE)
    said = {name: expression for names, expression in rows for name in re.findall(r"`(@\w+)`", names)}
    assert said == NICKNAMES


@pytest.mark.parametrize(("start", "slot"), [("2024-03-31T00:00Z", "01:00"), ("2024-10-27T00:00Z", "00:30")])
def test_clocks_that_are_changed(start: str, slot: str) -> None:
    """Right after the gap, and at the first of two: in UTC 01:00 is 03:00 in Vienna, and 00:30 the first 02:30."""
    found = following("30 2 * * *", "Europe/Vienna", dt.datetime.fromisoformat(start))
    assert found is not None
    assert f"{found:%H:%M}" == slot


@pytest.fixture
def uri(tmp_path: Path) -> str:
    """A database with a policy whose slot is due."""
    uri = f"duckdb:///{tmp_path / 'test.duckdb'}"
    then = Clock(now=lambda: dt.datetime(2024, 1, 1, tzinfo=dt.UTC), sleep=lambda seconds: None, shared=True)
    with Retention(uri, create=True, clock=then) as retention:
        retention.setup()
    return uri


def run_line(line: str, uri: str) -> str:
    """Run a line as a shell does that finds the program."""
    path = f"{fork_server().programs}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "CRATEDB_URI": uri}
    done = subprocess.run(["bash", "-c", line], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def done_slots(uri: str) -> int:
    """How many policies have a slot that is done."""
    with Retention(uri) as retention:
        return sum(lease.done_slot is not None for lease in retention.store.leases.read().by_policy.values())


def test_the_line_for_cron(uri: str, tmp_path: Path) -> None:
    """The crontab line has five fields and a command that runs what is due."""
    (line,) = re.findall(r"^(\*/5 .*--due.*)$", CRON, re.MULTILINE)
    *fields, command = line.split(maxsplit=5)
    assert len(fields) == 5
    assert following(" ".join(fields), "UTC", dt.datetime(2024, 1, 1, tzinfo=dt.UTC)) is not None
    log = tmp_path / "retention.log"
    run_line(command.replace("crate://localhost:4200/", uri).replace("/var/log/retention.log", str(log)), uri)
    assert '"ok": true' in log.read_text()
    assert done_slots(uri) == 1


def test_the_dag(uri: str) -> None:
    """The DAG is valid Python, and what its operator calls runs what is due."""
    tree = ast.parse(DAG.read_text(encoding="utf-8"))
    compile(tree, str(DAG), "exec")
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "BashOperator"]
    (command,) = (ast.literal_eval(word.value) for word in calls[0].keywords if word.arg == "bash_command")
    assert '"ok": true' in run_line(command, uri)
    assert done_slots(uri) == 1


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_units_for_systemd(tmp_path: Path) -> None:
    """systemd finds nothing wrong with the units, and they call commands that exist."""
    assert len(UNITS) == 3
    for unit in UNITS:
        text = unit.read_text(encoding="utf-8")
        for command in re.findall(r"ExecStart=\S+ (.*)", text):
            assert command in ("serve", "run --due")
        (tmp_path / unit.name).write_text(
            text.replace("/usr/local/bin/cratedb-retention", str(fork_server().programs / "cratedb-retention"))
        )
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / unit.name) for unit in UNITS)],
        capture_output=True,
        text=True,
        check=False,
    )
    complaints = [line for line in checked.stderr.splitlines() if "cratedb-retention" in line]
    assert (checked.returncode, complaints) == (0, [])
