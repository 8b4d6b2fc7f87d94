"""
What programs and libraries need of the system they run on, read from their ELF headers with binutils; and changes to
them: where they look for libraries, and no debug sections.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

# What every system has with its C library, and what packages of the system bring: the C++ runtime.
_C_LIBRARY = re.compile(
    r"(lib(c|m|pthread|dl|rt|util|resolv|anl)\.so\.\d+|ld-linux[\w.-]*|linux-vdso[\w.]*"
    r"|libc\.so|libc\.musl-\w+\.so\.1|ld-musl-\w+\.so\.1)"
)
_CPP_RUNTIME = ("libstdc++.so.6", "libgcc_s.so.1")
_MAGIC = b"\x7fELF"


class Unfit(Exception):
    """No package can be built from this; the message has the reason and the remedy."""


@dataclass(frozen=True)
class Needs:
    """
    What a tree of programs needs of the system.

    :param libc: ``glibc`` or ``musl``.
    :param versions: The newest version of each set of symbols, as ``{"GLIBC": "2.35"}``.
    :param runtime: Which libraries of the C++ runtime.
    """

    libc: str
    versions: dict[str, str]
    runtime: tuple[str, ...]


def run(*command: str | Path) -> str:
    """
    Run a program, and return what it wrote.

    :raises Unfit: if there is no such program, or it fails.
    """
    if shutil.which(command[0]) is None:
        raise Unfit(
            f"{command[0]} is missing: apt-get install {'patchelf' if command[0] == 'patchelf' else 'binutils'}"
        )
    done = subprocess.run([str(each) for each in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Unfit(f"{' '.join(map(str, command))}: {done.stderr or done.stdout}")
    return done.stdout


def binaries(tree: Path) -> list[Path]:
    """All programs and libraries in a directory, sorted, without links."""
    files = (path for path in sorted(tree.rglob("*")) if path.is_file() and not path.is_symlink())
    return [path for path in files if _is_elf(path)]


def libc_of(program: Path) -> str:
    """The C library of a program: ``glibc`` or ``musl``."""
    found = re.search(r"program interpreter: (\S+?)\]", run("readelf", "--program-headers", "--wide", program))
    if found is None:
        raise Unfit(f"{program} is linked statically; an interpreter must be able to load libraries")
    return "musl" if "ld-musl" in found[1] else "glibc"


def needed(file: Path) -> list[str]:
    """The libraries that a file needs, without those of the C library."""
    found = re.findall(r"\(NEEDED\).*\[(.*)\]", run("readelf", "--dynamic", "--wide", file))
    return [name for name in found if not _C_LIBRARY.fullmatch(Path(name).name)]


def bundle(tree: Path, prefix: Path, libraries: Path) -> list[Path]:
    """
    Copy into the tree what its files need and neither it nor every system has.

    :param prefix: Where the interpreter was copied from; its libraries come first.
    :param libraries: Where the copies go.
    :returns: the originals.
    :raises Unfit: if a library can't be found.
    """
    copied: list[Path] = []
    waiting = binaries(tree)
    while waiting:
        file = waiting.pop()
        for name in {Path(each).name for each in needed(file)}.difference(_CPP_RUNTIME, _names(tree)):
            source = _find(name, file, prefix)
            target = libraries / name
            shutil.copy(source, target)
            target.chmod(0o644)
            copied.append(source)
            waiting.append(target)
    return sorted(copied)


def look_in(libraries: Path, files: Iterable[Path]) -> None:
    """Let files find the libraries there wherever the whole tree is, where they need them or look elsewhere now."""
    there = {path.name for path in libraries.iterdir()}
    for file in files:
        path = re.search(r"\((?:RPATH|RUNPATH)\).*\[(.*)\]", run("readelf", "--dynamic", "--wide", file))
        absolute = path is not None and "$ORIGIN" not in path[1]
        if absolute or (path is None and there.intersection(needed(file))):
            way = "/".join([".."] * len(file.parent.relative_to(libraries.parent).parts))
            inside = str(libraries.relative_to(libraries.parent))
            origin = "$ORIGIN" if file.parent == libraries else f"$ORIGIN/{way}/{inside}"
            run("patchelf", "--set-rpath", origin, file)


def strip(files: Iterable[Path]) -> None:
    """Strip debugging symbols."""
    for file in files:
        if ".debug_" in run("readelf", "--section-headers", "--wide", file):
            run("strip", "--strip-debug", file)


def needs(tree: Path, program: Path) -> Needs:
    """
    What a finished tree needs of the system.

    :raises Unfit: if that is more than the C library and the C++ runtime.
    """
    files = binaries(tree)
    outside = {Path(name).name for file in files for name in needed(file)} - _names(tree)
    if more := outside.difference(_CPP_RUNTIME):
        raise Unfit(f"neither in the tree nor on every system: {', '.join(sorted(more))}")
    versions: dict[str, str] = {}
    for name, version in _symbol_versions(files):
        versions[name] = max(versions.get(name, "0"), version, key=_sortable)
    return Needs(libc_of(program), versions, tuple(name for name in _CPP_RUNTIME if name in outside))


def _symbol_versions(files: Iterable[Path]) -> Iterator[tuple[str, str]]:
    for file in files:
        wanted = run("readelf", "--version-info", "--wide", file).partition("Version needs section")[2]
        yield from re.findall(r"Name: (GLIBC|GLIBCXX|CXXABI|GCC)_([\d.]+)", wanted)


def _sortable(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _names(tree: Path) -> set[str]:
    return {path.name for path in tree.rglob("*.so*")}


def _find(name: str, file: Path, prefix: Path) -> Path:
    own = prefix / "lib" / name
    if own.exists():
        return own.resolve()
    found = re.search(rf"{re.escape(name)} => (/\S+)", run("ldd", file))
    if found is None:
        raise Unfit(f"{file.name} needs {name}, which is not on this machine")
    return Path(found[1]).resolve()


def _is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == _MAGIC
