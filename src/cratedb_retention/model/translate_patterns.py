"""
Regular expressions on dotted names, as Graphite's ``^servers\\.www.*\\.busy$``, become table patterns, where that is
exact: a pattern that fits more tables would expire data that nobody gave up.

Dots stand between the parts of a name, and no table of CrateDB can have one in its name; they become underscores.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

_LITERAL = re.compile(r"[A-Za-z0-9_\-:@%,=~/#!&;<> ]")
_ANY = {".*": "*", ".*?": "*", ".+": "?*", ".+?": "?*", ".": "?"}
_TOKEN = re.compile(
    r"(?P<any>\.(?:[*+]\??)?)"
    r"|\\(?P<escaped>[^A-Za-z0-9])"
    r"|\[\\?(?P<single>[.\-_])\]"
    r"|\((?:\?:)?(?P<group>[^()]*)\)"
    r"|(?P<literal>.)",
    re.DOTALL,
)
# More alternatives than this are no list of names any more.
_MOST = 50


def table_patterns(regex: str) -> tuple[str, ...]:
    """
    The table patterns that together fit the same names as a regular expression that is searched for.

    :return: One for each alternative; none if there is no exact translation.
    """
    try:
        found = tuple(dict.fromkeys(_anchored(text) for part in _split(regex) for text in part))
    except ValueError:
        return ()
    return found if len(found) <= _MOST and all(found) else ()


def _split(regex: str) -> Iterator[Iterator[str]]:
    """The alternatives at the top, each as its expansions; :raises ValueError: if one can't be expressed."""
    depth, start = 0, 0
    for position, char in enumerate(regex):
        escaped = (len(regex[:position]) - len(regex[:position].rstrip("\\"))) % 2
        if not escaped:
            depth += (char == "(") - (char == ")")
        if char == "|" and not depth and not escaped:
            yield _expanded(regex[start:position])
            start = position + 1
    yield _expanded(regex[start:])


def _expanded(regex: str) -> Iterator[str]:
    """The wildcards of a sequence, once for each choice of its groups; ``^`` and ``$`` stay as they are."""
    head, body = ("^", regex[1:]) if regex.startswith("^") else ("", regex)
    ends = body.endswith("$") and not body.endswith("\\$")
    body, tail = (body[:-1], "$") if ends else (body, "")
    choices = [_choices(match) for match in _TOKEN.finditer(body)]
    for chosen in itertools.islice(itertools.product(*choices), _MOST + 1):
        yield head + "".join(chosen) + tail


def _choices(match: re.Match[str]) -> list[str]:
    """What one token stands for."""
    if match["any"]:
        return [_ANY[match["any"]]]
    if match["group"] is not None:
        # A group within the alternatives, or an anchor, would have met the pattern's last branch, and been refused.
        return [
            "".join("".join(_choices(token)) for token in _TOKEN.finditer(alternative))
            for alternative in match["group"].split("|")
        ]
    text = match["escaped"] or match["single"] or match["literal"]
    if text == ".":
        return ["_"]
    if not _LITERAL.fullmatch(text):
        raise ValueError(text)
    return [text]


def _anchored(text: str) -> str:
    """What is searched for may stand anywhere, unless it is anchored."""
    text = text[1:] if text.startswith("^") else f"*{text}"
    text = text[:-1] if text.endswith("$") else f"{text}*"
    return re.sub(r"\*[*?]*", lambda match: "?" * match[0].count("?") + "*", text)


def overlap(one: str, other: str) -> bool:
    """Tell whether there is a name that fits both table patterns."""

    seen = {(0, 0)}
    waiting = [(0, 0)]
    while waiting:
        i, j = waiting.pop()
        if (i, j) == (len(one), len(other)):
            return True
        for step in _steps(one[i : i + 1], other[j : j + 1], i, j):
            if step not in seen:
                seen.add(step)
                waiting.append(step)
    return False


def _steps(a: str, b: str, i: int, j: int) -> Iterator[tuple[int, int]]:
    """Where two patterns may stand after a next character, or none; an empty one is at its end."""
    if a == "*":
        yield i + 1, j
    if b == "*":
        yield i, j + 1
    if a and b and (a == b or {a, b} & {"*", "?"}):
        yield i + (a != "*"), j + (b != "*")
