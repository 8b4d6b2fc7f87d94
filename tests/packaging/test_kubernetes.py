"""The manifests for Kubernetes without Helm: the same is asked of them as of the chart."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cratedb_retention import Retention, __version__, parse_policies
from support.cratedb import CrateDB
from support.deploying import (
    PROGRAM,
    Document,
    Pod,
    check_pod,
    containers,
    documents,
    of_kind,
    parse_command,
    pod_specs,
)
from support.markdown import ROOT

MANIFESTS = ROOT / "deploy" / "kubernetes"
FILES = sorted(MANIFESTS.rglob("*.yaml"))
PLAIN = [path for path in FILES if path.name not in ("kustomization.yaml", "policies.yaml")]
SECRET = {"cratedb-retention": {"uri": "crate://db:4200/"}}
POLICIES = """\
policies:
- {id: events, strategy: delete, table_name: events, retention_period: 30d, schedule: '@hourly'}
"""
Kustomize = Callable[[Path], str]
variants = pytest.mark.parametrize("variant", ["service", "cronjob"])


def read(path: Path) -> list[Document]:
    """The documents of a file."""
    return documents(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", PLAIN, ids=lambda path: path.name)
def test_pods(path: Path, tmp_path: Path) -> None:
    """Pods have few rights, and commands and settings that the program knows."""
    common = MANIFESTS / "common"
    maps = [
        {
            "kind": "ConfigMap",
            "metadata": {"name": name},
            "data": {file: (common / file).read_text(encoding="utf-8")},
        }
        for name, file in (("cratedb-retention", "config.toml"), ("cratedb-retention-policies", "policies.yaml"))
    ]
    for _, template in pod_specs(read(path)):
        check_pod(template)
        pod = Pod(template, maps, tmp_path, SECRET)
        for container in containers(template):
            assert container["image"] == "cratedb-retention"
            settings = pod.settings(container).settings
            assert settings.database.uri == "crate://db:4200/"
            name, _ = parse_command(pod.arguments(container))
            assert name in ("setup", "apply", "serve", "run")
            if name == "serve":
                assert template["spec"]["terminationGracePeriodSeconds"] >= settings.service.patience + 20


def test_files_are_all_used() -> None:
    """Each file is named by a kustomization, and each that is named is there."""
    named = {MANIFESTS / "monitoring" / "kustomization.yaml"}
    for path in FILES:
        if path.name == "kustomization.yaml":
            (found,) = read(path)
            generated = [file for each in found.get("configMapGenerator", []) for file in each["files"]]
            for name in [*found["resources"], *found.get("components", []), *generated]:
                target = (path.parent / name).resolve()
                named.add(target / "kustomization.yaml" if target.is_dir() else target)
    named |= {MANIFESTS / variant / "kustomization.yaml" for variant in ("service", "cronjob")}
    assert named == {*FILES, MANIFESTS / "common" / "config.toml"}


def test_the_policy_file_is_valid() -> None:
    """The policies that come with the manifests are none, in a valid file."""
    assert parse_policies((MANIFESTS / "common" / "policies.yaml").read_text(encoding="utf-8"), "p") == []


@variants
def test_what_kustomize_makes(variant: str, kustomize: Kustomize, validate: Callable[[str], None]) -> None:
    """It is valid for Kubernetes, has the image of this version everywhere, and holds no Secret."""
    text = kustomize(MANIFESTS / variant)
    validate(text)
    found = documents(text)
    assert not of_kind(found, "Secret")
    images = {container["image"] for _, pod in pod_specs(found) for container in containers(pod)}
    assert images == {f"cratedb-retention:{__version__}"}


@variants
def test_selectors(variant: str, kustomize: Kustomize) -> None:
    """The network policy is about the pods of this program alone, and the Service finds those of the service."""
    found = documents(kustomize(MANIFESTS / variant))
    (policy,) = of_kind(found, "NetworkPolicy")
    chosen = policy["spec"]["podSelector"]["matchLabels"]
    assert chosen == {"app.kubernetes.io/name": "cratedb-retention"}
    pods = [pod["metadata"]["labels"] for _, pod in pod_specs(found)]
    assert all(chosen.items() <= labels.items() for labels in pods)
    for service in of_kind(found, "Service"):
        reached = [labels for labels in pods if service["spec"]["selector"].items() <= labels.items()]
        assert [labels["app.kubernetes.io/component"] for labels in reached] == ["service"]


def test_monitoring(kustomize: Kustomize, tmp_path: Path) -> None:
    """With the component there is a ServiceMonitor that finds the Service."""
    shutil.copytree(MANIFESTS, tmp_path / "kubernetes")
    path = tmp_path / "kubernetes" / "service" / "kustomization.yaml"
    text = path.read_text(encoding="utf-8")
    assert "  # - ../monitoring\n" in text
    path.write_text(text.replace("  # - ../monitoring", "  - ../monitoring"), encoding="utf-8")
    found = documents(kustomize(path.parent))
    (monitor,), (service,) = of_kind(found, "ServiceMonitor"), of_kind(found, "Service")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()


def test_what_its_pods_run_works(kustomize: Kustomize, duckdb_uri: str, tmp_path: Path) -> None:
    """The Job creates the tables and applies the policies, and the CronJob runs what is due."""
    shutil.copytree(MANIFESTS, tmp_path / "kubernetes")
    (tmp_path / "kubernetes" / "common" / "policies.yaml").write_text(POLICIES, encoding="utf-8")
    found = documents(kustomize(tmp_path / "kubernetes" / "cronjob"))
    for _, template in sorted(pod_specs(found), reverse=True, key=lambda named: named[0].startswith("Job")):
        pod = Pod(template, found, tmp_path, {"cratedb-retention": {"uri": duckdb_uri}})
        for container in containers(template):
            done = pod.run(container)
            assert done.returncode == 0, done.stderr
    with Retention(duckdb_uri) as retention:
        assert "events" in [stored.policy.id for stored in retention.policies()]


def test_several_pods_set_up_at_the_same_time(cratedb: CrateDB, crate_schema: str) -> None:
    """Each replica begins with `setup`; all of them succeed, and there is one policy for the audit log."""
    schema = f"{crate_schema}_ext"
    environment = {**os.environ, "CRATEDB_URI": cratedb.uri, "CRATEDB_EXT_SCHEMA": schema}
    pods = [
        subprocess.Popen(
            [PROGRAM, "setup"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    complaints = [pod.communicate()[1] for pod in pods]
    assert [pod.returncode for pod in pods] == [0, 0, 0], complaints
    with Retention(cratedb.uri, schema=schema) as retention:
        assert [stored.policy.id for stored in retention.policies()] == ["jobs-log"]
