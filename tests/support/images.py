"""
The container image, built from the Containerfile in the root and run, with what Debian has: a clean root for a base, so
that no registry of images has to be reachable, buildah to build, and chroot in a mount namespace to run.

All but that root lies in a directory that is removed. What this machine needs to reach package indexes goes into the
build as secrets, of which nothing may stay in the image.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.command import Outcome
from support.debian import clean_root, missing_for_root
from support.tools import call, missing_tools

ROOT = Path(__file__).parent.parent.parent
BASE = "localhost/base:test"
NAME = "localhost/cratedb-retention:test"
UID = 10001
VOLUME = "/var/lib/cratedb-retention"
TIMEOUT = 120
# Options of pip that say where packages come from.
_PIP_OPTIONS = ("index-url", "extra-index-url", "trusted-host", "proxy", "default-timeout", "timeout")
# As an engine does with a read-only root: all is read-only but /tmp and the volume, nothing is gained by files with
# setuid bits, and the program is process 1. chroot's own `--userspec` takes the place of `docker run --user`.
_RUN = """
set -eu
root=$1 volume=$2 user=$3; shift 3
mount --bind "$root" "$root"
mount --bind "$volume" "$root/var/lib/cratedb-retention"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
for file in /etc/hosts /etc/resolv.conf; do
    if [ -e "$file" ] && [ -e "$root$file" ]; then mount --bind "$file" "$root$file"; fi
done
mount -o remount,bind,ro "$root"
exec setpriv --no-new-privs chroot --userspec="$user" --groups= "$root" \
    /bin/sh -c 'cd "$1"; shift; exec "$@"' sh "$WORKING_DIRECTORY" "$@"
"""


def missing_for_image() -> list[str]:
    """What the image cannot be built without, and is missing here."""
    return [*missing_for_root(), *missing_tools("buildah")]


@dataclass(frozen=True, kw_only=True)
class Image:
    """
    An image, mounted.

    :param root: Where its files are.
    :param config: How it is to be run, as Docker's format has it: ``Env``, ``Cmd``, ``Labels``, ...
    :param history: What each of its layers says it was made by.
    :param sizes: For people, without compression: of the base, and of the whole.
    """

    root: Path
    config: Mapping[str, Any]
    history: tuple[str, ...]
    sizes: tuple[str, str]

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """What the program finds in its environment; nothing of ours."""
        return {**dict(line.split("=", 1) for line in self.config["Env"]), **(more or {})}

    def argv(self, *args: str) -> list[str]:
        """The program as ``docker run IMAGE ARGS`` starts it."""
        return [*self.config["Entrypoint"], *(args or self.config["Cmd"])]

    def run(
        self, volume: Path, *args: str, environment: Mapping[str, str] | None = None, user: str | None = None
    ) -> Outcome:
        """
        Run the program to its end.

        :param user: Numbers, as ``docker run --user`` takes them; None: the user of the image.
        """
        return self.execute(volume, *self.argv(*args), environment=environment, user=user)

    def execute(
        self, volume: Path, *argv: str, environment: Mapping[str, str] | None = None, user: str | None = None
    ) -> Outcome:
        """Run something else in its place."""
        done = subprocess.run(
            self._isolated(volume, argv, user),
            env=self._outer(environment),
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    @contextmanager
    def started(self, volume: Path, *args: str, environment: Mapping[str, str] | None = None) -> Iterator[Container]:
        """Run the program beside us; what is left of it at the end of the block is killed."""
        with subprocess.Popen(
            self._isolated(volume, self.argv(*args)),
            env=self._outer(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield Container(process)
            finally:
                process.kill()

    def _isolated(self, volume: Path, argv: Sequence[str], user: str | None = None) -> list[str]:
        unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        return [*unshare, "sh", "-c", _RUN, "sh", str(self.root), str(volume), user or self.config["User"], *argv]

    def _outer(self, environment: Mapping[str, str] | None) -> dict[str, str]:
        return {**self.environment(environment), "WORKING_DIRECTORY": self.config["WorkingDir"]}


@dataclass(frozen=True)
class Container:
    """A program that runs from an image, as process 1 of a namespace of its own."""

    process: subprocess.Popen[str]

    def stop(self, number: signal.Signals) -> Outcome:
        """Send it a signal, and wait for its end."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        os.kill(int(children.read_text()), number)
        out, err = self.process.communicate(timeout=TIMEOUT)
        return Outcome(self.process.returncode, out, err)


class ImageBuilder:
    """
    A directory with a storage of buildah's, for one base and one image.

    :param directory: Empty; it takes up to two gigabytes.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._driver = "overlay" if _can_overlay(directory) else "vfs"  # the latter works anywhere, and copies a lot

    def build(self, labels: Mapping[str, str]) -> Image:
        """
        Make a base, build the image on it, and mount it.

        :param labels: Build arguments, as ``VERSION``.
        """
        self._make_base()
        arguments = [f"--build-arg={name}={value}" for name, value in {"BASE": BASE, **labels}.items()]
        self._buildah(
            "bud", "--isolation=chroot", "--format=docker", "--layers=false", "--pull-never", *arguments,
            *self._secrets(), f"--file={ROOT / 'Containerfile'}", f"--tag={NAME}", str(ROOT),
        )  # fmt: skip
        container = self._buildah("from", "--pull-never", NAME)
        inspected = json.loads(self._buildah("inspect", "--type=image", NAME))
        history = tuple(each.get("created_by", "") for each in inspected["OCIv1"]["history"])
        sizes = {each["names"][0]: each["size"] for each in json.loads(self._buildah("images", "--json"))}
        root = Path(self._buildah("mount", container))
        return Image(root=root, config=inspected["Docker"]["config"], history=history, sizes=(sizes[BASE], sizes[NAME]))

    def remove(self) -> None:
        """Unmount and remove everything."""
        self._buildah("rm", "--all")
        shutil.rmtree(self._directory)

    def _make_base(self) -> None:
        container = self._buildah("from", "scratch")
        clean_root("python3", "python3-venv").copy(Path(self._buildah("mount", container)))
        self._buildah("commit", "--quiet", "--rm", container, BASE)

    def _secrets(self) -> list[str]:
        options, certificate = pip_options()
        file = self._directory / "pip.conf"
        lines = [f"{key} = {value}" for key, value in options.items()]
        found = []
        if certificate:
            found.append(f"--secret=id=ca,src={certificate}")
            lines.append("cert = /run/secrets/ca")
        file.write_text("\n".join(["[global]", *lines, ""]))
        return [*found, f"--secret=id=pip,src={file}"]

    def _buildah(self, *args: str) -> str:
        places = [f"--root={self._directory / 'storage'}", f"--runroot={self._directory / 'run'}"]
        return call("buildah", *places, f"--storage-driver={self._driver}", *args).strip()


def pip_options() -> tuple[dict[str, str], Path | None]:
    """What the configuration of pip says of package indexes, and the certificates that it names, if there are any."""
    listed = call(sys.executable, "-m", "pip", "config", "list")
    found = {}
    for line in listed.splitlines():
        key, value = line.split("=", 1)
        found[key.rpartition(".")[2]] = str(ast.literal_eval(value))
    certificate = found.get("cert")
    return {key: found[key] for key in _PIP_OPTIONS if key in found}, Path(certificate) if certificate else None


def _can_overlay(directory: Path) -> bool:
    """Whether layers can be laid over each other there; not within most containers."""
    script = 'cd "$1" && mkdir -p l u w m && mount -t overlay -o lowerdir=l,upperdir=u,workdir=w overlay m'
    argv = ["unshare", "--mount", "sh", "-c", script, "sh", str(directory)]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0
