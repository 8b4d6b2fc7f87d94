"""The snap: what its description says is so, as far as it can be looked at without building it."""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from cratedb_retention import __version__
from cratedb_retention.service.settings import ServiceSettings, load
from support.deploying import parse_command
from support.markdown import ROOT

SNAP = yaml.safe_load((ROOT / "snap" / "snapcraft.yaml").read_text(encoding="utf-8"))
HOOK = ROOT / "snap" / "hooks" / "install"
(PART,) = SNAP["parts"].values()
SERVICES = {name: app for name, app in SNAP["apps"].items() if "daemon" in app}


def test_frame() -> None:
    """It is confined, on a base with a Python that the program takes, for both architectures."""
    assert (SNAP["base"], SNAP["confinement"]) == ("core24", "strict")
    assert set(SNAP["platforms"]) == {"amd64", "arm64"}
    # Ubuntu 24.04 has Python 3.12.
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "Programming Language :: Python :: 3.12" in project["classifiers"]
    assert len(SNAP["summary"]) < 80
    assert SNAP["license"] == project["license"]


def test_what_is_installed() -> None:
    """It installs this project with what is needed at run time, pinned."""
    assert (PART["plugin"], PART["source"]) == ("python", ".")
    assert PART["python-requirements"] == ["requirements-runtime.lock"]
    assert (ROOT / "requirements-runtime.lock").is_file()


def test_version() -> None:
    """The command that tells the version tells that of the package."""
    assert SNAP["adopt-info"] in SNAP["parts"]
    lines = PART["override-pull"].splitlines()
    assert lines[0] == "craftctl default"
    script = lines[1].replace("craftctl set", "echo")
    done = subprocess.run(["sh", "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == f"version={__version__}\n"


@pytest.mark.parametrize("app", SNAP["apps"].values(), ids=SNAP["apps"])
def test_commands(app: dict[str, Any]) -> None:
    """Each app is a command of the program with options that it has."""
    program, *arguments = shlex.split(app["command"])
    assert program == "bin/cratedb-retention"
    if "daemon" in app:
        assert parse_command(arguments)[0] in ("serve", "run")
    else:
        assert arguments == []


@pytest.mark.parametrize("app", SERVICES.values(), ids=SERVICES)
def test_services(app: dict[str, Any], tmp_path: Path) -> None:
    """Services are off until an operator sets the address of the database, and have longer to end than they take."""
    assert app["install-mode"] == "disable"
    assert int(app["stop-timeout"].removesuffix("s")) > ServiceSettings().patience
    subprocess.run([HOOK], env={**os.environ, "SNAP_COMMON": str(tmp_path)}, check=True)
    environment = {name: text.replace("$SNAP_COMMON", str(tmp_path)) for name, text in app["environment"].items()}
    assert load(environment, None).file == tmp_path / "config.toml"


def test_the_hook_writes_settings_once(tmp_path: Path) -> None:
    """At first it writes a file that root alone can read, valid once its comments are settings; later it lets it be."""
    config = tmp_path / "config.toml"
    subprocess.run([HOOK], env={**os.environ, "SNAP_COMMON": str(tmp_path)}, check=True)
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    first, *lines = config.read_text(encoding="utf-8").splitlines()
    config.write_text("\n".join([first, *(line.removeprefix("# ") for line in lines)]), encoding="utf-8")
    settings = load({}, str(config)).settings
    assert (settings.database.uri or "").startswith("crate://")
    assert settings.http.listen == "127.0.0.1:8080"
    before = config.read_bytes()
    subprocess.run([HOOK], env={**os.environ, "SNAP_COMMON": str(tmp_path)}, check=True)
    assert config.read_bytes() == before


def test_the_timer_is_every_five_minutes() -> None:
    """The day is divided into as many parts as it has five minutes."""
    span, _, parts = SNAP["apps"]["due"]["timer"].partition("/")
    assert span == "00:00-24:00"
    assert int(parts) == 24 * 60 / 5
