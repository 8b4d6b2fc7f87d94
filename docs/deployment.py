"""
Writes what follows from the program in the files for Kubernetes and Nomad (``deploy``): the version, and what the Helm
chart takes as settings and policies.

    python docs/deployment.py          write it
    python docs/deployment.py --check  complain if a file is not up to date
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cratedb_retention import __version__
from cratedb_retention.model.former import SETTINGS
from cratedb_retention.model.policies.file import policy_file_schema
from cratedb_retention.service.settings import SECRETS, Settings, names

ROOT = Path(__file__).parent.parent
# Files with the version, each with a pattern of what stands before it.
VERSIONS: Mapping[str, tuple[str, ...]] = {
    "deploy/helm/cratedb-retention/Chart.yaml": (r"^version: ", r'^appVersion: "'),
    "deploy/kubernetes/common/kustomization.yaml": (r"^    newTag: ",),
    "deploy/nomad/cratedb-retention.nomad.hcl": (r'= "cratedb-retention:',),
    "deploy/nomad/cratedb-retention-due.nomad.hcl": (r'= "cratedb-retention:',),
    "deploy/nomad/cratedb-retention-setup.nomad.hcl": (r'= "cratedb-retention:',),
    "deploy/nomad-pack/cratedb_retention/metadata.hcl": (r'  version\s+= "',),
}
VALUES = "deploy/helm/cratedb-retention/values.schema.json"
# What the chart itself says by an option.
_CHART_SAYS = frozenset({"http.listen"})


def main() -> int:
    """Write, or check, all files; the exit code is 1 if one is outdated."""
    check = "--check" in sys.argv[1:]
    outdated = []
    for name in (*VERSIONS, VALUES):
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        new = with_settings(text) if name == VALUES else with_version(text, VERSIONS[name])
        if new != text:
            outdated.append(name)
            if not check:
                path.write_text(new, encoding="utf-8")
    for name in outdated:
        print(f"{name} is outdated: run `make docs`" if check else f"wrote {name}")
    return 1 if check and outdated else 0


def with_version(text: str, patterns: tuple[str, ...]) -> str:
    """A text with the version behind each of the patterns."""
    for pattern in patterns:
        text, found = re.subn(rf"({pattern})[0-9][^\s\"]*", rf"\g<1>{__version__}", text, flags=re.MULTILINE)
        if not found:
            raise SystemExit(f"no version behind {pattern}")
    return text


def with_settings(text: str) -> str:
    """The schema of the chart's values, with policies as in policy files, and all settings that are no secrets."""
    schema = json.loads(text)
    sections: dict[str, Any] = {}
    for name in names():
        if name not in SECRETS | _CHART_SAYS:
            section, key = name.split(".")
            sections.setdefault(section, {})[key] = _setting(section, key)
    for former, name in SETTINGS.items():
        section, key = former.split(".")
        sections[section][key] = {**_setting(*name.split(".")), "deprecated": True}
    schema["properties"]["settings"] = _object({section: _object(keys) for section, keys in sections.items()})
    policies = policy_file_schema()
    # Helm itself takes 007 for a number and NO for a truth value, so that a text has to be in quotes.
    policies["$defs"]["Policy"]["properties"]["where"]["additionalProperties"] = {"type": ["string", "null"]}
    schema["properties"]["policies"] = policies["properties"]["policies"]
    schema |= {"$schema": policies["$schema"], "$defs": policies["$defs"]}
    return json.dumps(schema, indent=2) + "\n"


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _setting(section: str, key: str) -> dict[str, Any]:
    """The schema of one setting, in the words of JSON schema."""
    model: Any = Settings.model_fields[section].annotation
    if f"{section}.{key}" == "notify.blocked_longer_than":
        return {"type": "string", "description": model.model_fields[key].description}
    schema = model.model_json_schema(mode="validation", by_alias=True)
    found = dict(schema["properties"][key])
    reference = found.pop("$ref", None)
    if reference:
        found["enum"] = schema["$defs"][reference.rpartition("/")[2]]["enum"]
    for word in ("default", "title"):
        found.pop(word, None)
    return found


if __name__ == "__main__":
    sys.exit(main())
