"""
The page about troubleshooting quotes what the program says: each message is in the source, and each reason that a plan,
a check or a run gives is on the page.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from support.markdown import ROOT

PACKAGE = ROOT / "src" / "cratedb_retention"
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
GAP = "…"
MESSAGES = re.findall(r"^\| (?:``\s*(.*?)\s*``|`([^`]*)`) \| ", PAGE, re.MULTILINE)
QUOTED = [one or other for one, other in MESSAGES]


def texts(tree: ast.AST) -> Iterator[str]:
    """Each text in a module, with a gap wherever something is put in."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield re.sub(r"\{\w*\}", GAP, node.value)
        elif isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else GAP for part in node.values)


def in_source() -> list[str]:
    """All texts of the package; those of constants that are put into others as well."""
    paths = sorted(PACKAGE.rglob("*.py"))
    return [" ".join(text.split()) for path in paths for text in texts(ast.parse(path.read_text(encoding="utf-8")))]


SOURCE = in_source()


def is_said(message: str) -> bool:
    """Whether a text of the program holds the message; a gap of either stands for anything in the other."""
    pieces = [re.escape(piece) for piece in message.split(GAP)]
    pattern = re.compile(".*?".join(pieces))
    return any(pattern.search(text) for text in SOURCE)


@pytest.mark.parametrize("message", QUOTED)
def test_each_message_is_one_of_the_program(message: str) -> None:
    """A message that the page quotes is still in the source."""
    assert is_said(message)


def test_messages_that_nobody_says_are_found() -> None:
    """The check above fires, and the page quotes many messages, each once."""
    assert not is_said("no such tabel; create it")
    assert len(QUOTED) > 90
    assert sorted({message for message in QUOTED if QUOTED.count(message) > 1}) == []


def reasons(module: str, *functions: str) -> Iterator[str]:
    """The texts that functions of a module return, yield or raise: the longest part of each without a gap."""
    tree = ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and (not functions or node.name in functions):
            for inner in ast.walk(node):
                if isinstance(inner, ast.Return | ast.Raise | ast.Yield):
                    value = inner.exc if isinstance(inner, ast.Raise) else inner.value
                    for text in texts(value) if value is not None else ():
                        longest = max(text.split(GAP), key=len).strip(" ;:,()")
                        if len(longest) > 12 and " " in longest:
                            yield longest


@pytest.mark.parametrize(
    ("module", "functions"),
    [
        ("planning/planner", ("_reason_to_hold", "_why_unknown")),
        ("planning/limits", ()),
        ("planning/check", ("_on_table", "_contradiction")),
        ("planning/warnings", ()),
        ("planning/delete", ()),
        ("execution/gate", ()),
        ("execution/guard", ()),
    ],
)
def test_what_a_plan_or_run_says_is_on_the_page(module: str, functions: tuple[str, ...]) -> None:
    """Each reason that a plan, a check or a run gives can be found on the page."""
    page = PAGE.replace("`", "")
    assert [text for text in reasons(module, *functions) if text not in page and not _is_reason(text)] == []


def _is_reason(text: str) -> bool:
    """Whether a text says why something is done, which is no trouble."""
    return text.startswith(("older than", "kept for", "and rolled up"))
