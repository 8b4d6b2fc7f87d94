"""
A separate environment: CPython with the dependencies of this project, pinned by ``requirements-runtime.lock``, in a
directory that depends only on the system's C library and C++ runtime.

Unused parts are omitted: tests, headers, static libraries, IDLE and Tk, pip, and modules of the standard library for
interactive use.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import elf
from elf import Unfit

HOME = Path("/usr/lib/cratedb-retention")
"""Its directory in the packages."""

_MODULES = (
    *("ensurepip", "idlelib", "lib2to3", "pydoc_data", "test", "tests", "tkinter", "turtle.py", "turtledemo"),
    *("crypt.py", "curses", "distutils", "site-packages", "__pycache__", "config-*", "*.a", "*.pyc"),
)
_EXTENSIONS = (
    *("_crypt.*", "_curses*", "_dbm.*", "_gdbm.*", "_tkinter.*", "nis.*", "ossaudiodev.*", "readline.*", "spwd.*"),
    *("_test*", "_ctypes_test*", "_xx*", "xx*"),
)
_ASK = (
    "import json, sys, sysconfig; print(json.dumps(["
    "'%d.%d' % sys.version_info[:2], sys.implementation.name, sysconfig.get_path('stdlib'), sys.version.split()[0]]))"
)
# Which authorities may sign certificates, the system says; where it does so, only its own OpenSSL knows.
_LAUNCHER = """\
#!{home}/bin/python3 -I
import os

from cratedb_retention.cli.main import main

AUTHORITIES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
if "SSL_CERT_FILE" not in os.environ and "SSL_CERT_DIR" not in os.environ:
    found = [path for path in AUTHORITIES if os.path.exists(path)]
    if found:
        os.environ["SSL_CERT_FILE"] = found[0]

main()
"""


@dataclass(frozen=True, kw_only=True)
class Interpreter:
    """A CPython: its prefix, its version as ``3.11`` and in full, its standard library, its C library."""

    prefix: Path
    series: str
    version: str
    stdlib: Path
    libc: str

    @property
    def program(self) -> Path:
        """The interpreter itself."""
        return self.prefix / "bin" / f"python{self.series}"


@dataclass(frozen=True, kw_only=True)
class Environment:
    """The result: directory, interpreter, required symbols of the system, and copied libraries."""

    root: Path
    interpreter: Interpreter
    needs: elf.Needs
    libraries: tuple[Path, ...]

    @property
    def site(self) -> Path:
        """The directory of the packages."""
        return self.root / "lib" / f"python{self.interpreter.series}" / "site-packages"


def find_interpreter(prefix: Path) -> Interpreter:
    """
    Ask the interpreter of a prefix what it is.

    :raises Unfit: if it is none that can be moved, or can't be run here.
    """
    if prefix in (Path("/usr"), Path("/")):
        raise Unfit(
            "the system's Python is no use to other systems; name one by PYTHON_PREFIX, as of `uv python install`"
        )
    program = prefix / "bin" / "python3"
    if not program.exists():
        raise Unfit(f"there is no Python: {program}")
    try:
        answer = subprocess.run([program, "-I", "-c", _ASK], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise Unfit(f"{program} can't be run here ({error}); one for musl needs musl: apt-get install musl") from None
    series, name, stdlib, version = json.loads(answer)
    if name != "cpython" or tuple(map(int, series.split("."))) < (3, 11):
        raise Unfit(f"{program} is {name} {version}; CPython 3.11 or newer is needed")
    return Interpreter(
        prefix=prefix,
        series=series,
        version=version,
        stdlib=Path(stdlib),
        libc=elf.libc_of(prefix / "bin" / f"python{series}"),
    )


def build_environment(interpreter: Interpreter, requirements: Path, wheel: Path, root: Path) -> Environment:
    """
    Build the environment in a directory, which is emptied before.

    :param requirements: What to install, pinned and with hashes.
    :param wheel: This project's.
    """
    shutil.rmtree(root, ignore_errors=True)
    libraries = _copy_interpreter(interpreter, root)
    site = root / "lib" / f"python{interpreter.series}" / "site-packages"
    _install(interpreter, requirements, wheel, site)
    launcher = root / "bin" / "cratedb-retention"
    launcher.write_text(_LAUNCHER.format(home=HOME), encoding="utf-8")
    _compile(interpreter, root)
    _set_modes(root)
    return Environment(
        root=root,
        interpreter=interpreter,
        needs=elf.needs(root, root / "bin" / interpreter.program.name),
        libraries=tuple(libraries),
    )


def _copy_interpreter(interpreter: Interpreter, root: Path) -> list[Path]:
    """Copy the interpreter without what is not needed, with all libraries; tell which these were."""
    stdlib = root / "lib" / interpreter.stdlib.name
    shutil.copytree(interpreter.stdlib, stdlib, symlinks=True, ignore=shutil.ignore_patterns(*_MODULES))
    dynload = stdlib / "lib-dynload"
    for pattern in _EXTENSIONS:
        for module in dynload.glob(pattern):
            module.unlink()
    for path in stdlib.glob("_sysconfigdata*.py"):
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(str(interpreter.prefix), str(HOME)), encoding="utf-8")
    programs = root / "bin"
    programs.mkdir()
    shutil.copy(interpreter.program, programs / interpreter.program.name)
    (programs / "python3").symlink_to(interpreter.program.name)
    copied = elf.bundle(root, interpreter.prefix, root / "lib")
    files = elf.binaries(root)
    elf.strip(files)
    elf.look_in(root / "lib", files)
    return copied


def _install(interpreter: Interpreter, requirements: Path, wheel: Path, site: Path) -> None:
    """Install with the pip of this Python for the other one; wheels alone, so nothing is built for this machine."""
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--python", interpreter.program]
    pip += ["--disable-pip-version-check", "--quiet"]
    options: list[str | Path] = ["--no-deps", "--no-compile", "--only-binary=:all:", "--root-user-action=ignore"]
    options += ["--target", site]
    _call(*pip, "install", *options, "--require-hashes", "--requirement", requirements)
    name, version = wheel.name.split("-")[:2]
    _call(*pip, "install", *options, "--no-index", "--find-links", wheel.parent, f"{name}=={version}")
    shutil.rmtree(site / "bin", ignore_errors=True)  # Their first lines name this machine's interpreter.


def _compile(interpreter: Interpreter, root: Path) -> None:
    """
    Compile all modules, so that no process has to write to the directory later; the bytecode is never compared with its
    source again. A single process does it, since with several the bytes are not reproducible.
    """
    options: list[str | Path] = ["--invalidation-mode=unchecked-hash", "-q", "-s", root, "-p", HOME]
    _call(root / "bin" / interpreter.program.name, "-B", "-s", "-P", "-m", "compileall", "-f", *options, root / "lib")


def _set_modes(root: Path) -> None:
    """Whatever modes wheels and this machine have: programs can be run, everything else read."""
    for path in root.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.parent == root / "bin" else 0o644)


def _call(*command: str | Path) -> None:
    """Run a program; if it fails, show its output."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment["PYTHONHASHSEED"] = "0"
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        raise Unfit(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")


def installed(site: Path) -> list[str]:
    """The installed packages, as ``name version``."""
    return sorted(re.sub(r"-([^-]+)\.dist-info$", r" \1", path.name) for path in site.glob("*.dist-info"))
