"""
A clean Debian for tests, of the release that the tests run on: made by debootstrap, used by chroot; and what building
packages needs.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

NO_TOOLS = "no tools to build Linux packages with"
NO_ROOT = "no clean Debian root to install a package in"
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
_SOURCES = Path("/etc/apt")
# With what the kernel provides, which is gone when the command ends.
_ENTER = 'mount -t proc proc "$0/proc" && mount -t tmpfs tmpfs "$0/dev/shm" && exec chroot "$0" "$@"'


class Root:
    """
    A directory with a Debian in it, in which commands run as if it were the machine.

    :param path: The directory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def copy(self, target: Path) -> Root:
        """The same once more, to change it."""
        subprocess.run(["cp", "--archive", self.path, target], check=True)
        return Root(target)

    def command(self, *command: str, user: str | None = None) -> list[str]:
        """What runs a command in here, as root or as a user, with an empty environment."""
        become = ["setpriv", f"--reuid={user}", f"--regid={self.group(user)}", "--init-groups"] if user else []
        return ["unshare", "--mount", "sh", "-c", _ENTER, str(self.path), *become, *command]

    def group(self, user: str) -> str:
        """The group of a user of this root, as a number."""
        lines = (self.path / "etc" / "passwd").read_text(encoding="utf-8").splitlines()
        return next(line.split(":")[3] for line in lines if line.startswith(f"{user}:"))

    def call(
        self, *command: str, user: str | None = None, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in here, and return how it ended."""
        return subprocess.run(
            self.command(*command, user=user),
            env={**ENVIRONMENT, **(env or {})},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def ok(self, *command: str, user: str | None = None, env: dict[str, str] | None = None) -> str:
        """Run a command in here, be sure that it succeeds, and return what it wrote."""
        done = self.call(*command, user=user, env=env)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def install(self, package: Path) -> str:
        """Install a deb, or upgrade to it; what it depends on has to be there already."""
        shutil.copy(package, self.path / "tmp")
        return self.ok("dpkg", "--force-confold", "--install", f"/tmp/{package.name}")


def missing_tools() -> list[str]:
    """What Linux packages can't be built without, and is not on this machine."""
    missing = [tool for tool in ("patchelf", "readelf", "strip") if shutil.which(tool) is None]
    missing += [] if shutil.which("nfpm") or shutil.which("go") else ["nfpm"]
    return [*missing, *(["a Python that is not the system's"] if sys.base_prefix == "/usr" else [])]


def start_debootstrap(target: Path) -> subprocess.Popen[bytes] | None:
    """Begin to make a clean root, which takes a minute; None where that can't be."""
    mirror, codename = debian_mirror()
    if os.geteuid() != 0 or mirror is None or shutil.which("debootstrap") is None:
        return None
    with (target.parent / "debootstrap.log").open("wb") as log:
        command = ["debootstrap", "--variant=minbase", codename, str(target), mirror]
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)


def debian_mirror() -> tuple[str | None, str]:
    """Where this machine has its own Debian packages from, and which release that is."""
    system = Path("/etc/os-release").read_text(encoding="utf-8") if Path("/etc/os-release").exists() else ""
    codename = re.search(r"^VERSION_CODENAME=(\w+)$", system, re.MULTILINE)
    if not re.search(r"^ID=debian$", system, re.MULTILINE) or codename is None:
        return None, ""
    release = codename[1]
    lists = [_SOURCES / "sources.list", *sorted((_SOURCES / "sources.list.d").glob("*"))]
    texts = [path.read_text(encoding="utf-8") for path in lists if path.is_file()]
    return next((found for text in texts if (found := _mirror(text.splitlines(), release))), None), release


def _mirror(lines: Sequence[str], release: str) -> str | None:
    """The address of the release itself, in either of the forms that apt reads."""
    address = ""
    for line in lines:
        if one := re.match(rf"deb\s+(?:\[.*?\]\s+)?(\S+)\s+{release}\s", line):
            return one[1]
        key, _, value = line.partition(":")
        if key == "URIs":
            address = value.split()[0]
        elif key == "Suites" and release in value.split():
            return address
    return None
