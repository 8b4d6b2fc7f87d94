"""
The page about troubleshooting quotes what the program says: each message is in the source, and each reason that a plan,
a check or a run gives is on the page.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest

from cratedb_retention.model.plan.reasons import KINDS, Kind, Why
from support.markdown import ROOT

PACKAGE = ROOT / "src" / "cratedb_retention"
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
GAP = "…"
MESSAGES = re.findall(r"^\| (?:``\s*(.*?)\s*``|`([^`]*)`) \| ", PAGE, re.MULTILINE)
QUOTED = [one or other for one, other in MESSAGES]


def put_in(value: re.Match[str]) -> str:
    """What stands in place of a value: of a reason's, the words that its kind has, as in ``{rows:n row}``."""
    kind, noun = value[1] or "", value[2]
    if "|" in value[0]:
        return GAP
    return f"{GAP} {noun}s" if noun else f"{kind} {GAP}" if kind in ("policy", "hold") else GAP


def texts(tree: ast.AST) -> Iterator[str]:
    """Each text in a module, with a gap wherever something is put in."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield re.sub(r"\{\w*(?::([\w|]*)(?: ([\w |]*))?)?\}", put_in, node.value)
        elif isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else GAP for part in node.values)


def template(why: Why) -> str:
    """The text of a reason, with a gap in place of each value."""
    named = {id(KINDS[kind]): f"{kind} {GAP}" for kind in ("policy", "hold")}

    def gap(name: str, kind: Kind, noun: str) -> str:
        other = f"{GAP} {noun}s" if noun and "|" not in noun else GAP
        return named.get(id(kind), other) if name else ""

    return "".join(literal + gap(name, kind, noun) for literal, name, kind, noun in why.parts)


@cache
def in_source() -> str:
    """All texts of the package, each a line; those of constants that are put into others as well."""
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py")))
    found = [" ".join(text.split()) for tree in trees for text in texts(tree)]
    return "\n".join([*found, *map(template, Why)])


def is_said(message: str) -> bool:
    """Whether a text of the program holds the message; a gap of either stands for anything in the other."""
    pieces = [re.escape(piece) for piece in message.split(GAP)]
    return re.search(".*?".join(pieces), in_source()) is not None


def test_each_message_is_one_of_the_program() -> None:
    """A message that the page quotes is still in the source."""
    assert [message for message in QUOTED if not is_said(message)] == []


def test_messages_that_nobody_says_are_found() -> None:
    """The check above fires, and the page quotes many messages, each once."""
    assert not is_said("no such tabel; create it")
    assert len(QUOTED) > 90
    assert sorted({message for message in QUOTED if QUOTED.count(message) > 1}) == []


# The modules of which each reason for what is not done is on the page.
MODULES = (
    "planning/plan/planner",
    "planning/plan/budget",
    "planning/policies",
    "planning/overview/survey",
    "planning/plan/strategies",
    "planning/plan/unusual",
    "planning/rollups/coverage",
)
DUE = list(Why)[: list(Why).index(Why.LEGAL_HOLD)]


def blocking() -> list[str]:
    """The names of reasons that these modules give for what is not done."""
    found = {
        name for each in MODULES for name in re.findall(r"Why\.([A-Z_0-9]+)", (PACKAGE / f"{each}.py").read_text())
    }
    return sorted(found - {why.name for why in (*DUE, Why.FAILED)})


@pytest.mark.parametrize("name", blocking())
def test_what_a_plan_says_is_on_the_page(name: str) -> None:
    """Each reason that a plan or a check gives for what is not done can be found on the page."""
    text = template(Why[name])
    assert [message for message in QUOTED if re.search(".*?".join(map(re.escape, message.split(GAP))), text)]
