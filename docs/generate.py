"""
Writes the parts of the documentation that follow from the program: the reference of commands, attributes of policies,
settings, tables, routes of the HTTP API, metrics, errors, events of the audit log, the library, and the JSON schema of
policy files. Each is made by a module of its own in ``docs/parts``.

    python docs/generate.py          write them
    python docs/generate.py --check  complain if any of them is not up to date
"""

from __future__ import annotations

import difflib
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

from cratedb_retention.model.policies.file import policy_file_schema
from parts.attributes import attributes
from parts.commands import commands
from parts.diagrams import DIAGRAMS
from parts.errors import errors
from parts.events import events, outcomes
from parts.files import grid, modules
from parts.http_api import details, routes
from parts.library import library
from parts.metrics import metrics
from parts.settings import settings
from parts.tables import tables

ROOT = Path(__file__).parent.parent

Part = Callable[[], str]
# Files of which some parts, between markers, are made here.
IN_PART: Mapping[str, Mapping[str, Part]] = {
    "docs/reference/policies.md": {"policy attributes": attributes},
    "docs/reference/configuration.md": {"settings": settings},
    "docs/reference/http-api.md": {"routes": routes, "each route": details},
    "docs/reference/metrics.md": {"metrics": metrics},
    "docs/reference/exit-codes.md": {"kinds of errors": errors},
    "docs/architecture.md": {"grid": grid},
    "docs/architecture/files.md": {"modules": modules},
    "docs/reference/audit-log.md": {"events": events, "outcomes": outcomes},
}
# Files that are made here as a whole.
WHOLE: Mapping[str, Part] = {
    "docs/reference/commands.md": commands,
    "docs/reference/tables.md": tables,
    "docs/reference/library.md": library,
    "docs/reference/policies.schema.json": lambda: json.dumps(policy_file_schema(), indent=2) + "\n",
    **{f"docs/diagrams/{name}.svg": draw for name, draw in DIAGRAMS.items()},
}


def filled(path: Path, parts: Mapping[str, Part]) -> str:
    """A file's text with what stands between its markers made anew."""
    text = path.read_text(encoding="utf-8")
    for name, make in parts.items():
        start, end = f"<!-- generated: {name} -->\n", "<!-- end of generated -->"
        pattern = re.compile(f"({re.escape(start)}).*?({re.escape(end)})", re.DOTALL)
        if not pattern.search(text):
            raise LookupError(f"{path.name} has no {start.strip()}")
        content = _made(make)
        text = pattern.sub(lambda match, content=content: f"{match[1]}{content}{match[2]}", text)  # type: ignore[misc]
    return text


def wanted(root: Path) -> dict[Path, str]:
    """Each file of the project in this directory that is made here, or in part, with the text that it should have."""
    return {
        **{root / name: filled(root / name, parts) for name, parts in IN_PART.items()},
        **{root / name: _made(make) for name, make in WHOLE.items()},
    }


@cache
def _made(make: Part) -> str:
    """A part; it is the same however often it is asked for."""
    return make()


def main(arguments: Sequence[str], root: Path = ROOT) -> int:
    """Write the files, or with ``--check`` only compare them; 1 if any differs."""
    check, code = "--check" in arguments, 0
    for path, text in wanted(root).items():
        present = path.read_text(encoding="utf-8") if path.exists() else ""
        if present == text:
            continue
        name = str(path.relative_to(root))
        if check:
            code = 1
            print(f"{name} is not up to date; run `make docs`")
            print("\n".join(difflib.unified_diff(present.splitlines(), text.splitlines(), "is", "should be", n=0)))
        else:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {name}")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
