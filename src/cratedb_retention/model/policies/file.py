"""
Policies as code: YAML with a list of policies, with the attributes of :class:`Policy`. Errors name line and attribute.

Values are read as text, also ``007``, ``NO`` and ``12:30``: the attribute, or the column, decides the type. Only
``null``, ``~`` and an empty value are NULL, as in YAML 1.2, unless they are in quotes.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable
from typing import Any

import yaml
from pydantic import ValidationError

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.policies.policy import Policy, explain, first_error

_REMEDY = "write `policies:` with a list below, as `cratedb-retention export` shows it"
_JSON_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"|\t')
_TAG = "tag:yaml.org,2002:"
_NULL, _MERGE = f"{_TAG}null", f"{_TAG}merge"
_TAGS = {_NULL, _MERGE, *(f"{_TAG}{name}" for name in ("str", "seq", "map"))}


class _Loader(yaml.SafeLoader):
    """Reads plain values as text, except NULL; ``<<`` takes over the attributes of another policy."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - replaces that of the base class


_Loader.add_implicit_resolver(_NULL, re.compile(r"(?:~|null|Null|NULL|)\Z"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver(_MERGE, re.compile(r"<<\Z"), ["<"])
_Loader.add_constructor(_MERGE, lambda loader, node: node.value)


def parse_policies(text: str, name: str) -> list[Policy]:
    """Read policies from YAML or JSON; raises ``InvalidInput`` with file, line and attribute."""
    try:
        root = yaml.compose(_json_as_yaml(text), Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise InvalidInput(_at(name, mark), f"not valid YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise InvalidInput(name, f"not valid YAML: {str(error).splitlines()[0]}") from None
    except RecursionError:
        raise InvalidInput(name, "nested too deeply", _REMEDY) from None
    if root is None:
        raise InvalidInput(name, "the file is empty", _REMEDY)
    _check(name, root, set())
    return [_policy(name, f"policies[{number}]", node) for number, node in enumerate(_items(name, root))]


def _json_as_yaml(text: str) -> str:
    """Convert JSON to YAML: escape its texts, and replace tabs, which YAML rejects. Line numbers stay the same."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return text
    return _JSON_TEXT.sub(lambda match: _quote(json.loads(match[0])) if match[0] != "\t" else " ", text)


def _quote(text: str) -> str:
    """Quote a text; YAML does not combine two escapes into one character, as JSON does."""
    plain = json.dumps(text, ensure_ascii=False)
    return re.sub("[^\x20-\x7e\xa0-\u2027\u202a-\ud7ff]", lambda match: f"\\U{ord(match[0]):08x}", plain)


def _items(name: str, root: yaml.Node) -> list[yaml.Node]:
    if isinstance(root, yaml.MappingNode):
        keys = {key.value: (key, value) for key, value in root.value}
        for key, (node, _) in keys.items():
            if key != "policies":
                raise InvalidInput(_at(name, node.start_mark), f"attribute {key}: unknown", _REMEDY)
        root = keys["policies"][1] if "policies" in keys else root
    if not isinstance(root, yaml.SequenceNode):
        raise InvalidInput(_at(name, root.start_mark), "not a list of policies", _REMEDY)
    return list(root.value)


def _check(name: str, node: yaml.Node, seen: set[int]) -> None:
    """
    Reject tags such as ``!!python/object`` or ``!!int``, since values are plain text, and duplicate keys, of which YAML
    silently takes the last: it could be the wrong retention period. An alias may refer to a node several times, or to a
    node that contains it.
    """
    if id(node) in seen:
        return
    seen.add(id(node))
    if node.tag not in _TAGS:
        tag = node.tag.removeprefix(_TAG)
        raise InvalidInput(_at(name, node.start_mark), f"not plain YAML: the tag {tag}", "write plain values")
    keys = set()
    for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
        if not isinstance(key, yaml.ScalarNode) or key.tag == _NULL:
            raise InvalidInput(_at(name, key.start_mark), "not the name of an attribute", _REMEDY)
        if key.value in keys:
            raise InvalidInput(_at(name, key.start_mark), f"attribute {key.value}: written twice", "remove one of them")
        keys.add(key.value)
    if not isinstance(node, yaml.ScalarNode):
        for child in itertools.chain(*node.value) if isinstance(node, yaml.MappingNode) else node.value:
            _check(name, child, seen)


def _policy(name: str, where: str, node: yaml.Node) -> Policy:
    if not isinstance(node, yaml.MappingNode):
        remedy = "write its attributes like `key: value`"
        raise InvalidInput(_at(name, node.start_mark), f"{where}: not a policy", remedy)
    try:
        return Policy(**{str(key): value for key, value in _Loader("").construct_mapping(node, deep=True).items()})
    except ValidationError as error:
        first = first_error(error)
        thing, reason, remedy = explain(first)
        raise InvalidInput(_at(name, _mark_of(node, first["loc"])), f"{where}, {thing}: {reason}", remedy) from None
    except yaml.MarkedYAMLError as error:
        raise InvalidInput(_at(name, error.problem_mark), f"{where}: not valid YAML: {error.problem}") from None


def _mark_of(node: yaml.Node, location: Iterable[int | str]) -> yaml.Mark:
    mark: yaml.Mark = node.start_mark
    for part in location:
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        found = next(((key, value) for key, value in pairs if key.value == str(part)), None)
        if found is None:
            return mark
        mark, node = found[0].start_mark, found[1]
    return mark


def _at(name: str, mark: yaml.Mark | None) -> str:
    return name if mark is None else f"{name}, line {mark.line + 1}"


def dump_policies(policies: Iterable[Policy]) -> str:
    """Write policies as YAML that :func:`parse_policies` reads, strategy first."""
    return write_yaml({"policies": [policy.to_dict() for policy in policies]})


def write_yaml(data: Any, dumper: type[yaml.SafeDumper] = yaml.SafeDumper, width: int | None = None) -> str:
    """Write plain values as YAML, with escapes for three characters that YAML would read as line breaks."""
    plain = not any(sign in json.dumps(data, ensure_ascii=False, default=str) for sign in "\x85\u2028\u2029")
    return str(yaml.dump(data, Dumper=dumper, sort_keys=False, allow_unicode=plain, width=width))


def policy_file_schema() -> dict[str, Any]:
    """The JSON schema of a policy file, for editors."""
    policy = Policy.model_json_schema()
    definitions = policy.pop("$defs", {})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Policies of cratedb-retention",
        "type": "object",
        "properties": {"policies": {"type": "array", "items": {"$ref": "#/$defs/Policy"}}},
        "required": ["policies"],
        "additionalProperties": False,
        "$defs": {**definitions, "Policy": policy},
    }
