"""
A clean Debian for tests, of the release that the tests run on: made by debootstrap, used by chroot.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from support.tools import build_once, call, missing_tools

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
        """The same once more, to change it; the target may be an empty directory."""
        subprocess.run(["cp", "--archive", "--no-target-directory", self.path, target], check=True)
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


def missing_for_root() -> list[str]:
    """What a clean root cannot be made without, and is missing here."""
    missing = [] if os.geteuid() == 0 else ["root privileges"]
    return [*missing, *([] if debian_mirror()[0] else ["Debian"]), *missing_tools("debootstrap")]


def clean_root(*packages: str) -> Root:
    """A clean root with nothing but the base system and these packages, built once. Copy it before you change it."""
    mirror, release = debian_mirror()
    assert mirror is not None
    options = ["--variant=minbase", *([f"--include={','.join(packages)}"] if packages else [])]

    def build(path: Path) -> None:
        # In a namespace of its own: what it mounts is gone with it, even if it is killed.
        call("unshare", "--mount", "debootstrap", *options, release, str(path), mirror)
        for waste in ("var/cache/apt", "var/lib/apt/lists", "var/log/bootstrap.log"):
            subprocess.run(["rm", "-rf", path / waste], check=True)

    return Root(build_once(f"debian-{release}", [mirror, *packages], build))


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
