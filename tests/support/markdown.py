"""
Reads Markdown as far as the tests of the documentation need it: blocks of code, links, headings, commands; and runs the
blocks of a page.

``python -m support.markdown < statements`` runs the SQL of a block on the database that ``CRATEDB_URI`` names. Its
statements end with a semicolon at the end of a line.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import sqlalchemy as sa

from support.forkserver import fork_server

ROOT = Path(__file__).parent.parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / ".github").rglob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
PROGRAM = "cratedb-retention"
SHELLS = ("shell", "sh", "bash", "console", "powershell")
_BLOCK = re.compile(
    r"^(?P<indent> *)(?:<!-- (?:test(?:: (?P<only>\w+))?(?P<mark>)|not run: (?P<why>[^\n]+)) -->\n(?P=indent))?"
    r"```(?P<language>[\w-]*)[^\n]*\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_SEPARATORS = frozenset("|&;()")
# What may stand before a command: the words of a shell, and programs that call another one.
_BEFORE = ("!", "if", "then", "do", "while", "until", "else", "{", "exec", "time", "env", "nohup", "sudo", "$", "&")


@dataclass(frozen=True, kw_only=True)
class Block:
    """
    A block of code.

    :param tested: Whether a comment before it says that the tests run it.
    :param only: The database that it is for; empty: any.
    :param why: Why the tests do not run it, if a comment before it says so.
    """

    language: str
    text: str
    tested: bool
    only: str = ""
    why: str = ""


def blocks(text: str) -> list[Block]:
    """All blocks of code of a page."""
    return [
        Block(
            language=match["language"],
            text=textwrap.dedent(match["text"]),
            tested=match["mark"] is not None,
            only=match["only"] or "",
            why=match["why"] or "",
        )
        for match in _BLOCK.finditer(text)
    ]


def script(text: str, database: str = "duckdb") -> str:
    """
    What the tests run of a page, one block after the other, as a script for a shell.

    :param database: Of the blocks for one database only, those for this one.
    """
    return "\n".join(_as_shell(block) for block in blocks(text) if block.tested and block.only in ("", database))


def _as_shell(block: Block) -> str:
    if block.language == "python":
        return f"python - <<'END_OF_BLOCK'\n{block.text}END_OF_BLOCK"
    if block.language == "sql":
        return f"python -m support.markdown <<'END_OF_BLOCK'\n{block.text}END_OF_BLOCK"
    if block.language not in SHELLS:
        raise ValueError(f"a block in {block.language!r} can't be run")
    return block.text


def run_script(text: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a script for a shell until a command fails; what it calls is forked (``forkserver.py``)."""
    own = {key: value for key, value in os.environ.items() if not key.startswith("CRATEDB_")}
    path = f"{fork_server().programs}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-x", "-c", text],
        cwd=folder,
        env={**own, "PATH": path, "HOME": str(folder), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def links(text: str) -> list[str]:
    """The targets of all links and pictures."""
    return _LINK.findall(_BLOCK.sub("", text))


def anchors(text: str) -> set[str]:
    """The fragments by which headings can be reached, as GitHub makes them."""
    titles = (re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", title) for title in _HEADING.findall(_BLOCK.sub("", text)))
    return {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in titles}


def broken_links(page: Path) -> Iterator[str]:
    """Links of a page to files and headings that are not there; addresses elsewhere are not looked at."""
    for target in links(page.read_text(encoding="utf-8")):
        path, _, fragment = target.partition("#")
        if ":" in path:
            continue
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (fragment and fragment not in anchors(file.read_text(encoding="utf-8"))):
            yield target


def commands(text: str) -> Iterator[list[str]]:
    """The arguments of each call of ``cratedb-retention`` in the blocks for a shell."""
    for block in blocks(text):
        if block.language in SHELLS:
            yield from calls(block.text, "`" if block.language == "powershell" else "\\")


def calls(text: str, goes_on: str = "\\") -> Iterator[list[str]]:
    """
    The arguments of each call of ``cratedb-retention`` in lines for a shell.

    :param goes_on: What stands at the end of a line that goes on in the next one.
    """
    for line in _whole_lines(_without_documents(text.replace(f"{goes_on}\n", " "))):
        for words in _simple_commands(line, goes_on):
            name, arguments = _called(words)
            if PurePosixPath(name.replace("\\", "/")).name in (PROGRAM, f"{PROGRAM}.exe"):
                yield arguments


def _whole_lines(text: str) -> Iterator[str]:
    """Lines; those between which a quoted text goes on are one."""
    waiting = ""
    for line in text.splitlines():
        waiting = f"{waiting}\n{line}" if waiting else line
        try:
            shlex.split(waiting, comments=True)
        except ValueError:
            continue
        yield waiting
        waiting = ""
    if waiting:
        raise ValueError(f"no end of a quoted text: {waiting}")


def _called(words: list[str]) -> tuple[str, list[str]]:
    """The program that a command calls, and its arguments, without what stands before it."""
    number = 0
    while number < len(words) and (words[number] in _BEFORE or re.match(r"\w+=|-", words[number])):
        number += 2 if words[number] in ("-u", "--user") else 1
    return (words[number], words[number + 1 :]) if number < len(words) else ("", [])


def _without_documents(text: str) -> str:
    """Lines that are the input of a command are no commands."""
    return re.sub(r"<<-?\s*'?(\w+)'?(.*?)\n.*?^\1$", r"\2", text, flags=re.MULTILINE | re.DOTALL)


def _simple_commands(line: str, goes_on: str) -> Iterator[list[str]]:
    """The words of each command of a line, without what is redirected."""
    lexer = shlex.shlex(line.removeprefix("PS> ").removeprefix("$ "), posix=True, punctuation_chars="|&;()<>")
    lexer.whitespace_split = True
    if goes_on != "\\":
        lexer.escape = ""
    words: list[str] = []
    for before, word, after in zip(["", *(found := list(lexer))], found, [*found[1:], ""], strict=False):
        if set(word) <= _SEPARATORS:
            yield words
            words = []
        elif not (_redirects(word) or _redirects(before) or (word.isdigit() and _redirects(after))):
            words.append(word)
    yield words


def _redirects(word: str) -> bool:
    return set(word) <= {"<", ">", "&"} and bool(set(word) & {"<", ">"})


def statements(text: str) -> list[str]:
    """The statements of SQL, without their semicolons."""
    parts = re.split(r";\s*(?:--.*)?$", text, flags=re.MULTILINE)
    return [part.strip() for part in parts if part.strip()]


if __name__ == "__main__":
    with sa.create_engine(os.environ["CRATEDB_URI"]).begin() as database:
        for statement in statements(sys.stdin.read()):
            database.exec_driver_sql(statement)
