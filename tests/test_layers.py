"""
The layers hold, and only the clock asks for the time.

The contracts are in ``pyproject.toml``. What no linter can say about one place only is said here.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import pkgutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

import cratedb_retention

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "cratedb_retention"
ASKING_FOR_THE_TIME = {"now", "today", "utcnow", "monotonic", "perf_counter", "time_ns"}


def test_layers_hold() -> None:
    """Each import goes downwards, each module has a layer, and the core knows no database, clock or environment."""
    command = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
    options = ["--no-cache", "--no-logo"]
    result = subprocess.run(
        [sys.executable, "-c", command, *options], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def calls_for_the_time(source: str) -> Iterator[str]:
    """Calls such as ``dt.datetime.now(...)``, whatever the module is imported as; ``clock.now()`` is how to do it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            called = ast.unparse(node.func)
            of_a_clock = called.removesuffix(".now").endswith("clock")
            if node.func.attr in ASKING_FOR_THE_TIME and not of_a_clock:
                yield f"line {node.lineno}: {called}"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("dt.datetime.now(dt.UTC)", ["line 1: dt.datetime.now"]),
        ("datetime.utcnow()", ["line 1: datetime.utcnow"]),
        ("clock.now()", []),
        ("self._clock.now()", []),
    ],
)
def test_search_finds_calls(source: str, found: list[str]) -> None:
    """The search below would find something if it were there."""
    assert list(calls_for_the_time(source)) == found


def test_only_the_clock_asks_for_the_time() -> None:
    """Everything else is given a `Clock`, so that a test decides what time it is."""
    modules = [path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "clock.py"]
    assert modules
    found = {str(path.relative_to(ROOT)): list(calls_for_the_time(path.read_text())) for path in modules}
    assert {path: calls for path, calls in found.items() if calls} == {}


# With more fields than this a dataclass is made by names only: a value in another's place would go unnoticed.
MOST_BY_PLACE = 3


def dataclasses_by_place(classes: Iterable[type]) -> Iterator[str]:
    """Dataclasses with many fields that can be made without naming them."""
    for found in classes:
        if dataclasses.is_dataclass(found):
            fields = [field for field in dataclasses.fields(found) if field.init]
            if len(fields) > MOST_BY_PLACE and not all(field.kw_only for field in fields):
                yield f"{found.__module__}.{found.__qualname__}"


def test_search_finds_dataclasses() -> None:
    """The search below would find something if it were there."""
    names = ["a", "b", "c", "d"]
    few, many, named = (
        dataclasses.make_dataclass("Few", names[:3]),
        dataclasses.make_dataclass("Many", names),
        dataclasses.make_dataclass("Named", names, kw_only=True),
    )
    assert list(dataclasses_by_place([few, many, named])) == [f"{many.__module__}.Many"]


def test_many_fields_are_named() -> None:
    """Nobody makes a dataclass with many fields by their order."""
    modules = [
        importlib.import_module(module.name)
        for module in pkgutil.walk_packages(cratedb_retention.__path__, "cratedb_retention.")
        if not module.name.endswith("__main__")
    ]
    classes = [found for module in modules for found in vars(module).values() if inspect.isclass(found)]
    assert len(modules) > 100
    assert list(dataclasses_by_place(classes)) == []
