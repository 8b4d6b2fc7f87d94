"""Tools that tests build are built once, from what they are built from, and never found half done."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.markdown import ROOT
from support.tools import build_once

KILLED = """
import os, signal, sys
from pathlib import Path
from support.tools import build_once

def build(path):
    path.mkdir()
    (path / "half").touch()
    os.kill(os.getpid(), signal.SIGKILL)

build_once("tool", ["1"], build, Path(sys.argv[1]))
"""


def test_built_once(tmp_path: Path) -> None:
    """Of several that want a tool at the same time one builds it, the others wait; later it is found."""
    builds = []

    def build(path: Path) -> None:
        builds.append(path)
        time.sleep(0.2)
        path.write_text("built")

    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: build_once("tool", ["1"], build, tmp_path), range(4)))
    assert found == {build_once("tool", ["1"], build, tmp_path)}
    assert len(builds) == 1
    assert found.pop().read_text() == "built"


def test_other_sources_make_another_tool(tmp_path: Path) -> None:
    """What was built from other sources, or has another name, is not taken."""
    wanted = [("tool", ["1"]), ("tool", ["2"]), ("tool", ["1", "2"]), ("tool", ["12"]), ("other", ["1"])]
    assert len({build_once(*each, Path.touch, tmp_path) for each in wanted}) == len(wanted)


def test_a_failed_build_is_repeated(tmp_path: Path) -> None:
    """What a build that failed or was killed left is not found, and the next build begins without it."""

    def fail(path: Path) -> None:
        path.mkdir()
        raise ValueError("no compiler")

    with pytest.raises(ValueError, match="no compiler"):
        build_once("tool", ["1"], fail, tmp_path)
    tests = str(Path(__file__).parent)
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    assert subprocess.run(command, env={"PYTHONPATH": tests}, check=False).returncode == -9
    found = build_once("tool", ["1"], Path.mkdir, tmp_path)
    assert list(found.iterdir()) == []


@pytest.mark.long("make check reads the benchmarks; make bench runs them")
def test_benchmarks_start() -> None:
    """`make bench` finds all that it measures with."""
    command = [sys.executable, "-m", "benchmarks", "--help"]
    assert b"rollups" in subprocess.run(command, check=True, cwd=ROOT, capture_output=True).stdout
