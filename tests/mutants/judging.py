"""
A plugin for pytest in the run that judges a fault: makes sure that the copy is what is tested, and writes down how the
tests ended, so that an import that fails is not taken for a test that notices.
"""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path

import pytest

# Names of the environment: the copy, the module with the fault, and where the outcome is written.
COPY, MODULE, OUTCOME = "MUTANTS_COPY", "MUTANTS_MODULE", "MUTANTS_OUTCOME"


class Judge:
    """Hears how each test ends."""

    def __init__(self) -> None:
        self.passed = self.skipped = 0
        self.failed: list[str] = []
        self.broken: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test that fails by itself notices; a fixture that fails before it does not."""
        if report.when == "call" and report.passed:
            self.passed += 1
        elif report.skipped:
            self.skipped += 1
        elif report.failed:
            (self.failed if report.when == "call" else self.broken).append(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """What can't be collected was not tested."""
        if report.failed:
            self.broken.append(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        """Write the outcome."""
        said = {"passed": self.passed, "skipped": self.skipped, "failed": self.failed, "broken": self.broken}
        Path(os.environ[OUTCOME]).write_text(json.dumps(said), encoding="utf-8")


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
