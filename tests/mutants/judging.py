"""
The run of pytest that judges a fault, and its plugin: makes sure that the copy is what is tested, and writes down how
the tests ended, so that an import that fails is not taken for a test that notices.

It is forked from a process that has imported libraries only (``support/forkserver.py``).
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path

import pytest

# Names of the environment: the copy, the module with the fault, where the outcome is written, and which tests to run
# of those that are named (empty: all).
COPY, MODULE, OUTCOME, ONLY = "MUTANTS_COPY", "MUTANTS_MODULE", "MUTANTS_OUTCOME", "MUTANTS_ONLY"


class Judge:
    """Hears how each test ends."""

    def __init__(self) -> None:
        self.passed: list[str] = []
        self.skipped: list[str] = []
        self.failed: list[str] = []
        self.broken: list[str] = []

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out what was not asked for."""
        only = json.loads(os.environ[ONLY])
        items[:] = [item for item in items if not only or item.nodeid in only]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test that fails by itself notices; a fixture that fails before it does not."""
        if report.when == "call" and report.passed:
            self.passed.append(report.nodeid)
        elif report.skipped:
            self.skipped.append(report.nodeid)
        elif report.failed:
            (self.failed if report.when == "call" else self.broken).append(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """What can't be collected was not tested."""
        if report.failed:
            self.broken.append(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        """Write the outcome."""
        Path(os.environ[OUTCOME]).write_text(json.dumps(vars(self)), encoding="utf-8")


def main() -> int:
    """Run pytest as in a new interpreter: what is imported of the project comes from the copy."""
    os.setsid()  # So that it can be stopped together with the servers that it starts.
    for name in [name for name in sys.modules if name.partition(".")[0] in ("mutants", "support")]:
        del sys.modules[name]
    sys.path[:0] = os.environ["PYTHONPATH"].split(os.pathsep)
    return pytest.main(["-p", "mutants.judging", *sys.argv[1:]])


def pytest_configure(config: pytest.Config) -> None:
    """
    Begin.

    :raises UsageError: if another package than that of the copy is imported, or the fault keeps it from being imported.
    """
    try:
        module = importlib.import_module(os.environ[MODULE])
    except Exception as error:
        raise pytest.UsageError(f"the fault can't be imported: {error!r}") from error
    source = Path(module.__file__ or "").resolve()
    if not source.is_relative_to(Path(os.environ[COPY]).resolve()):
        raise pytest.UsageError(f"{source} is tested, which is not the copy")
    config.pluginmanager.register(Judge(), "judge")


if __name__ == "__main__":
    sys.exit(main())
