"""
Reads settings: an option beats the environment, which beats the file, which beats the default. Of each is known where
it comes from.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from cratedb_retention.errors import InvalidInput
from cratedb_retention.service.settings import SECRETS, Settings

PREFIX = "CRATEDB_RETENTION_"
CONFIG = f"{PREFIX}CONFIG"
# Names that were there before there were settings.
_OTHER_NAMES = {"database.uri": "CRATEDB_URI", "database.schema": "CRATEDB_EXT_SCHEMA"}
_LISTS: Mapping[str, Callable[[str], list[str]]] = {
    "http.hosts": lambda text: [part.strip() for part in text.split(",")],
    "notify.command": shlex.split,
}
_FILE = "_file"


@dataclass(frozen=True)
class Given:
    """
    A value that somebody gave.

    :param source: Where it comes from, in words.
    """

    value: Any
    source: str


@dataclass(frozen=True)
class Loaded:
    """
    All settings.

    :param sources: Where each that is not the default one comes from, by its name as ``http.listen``.
    :param file: The file that was read; None: there is none.
    """

    settings: Settings
    sources: Mapping[str, str]
    file: Path | None = None


def names() -> list[str]:
    """The names of all settings, as ``http.listen``."""
    return [f"{section}.{field}" for section, model in _sections() for field in _fields(model)]


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return _OTHER_NAMES.get(name) or PREFIX + name.replace(".", "_").upper()


def load(environment: Mapping[str, str], path: str | None, options: Mapping[str, Any] | None = None) -> Loaded:
    """
    Read all settings.

    :param path: The file that an option names; None: that of the environment, or of the default places.
    :param options: What options said, by the names of settings; None values were not said.
    :raises InvalidInput: naming file and line, or variable, or option, with what is wrong.
    """
    file = _find(environment, path)
    layers = [_from_file(file) if file else {}, _from_environment(environment)]
    layers.append({key: Given(value, "option") for key, value in (options or {}).items() if value is not None})
    given: dict[str, Given] = {}
    for layer in layers:
        given |= _with_contents(layer)
    return Loaded(_validate(given), {name: each.source for name, each in given.items()}, file)


def _find(environment: Mapping[str, str], path: str | None) -> Path | None:
    named = path or environment.get(CONFIG)
    if named:
        return Path(named)
    home = environment.get("XDG_CONFIG_HOME") or (f"{environment['HOME']}/.config" if "HOME" in environment else None)
    places = [Path(home, "cratedb-retention", "config.toml")] if home else []
    places.append(Path("/etc/cratedb-retention/config.toml"))
    return next((place for place in places if place.is_file()), None)


def _from_file(path: Path) -> dict[str, Given]:
    text = _read(path, f"configuration file {path}")
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"configuration file {path}", f"not valid TOML: {error}") from None
    return dict(_flat(found, path, text))


def _flat(found: Mapping[str, Any], path: Path, text: str) -> Iterator[tuple[str, Given]]:
    sections = dict(_sections())
    for section, values in found.items():
        if section not in sections or not isinstance(values, dict):
            thing = f"{path}, line {_line(text, section, None)}, {section}"
            raise InvalidInput(thing, "no section", _close(section, sections, "sections are"))
        for key, value in values.items():
            name, line = f"{section}.{key}", _line(text, section, key)
            _check_known(name, f"{path}, line {line}, {name}")
            yield name, Given(value, f"{path}, line {line}")


def _line(text: str, section: str, key: str | None) -> int:
    """The line of a key in its section, or of the section; 1 where it is written in another way."""
    inside, header = False, 1
    wanted = re.compile(rf"\s*[\"']?{re.escape(key or section)}[\"']?\s*[.=]")
    for number, line in enumerate(text.splitlines(), 1):
        found = re.match(r"\s*\[\s*[\"']?([\w-]+)[\"']?\s*\]", line)
        if found:
            inside = found[1] == section
            header = number if inside else header
        elif (inside or key is None) and wanted.match(line):
            return number
    return header


def _from_environment(environment: Mapping[str, str]) -> dict[str, Given]:
    known = {variable(name): name for name in names()}
    known |= {f"{variable(name)}{_FILE.upper()}": f"{name}{_FILE}" for name in SECRETS}
    found = {}
    for key, text in environment.items():
        if key in known:
            read = _LISTS.get(known[key])
            found[known[key]] = Given(read(text) if read else text, f"environment, {key}")
        elif key.startswith(PREFIX) and key != CONFIG:
            raise InvalidInput(f"environment variable {key}", "no setting", _close(key, known, "settings are"))
    return found


def _with_contents(layer: Mapping[str, Given]) -> dict[str, Given]:
    """Secrets that stand in files, which of one source must not be given twice."""
    found = dict(layer)
    for name in SECRETS:
        given = found.pop(f"{name}{_FILE}", None)
        if given is None:
            continue
        if name in found:
            raise InvalidInput(f"{given.source}, {name}{_FILE}", f"{name} is given, too", "give one of them")
        path = Path(str(given.value))
        text = _read(path, f"{given.source}, {name}{_FILE}")
        found[name] = Given(text.strip(), f"file {path} ({given.source})")
    return found


def _read(path: Path, thing: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # Editors on Windows begin files with a mark.
    except UnicodeDecodeError:
        raise InvalidInput(thing, "not UTF-8 text") from None
    except OSError as error:
        named = thing if str(path) in thing else f"{thing}, file {path}"
        raise InvalidInput(named, error.strerror or str(error), "name a file that can be read") from None


def _validate(given: Mapping[str, Given]) -> Settings:
    data: dict[str, dict[str, Any]] = {}
    for name, each in given.items():
        section, _, key = name.partition(".")
        data.setdefault(section, {})[key] = each.value
    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"][:2])
        reason = str(first["msg"]).removeprefix("Value error, ").replace("Input should be ", "must be ")
        source = given[name].source if name in given else "settings"
        raise InvalidInput(f"{source}, {name}", reason) from None


def _check_known(name: str, thing: str) -> None:
    if name not in names() and name.removesuffix(_FILE) not in SECRETS:
        raise InvalidInput(thing, "no setting", _close(name, names(), "settings are"))


def _close(word: str, known: Any, all_of_them: str) -> str:
    close = get_close_matches(word, known, n=1)
    return f"did you mean {close[0]}?" if close else f"{all_of_them}: {', '.join(sorted(known))}"


def _sections() -> Iterator[tuple[str, type[BaseModel]]]:
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type):
            yield name, field.annotation


def _fields(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]
