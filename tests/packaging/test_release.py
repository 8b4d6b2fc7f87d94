"""
What a release is made of: one version, changes in order, and a workflow that builds everything.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import cratedb_retention

ROOT = Path(__file__).parent.parent.parent
SCRIPT = ROOT / "packaging" / "release.py"


@pytest.fixture(scope="module")
def release() -> ModuleType:
    """The script, which is no part of the package."""
    spec = importlib.util.spec_from_file_location("release", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of version 0.2.0, whose changes are to be written."""
    package = tmp_path / "src" / "cratedb_retention"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('"""It."""\n\n__version__ = "0.2.0"\n', encoding="utf-8")
    return tmp_path


def test_this_version_has_its_changes(release: ModuleType) -> None:
    """CHANGES.md is in order, and begins with the version that the package has."""
    assert release.notes().version == release.read_version() == cratedb_retention.__version__


def test_a_tag_is_released_once_all_agrees(release: ModuleType, project: Path) -> None:
    """The tag is the version, and CHANGES.md has a day and a text for it."""
    changes = "# Changes\n\n## 0.2.0 - 2026-12-01\n\n- More.\n\n## 0.1.0 - 2026-11-01\n\n- All.\n"
    (project / "CHANGES.md").write_text(changes, encoding="utf-8")
    release.check("v0.2.0", project)
    assert release.notes(project).text == "- More."
    with pytest.raises(release.NotReady, match=r"tag v0\.2\.0"):
        release.check("v0.2.1", project)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ("## 0.2.0 - unreleased\n\n- More.\n", "is unreleased"),
        ("## 0.2.0 - 2026-12-01\n\n", "does not begin with what changed"),
        ("## 0.3.0 - 2026-12-01\n\n- More.\n", "does not begin with what changed"),
        ("## 0.2.0\n\n- More.\n", "is not like"),
        ("## 0.2.0 - soon\n\n- More.\n", "is not like"),
        ("## 0.2.0 - 2026-12-01\n\n- A.\n\n## 0.10.0 - 2026-11-01\n\n- B.\n", "can't stand above"),
        ("## 0.2.0 - 2026-10-01\n\n- A.\n\n## 0.1.0 - 2026-11-01\n\n- B.\n", "can't stand above"),
        ("## 0.2.0 - 2026-10-01\n\n- A.\n\n## 0.1.0 - unreleased\n\n- B.\n", "can't stand above"),
    ],
)
def test_what_does_not_agree_is_not_released(release: ModuleType, project: Path, changes: str, reason: str) -> None:
    """A release without a day, a text, or in the wrong order is refused with the reason."""
    (project / "CHANGES.md").write_text(f"# Changes\n\n{changes}", encoding="utf-8")
    with pytest.raises(release.NotReady, match=reason):
        release.check("v0.2.0", project)


def test_the_script_says_what_is_wrong_in_one_line() -> None:
    """The workflow shows that line."""
    done = subprocess.run([sys.executable, SCRIPT, "check", "v999"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: the tag is v999, ") and done.stderr.count("\n") == 1
