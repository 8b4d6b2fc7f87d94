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
from collections.abc import Callable, Iterable, Iterator
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


# What stands behind the class `Retention`, for its parts alone; the demonstration plays the application that writes.
BEHIND = {"engine", "store"}
ABOVE = ("cli", "service", "ui")
# What pages may take from it for themselves: everything else is asked of `Scope`, which knows who looks at them.
OF_NOBODY = {"address", "clock", "default_schema"}


def reaches_behind(source: str) -> Iterator[str]:
    """Attributes such as ``retention.store``, by which the class would be gone past."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in BEHIND:
            yield f"line {node.lineno}: {ast.unparse(node)}"


def goes_past_the_scope(source: str) -> Iterator[str]:
    """Attributes such as ``context.retention.policies``, by which a page would see what is not for who looks at it."""
    for node in ast.walk(ast.parse(source)):
        of_it = isinstance(node, ast.Attribute) and ast.unparse(node.value).split(".")[-1] == "retention"
        if isinstance(node, ast.Attribute) and of_it and node.attr not in OF_NOBODY:
            yield f"line {node.lineno}: {ast.unparse(node)}"


def test_searches_find_ways_around() -> None:
    """The searches below would find something if it were there."""
    assert list(reaches_behind("found = self._retention.store.policies")) == ["line 1: self._retention.store"]
    assert list(reaches_behind("retention.policies()")) == []
    assert list(goes_past_the_scope("guest.context.retention.policies()")) == [
        "line 1: guest.context.retention.policies"
    ]
    assert list(goes_past_the_scope("guest.context.retention.clock.now(); scope.policies()")) == []


def ways_around(search: Callable[[str], Iterator[str]], *layers: str) -> dict[str, list[str]]:
    """What a search finds in the modules of some layers."""
    modules = [path for layer in layers for path in (PACKAGE / layer).rglob("*.py")]
    assert len(modules) > 10
    found = {str(path.relative_to(ROOT)): list(search(path.read_text())) for path in modules}
    return {path: lines for path, lines in found.items() if lines}


def test_nothing_goes_past_the_library() -> None:
    """What commands, service and pages do goes through `Retention` and its parts."""
    assert ways_around(reaches_behind, *ABOVE) == {}


def test_pages_go_through_the_scope() -> None:
    """Pages and routes ask `Scope`, so that each rule of access stands in one place."""
    assert ways_around(goes_past_the_scope, "ui") == {}


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
