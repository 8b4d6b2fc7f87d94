"""
The documentation is built: as a site, without a warning, with all pages in it; and as pages for ``man``.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import man
from cratedb_retention.cli.main import COMMANDS
from support.markdown import ROOT


def build(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """Build a site as `make docs` does."""
    options = ["--builder", "html", "--no-color", "--fail-on-warning", "--keep-going", "--nitpicky", "--quiet"]
    command = [sys.executable, "-m", "sphinx", *options, "--doctree-dir", str(target / ".doctrees")]
    return subprocess.run([*command, str(source), str(target)], capture_output=True, text=True, check=False, cwd=ROOT)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site."""
    target = tmp_path_factory.mktemp("site")
    result = build(ROOT / "docs", target)
    assert (result.returncode, result.stderr) == (0, "")
    return target


class Page(HTMLParser):
    """The links and pictures of a page, and the identifiers that can be linked to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.loaded: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what the tag names."""
        found = dict(attrs)
        self.ids.add(found.get("id") or "")
        if tag == "a" and found.get("href"):
            self.targets.append(str(found["href"]))
        if tag in ("img", "script", "iframe") and found.get("src"):
            self.loaded.append(str(found["src"]))
        if tag == "link" and found.get("rel") == "stylesheet":
            self.loaded.append(str(found["href"]))


@pytest.mark.slow("the site is built for all of these tests")
@pytest.mark.long("it builds the whole site; make test builds one of two pages, and checks the links of the sources")
def test_site_has_all_pages(site: Path) -> None:
    """Each page of the documentation is in the site, and can be reached from its first page."""
    index = Page((site / "index.html").read_text(encoding="utf-8"))
    for source in (ROOT / "docs").rglob("*.md"):
        name = source.relative_to(ROOT / "docs").with_suffix(".html").as_posix()
        assert (site / name).exists(), name
        assert name == "index.html" or name in index.targets, name


@pytest.mark.long("it builds the whole site; make test builds one of two pages, and checks the links of the sources")
def test_links_of_the_site_lead_somewhere(site: Path) -> None:
    """Each link of the site to itself leads to a page and a place in it, and nothing is loaded from elsewhere."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    broken = []
    for path, page in pages.items():
        if path.name in ("search.html", "genindex.html"):
            continue
        assert not [each for each in page.loaded if "//" in each], path
        for target in (*page.targets, *page.loaded):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, fragment = target.partition("?")[0].partition("#")
            file = (path.parent / name).resolve() if name else path
            if not file.exists() or (fragment and file in pages and fragment not in pages[file].ids):
                broken.append((path.name, target))
    assert broken == []


@pytest.mark.long("it builds the whole site; make test builds one of two pages, and checks the links of the sources")
def test_pages_of_the_root_are_shown(site: Path) -> None:
    """Pages for which the site has a page of its own are shown there as a whole, with links that work there."""
    text = (site / "contributing.html").read_text(encoding="utf-8")
    assert "Test with a real CrateDB" in text
    assert 'href="architecture.html#laws"' in text


@pytest.mark.long("make test builds the site")
def test_warnings_fail_the_build(tmp_path: Path) -> None:
    """In a site of two pages, a link to a heading that is not there is the one warning, and fails the build."""
    source = tmp_path / "project" / "docs"
    (source / "how-to").mkdir(parents=True)
    shutil.copy(ROOT / "docs" / "conf.py", source)
    shutil.copytree(ROOT / "docs" / "static", source / "static")
    (source.parent / "src").symlink_to(ROOT / "src")
    (source / "index.md").write_text("# Index\n\n[x](how-to/page.md#page)\n", encoding="utf-8")
    (source / "how-to" / "page.md").write_text("# Page\n\n[x](../index.md#nowhere)\n", encoding="utf-8")
    result = build(source, tmp_path / "site")
    assert result.returncode == 1
    assert re.findall("WARNING: .*", result.stderr) == [
        "WARNING: local id not found in doc 'index': 'nowhere' [myst.xref_missing]"
    ]


@pytest.fixture(scope="module")
def manuals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The man pages."""
    folder = tmp_path_factory.mktemp("man")
    man.main([str(folder)])
    return folder


def test_each_command_has_a_man_page(manuals: Path) -> None:
    """There is a page for each command, and one for all of them, with options and exit codes."""
    names = {"cratedb-retention.1", *(f"cratedb-retention-{name}.1" for name in COMMANDS)}
    assert {path.name for path in manuals.iterdir()} == names
    text = (manuals / "cratedb-retention-run.1").read_text(encoding="utf-8")
    assert text.startswith('.TH "CRATEDB-RETENTION-RUN" "1" ')
    for wanted in (".SH EXIT STATUS", r"\-\-cutoff\-day", "cratedb\\-retention run \\-\\-due\n"):
        assert wanted in text


def test_man_pages_are_right(manuals: Path, mandoc: str) -> None:
    """mandoc finds nothing wrong with any page, and shows what it should."""
    pages = [str(path) for path in sorted(manuals.iterdir())]
    checked = subprocess.run([mandoc, "-Tlint", *pages], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    shown = subprocess.run(
        [mandoc, "-Tascii", str(manuals / "cratedb-retention-verify-snapshots.1")], capture_output=True, check=True
    ).stdout.decode()
    plain = re.sub(".\b", "", shown)
    assert "cratedb-retention verify-snapshots --table-name=metrics" in plain
