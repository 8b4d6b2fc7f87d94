"""
What a package holds beside the program: units of systemd, man pages, completions, changelog, copyright.

All of it follows from the project: the units from ``deploy/systemd``, pages and completions from the commands, the
changelog from ``CHANGES.md``, the copyright from what the installed packages say of themselves.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import Distribution, distributions
from pathlib import Path

import click
import yaml
from click.shell_completion import get_completion_class

from elf import Unfit
from python_environment import HOME, Environment

PROGRAM = "cratedb-retention"
# The units are written for `pip install` by hand; the packages have their own place, and a user of their own.
_IN_UNITS: Mapping[str, str] = {
    "ExecStart=/usr/local/bin/": "ExecStart=/usr/bin/",
    "DynamicUser=yes\n": f"User={PROGRAM}\nGroup={PROGRAM}\nStateDirectory={PROGRAM}\nStateDirectoryMode=0750\n",
}
_COMPLETIONS = {"bash": PROGRAM, "zsh": f"_{PROGRAM}", "fish": f"{PROGRAM}.fish"}
_COPYRIGHT = """\
cratedb-retention is Copyright (c) The cratedb-retention developers, and licensed under the Apache License, Version 2.0.
On Debian systems its text is in /usr/share/common-licenses/Apache-2.0, elsewhere in
/usr/share/licenses/cratedb-retention/LICENSE.

What it needs is in {home}, each under a license of its own:

CPython {python}: PSF-2.0, {stdlib}/LICENSE.txt{libraries}

Packages for Python, whose licenses and authors are in {stdlib}/site-packages/*.dist-info:

"""


def write_units(source: Path, target: Path) -> None:
    """
    The units, for where the packages put things.

    :raises Unfit: if they no longer say what is replaced.
    """
    target.mkdir(parents=True)
    for unit in sorted(source.iterdir()):
        text = unit.read_text(encoding="utf-8")
        for old, new in _IN_UNITS.items() if unit.suffix == ".service" else ():
            if text.count(old) != 1:
                raise Unfit(f"{unit} has to say {old!r} once: the packages replace it")
            text = text.replace(old, new)
        (target / unit.name).write_text(text, encoding="utf-8")


def pack_man_pages(target: Path) -> None:
    """Compress the man pages, as `man` and all distributions want them."""
    for page in target.glob("*.1"):
        page.with_name(f"{page.name}.gz").write_bytes(gzip.compress(page.read_bytes(), mtime=0))
        page.unlink()


def write_completions(cli: click.Group, target: Path) -> None:
    """What makes the Tab key complete commands and options, for each shell."""
    target.mkdir(parents=True)
    for shell, name in _COMPLETIONS.items():
        kind = get_completion_class(shell)
        if kind is None:
            raise Unfit(f"click has no completion for {shell}")
        (target / name).write_text(kind(cli, {}, PROGRAM, "_CRATEDB_RETENTION_COMPLETE").source(), encoding="utf-8")


def write_changelog(changes: str, version: str, maintainer: str, date: datetime, target: Path) -> None:
    """
    The changelog in the form that nfpm takes.

    :param version: What the newest section is about, with the package's revision.
    :param date: The day of a section that has none yet.
    """
    entries = []
    for number, (title, body) in enumerate(_sections(changes)):
        name, _, day = title.partition(" - ")
        when = datetime.fromisoformat(day).replace(tzinfo=UTC) if re.fullmatch(r"[\d-]{10}", day) else date
        items = re.split(r"^- ", re.sub(r"^#.*$", "", body, flags=re.MULTILINE), flags=re.MULTILINE)[1:]
        notes = [{"note": " ".join(item.split())} for item in items]
        entries.append(
            {
                "semver": version if number == 0 else f"{name}-1",
                "date": when.isoformat(),
                "packager": maintainer,
                "deb": {"urgency": "medium", "distributions": ["stable"]},
                "changes": notes,
            }
        )
    target.write_text(yaml.safe_dump(entries, sort_keys=False, allow_unicode=True), encoding="utf-8")


def write_copyright(environment: Environment, target: Path) -> None:
    """
    What is in the package, by whom, under which licenses.

    :raises Unfit: if that is nowhere said.
    """
    facts = environment.interpreter
    names = ", ".join(path.name for path in environment.libraries if not path.name.startswith("libpython"))
    libraries = f"\nLibraries of the system that the package was built on: {names}" if names else ""
    stdlib = HOME / "lib" / facts.stdlib.name
    text = _COPYRIGHT.format(home=HOME, python=facts.version, stdlib=stdlib, libraries=libraries)
    found = sorted(distributions(path=[str(environment.site)]), key=lambda each: each.name.lower())
    text += "".join(f"{each.name} {each.version}: {_license(each)}\n" for each in found if each.name != PROGRAM)
    target.write_text(text, encoding="utf-8")


def _license(distribution: Distribution) -> str:
    about = {key: distribution.metadata[key] for key in set(distribution.metadata)}
    classifiers = distribution.metadata.get_all("Classifier") or ()
    names = [each.rpartition(" :: ")[2] for each in classifiers if each.startswith("License :: ")]
    said = about.get("License-Expression") or ", ".join(names) or about.get("License") or about.get("License-File")
    if not said:
        raise Unfit(f"{distribution.name} does not say under which license it is")
    return str(said).strip().splitlines()[0]


def _sections(changes: str) -> Iterator[tuple[str, str]]:
    for section in re.split(r"^## ", changes, flags=re.MULTILINE)[1:]:
        title, _, body = section.partition("\n")
        yield title.strip(), body
