"""
Builds the packages for Linux: deb, rpm, apk and Arch's.

    make packages PYTHON_PREFIX=... MUSL_PYTHON_PREFIX=...

Each package brings its own Python. deb, rpm and Arch's are made from a CPython for glibc, apk from one for musl; both
have to run on this machine, whose architecture is that of the packages. What is needed beside it: nfpm or Go, binutils,
and patchelf where the interpreter has libraries of the system, or can't be moved as it is.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

import shipped  # noqa: E402
from cratedb_retention import __version__  # noqa: E402
from cratedb_retention.cli.main import cli  # noqa: E402
from elf import Needs, Unfit  # noqa: E402
from python_environment import Environment, build_environment, find_interpreter  # noqa: E402

# A later one needs a module that not every proxy of Go modules serves.
NFPM = "github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2"
FORMATS = {"deb": "glibc", "rpm": "glibc", "archlinux": "glibc", "apk": "musl"}
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
# Which GCC brought which version of the C++ library's symbols, as in its manual ("ABI Policy and Guidelines").
_GCC = {22: "6", 24: "7", 25: "8", 28: "9", 29: "11", 30: "12", 32: "13", 33: "14", 34: "15"}
_OWN_FILES = ("etc", "scripts", "sysusers.conf", "openrc")


@dataclass(frozen=True, kw_only=True)
class Release:
    """What is packaged: version (PEP 440), revision, maintainer and homepage."""

    version: str
    revision: str
    maintainer: str
    homepage: str
    date: datetime

    @property
    def semver(self) -> str:
        """The version for nfpm, which makes of ``0.2.0-rc1`` what sorts before 0.2.0 in each format."""
        return semver(self.version)


def semver(version: str) -> str:
    """
    A version for nfpm: ``0.2.0rc1`` is ``0.2.0-rc1``, ``0.2.0a1`` is ``0.2.0-alpha1``.

    :raises Unfit: for versions that not all formats can express, such as ``0.2.0.dev1``.
    """
    found = re.fullmatch(r"(\d+\.\d+\.\d+)(?:(a|b|rc)(\d+))?", version)
    if found is None:
        raise Unfit(f"version {version}: packages are of versions like 0.2.0 and 0.2.0a1, 0.2.0b1, 0.2.0rc1")
    kind = {"a": "alpha", "b": "beta"}.get(found[2], found[2])
    return f"{found[1]}-{kind}{found[3]}" if kind else found[1]


def depends(format_: str, needs: Needs) -> list[str]:
    """The dependencies of a package in this format."""
    cpp = needs.versions.get("GLIBCXX", "3.4.0").split(".")[2]
    gcc = next((name for number, name in _GCC.items() if number >= int(cpp)), None)
    if gcc is None:
        raise Unfit(f"GLIBCXX_3.4.{cpp} is of a GCC that packaging/build_packages.py does not know")
    glibc = needs.versions.get("GLIBC", "2.17")
    if format_ == "deb":
        known = {"libstdc++.so.6": f"libstdc++6 (>= {gcc})", "libgcc_s.so.1": "libgcc-s1"}
        return [f"libc6 (>= {glibc})", *(known[name] for name in needs.runtime)]
    if format_ == "rpm":
        bits = "()(64bit)"
        known = {"libstdc++.so.6": f"libstdc++.so.6(GLIBCXX_3.4.{cpp})(64bit)", "libgcc_s.so.1": f"libgcc_s.so.1{bits}"}
        return [f"libc.so.6(GLIBC_{glibc})(64bit)", *(known[name] for name in needs.runtime)]
    if format_ == "archlinux":
        return [f"glibc>={glibc}", *(["gcc-libs"] if needs.runtime else [])]
    # A library of glibc is in no package of Alpine, so that what can't run there is not installed either.
    libc = f"so:libc.musl-{platform.machine()}.so.1" if needs.libc == "musl" else "so:libc.so.6"
    return [libc, *(f"so:{name}" for name in needs.runtime)]


def stage(environment: Environment, release: Release, directory: Path) -> None:
    """Copy all files that nfpm.yaml names, next to the existing environment."""
    version = f"{release.semver.replace('-', '~')}-{release.revision}"
    for name in ("man", "completion", "systemd", *_OWN_FILES):
        shutil.rmtree(directory / name, ignore_errors=True)
    for name in _OWN_FILES:
        source = ROOT / "packaging" / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, directory / name)
    shutil.copy(ROOT / "LICENSE", directory)
    shipped.write_units(ROOT / "deploy" / "systemd", directory / "systemd")
    own = {"SOURCE_DATE_EPOCH": str(int(release.date.timestamp())), "PYTHONPATH": str(ROOT / "src")}
    _call([sys.executable, ROOT / "docs" / "man.py", directory / "man"], ROOT, own)
    shipped.pack_man_pages(directory / "man")
    shipped.write_completions(cli, directory / "completion")
    shipped.write_copyright(environment, directory / "copyright")
    changes = (ROOT / "CHANGES.md").read_text(encoding="utf-8")
    shipped.write_changelog(changes, version, release.maintainer, release.date, directory / "changelog.yaml")


def package(format_: str, environment: Environment, release: Release, directory: Path, output: Path) -> Path:
    """Build a package from the files in a directory, and return it."""
    required = depends(format_, environment.needs)
    variables = {
        "ARCHITECTURE": _ARCHITECTURES[platform.machine()],
        "VERSION": release.semver,
        "REVISION": release.revision,
        "MAINTAINER": release.maintainer,
        "HOMEPAGE": release.homepage,
        "SOURCE_DATE_EPOCH": str(int(release.date.timestamp())),
        **{f"DEPENDS_{number}": (required + [""] * 3)[number - 1] for number in (1, 2, 3)},
    }
    for path in (directory, *directory.rglob("*")):
        os.utime(path, (release.date.timestamp(),) * 2, follow_symlinks=False)
    output.mkdir(parents=True, exist_ok=True)
    options: list[str | Path] = [
        "--config",
        ROOT / "packaging" / "nfpm.yaml",
        "--packager",
        format_,
        "--target",
        f"{output.resolve()}/",
    ]
    answer = _call([*nfpm(), "package", *options], directory, variables)
    found = re.search(r"created package: (.+)", answer)
    if found is None:
        raise Unfit(f"nfpm made no package: {answer}")
    return Path(found[1].strip())


def nfpm() -> list[str]:
    """The command nfpm; where there is only Go, that fetches it."""
    if shutil.which("nfpm"):
        return ["nfpm"]
    if shutil.which("go"):
        return ["go", "run", NFPM]
    raise Unfit(f"nfpm is missing: go install {NFPM}")


def build_wheel(directory: Path) -> Path:
    """The wheel of this project, built with the tools that `make venv` installed."""
    shutil.rmtree(directory, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    _call([*pip, "--no-deps", "--no-build-isolation", "--wheel-dir", directory, "."], ROOT)
    return next(directory.glob("*.whl"))


def describe(revision: int, maintainer: str | None) -> Release:
    """What is packaged: the version from the package, the rest from pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    urls = project.get("urls", {})
    homepage = next((urls[key] for key in ("Homepage", "Repository", "Source") if key in urls), "")
    author = project["authors"][0]
    default = f"{author['name']} <{author['email']}>" if "email" in author else author["name"]
    return Release(
        version=__version__, revision=str(revision), maintainer=maintainer or default, homepage=homepage, date=_date()
    )


def _date() -> datetime:
    """The build time: SOURCE_DATE_EPOCH, otherwise the time of the last commit."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if epoch is None and (ROOT / ".git").exists():
        epoch = _call(["git", "log", "-1", "--format=%ct"], ROOT).strip()
    return datetime.fromtimestamp(int(epoch or (ROOT / "CHANGES.md").stat().st_mtime), UTC)


def _call(command: Iterable[str | Path], cwd: Path, environment: Mapping[str, str] | None = None) -> str:
    parts = [str(part) for part in command]
    own = {**os.environ, **(environment or {})}
    done = subprocess.run(parts, cwd=cwd, env=own, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Unfit(f"{' '.join(parts)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def prepare(prefix: Path, work: Path) -> Environment:
    """Build the environment of one interpreter, in a directory of its C library's name."""
    interpreter = find_interpreter(prefix)
    wheel = build_wheel(work / "wheel")
    root = work / interpreter.libc / "environment"
    return build_environment(interpreter, ROOT / "requirements-runtime.lock", wheel, root)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--python-prefix", type=click.Path(path_type=Path), help="A CPython for glibc. [default: this one's]")
@click.option("--musl-python-prefix", type=click.Path(path_type=Path), help="A CPython for musl, which apk needs.")
@click.option("--format", "formats", type=click.Choice(list(FORMATS)), multiple=True, help="Only this; repeat it.")
@click.option("--revision", type=click.IntRange(1), default=1, show_default=True, help="Of the package.")
@click.option("--maintainer", help="As 'Name <address>'. [default: the author that pyproject.toml names]")
@click.option("--output", type=click.Path(path_type=Path), default=ROOT / "dist", help="[default: dist]")
@click.option(
    "--work", type=click.Path(path_type=Path), default=ROOT / "build" / "packages", help="For what is between."
)
@click.option("--unfit-apk", is_flag=True, help="Build apk for glibc: to look at, Alpine refuses to install it.")
def main(  # noqa: PLR0913 - one for each option
    python_prefix: Path | None,
    musl_python_prefix: Path | None,
    formats: tuple[str, ...],
    revision: int,
    maintainer: str | None,
    output: Path,
    work: Path,
    unfit_apk: bool,
) -> None:
    """Build deb, rpm, apk and Arch packages for this machine's architecture."""
    prefixes = {"glibc": python_prefix or Path(sys.base_prefix), "musl": musl_python_prefix}
    wanted = {name: "glibc" if unfit_apk else libc for name, libc in FORMATS.items() if name in (formats or FORMATS)}
    if not formats and prefixes["musl"] is None and not unfit_apk:
        click.echo("apk: left out, it needs a CPython for musl: MUSL_PYTHON_PREFIX=...", err=True)
        del wanted["apk"]
    try:
        _build(wanted, prefixes, work, (revision, maintainer), output)
    except Unfit as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)


def _build(
    wanted: Mapping[str, str],
    prefixes: Mapping[str, Path | None],
    work: Path,
    about: tuple[int, str | None],
    output: Path,
) -> None:
    if platform.machine() not in _ARCHITECTURES:
        raise Unfit(f"packages are for {' and '.join(_ARCHITECTURES)}, not for {platform.machine()}")
    for libc in sorted(set(wanted.values())):
        prefix = prefixes[libc]
        if prefix is None:
            raise Unfit("apk needs a CPython for musl: MUSL_PYTHON_PREFIX=..., or --musl-python-prefix")
        environment = prepare(prefix.resolve(), work.resolve())
        if environment.needs.libc != libc:
            raise Unfit(f"{prefix} is for {environment.needs.libc}, and {libc} is needed")
        release = describe(*about)
        directory = environment.root.parent
        stage(environment, release, directory)
        for name in (name for name, kind in wanted.items() if kind == libc):
            path = package(name, environment, release, directory, output)
            click.echo(f"{path.stat().st_size / 1e6:6.1f} MB  {path}")


if __name__ == "__main__":
    main()
