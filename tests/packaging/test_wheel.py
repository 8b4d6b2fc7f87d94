"""The sdist, and the wheel that is built from it."""

from __future__ import annotations

import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from cratedb_retention import __version__
from support.markdown import ROOT
from support.tools import call

NAME = f"cratedb_retention-{__version__}"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
# Run the program of a directory, and say where it is.
RUN = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from cratedb_retention.cli import main
print(main.__file__, flush=True)
main.main()
"""


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with both."""
    directory = tmp_path_factory.mktemp("dist")
    call(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(directory), str(ROOT))
    return directory


def test_wheel_has_the_package(dist: Path) -> None:
    """All modules and data files of the package are in the wheel, as they are, and nothing else but the metadata."""
    source = ROOT / "src" / "cratedb_retention"
    expected = {
        f"cratedb_retention/{path.relative_to(source)}": path.read_bytes()
        for path in source.rglob("*")
        if path.is_file() and path.parent.name != "__pycache__"
    }
    with zipfile.ZipFile(dist / f"{NAME}-py3-none-any.whl") as wheel:
        files = {name: wheel.read(name) for name in wheel.namelist()}
    metadata = {name.partition("/")[2]: files.pop(name) for name in list(files) if ".dist-info/" in name}
    assert files == expected
    assert {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"} == set(metadata)
    assert f"\nVersion: {__version__}\n" in metadata["METADATA"].decode()
    assert b"cratedb-retention = cratedb_retention.cli.main:main" in metadata["entry_points.txt"]


def test_wheel_runs(dist: Path, tmp_path: Path) -> None:
    """The program runs from the wheel alone."""
    with zipfile.ZipFile(dist / f"{NAME}-py3-none-any.whl") as wheel:
        wheel.extractall(tmp_path)
    lines = call(sys.executable, "-c", RUN, str(tmp_path), "--version").splitlines()
    assert lines == [str(tmp_path / "cratedb_retention" / "cli" / "main.py"), f"cratedb-retention {__version__}"]


def test_sdist_has_what_is_built_from(dist: Path) -> None:
    """All files and directories that pyproject.toml lists are in the sdist, and nothing that git ignores."""
    with tarfile.open(dist / f"{NAME}.tar.gz") as sdist:
        names = [name.removeprefix(f"{NAME}/") for name in sdist.getnames()]
    included = PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert {f"/{name.split('/')[0]}" for name in names} == {*included, "/pyproject.toml", "/PKG-INFO", "/.gitignore"}
    assert all((ROOT / name.strip("/")).exists() for name in included)
    assert not [name for name in names if "__pycache__" in name or name.endswith((".env", "/cratedb-uri"))]
