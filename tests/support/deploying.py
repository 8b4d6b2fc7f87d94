"""
What files for Kubernetes, Nomad and the like say is looked at with the program itself: its commands, settings and
policies; and what their pods run is run, with what is mounted in a directory of the test's own.
"""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from cratedb_retention.cli.main import cli
from cratedb_retention.service.settings import Loaded, load

PROGRAM = Path(sys.executable).parent / "cratedb-retention"
Document = dict[str, Any]


def parse_command(arguments: Sequence[str]) -> tuple[str, Mapping[str, Any]]:
    """
    The command and its options, as the program reads its arguments.

    :raises click.UsageError: if it would not.
    """
    context = cli.make_context("cratedb-retention", list(arguments))
    name, command, rest = cli.resolve_command(context, [*context._protected_args, *context.args])
    assert name is not None and command is not None
    with command.make_context(name, rest, parent=context) as inner:
        return name, dict(inner.params)


def documents(text: str) -> list[Document]:
    """The documents of YAML."""
    return [document for document in yaml.safe_load_all(text) if document]


def of_kind(found: Iterable[Document], kind: str) -> list[Document]:
    """Those of a kind."""
    return [document for document in found if document["kind"] == kind]


def pod_specs(found: Iterable[Document]) -> Iterator[tuple[str, Document]]:
    """The pods that documents of Kubernetes ask for: what each is called, with its metadata and spec."""
    for document in found:
        template = document
        for key in ("jobTemplate", "template"):
            if key in template.get("spec", {}):
                template = template["spec"][key]
        if "containers" in template.get("spec", {}):
            yield f"{document['kind']} {document['metadata']['name']}", template


def containers(pod: Document) -> list[Document]:
    """The containers of a pod in the order in which they are started."""
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def check_pod(pod: Document) -> None:
    """A pod has no rights that it does not need, and gets no variables that would be taken for settings."""
    spec = pod["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] == spec["securityContext"]["runAsGroup"] == 10001
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in containers(pod):
        rights = container["securityContext"]
        assert rights["readOnlyRootFilesystem"] is True
        assert rights["allowPrivilegeEscalation"] is False
        assert rights["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"]["memory"]
        assert "/tmp" in [mount["mountPath"] for mount in container["volumeMounts"]]


class Pod:
    """
    A pod with what is mounted, in a directory.

    :param found: Where its ConfigMaps and Secrets are.
    :param root: The directory.
    :param secrets: Secrets that are not in the documents, by their name and key.
    """

    def __init__(
        self,
        pod: Document,
        found: Iterable[Document],
        root: Path,
        secrets: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self._pod, self._root = pod, root
        self._sources = {**_contents(found), **{("Secret", name): data for name, data in (secrets or {}).items()}}
        self._mounted: set[str] = set()
        for container in containers(pod):
            for mount in container["volumeMounts"]:
                self._mount(mount)

    def environment(self, container: Document) -> dict[str, str]:
        """The environment of a container."""
        found = {"POD_IP": "10.0.0.7"}
        for variable in container["env"]:
            if "value" in variable:
                found[variable["name"]] = self._here(variable["value"].replace("$(POD_IP)", found["POD_IP"]))
        return found

    def settings(self, container: Document) -> Loaded:
        """The settings of the program in a container."""
        return load(self.environment(container), None)

    def arguments(self, container: Document) -> list[str]:
        """The arguments of the program in a container."""
        return [self._here(argument) for argument in container["args"]]

    def run(self, container: Document) -> subprocess.CompletedProcess[str]:
        """Run what a container runs, to its end."""
        command = [*container.get("command", [str(PROGRAM)]), *self.arguments(container)]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self._root), **self.environment(container)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def _here(self, text: str) -> str:
        """A text with the places of mounts in the directory."""
        places = "|".join(map(re.escape, sorted(self._mounted, key=len, reverse=True)))
        return re.sub(rf"(?<![\w.-])({places})(?=/|$)", lambda match: f"{self._root}{match[1]}", text)

    def _mount(self, mount: Document) -> None:
        (volume,) = (each for each in self._pod["spec"]["volumes"] if each["name"] == mount["name"])
        place = self._root / mount["mountPath"].lstrip("/")
        place.mkdir(parents=True, exist_ok=True)
        if mount["mountPath"] != "/tmp":
            self._mounted.add(mount["mountPath"])
        for name, text in self._content(volume).items():
            (place / name).write_text(text, encoding="utf-8")

    def _content(self, volume: Document) -> Mapping[str, str]:
        if "configMap" in volume:
            return self._sources["ConfigMap", volume["configMap"]["name"]]
        if "secret" in volume:
            data = self._sources["Secret", volume["secret"]["secretName"]]
            items = volume["secret"].get("items") or [{"key": key, "path": key} for key in data]
            return {item["path"]: data[item["key"]] for item in items}
        assert "emptyDir" in volume
        return {}


def _contents(found: Iterable[Document]) -> dict[tuple[str, str], Mapping[str, str]]:
    sources: dict[tuple[str, str], Mapping[str, str]] = {}
    for document in found:
        data = document.get("data", {})
        if document["kind"] == "Secret":
            data = {key: base64.b64decode(text).decode() for key, text in data.items()}
        if document["kind"] in ("ConfigMap", "Secret"):
            sources[document["kind"], document["metadata"]["name"]] = data
    return sources
