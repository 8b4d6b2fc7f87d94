"""
What a release needs to know: its version, which stands in the package alone, and what CHANGES.md says of it.

    python packaging/release.py version      print the version
    python packaging/release.py notes        print what changed
    python packaging/release.py check v1.2.3 complain unless this tag can be released
"""

from __future__ import annotations

import argparse
import itertools
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
UNRELEASED = "unreleased"


class NotReady(Exception):
    """The reason why no release is possible."""


@dataclass(frozen=True)
class Section:
    """
    What CHANGES.md says of a version.

    :param date: The day of the release, as ``2026-12-01``, or ``unreleased``.
    """

    version: str
    date: str
    text: str

    @property
    def order(self) -> tuple[int, ...]:
        """The key for comparing versions."""
        return tuple(map(int, re.findall(r"\d+", self.version)))


def read_version(root: Path = ROOT) -> str:
    """The version of the package, without importing it."""
    text = (root / "src/cratedb_retention/__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if found is None:
        raise NotReady("src/cratedb_retention/__init__.py has no __version__")
    return found[1]


def read_changes(root: Path = ROOT) -> list[Section]:
    """The entries of CHANGES.md, newest first."""
    text = (root / "CHANGES.md").read_text(encoding="utf-8")
    _, *parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    sections = []
    for head, body in zip(parts[::2], parts[1::2], strict=True):
        version, dash, date = head.partition(" - ")
        if not dash or not re.fullmatch(rf"\d{{4}}-\d\d-\d\d|{UNRELEASED}", date):
            raise NotReady(f"CHANGES.md: {head!r} is not like '0.1.0 - 2026-12-01' or '0.1.0 - {UNRELEASED}'")
        sections.append(Section(version, date, body.strip()))
    return sections


def check_order(sections: Sequence[Section]) -> None:
    """
    Versions and days grow from the bottom to the top, and only the topmost may be still to come.

    :raises NotReady: if they do not.
    """
    for newer, older in itertools.pairwise(sections):
        if newer.order <= older.order or older.date == UNRELEASED or newer.date < older.date:
            raise NotReady(
                f"CHANGES.md: {newer.version} ({newer.date}) can't stand above {older.version} ({older.date})"
            )


def notes(root: Path = ROOT) -> Section:
    """
    The changes of the present version.

    :raises NotReady: if CHANGES.md does not begin with this version, or has no text for it.
    """
    sections, version = read_changes(root), read_version(root)
    check_order(sections)
    if not sections or sections[0].version != version or not sections[0].text:
        raise NotReady(f"CHANGES.md does not begin with what changed in {version}, the version of the package")
    return sections[0]


def check(tag: str, root: Path = ROOT) -> None:
    """
    Whether a tag can be released.

    :raises NotReady: if it can't.
    """
    section = notes(root)
    if tag != f"v{section.version}":
        raise NotReady(f"the tag is {tag}, and the version of the package is {section.version}: tag v{section.version}")
    if section.date == UNRELEASED:
        raise NotReady(f"CHANGES.md says that {section.version} is {UNRELEASED}: write the day of the release there")


def main(arguments: Sequence[str]) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Version and notes of a release.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("version", help="print the version")
    commands.add_parser("notes", help="print what changed")
    commands.add_parser("check", help="complain unless this tag can be released").add_argument("tag")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "check":
            check(chosen.tag)
        else:
            print(read_version() if chosen.command == "version" else notes().text)
    except NotReady as reason:
        print(f"Error: {reason}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
