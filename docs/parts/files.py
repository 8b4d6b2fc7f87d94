"""The map of files, from the first sentence that each module says of itself."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

from parts.markdown import from_docstring, one_line, table

_PACKAGE = Path(__file__).parent.parent.parent / "src" / "cratedb_retention"
# From the lowest layer up, see the page about the architecture.
_LAYERS = ("model", "planning", "store", "engine", "execution", "api", "service", "ui", "cli")
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


def _about(path: Path) -> str:
    """The first sentence that a module says of itself, without its end."""
    said = one_line(from_docstring(ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""))
    sentence = _SENTENCE.match(said)
    return sentence[1] if sentence else said
