"""
What builds the packages for Linux refuses what does not fit, and names versions and dependencies as each format does.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from build_packages import NFPM, depends, main, semver
from elf import Needs, Unfit
from shipped import write_changelog, write_units
from support.markdown import ROOT


def test_units_that_changed_are_noticed(tmp_path: Path) -> None:
    """Where a unit no longer says what the packages replace, nothing is built, rather than something wrong."""
    (tmp_path / "units").mkdir()
    (tmp_path / "units" / "x.service").write_text("[Service]\nExecStart=/opt/cratedb-retention serve\n")
    with pytest.raises(Unfit, match="ExecStart=/usr/local/bin/"):
        write_units(tmp_path / "units", tmp_path / "out")


def test_headings_are_not_in_the_changelog(tmp_path: Path) -> None:
    """Each entry of CHANGES.md is a note of the changelog, without the headings between them."""
    changes = "# Changes\n\n## 0.2.0 - unreleased\n\n### A\n\n- One,\n  still.\n\n### B\n\n- Two.\n"
    write_changelog(changes, "0.2.0-1", "x <x@example.org>", datetime(2026, 12, 1, tzinfo=UTC), tmp_path / "log")
    (entry,) = yaml.safe_load((tmp_path / "log").read_text())
    assert [each["note"] for each in entry["changes"]] == ["One, still.", "Two."]


def test_an_apk_needs_a_python_for_musl() -> None:
    """Without an interpreter for musl an apk is refused, before anything is built."""
    done = CliRunner().invoke(main, ["--format=apk"])
    assert done.exit_code == 1
    assert "apk needs a CPython for musl: MUSL_PYTHON_PREFIX=" in done.output


@pytest.mark.parametrize(
    ("prefix", "reason"), [("/usr", "the system's Python is no use"), ("/nowhere", "there is no Python")]
)
def test_interpreters_that_do_not_do(prefix: str, reason: str, tmp_path: Path) -> None:
    """An interpreter that can't be moved elsewhere, or is none, is refused."""
    if prefix == "/nowhere":
        prefix = str(tmp_path)
    done = CliRunner().invoke(main, ["--format=deb", f"--python-prefix={prefix}", f"--work={tmp_path}"])
    assert done.exit_code == 1
    assert reason in done.output


@pytest.mark.parametrize(
    ("version", "expected"),
    [("0.2.0", "0.2.0"), ("0.2.0a1", "0.2.0-alpha1"), ("0.2.0b2", "0.2.0-beta2"), ("1.2.0rc3", "1.2.0-rc3")],
)
def test_versions(version: str, expected: str) -> None:
    """nfpm gets versions in its own notation."""
    assert semver(version) == expected


def test_versions_that_no_package_can_have() -> None:
    """A version without a counterpart in all formats is refused, rather than sorted wrongly."""
    for version in ("0.2.0.dev1", "0.2.0.post1", "0.2.0+local", "1!0.2.0"):
        with pytest.raises(Unfit, match="packages are of versions like"):
            semver(version)


def test_what_is_required() -> None:
    """Each format names what the programs need in the words of its system."""
    needs = Needs("glibc", {"GLIBC": "2.17", "GLIBCXX": "3.4.22"}, ("libstdc++.so.6", "libgcc_s.so.1"))
    assert depends("deb", needs) == ["libc6 (>= 2.17)", "libstdc++6 (>= 6)", "libgcc-s1"]
    assert depends("rpm", needs)[1] == "libstdc++.so.6(GLIBCXX_3.4.22)(64bit)"
    assert depends("archlinux", needs) == ["glibc>=2.17", "gcc-libs"]
    assert depends("apk", Needs("musl", {}, ()))[0].startswith("so:libc.musl-")
    with pytest.raises(Unfit, match="does not know"):
        depends("deb", replace(needs, versions={"GLIBCXX": "3.4.99"}))


def test_one_version_of_nfpm() -> None:
    """The documentation names the version of nfpm that the packages are built with."""
    assert NFPM in (ROOT / "docs" / "how-to" / "linux-packages.md").read_text(encoding="utf-8")
