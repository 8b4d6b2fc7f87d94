"""The map of files, from the first sentence that each module says of itself."""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from pathlib import Path

from parts.markdown import from_docstring, one_line, table

_PACKAGE = Path(__file__).parent.parent.parent / "src" / "cratedb_retention"
# From the lowest layer up, see the page about the architecture.
_LAYERS = ("model", "planning", "store", "engine", "execution", "api", "service", "ui", "cli")
# From what a user says first to what looks after it all.
_FEATURES = (
    "policies",
    "plan",
    "forecast",
    "holds",
    "archive",
    "rollups",
    "query",
    "runs",
    "schedule",
    "audit",
    "access",
    "overview",
    "notifications",
)
_SENTENCE = re.compile(r"(.*?)\.(?:\s|$)", re.DOTALL)


def modules() -> str:
    """Each layer with its modules."""
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for path in sorted(_PACKAGE.rglob("*.py"), key=lambda path: (len(path.relative_to(_PACKAGE).parts), path)):
        name = path.relative_to(_PACKAGE)
        if name.name != "__init__.py" or name.parts[0] == "api":
            layer = name.parts[0] if name.parts[0] in _LAYERS else "The rest"
            found[layer].append((f"`{name}`", _about(path)))
    parts = [
        f"## {layer}\n\n{_about(_PACKAGE / layer / '__init__.py')}.\n\n{table(('File', 'What is in it'), found[layer])}"
        for layer in _LAYERS
    ]
    return "\n".join([*parts, f"## The rest\n\n{table(('File', 'What is in it'), found['The rest'])}"])


def grid() -> str:
    """How many modules each layer has for each feature, and the names of those that several features share."""
    paths = sorted(path.relative_to(_PACKAGE) for path in _PACKAGE.rglob("*.py") if path.stem != "__init__")
    found = Counter(map(_place, paths))
    rows = [
        (f"`{feature}`" if feature else "shared", *(str(found[layer, feature] or "") for layer in _LAYERS))
        for feature in (*_FEATURES, "")
    ]
    shared: dict[str, list[str]] = defaultdict(list)
    for (layer, feature), path in zip(map(_place, paths), paths, strict=True):
        if not feature:
            shared[layer].append(f"`{path}`")
    named = [(f"`{layer}`", ", ".join(shared[layer])) for layer in _LAYERS if shared[layer]]
    return "\n".join([table(("", *(f"`{layer}`" for layer in _LAYERS)), rows), table(("Shared in", "Modules"), named)])


def _place(path: Path) -> tuple[str, str]:
    """The layer and the feature of a module; an engine of its own, and HTTP, have the same within them."""
    layer, *rest = path.with_suffix("").parts
    name = next((part for part in rest if part not in ("cratedb", "duckdb", "http")), "")
    return layer, name if name in _FEATURES else ""


def _about(path: Path) -> str:
    """The first sentence that a module says of itself, without its end."""
    said = one_line(from_docstring(ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""))
    sentence = _SENTENCE.match(said)
    return sentence[1] if sentence else said
