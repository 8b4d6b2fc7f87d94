"""The tools that files for Kubernetes and Nomad are rendered and checked with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support.deploying import call, find_tool
from support.missing import NO_DEPLOYING


def tool(name: str) -> str:
    """Where a tool is; the test is skipped without."""
    found = find_tool(name)
    if found is None:
        pytest.skip(f"{NO_DEPLOYING}: {name}")
    return found


@pytest.fixture(scope="session")
def helm() -> str:
    """The command `helm`."""
    return tool("helm")


@pytest.fixture(scope="session")
def kustomize() -> Callable[[Path], str]:
    """Gives what kustomize makes of a directory; `kubectl` has it as well."""
    alone = find_tool("kustomize")
    command = (alone, "build") if alone else (tool("kubectl"), "kustomize")
    return lambda directory: call(*command, str(directory))


@pytest.fixture(scope="session")
def validate() -> Callable[[str], None]:
    """Checks documents against the schemas of Kubernetes; nothing may be there that these do not know."""
    command = tool("kubernetes-validate")

    def validate(text: str) -> None:
        call(command, "--strict", "--quiet", "-", text=text)

    return validate


@pytest.fixture(scope="session")
def nomadspec(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The reader of Nomad's jobs and packs beside this file, built."""
    go = tool("go")
    program = tmp_path_factory.mktemp("nomadspec") / "nomadspec"
    call(go, "build", "-C", str(Path(__file__).parent / "nomadspec"), "-buildvcs=false", "-o", str(program), ".")
    return str(program)
