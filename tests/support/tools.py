"""
Tools that tests use: found on this machine, or built once and kept for all workers and later runs.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest

from support.missing import not_found

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cratedb-retention-tests"


def find_tool(name: str) -> str | None:
    """Where a program is: on the path, or where ``go install`` puts it."""
    go = Path(os.environ.get("GOBIN") or Path(os.environ.get("GOPATH") or Path.home() / "go", "bin"))
    return shutil.which(name) or shutil.which(name, path=str(go))


def find_chromium() -> str | None:
    """The browser, if there is one."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def find_axe() -> Path | None:
    """The script that looks for mistakes in pages, as a package brings it; None without the package."""
    found = find_spec("axe_playwright_python")
    return Path(found.origin).with_name("axe.min.js") if found and found.origin else None


def missing_tools(*names: str) -> list[str]:
    """Those of these programs that are not on this machine."""
    return [name for name in names if find_tool(name) is None]


def require_tool(name: str) -> str:
    """Where a program is; the test is skipped without it."""
    skip_without(missing_tools(name))
    return find_tool(name) or name


def skip_without(missing: Iterable[str]) -> None:
    """Skip the test if anything is missing."""
    for name in missing:
        pytest.skip(not_found(name))


def call(*command: str, text: str | None = None) -> str:
    """What a program writes; it must succeed."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


def build_once(name: str, sources: Sequence[str], build: Callable[[Path], object], cache: Path = CACHE) -> Path:
    """
    The file or directory that a build makes, from the cache if it was built from the same sources before.

    Other processes that want the same wait. A build that fails or is killed leaves nothing that a later one finds.

    :param sources: What the result depends on.
    :param build: Makes the file or directory at a path; nothing is there yet.
    """
    key = hashlib.sha256(json.dumps(sources).encode()).hexdigest()[:16]
    result, partial = cache / f"{name}-{key}", cache / f"{name}-{key}.partial"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{name}-{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not result.exists():
            subprocess.run(["rm", "-rf", partial], check=True)
            build(partial)
            partial.rename(result)
    return result
