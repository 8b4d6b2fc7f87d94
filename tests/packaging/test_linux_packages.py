"""
The packages for Linux: the deb is installed, run, upgraded, removed and purged in a clean Debian; what is in the others
is looked at.
"""

from __future__ import annotations

import gzip
import json
import re
import shutil
import signal
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from cratedb_retention import __version__
from cratedb_retention.cli.main import COMMANDS
from support.cratedb import CrateDB, free_ports
from support.debian import ENVIRONMENT, Root, clean_root, missing_for_root
from support.linux_packages import Packages, build, missing_for_packages
from support.tools import require_tool, skip_without

pytestmark = [
    pytest.mark.long("two minutes; make test proves what test_build_packages.py and test_wheel.py do"),
    pytest.mark.timeout(900),
]

NAME = "cratedb-retention"
LIB = "usr/lib/cratedb-retention"
CONFIG = "etc/cratedb-retention"
STATE = "var/lib/cratedb-retention"
SITE = "site-packages/cratedb_retention/__init__.py"
UNITS = ("cratedb-retention.service", "cratedb-retention-due.service", "cratedb-retention-due.timer")


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    """All four packages."""
    skip_without(missing_for_packages())
    return build(tmp_path_factory.mktemp("packages"))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, packages: Packages) -> Root:
    """A Debian in which the deb has just been installed."""
    skip_without(missing_for_root())
    root = clean_root().copy(tmp_path_factory.mktemp("installed") / "root")
    root.install(packages.paths["deb"])
    return root


class Archive:
    """
    A package that is a tar archive.

    :ivar files: What is in it, by path.
    :ivar texts: What its short files say, without those of the environment.
    """

    def __init__(self, path: Path) -> None:
        self.files: dict[str, tarfile.TarInfo] = {}
        self.texts: dict[str, str] = {}
        unpack = require_tool("zstd") if path.suffix == ".zst" else "gzip"
        # An apk is several archives, one after the other, of which only the last has an end.
        with (
            subprocess.Popen([unpack, "--decompress", "--stdout", path], stdout=subprocess.PIPE) as process,
            tarfile.open(fileobj=process.stdout, mode="r|", ignore_zeros=True) as tar,
        ):
            for each in tar:
                self.files[each.name.strip("/")] = each
                if each.isfile() and not each.name.startswith((LIB, "usr/share")):
                    stream = tar.extractfile(each)
                    assert stream is not None
                    self.texts[each.name] = stream.read().decode("utf-8", "replace")
        assert process.returncode == 0

    @property
    def fields(self) -> dict[str, list[str]]:
        """The fields of its .PKGINFO."""
        found: dict[str, list[str]] = {}
        for line in self.texts[".PKGINFO"].splitlines():
            key, equals, value = line.partition(" = ")
            if equals:
                found.setdefault(key, []).append(value)
        return found


def fill(path: Path) -> None:
    """A DuckDB file with a table of old and young rows."""
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "CREATE TABLE readings AS SELECT now()::TIMESTAMP - to_days(d::INT) AS ts, d FROM range(100) t(d)"
        )


def left(path: Path) -> int:
    """How many rows are left in it."""
    with duckdb.connect(str(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM readings").fetchall()[0][0])


def test_the_deb_runs_on_duckdb(installed: Root) -> None:
    """Where nothing but the base system is, the program applies a policy to a file that the configuration names."""
    data = installed.path / STATE / "edge.duckdb"
    fill(data)
    owner = (installed.path / STATE).stat()
    config = installed.path / CONFIG / "config.toml"
    before = config.read_text()
    config.write_text('[database]\nuri = "duckdb:////var/lib/cratedb-retention/edge.duckdb"\n')
    shutil.chown(data, owner.st_uid, owner.st_gid)
    assert installed.call("python3", "--version").returncode != 0  # none but our own
    assert installed.ok(NAME, "--version", user=NAME) == f"cratedb-retention {__version__}\n"
    installed.ok(NAME, "setup", user=NAME)
    policy = ("--strategy=delete", "--table-name=readings", "--retention-period=30d", "--schedule=@daily")
    installed.ok(NAME, "create-policy", *policy, user=NAME)
    installed.ok(NAME, "run", "--strategy=delete", user=NAME)
    assert left(data) in (30, 31)
    config.write_text(before)
    data.unlink()


def test_the_deb_runs_on_cratedb(installed: Root, cratedb: CrateDB, crate_schema: str) -> None:
    """The program reaches a CrateDB, and applies a policy to its rows."""
    cratedb.sql(f'CREATE TABLE "{crate_schema}"."readings" (ts TIMESTAMP WITH TIME ZONE, d INTEGER)')
    cratedb.sql(
        f'INSERT INTO "{crate_schema}"."readings" SELECT now() - d * \'1 day\'::interval, d'
        " FROM generate_series(0, 99) AS t(d)"
    )
    cratedb.sql(f'REFRESH TABLE "{crate_schema}"."readings"')
    env = {"CRATEDB_URI": cratedb.uri, "CRATEDB_EXT_SCHEMA": f"{crate_schema}_ext"}
    installed.ok(NAME, "setup", user=NAME, env=env)
    table = (f"--table-schema={crate_schema}", "--table-name=readings")
    installed.ok(NAME, "create-policy", "--strategy=delete", *table, "--retention-period=30d", user=NAME, env=env)
    installed.ok(NAME, "run", "--strategy=delete", user=NAME, env=env)
    cratedb.sql(f'REFRESH TABLE "{crate_schema}"."readings"')
    assert cratedb.value(f'SELECT count(*) FROM "{crate_schema}"."readings"') in (30, 31)


def test_the_service_serves(installed: Root) -> None:
    """What the unit starts, as the user that it names, answers, has pages, and ends in order."""
    (port,) = free_ports(1)
    unit = (installed.path / "usr/lib/systemd/system" / UNITS[0]).read_text()
    start = re.search(r"^ExecStart=(.+)$", unit, re.MULTILINE)
    assert start is not None
    assert f"User={NAME}\n" in unit
    uri = f"duckdb:////{STATE}/service.duckdb"
    installed.ok(NAME, "setup", uri, user=NAME)
    env = {**ENVIRONMENT, "CRATEDB_URI": uri, "CRATEDB_RETENTION_HTTP_LISTEN": f"127.0.0.1:{port}"}
    command = installed.command(*start[1].split(), user=NAME)
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert ask(process, f"http://127.0.0.1:{port}/health") == 200
            assert ask(process, f"http://127.0.0.1:{port}/ui") == 200
        finally:
            process.send_signal(signal.SIGTERM)
            said = process.communicate(timeout=60)[1]
        assert process.returncode == 0, said
    (installed.path / STATE / "service.duckdb").unlink()


def ask(process: subprocess.Popen[str], url: str) -> int:
    """Status of a page, as soon as the service answers."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"no answer from {url}; exit code {process.poll()}")


def test_nothing_starts_by_itself(installed: Root) -> None:
    """Neither the service nor the timer is enabled at first; starting it without configuration says what is missing."""
    assert not [path for path in (installed.path / "etc/systemd").rglob("*.wants/*") if NAME in path.name]
    said = installed.call(NAME, "serve", user=NAME)
    assert said.returncode == 2
    assert said.stderr.count("\n") == 1
    assert "CRATEDB_URI" in said.stderr
    unit = (installed.path / "usr/lib/systemd/system" / UNITS[0]).read_text()
    assert "RestartPreventExitStatus=2\n" in unit


def test_units_are_valid(installed: Root, tmp_path: Path) -> None:
    """systemd finds nothing wrong with the units, and the program where they say."""
    analyze = require_tool("systemd-analyze")
    for unit in UNITS:
        text = (installed.path / "usr/lib/systemd/system" / unit).read_text()
        (tmp_path / unit).write_text(text.replace("ExecStart=/", f"ExecStart={installed.path}/"))
    command = [analyze, "verify", "--man=no", *(str(tmp_path / unit) for unit in UNITS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert NAME not in done.stderr


def test_the_configuration_is_private(installed: Root) -> None:
    """Passwords in the configuration are for root and the service alone; for others it is one line of an error."""
    wanted = {"environment": "640 root cratedb-retention", "config.toml": "640 root cratedb-retention"}
    for name, owner in wanted.items():
        assert installed.ok("stat", "--format=%a %U %G", f"/{CONFIG}/{name}").strip() == owner
    state = installed.ok("stat", "--format=%a %U %G", f"/{STATE}").strip()
    assert state == "750 cratedb-retention cratedb-retention"
    assert installed.ok("getent", "passwd", NAME).strip().endswith(f":/{STATE}:/usr/sbin/nologin")
    other = installed.call(NAME, "list-policies", user="nobody")
    assert other.returncode == 2
    assert re.fullmatch(rf"Error: configuration file /{CONFIG}/config.toml: Permission denied\..*\n", other.stderr)


def test_the_shipped_configuration_is_valid(installed: Root) -> None:
    """With all of its comments taken away, the shipped configuration has only settings that there are."""
    shipped = (installed.path / CONFIG / "config.toml").read_text()
    lines = [line.removeprefix("#") for line in shipped.splitlines() if not line.startswith(("# ", "#uri_file"))]
    lines.remove('uri = "crate://user:password@localhost:4200/?sslmode=verify-full"')
    (installed.path / "tmp/all.toml").write_text("\n".join(lines))
    settings = json.loads(installed.ok(NAME, "--config=/tmp/all.toml", "config", "--format=json"))
    assert "file" in json.dumps(settings)
    variables = re.findall(r"^#([A-Z_]+)='(.*)'$", (installed.path / CONFIG / "environment").read_text(), re.MULTILINE)
    assert {name for name, _ in variables} == {"CRATEDB_URI", "CRATEDB_EXT_SCHEMA"}
    installed.ok(NAME, "config", env=dict(variables))


def test_the_environment_is_complete(installed: Root, packages: Packages) -> None:
    """All modules are compiled, so that no use writes into the package; no path of the build is in it."""
    assert installed.ok("dpkg", "--verify", NAME) == ""
    tree = installed.path / LIB
    owned = set(installed.ok("dpkg", "--listfiles", NAME).split())
    there = {f"/{path.relative_to(installed.path)}" for path in tree.rglob("*")}
    assert there <= owned
    sources = {path for path in (tree / "lib").rglob("*.py") if path.parent.name != "__pycache__"}
    compiled = {path.parent.parent / f"{path.name.split('.')[0]}.py" for path in tree.rglob("__pycache__/*.pyc")}
    assert {path for path in sources - compiled if path.name.isidentifier()} == set()
    found = subprocess.run(
        ["grep", "-r", "-l", "-F", packages.staged, tree], capture_output=True, text=True, check=False
    )
    assert found.stdout == ""
    for name in ("test", "idlelib", "tkinter", "ensurepip", "site-packages/pip"):
        assert list((tree / "lib").glob(f"python3*/{name}")) == []


def test_variables_of_python_are_ignored(installed: Root, tmp_path: Path) -> None:
    """Neither PYTHONPATH nor PYTHONHOME of who calls it leads the program to other modules."""
    env = {"PYTHONPATH": "/tmp/elsewhere", "PYTHONHOME": "/tmp/elsewhere"}
    assert __version__ in installed.ok(NAME, "--version", env=env)


def test_man_pages_and_completions(installed: Root) -> None:
    """There is a man page for the program and each command, and completion for three shells that knows the commands."""
    pages = {path.name for path in (installed.path / "usr/share/man/man1").glob(f"{NAME}*")}
    assert pages == {f"{NAME}.1.gz", *(f"{NAME}-{command}.1.gz" for command in COMMANDS)}
    page = gzip.decompress((installed.path / f"usr/share/man/man1/{NAME}-create-policy.1.gz").read_bytes()).decode()
    assert r"\-\-retention\-period" in page
    whole = gzip.decompress((installed.path / f"usr/share/man/man1/{NAME}.1.gz").read_bytes()).decode()
    assert all(f"{NAME}-{command}(1)" in whole for command in COMMANDS)
    share = installed.path / "usr/share"
    for path in (f"bash-completion/completions/{NAME}", f"zsh/vendor-completions/_{NAME}"):
        assert "_CRATEDB_RETENTION_COMPLETE" in (share / path).read_text()
    assert "_CRATEDB_RETENTION_COMPLETE" in (share / f"fish/vendor_completions.d/{NAME}.fish").read_text()
    press = (
        f". /usr/share/bash-completion/completions/{NAME}; COMP_WORDS=({NAME} creat); COMP_CWORD=1;"
        f' _cratedb_retention_completion {NAME}; echo "${{COMPREPLY[@]}}"'
    )
    assert set(installed.ok("bash", "-c", press).split()) == {"create-policy", "create-token"}


def test_upgrade_remove_purge(packages: Packages, installed: Root, tmp_path: Path) -> None:
    """
    An upgrade brings the new files, takes the old ones, and keeps the configuration as it was edited; removing keeps
    configuration and data; purging takes the configuration, and never the data.
    """
    root = installed.copy(tmp_path / "root")
    config, data = root.path / CONFIG / "config.toml", root.path / STATE / "edge.duckdb"
    edited = '[database]\nuri = "duckdb:////var/lib/cratedb-retention/edge.duckdb"\n'
    config.write_text(edited)
    config.chmod(0o600)
    fill(data)
    link = root.path / "etc/systemd/system/multi-user.target.wants" / UNITS[0]
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(f"/usr/lib/systemd/system/{UNITS[0]}")
    gone = f"{LIB}/lib/python{packages.environment.interpreter.series}/this.py"
    assert (root.path / gone).exists()

    root.install(newer(packages, tmp_path, gone))
    assert root.ok("dpkg-query", "--show", "--showformat=${Version} ${Status}", NAME) == "9.0.0-1 install ok installed"
    assert not (root.path / gone).exists()
    assert config.read_text() == edited
    assert root.ok("stat", "--format=%a", f"/{CONFIG}/config.toml").strip() == "600"
    assert "# New in 9.0.0." in (root.path / CONFIG / "config.toml.dpkg-dist").read_text()
    assert "# New in 9.0.0." in (root.path / CONFIG / "environment").read_text()  # not edited
    assert link.is_symlink()
    assert __version__ in root.ok(NAME, "--version", user=NAME)

    root.ok("dpkg", "--remove", NAME)
    assert config.read_text() == edited
    assert not (root.path / LIB).exists()
    assert not (root.path / "usr/bin" / NAME).is_symlink()
    assert left(data) == 100

    root.ok("dpkg", "--purge", NAME)
    assert not (root.path / CONFIG).exists()
    assert left(data) == 100
    assert root.call("dpkg-query", "--show", NAME).returncode != 0


def newer(packages: Packages, tmp_path: Path, gone: str) -> Path:
    """A deb of a later version, whose configuration says more, and which lacks a file."""
    staged = packages.staged
    aside = tmp_path / "aside"
    missing = packages.environment.root / Path(gone).relative_to(LIB)
    shutil.copytree(staged / "etc", aside)
    shutil.move(missing, tmp_path / "missing")
    try:
        for path in (staged / "etc").iterdir():
            path.write_text(path.read_text() + "# New in 9.0.0.\n")
        return packages.build("deb", replace(packages.release, version="9.0.0"), "newer")
    finally:
        shutil.copytree(aside, staged / "etc", dirs_exist_ok=True)
        shutil.move(tmp_path / "missing", missing)


def test_the_deb_says_what_it_is(packages: Packages) -> None:
    """The deb's fields are complete, and what it depends on follows from the symbols that its programs use."""
    shown = subprocess.run(
        [require_tool("dpkg-deb"), "--field", packages.paths["deb"]], capture_output=True, text=True, check=True
    )
    fields = dict(line.split(": ", 1) for line in shown.stdout.splitlines() if not line.startswith(" "))
    assert fields["Version"] == f"{__version__}-1"
    assert fields["Maintainer"] == packages.release.maintainer
    assert {"Section", "Priority", "Architecture", "Installed-Size", "Description", "Recommends"} <= set(fields)
    glibc = packages.environment.needs.versions["GLIBC"]
    assert fields["Depends"].startswith(f"libc6 (>= {glibc}), libstdc++6 (>= ")


def test_the_rpm(packages: Packages) -> None:
    """The rpm has all files, marks the configuration, requires what its programs use, and creates the user first."""
    rpm = require_tool("rpm")

    def query(*options: str) -> str:
        command = [rpm, "--query", "--package", *options, str(packages.paths["rpm"])]
        return str(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    files = set(query("--list").splitlines())
    expected = {f"/usr/bin/{NAME}", f"/{CONFIG}/environment", f"/{STATE}", f"/usr/lib/sysusers.d/{NAME}.conf"}
    expected |= {f"/usr/lib/systemd/system/{unit}" for unit in UNITS}
    expected |= {f"/usr/share/licenses/{NAME}/LICENSE", f"/usr/share/zsh/site-functions/_{NAME}"}
    assert expected <= files
    assert any(name.endswith(SITE) for name in files)
    assert not any("/etc/init.d" in name for name in files)
    assert set(query("--configfiles").split()) == {f"/{CONFIG}/environment", f"/{CONFIG}/config.toml"}
    flags = query("--queryformat", "[%{FILENAMES} %{FILEFLAGS:fflags} %{FILEMODES:perms} %{FILEGROUPNAME}\n]")
    assert f"/{CONFIG}/environment cn -rw-r----- cratedb-retention\n" in flags  # config, noreplace
    scripts = query("--scripts")
    assert re.search(r"preinstall scriptlet.*?useradd --system", scripts, re.DOTALL)
    assert re.search(r"preuninstall scriptlet.*?upgrade \| failed-upgrade \| 1\)", scripts, re.DOTALL)
    requires = query("--requires")
    assert f"libc.so.6(GLIBC_{packages.environment.needs.versions['GLIBC']})(64bit)\n" in requires
    assert query("--queryformat", "%{VERSION}-%{RELEASE} %{LICENSE}") == f"{__version__}-1 Apache-2.0"
    assert f"{__version__}-1" in query("--changelog")


def test_the_apk(packages: Packages) -> None:
    """The apk has a service for OpenRC, none for systemd; made for glibc, it depends on what Alpine does not have."""
    apk = Archive(packages.paths["apk"])
    files = apk.files
    assert {f"usr/bin/{NAME}", f"etc/init.d/{NAME}", f"{CONFIG}/environment", STATE} <= set(files)
    assert any(name.endswith(SITE) for name in files)
    assert files[f"etc/init.d/{NAME}"].mode & 0o777 == 0o755
    assert (files[f"{CONFIG}/environment"].mode & 0o777, files[f"{CONFIG}/environment"].gname) == (0o640, NAME)
    assert not any("systemd" in name or "sysusers" in name for name in files if not name.startswith(LIB))
    assert {".pre-install", ".post-install", ".pre-deinstall", ".post-upgrade"} <= set(files)
    assert "adduser -S" in apk.texts[".pre-install"]
    fields = apk.fields
    assert fields["pkgver"] == [f"{__version__}-r1"]
    assert "so:libc.so.6" in fields["depend"]
    assert subprocess.run(["sh", "-n"], input=apk.texts[f"etc/init.d/{NAME}"], text=True, check=False).returncode == 0


def test_the_arch_package(packages: Packages) -> None:
    """Arch's package has the same files as the rpm, its functions for pacman, and its configuration as backup."""
    package = Archive(packages.paths["archlinux"])
    files = package.files
    assert {f"usr/bin/{NAME}", f"{CONFIG}/environment", STATE, f"usr/lib/systemd/system/{UNITS[0]}"} <= set(files)
    assert any(name.endswith(SITE) for name in files)
    assert (files[f"{CONFIG}/environment"].mode & 0o777, files[STATE].gname) == (0o640, NAME)
    fields = package.fields
    assert fields["pkgver"] == [f"{__version__}-1"]
    assert set(fields["backup"]) == {f"{CONFIG}/environment", f"{CONFIG}/config.toml"}
    assert fields["depend"][0].startswith("glibc>=")
    install = package.texts[".INSTALL"]
    assert 'chgrp cratedb-retention "/etc/cratedb-retention/$file"' in install
    functions = set(re.findall(r"\b((?:pre|post)_\w+)\(\)", install))
    assert {"pre_install", "post_install", "post_upgrade", "pre_remove"} <= functions
    assert subprocess.run(["bash", "-n"], input=install, text=True, check=False).returncode == 0


def test_packages_are_reproducible(packages: Packages) -> None:
    """The same content makes the same package, byte for byte."""
    again = packages.build("archlinux", packages.release, "again")
    assert again.read_bytes() == packages.paths["archlinux"].read_bytes()
