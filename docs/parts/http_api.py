"""The routes of the HTTP API, from its own description (OpenAPI)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cratedb_retention.service.http.app import make_routes
from cratedb_retention.service.http.routes import PREFIX
from parts.markdown import one_line, table

_ORDER = ("policies", "runs", "journal", "holds", "snapshots", "data", "tokens", "service")


def routes() -> str:
    """A table of all routes with the roles that they need."""
    rows = [
        (f"`{method} {path}`", operation["x-role"], _said(operation)) for method, path, operation in _operations(_api())
    ]
    return table(("Route", "Role", "What it does"), rows)


def details() -> str:
    """For each route: its parameters, what it is sent, and what it answers."""
    api = _api()
    parts = []
    for method, path, operation in _operations(api):
        shown = [*_parameters(operation), *_body(operation, api)]
        if shown:
            parts.append(f"### {method} {path}\n\n{_said(operation)}\n\n" + "\n".join(shown))
    return "\n" + "\n".join(parts) + "\n"


def _api() -> Mapping[str, Any]:
    return make_routes().openapi()


def _operations(api: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Method, path and description of each route; those outside of the common prefix come last."""
    found = [
        (method.upper(), path.removeprefix(PREFIX), operation)
        for path, methods in api["paths"].items()
        for method, operation in methods.items()
    ]
    yield from sorted(found, key=lambda each: _ORDER.index(each[2]["tags"][0]))


def _said(operation: Mapping[str, Any]) -> str:
    return one_line(operation.get("description", ""))


def _parameters(operation: Mapping[str, Any]) -> Iterator[str]:
    rows = [
        (f"`{each['name']}`", each["in"], _type(each["schema"]), _meaning(each, each["required"]))
        for each in operation.get("parameters", ())
    ]
    if rows:
        yield table(("Parameter", "In", "Type", "Meaning"), rows)


def _body(operation: Mapping[str, Any], api: Mapping[str, Any]) -> Iterator[str]:
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        schema = content["schema"]
        name = str(schema.get("$ref", "")).rpartition("/")[2]
        if name == "Policy":
            yield f"Body (`{kind}`): the [attributes of a policy](policies.md#attributes).\n"
        elif name:
            found = api["components"]["schemas"][name]
            needed = found.get("required", ())
            rows = [
                (f"`{key}`", _type(value), _meaning(value, key in needed)) for key, value in found["properties"].items()
            ]
            yield f"Body (`{kind}`):\n\n{table(('Attribute', 'Type', 'Meaning'), rows)}"
        else:
            yield f"Body (`{kind}`): {schema.get('description', 'an object')}\n"


def _meaning(schema: Mapping[str, Any], required: bool) -> str:
    notes = ["required"] if required else []
    inner = schema.get("schema", schema)
    if inner.get("default") not in (None, [], {}):
        notes.append(f"default: `{str(inner['default']).lower() if inner['default'] is False else inner['default']}`")
    text = one_line(schema.get("description", ""))
    return f"{text} ({', '.join(notes)})".strip() if notes else text


def _type(schema: Mapping[str, Any]) -> str:
    kinds = [each for each in schema.get("anyOf", (schema,)) if each.get("type") != "null"]
    return " or ".join(dict.fromkeys(_one_type(kind) for kind in kinds))


def _one_type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return ", ".join(f"`{value}`" for value in _api()["components"]["schemas"][name].get("enum", ())) or name
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    if schema.get("format") == "date-time":
        return "instant"
    return {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}.get(
        schema.get("type", ""), "object"
    )
