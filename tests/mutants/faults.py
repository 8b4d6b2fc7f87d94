"""
Faults as data: what is replaced by what, which promise that breaks, and which tests should notice.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from mutants.promises import PROMISES

DIRECTORY = Path(__file__).parent / "faults"
PACKAGE = Path("src", "cratedb_retention")
_PYTHON = ".py"
# What a fault may need to be noticed: a CrateDB, or a cluster of three nodes.
NEEDS = ("", "cratedb", "cluster")


class Misplaced(Exception):
    """A fault that can't be applied to the code as it is."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """
    A fault.

    :param id: What is wrong with the code then, in a few words.
    :param breaks: The law, guard or rule of access, see :mod:`mutants.promises`.
    :param promise: What the documentation says, and what is not so any more.
    :param file: Below the package, e.g. ``planning/pieces.py``.
    :param was: Text that is there exactly once.
    :param tests: Files, or tests in them, that should fail.
    :param needs: One of :data:`NEEDS`.
    """

    id: str
    breaks: str
    promise: str
    file: str
    was: str
    becomes: str
    tests: tuple[str, ...]
    needs: str = ""

    @property
    def path(self) -> Path:
        """The file below the project."""
        return PACKAGE / self.file

    @property
    def module(self) -> str:
        """The name of the module that is changed; of the package, if the file is a script of pages."""
        path = Path(self.file)
        parts = ("cratedb_retention", *(path.with_suffix("").parts if path.suffix == _PYTHON else ()))
        return ".".join(parts).removesuffix(".__init__")

    def apply(self, text: str) -> str:
        """
        The text of the file with the fault.

        :raises Misplaced: if what is to be replaced is not there exactly once, or the result is no Python.
        """
        found = text.count(self.was)
        if found != 1:
            raise Misplaced(f"{self.file} has the text {found} times")
        changed = text.replace(self.was, self.becomes)
        if changed == text:
            raise Misplaced("nothing is replaced")
        try:
            if self.path.suffix == _PYTHON:
                compile(changed, self.file, "exec")
        except SyntaxError as error:
            raise Misplaced(f"{self.file} is no Python any more: {error}") from None
        return changed


def read_faults(directory: Path = DIRECTORY) -> list[Fault]:
    """All faults, in the order of the files."""
    found = []
    for path in sorted(directory.glob("*.toml")):
        for row in tomllib.loads(path.read_text(encoding="utf-8")).get("fault", ()):
            found.append(_read(path, row))
    return found


def _read(path: Path, row: dict[str, object]) -> Fault:
    try:
        fault = Fault(**{**row, "tests": tuple(row["tests"])})  # type: ignore[arg-type]
    except (TypeError, KeyError) as error:
        raise Misplaced(f"{path.name}, {row.get('id', row)}: {error}") from None
    if fault.breaks not in PROMISES or fault.needs not in NEEDS:
        raise Misplaced(f"{path.name}, {fault.id}: {fault.breaks!r} or {fault.needs!r} is not known")
    return fault


def choose(faults: Iterable[Fault], names: Sequence[str], breaks: Sequence[str]) -> list[Fault]:
    """
    Some of the faults.

    :param names: Patterns of their names; empty: any.
    :param breaks: Patterns of what they break; empty: any.
    """
    return [
        fault
        for fault in faults
        if (not names or any(fnmatchcase(fault.id, name) for name in names))
        and (not breaks or any(fnmatchcase(fault.breaks, each) for each in breaks))
    ]
