"""The jobs for Nomad and the pack for Nomad Pack, as far as their text tells; Nomad's own types are another file's."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cratedb_retention import __version__
from cratedb_retention.service.settings import names, variable
from support.deploying import parse_command
from support.markdown import ROOT

JOBS = sorted((ROOT / "deploy" / "nomad").glob("*.nomad.hcl"))
PACK = ROOT / "deploy" / "nomad-pack" / "cratedb_retention"
FILES = [*JOBS, *sorted(PACK.rglob("*.nomad.tpl"))]


def test_version() -> None:
    """Each job has the image of this version, and the pack this version."""
    for path in JOBS:
        assert f'default = "cratedb-retention:{__version__}"' in path.read_text(encoding="utf-8")
    assert re.search(rf'version\s+= "{re.escape(__version__)}"', (PACK / "metadata.hcl").read_text(encoding="utf-8"))


def test_no_secret_is_written_down() -> None:
    """No file holds an address of a database but a placeholder."""
    for path in [*JOBS, *PACK.rglob("*.*")]:
        assert set(re.findall(r"crate://\S*", path.read_text(encoding="utf-8"))) <= {"crate://..."}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_commands(path: Path) -> None:
    """The program knows the commands and options of each task, with a value in the place of each variable."""
    text = re.sub(r"\[\[ var .*?\]\]", "1", path.read_text(encoding="utf-8"))
    text = re.sub(r"\[\[.*?\]\]", "", text).replace("${NOMAD_TASK_DIR}/policies.yaml", "-")
    arguments = [json.loads(found) for found in re.findall(r"\bargs\s*= (\[.*\])", text)]
    assert len(arguments) == len(re.findall(r"^\s*task ", text, re.MULTILINE)) > 0
    for each in arguments:
        assert parse_command(each)[0] in ("setup", "apply", "run", "serve")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_settings(path: Path) -> None:
    """The program knows the settings of each task."""
    found = set(re.findall(r"^\s*(CRATEDB_\w+)\s*=", path.read_text(encoding="utf-8"), re.MULTILINE))
    assert "CRATEDB_URI_FILE" in found
    known = {variable(name) for name in names()}
    assert {name.removesuffix("_FILE") for name in found} <= known
