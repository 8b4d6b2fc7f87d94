"""The tools that files for Kubernetes are rendered and checked with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support.tools import call, find_tool, require_tool


@pytest.fixture(scope="session")
def helm() -> str:
    """The command `helm`."""
    return require_tool("helm")


@pytest.fixture(scope="session")
def kustomize() -> Callable[[Path], str]:
    """Gives what kustomize makes of a directory; `kubectl` has it as well."""
    alone = find_tool("kustomize")
    command = (alone, "build") if alone else (require_tool("kubectl"), "kustomize")
    return lambda directory: call(*command, str(directory))


@pytest.fixture(scope="session")
def validate() -> Callable[[str], None]:
    """Checks documents against the schemas of Kubernetes; nothing may be there that these do not know."""
    command = require_tool("kubernetes-validate")

    def validate(text: str) -> None:
        call(command, "--strict", "--quiet", "-", text=text)

    return validate
