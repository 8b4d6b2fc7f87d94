"""The page about the library, from the public names and their docstrings."""

from __future__ import annotations

import dataclasses
import enum
import functools
import inspect
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import BaseModel

import cratedb_retention
from cratedb_retention import Retention
from cratedb_retention.api import Former
from cratedb_retention.api.connection import Has
from cratedb_retention.model import former
from cratedb_retention.model.plan.plan import Blocked, Plan
from cratedb_retention.model.runs import Report
from parts.markdown import HEAD, from_docstring, one_line, table

_FIELD = re.compile(r"^:(param|return|raises)\s*(\w*):\s*((?:.|\n(?=\s))*)", re.MULTILINE)
_SECTION = re.compile(r"^    # ([A-Z][\w' ]+)$")
_FIRST = "Connection"
_PROPERTIES = (property, functools.cached_property)


def library() -> str:
    """The page."""
    parts = [
        f"{HEAD}\n# Library\n",
        "Methods of `Retention` and its parts do what the commands do to policies and data. These commands\n"
        "have no method: `config`, `demo`, `export`, `serve`, `status`, `translate`. The names on this page are\n"
        "the public interface of `cratedb_retention`; only these are stable. The [examples](../../examples) run as\n"
        "they are.\n",
        "Instants are `datetime` objects with a time zone. All [errors](exit-codes.md#kinds-of-errors) are\n"
        "subclasses of `RetentionError`.\n",
        f"## Retention\n\n{_signature('Retention', Retention)}\n{_documented(Retention)}",
        "`close()`, or the end of a `with` statement, closes a `Retention`.\n",
    ]
    for section, about, methods in _sections():
        parts.append(f"## {section}\n\n{about}\n" if about else f"## {section}\n")
        parts += [f"### {name}\n\n{_signature(name, method)}\n{_documented(method)}" for name, method in methods]
    about = "Deprecated methods of `Retention`, and attributes, removed in the next version."
    parts.append(f"## Former names\n\n{about}\n\n{_former()}")
    parts.append("## Other names\n")
    names = (name for name in cratedb_retention.__all__ if name != "Retention")
    parts += [_other(name, getattr(cratedb_retention, name)) for name in names]
    return "\n".join(parts)


def _sections() -> Iterator[tuple[str, str, list[tuple[str, Callable[..., Any]]]]]:
    """The public methods, as comments in the class put them together, and then those of its parts."""
    lines, start = inspect.getsourcelines(Retention)
    titles = [(start + number, match[1]) for number, line in enumerate(lines) if (match := _SECTION.match(line))]
    found: dict[str, list[tuple[str, Callable[..., Any]]]] = defaultdict(list)
    for name, method in _public(Retention):
        line = method.__code__.co_firstlineno
        found[next((title for number, title in reversed(titles) if number < line), _FIRST)].append((name, method))
    yield from ((title, "", methods) for title, methods in found.items())
    for part, kind in _parts():
        about = f"`retention.{part}`: {one_line(inspect.getdoc(kind) or '')}"
        listed = [(f"{part}", kind.__call__)] if "__call__" in vars(kind) else []
        yield part.capitalize(), about, [*listed, *((f"{part}.{name}", method) for name, method in _public(kind))]


def _public(kind: type) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The public methods of a class, in their order; all are closed alike."""
    for name, method in vars(kind).items():
        if inspect.isfunction(method) and not name.startswith("_") and name != "close":
            yield name, method


def _parts() -> Iterator[tuple[str, type]]:
    """The parts of the class, by their names."""
    for name, value in vars(Retention).items():
        if isinstance(value, Has):
            yield name, value.kind


def _former() -> str:
    """Names of the version before, and those of today."""
    rows = []
    for name, value in vars(Retention).items():
        if isinstance(value, Former):
            part, method = value.find.__code__.co_names  # Of a function that does just that.
            rows.append((f"`{name}`", f"`{part}.{method}`"))
    for kind in (Plan, Blocked, Report):
        known = ((name, each) for name, each in vars(kind).items() if isinstance(each, former.Former))
        rows += ((f"`{kind.__name__}.{name}`", f"`{kind.__name__}.{each.name}`") for name, each in known)
    return table(("Was", "Is"), rows)


def _signature(name: str, called: Callable[..., Any]) -> str:
    """How something is called, as a block of code; one argument a line where one line is too short."""
    signature = inspect.signature(called)
    arguments = []
    for each in signature.parameters.values():
        if each.kind is each.KEYWORD_ONLY and "*" not in arguments:
            arguments.append("*")
        if each.name != "self":
            arguments.append(_argument(each))
    returned = signature.return_annotation
    end = "" if isinstance(called, type) or returned is inspect.Signature.empty else f" -> {returned}"
    text = f"{name}({', '.join(arguments)}){end}"
    if len(text) > 100:
        text = f"{name}(\n" + "".join(f"    {argument},\n" for argument in arguments) + f"){end}"
    return f"```py\n{text}\n```\n"


def _argument(parameter: inspect.Parameter) -> str:
    stars = (
        "*" if parameter.kind is parameter.VAR_POSITIONAL else "**" if parameter.kind is parameter.VAR_KEYWORD else ""
    )
    text = f"{stars}{parameter.name}: {parameter.annotation}"
    if parameter.default is inspect.Parameter.empty:
        return text
    default = parameter.default
    named = f"{default.__module__}.{default.__qualname__}" if inspect.isfunction(default) else repr(default)
    return f"{text} = {named}"


def _documented(thing: Any, fields: bool = True) -> str:
    """
    A docstring.

    :param fields: Whether with arguments, results and errors, as a list.
    """
    text = inspect.getdoc(thing) or ""
    words = {"param": "`{}`: {}", "return": "returns: {1}", "raises": "raises `{}` {}"}
    lines = [f"- {words[kind].format(name, said)}" for kind, name, said in _fields(text)] if fields else []
    return "\n".join([from_docstring(_FIELD.sub("", text).strip()), "", *lines, *([""] if lines else [])])


def _fields(text: str) -> list[tuple[str, str, str]]:
    """Kind, name and text of each field of a docstring."""
    return [(kind, name, from_docstring(one_line(said))) for kind, name, said in _FIELD.findall(text)]


def _other(name: str, thing: Any) -> str:
    """A class or function other than the main one."""
    head = f"### {name}\n"
    if inspect.isfunction(thing):
        return f"{head}\n{_signature(name, thing)}\n{_documented(thing)}"
    if issubclass(thing, BaseModel):
        return f"{head}\n{_documented(thing)}\nIts attributes are those of [policies](policies.md#attributes).\n"
    if issubclass(thing, enum.Enum):
        return f"{head}\n{_documented(thing)}\n" + ", ".join(f"`{each.name}`" for each in thing) + ".\n"
    if not dataclasses.is_dataclass(thing):
        return f"{head}\n{_documented(thing)}"
    about = {key: said for kind, key, said in _fields(inspect.getdoc(thing) or "") if kind == "param"}
    rows = [
        (f"`{each.name}`", f"`{each.type}`", about.get(each.name, ""))
        for each in dataclasses.fields(thing)
        if each.name[0] != "_"
    ]
    shown = [f"{head}\n{_documented(thing, fields=False)}", table(("Attribute", "Type", "Meaning"), rows)]
    methods = "\n".join(_methods(thing))
    return "\n".join([*shown, f"{methods}\n"] if methods else shown)


def _methods(kind: Any) -> Iterator[str]:
    """What the public methods and properties of a class are for, in a line each."""
    for name, value in vars(kind).items():
        if name[0] != "_" and (isinstance(value, (*_PROPERTIES, classmethod)) or inspect.isfunction(value)):
            text = (inspect.getdoc(getattr(kind, name)) or "").partition("\n\n")[0].partition("\n:")[0]
            yield f"- `{name}{'' if isinstance(value, _PROPERTIES) else '()'}`: {one_line(from_docstring(text))}"
