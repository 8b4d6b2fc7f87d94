"""
Linux packages for tests, all of them built once from the Python that runs the tests.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import build_packages
from build_packages import Release
from python_environment import Environment
from support.tools import missing_tools

MAINTAINER = "The cratedb-retention developers <cratedb-retention@example.com>"


@dataclass(frozen=True, kw_only=True)
class Packages:
    """What was built: packages by their format, and all that is needed to build another one."""

    paths: dict[str, Path]
    environment: Environment
    release: Release
    staged: Path
    output: Path

    def build(self, format_: str, release: Release, output: str) -> Path:
        """Build one more package from what is laid out."""
        return build_packages.package(format_, self.environment, release, self.staged, self.output / output)


def missing_for_packages() -> list[str]:
    """What packages cannot be built without, and is missing here."""
    missing = missing_tools("patchelf", "readelf", *(["go"] if missing_tools("nfpm") else []))
    return [*missing, *(["relocatable Python"] if sys.base_prefix == "/usr" else [])]


def build(directory: Path) -> Packages:
    """Build all four from the Python that runs this; the apk to look at its content only."""
    environment = build_packages.prepare(Path(sys.base_prefix), directory / "work")
    release = build_packages.describe(1, MAINTAINER)
    staged = environment.root.parent
    build_packages.stage(environment, release, staged)
    output = directory / "dist"
    paths = {
        name: build_packages.package(name, environment, release, staged, output) for name in build_packages.FORMATS
    }
    return Packages(paths=paths, environment=environment, release=release, staged=staged, output=output)
