"""
Skips for lack of a tool: the reason that a test gives, and the summary at the end of the output.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from support.tiers import LEFT_OUT

MAX_LINES = 10
_PREFIX = "not found: "
_PACKAGES = ("chromium", "rrdtool", "mandoc", "zsh", "fish", "patchelf", "rpm", "zstd", "debootstrap", "buildah")
# Each tool that a test may skip for, the most important first, and how to get it.
_REMEDIES = {
    "CrateDB": "Unpack one and set CRATEDB_HOME to its directory, or set CRATEDB_URI to a server for tests.",
    **{package: f"apt-get install {package}" for package in _PACKAGES},
    "axe": "pip install axe-playwright-python",
    "docker compose": "apt-get install docker-compose",
    "promtool": "apt-get install prometheus",
    "helm": "go install helm.sh/helm/v4/cmd/helm@v4.3.1",
    "kubectl": "apt-get install kubectl, or kustomize in its place",
    "kubernetes-validate": "pipx install kubernetes-validate==1.37.0",
    "go": "https://go.dev/dl/",
    "readelf": "apt-get install binutils",
    "dpkg-deb": "apt-get install dpkg",
    "systemd-analyze": "apt-get install systemd",
    "relocatable Python": "run the tests with a Python of uv or pyenv, not that of the system",
    "root privileges": "run the tests as root",
    "Debian": "run the tests on Debian",
}
# What the summary says of tests that were skipped for other causes.
_NO_TOOL = {"other": " for other reasons: make test PYTEST=-rs", LEFT_OUT: ": they are left to make test-long"}


def not_found(tool: str) -> str:
    """The reason to skip a test that needs a tool; one that the summary knows."""
    assert tool in _REMEDIES, f"tests/support/missing.py does not say how to get {tool}"
    return f"{_PREFIX}{tool}"


NO_CRATEDB = not_found("CrateDB")
NO_AXE = not_found("axe")
NO_CHROMIUM = not_found("chromium")
NO_RRDTOOL = not_found("rrdtool")
NO_MANDOC = not_found("mandoc")
NO_PROMTOOL = not_found("promtool")


def summary(skip_reasons: Iterable[str]) -> list[str]:
    """
    What was not tested and how to get it: a line for each missing tool, at most ten lines in all.

    :param skip_reasons: For each skipped test its reason, or a text that contains it.
    """
    counts = Counter(map(_cause, skip_reasons))
    last = [f"{_skipped(counts[cause])}{text}" for cause, text in _NO_TOOL.items() if cause in counts]
    tools = [tool for tool in _REMEDIES if tool in counts]
    room = MAX_LINES - len(last)
    shown = len(tools) if len(tools) <= room else room - 1
    lines = [_line(tool, counts[tool]) for tool in tools[:shown]]
    if rest := tools[shown:]:
        skipped = _skipped(sum(counts[tool] for tool in rest))
        lines.append(f"{skipped}, no {', '.join(rest)}: tests/support/missing.py says how to get them")
    return [*lines, *last]


def _line(tool: str, tests: int) -> str:
    if tool == "CrateDB":
        return f"NOT TESTED ON CRATEDB: {_skipped(tests)}. {_REMEDIES[tool]}"
    return f"{_skipped(tests)}, no {tool}: {_REMEDIES[tool]}"


def _skipped(tests: int) -> str:
    return f"{tests} {'test' if tests == 1 else 'tests'} skipped"


def _cause(reason: str) -> str:
    """The tool that a reason names, or why else a test is skipped."""
    _, prefix, rest = reason.partition(_PREFIX)
    found = next((tool for tool in _REMEDIES if prefix and rest.startswith(tool)), None)
    return found or (LEFT_OUT if f"{LEFT_OUT}: " in reason else "other")
