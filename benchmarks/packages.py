"""
What is installed: the size of wheel, deb and image, and how long the program in each of them takes to start.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.line import Line
from benchmarks.surroundings import Missing, Surroundings
from benchmarks.timing import seconds
from support.images import ImageBuilder, missing_for_image
from support.linux_packages import missing_for_packages

ROOT = Path(__file__).parent.parent
VERSION = "--version"


def measure(surroundings: Surroundings) -> Iterator[Line]:
    """Build each, and start it."""
    yield from _wheel(surroundings)
    if not (for_packages := missing_for_packages()):
        yield from _deb(surroundings)
    if not (for_image := missing_for_image()):
        yield from _image(surroundings)
    if missing := [*for_packages, *for_image]:
        raise Missing(f"needs {', '.join(missing)}")


def _wheel(surroundings: Surroundings) -> Iterator[Line]:
    """As pip installs it into an environment of its own, with all that it needs at run time."""
    directory = surroundings.directory()
    _call(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", directory, ROOT)
    (wheel,) = directory.glob("*.whl")
    environment = directory / "environment"
    _call(sys.executable, "-m", "venv", environment)
    python = str(environment / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _call(*pip, "--require-hashes", "--requirement", ROOT / "requirements-runtime.lock")
    _call(*pip, "--no-deps", wheel)
    note = f"wheel {_megabytes(wheel)}, with all that it needs {_megabytes(environment)}"
    command = environment / "bin" / "cratedb-retention"
    yield _line(surroundings, "wheel", lambda: _call(command, VERSION), note)


def _deb(surroundings: Surroundings) -> Iterator[Line]:
    """As it is unpacked; its Python looks for everything beside itself."""
    directory = surroundings.directory()
    script = ROOT / "packaging" / "build_packages.py"
    _call(sys.executable, script, "--format=deb", f"--output={directory}", f"--work={directory / 'work'}")
    (deb,) = directory.glob("*.deb")
    _call("dpkg-deb", "--extract", deb, directory / "root")
    python = directory / "root" / "usr" / "lib" / "cratedb-retention" / "bin" / "python3"
    note = f"deb {_megabytes(deb)}, installed {_megabytes(directory / 'root')}"
    yield _line(surroundings, "deb", lambda: _call(python, "-I", "-m", "cratedb_retention", VERSION), note)


def _image(surroundings: Surroundings) -> Iterator[Line]:
    """As it runs in a container, which is made anew each time."""
    builder, volume = ImageBuilder(surroundings.directory()), surroundings.directory()
    try:
        image = builder.build({})
        note = f"image {image.sizes[1]}, its base {image.sizes[0]}"
        yield _line(surroundings, "image", lambda: image.run(volume, VERSION), note)
    finally:
        builder.remove()


def _line(surroundings: Surroundings, what: str, start: Callable[[], object], note: str) -> Line:
    start()
    taken = statistics.median(seconds(start) for _ in range(surroundings.repeat(9)))
    return Line(what=f"{what}: cratedb-retention {VERSION}", ours=taken, note=note)


def _megabytes(path: Path) -> str:
    files = path.rglob("*") if path.is_dir() else [path]
    return f"{sum(file.lstat().st_size for file in files if not file.is_dir()) / 1e6:.1f} MB"


def _call(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True)
