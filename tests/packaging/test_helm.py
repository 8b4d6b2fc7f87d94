"""The Helm chart: what it renders is valid for Kubernetes, has few rights, and does what the program understands."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from cratedb_retention import Retention, __version__, parse_policies
from cratedb_retention.clock import Clock
from cratedb_retention.model.duration import parse_duration
from support.deploying import Document, Pod, check_pod, containers, documents, of_kind, parse_command, pod_specs
from support.markdown import ROOT
from support.tools import call

CHART = ROOT / "deploy" / "helm" / "cratedb-retention"
VALUES = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
POLICIES = [
    {"id": "events", "strategy": "delete", "table_name": "events", "retention_period": "30d", "schedule": "@hourly"},
    {"strategy": "downsample", "table_name": "metrics", "retention_period": 7, "levels": "1m:30d", "tags": ["raw"]},
]
FULL: dict[str, Any] = {
    "replicas": 3,
    "image": {"repository": "registry.example.com/cratedb-retention"},
    "database": {"uri": "crate://u:p%2Fw@db:4200/"},
    "notify": {"webhook": "https://hooks.example.com/x", "webhookSecret": "s3cret"},
    "settings": {
        "database": {"schema": "retention"},
        "log": {"level": "info"},
        "service": {"workers": 4, "patience": 45.5},
        "http": {"hosts": ["retention.example.com"], "max_body": 2097152},
        "notify": {"blocked_longer_than": "2d", "command": ["notify", "a b"]},
    },
    "policies": POLICIES,
    "apply": {"prune": True, "tags": [["acme", "raw"], ["globex"]]},
    "ingress": {
        "enabled": True,
        "className": "nginx",
        "host": "retention.example.com",
        "tlsSecretName": "tls",
        "annotations": {"nginx.ingress.kubernetes.io/proxy-body-size": "1m"},
    },
    "serviceMonitor": {"enabled": True, "tokenSecret": {"name": "metrics"}, "labels": {"release": "prometheus"}},
    "networkPolicy": {
        "enabled": True,
        "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}],
        "to": [{"podSelector": {"matchLabels": {"app": "crate"}}}],
        "egress": [{"ports": [{"port": 443, "protocol": "TCP"}]}],
    },
    "imagePullSecrets": [{"name": "registry"}],
    "podAnnotations": {"example.com/a": "b"},
    "podLabels": {"team": "data"},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "x", "operator": "Exists"}],
    "affinity": {"podAntiAffinity": {}},
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
    ],
    "priorityClassName": "high",
    "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
}
VARIANTS: dict[str, dict[str, Any]] = {
    "least": {"database": {"uri": "crate://db:4200/"}},
    "full": FULL,
    "cronjob": {**FULL, "mode": "cronjob"},
    "existing secret": {
        "existingSecret": {"name": "mine", "keys": {"uri": "CRATEDB_URI", "webhook": "hook"}},
        "serviceAccount": {"create": False},
        "settings": {"http": {"tokens": "off", "open_to_all": True}},
        "serviceMonitor": {"enabled": True},
        "image": {"digest": f"sha256:{'a' * 64}"},
    },
}
SECRETS = {"mine": {"CRATEDB_URI": "crate://db:4200/", "hook": "https://hooks.example.com/y"}}
Render = Callable[[dict[str, Any]], list[Document]]
variants = pytest.mark.parametrize("variant", VARIANTS)


@pytest.fixture(scope="module")
def render(helm: str, tmp_path_factory: pytest.TempPathFactory) -> Render:
    """Renders the chart with values, as `helm install` would."""
    file = tmp_path_factory.mktemp("helm") / "values.yaml"

    @cache
    def rendered(values: str) -> str:
        file.write_text(values, encoding="utf-8")
        options = ("--namespace=data", "--kube-version=1.33.0", f"--values={file}")
        return call(helm, "template", "test", str(CHART), *options)

    return lambda values: documents(rendered(yaml.safe_dump(values)))


def test_what_follows_from_the_program_is_up_to_date() -> None:
    """Versions of chart, manifests and jobs are that of the package, and the chart's schema has all settings."""
    command = [sys.executable, str(ROOT / "docs" / "deployment.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["version"] == chart["appVersion"] == __version__


def test_values_have_the_form_that_their_schema_says() -> None:
    """The defaults fit the schema, and each value that the schema knows has a default."""
    validator = jsonschema_rs.validator_for(SCHEMA)
    validator.validate(VALUES)
    for variant in VARIANTS.values():
        validator.validate(variant)
    assert set(SCHEMA["properties"]) - {"global"} == set(VALUES)


@pytest.mark.parametrize(
    "values",
    [
        {"replicsa": 2},
        {"mode": "daemonset"},
        {"settings": {"http": {"lsten": "x"}}},
        {"settings": {"database": {"uri": "crate://db:4200/"}}},
        {"settings": {"service": {"workers": "many"}}},
        {"policies": [{"strategy": "dleete", "table_name": "x", "retention_period": "1d"}]},
        {"policies": [{"strategy": "delete", "table": "x", "retention_period": "1d"}]},
    ],
    ids=str,
)
def test_wrong_values_are_refused(values: dict[str, Any]) -> None:
    """A name that there is not, a secret among the settings, and a policy that is none do not fit the schema."""
    with pytest.raises(jsonschema_rs.ValidationError):
        jsonschema_rs.validator_for(SCHEMA).validate(values)


def test_helm_refuses_wrong_values(helm: str, render: Render) -> None:
    """The schema works in Helm itself, and an address of the database is asked for."""
    with pytest.raises(AssertionError, match="additional properties 'replicsa' not allowed"):
        render({**FULL, "replicsa": 2})
    with pytest.raises(AssertionError, match=r"database\.uri or existingSecret\.name is needed"):
        render({})
    with pytest.raises(AssertionError, match=r"tokenSecret\.name is needed"):
        render({**VARIANTS["least"], "serviceMonitor": {"enabled": True}})
    with pytest.raises(AssertionError, match=r"ingress\.host is needed"):
        render({**VARIANTS["least"], "ingress": {"enabled": True}})


@variants
def test_lint(variant: str, helm: str, tmp_path: Path) -> None:
    """`helm lint` finds nothing."""
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(VALUES | VARIANTS[variant]), encoding="utf-8")
    call(helm, "lint", "--strict", str(CHART), f"--values={tmp_path / 'values.yaml'}")


@variants
def test_manifests_are_valid(variant: str, render: Render, validate: Callable[[str], None]) -> None:
    """Everything fits the schemas of Kubernetes; a ServiceMonitor is no part of that, and is looked at elsewhere."""
    found = render(VARIANTS[variant])
    validate(yaml.safe_dump_all([each for each in found if each["kind"] != "ServiceMonitor"]))


@variants
def test_pods(variant: str, render: Render, tmp_path: Path) -> None:
    """Pods have few rights, the image of this version, and commands and settings that the program knows."""
    found = render(VARIANTS[variant])
    image = {"full": f"registry.example.com/cratedb-retention:{__version__}"}
    image |= {"cronjob": image["full"], "existing secret": f"cratedb-retention@sha256:{'a' * 64}"}
    seen = []
    for name, template in pod_specs(found):
        check_pod(template)
        pod = Pod(template, found, tmp_path / name.replace(" ", "-"), SECRETS)
        for container in containers(template):
            assert container["image"] == image.get(variant, f"cratedb-retention:{__version__}")
            assert pod.settings(container).settings.database.uri
            if "command" not in container:
                seen.append(parse_command(pod.arguments(container))[0])
    assert set(seen) >= {"setup", "status", "run" if variant == "cronjob" else "serve"}


def test_settings_arrive(render: Render, tmp_path: Path) -> None:
    """Settings and secrets of the values are those of the program, the names that it is called by among them."""
    found = render(FULL)
    (deployment,) = of_kind(found, "Deployment")
    (service,) = deployment["spec"]["template"]["spec"]["containers"]
    settings = Pod(deployment["spec"]["template"], found, tmp_path).settings(service).settings
    assert settings.database.uri == "crate://u:p%2Fw@db:4200/"
    assert settings.database.schema_ == "retention"
    assert (settings.log.level, settings.log.format) == ("info", "json")
    assert (settings.service.workers, settings.service.patience) == (4, 45.5)
    assert settings.http.max_body == 2097152
    assert {"retention.example.com", "10.0.0.7", "test-cratedb-retention"} <= set(settings.http.hosts)
    assert (settings.notify.webhook, settings.notify.webhook_secret) == ("https://hooks.example.com/x", "s3cret")
    assert settings.notify.command == ("notify", "a b")
    assert settings.notify.blocked_longer_than == parse_duration("2d")


@variants
def test_grace_period(variant: str, render: Render, tmp_path: Path) -> None:
    """Kubernetes waits for longer than the service waits for its runs."""
    found = render(VARIANTS[variant])
    for deployment in of_kind(found, "Deployment"):
        template = deployment["spec"]["template"]
        settings = Pod(template, found, tmp_path, SECRETS).settings(template["spec"]["containers"][0]).settings
        assert template["spec"]["terminationGracePeriodSeconds"] >= settings.service.patience + 20


def test_secrets_are_in_secrets_alone(render: Render) -> None:
    """No password and no secret is anywhere but in the Secret."""
    for document in render(FULL):
        if document["kind"] != "Secret":
            text = json.dumps(document)
            assert "p%2Fw" not in text and "s3cret" not in text and "hooks.example.com" not in text


def test_no_secret_beside_an_existing_one(render: Render) -> None:
    """The chart makes no Secret where one is named."""
    assert not of_kind(render(VARIANTS["existing secret"]), "Secret")


def test_policies_arrive(render: Render) -> None:
    """The policy file is that of the values, valid for the program."""
    (policies,) = (each for each in of_kind(render(FULL), "ConfigMap") if "policies.yaml" in each["data"])
    assert [policy.strategy for policy in parse_policies(policies["data"]["policies.yaml"], "p")] == [
        "delete",
        "downsample",
    ]


def test_other_policies_make_another_job(render: Render) -> None:
    """A change of policies or settings makes a Job of another name, since a Job can't be changed; nothing else does."""

    def name(values: dict[str, Any]) -> str:
        (job,) = of_kind(render(values), "Job")
        assert "helm.sh/hook" not in job["metadata"].get("annotations", {})
        return str(job["metadata"]["name"])

    assert name(FULL) == name({**FULL, "replicas": 5})
    others = [{**FULL, "policies": POLICIES[:1]}, {**FULL, "settings": {}}, {**FULL, "apply": {}}]
    assert len({name(FULL), *map(name, others)}) == 4


def test_network(render: Render) -> None:
    """Service, monitor, budget and network policy choose the pods of the service; only port 8080 is let in."""
    found = render(FULL)
    (labels,) = (each["spec"]["template"]["metadata"]["labels"] for each in of_kind(found, "Deployment"))
    (service,) = of_kind(found, "Service")
    (policy,) = of_kind(found, "NetworkPolicy")
    (budget,) = of_kind(found, "PodDisruptionBudget")
    (monitor,) = of_kind(found, "ServiceMonitor")
    for selector in (service["spec"]["selector"], policy["spec"]["podSelector"]["matchLabels"]):
        assert selector.items() <= labels.items()
    assert budget["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (endpoint,) = monitor["spec"]["endpoints"]
    assert (endpoint["port"], endpoint["path"]) == ("http", "/metrics")
    assert endpoint["authorization"]["credentials"] == {"name": "metrics", "key": "token"}
    (rule,) = policy["spec"]["ingress"]
    assert [port["port"] for port in rule["ports"]] == [8080]
    for _, template in pod_specs(found):
        assert policy["spec"]["podSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
        is_service = template["metadata"]["labels"]["app.kubernetes.io/component"] == "service"
        assert (service["spec"]["selector"].items() <= template["metadata"]["labels"].items()) == is_service


def test_a_periodic_variant_listens_nowhere(render: Render) -> None:
    """With a CronJob there is no Deployment, Service, Ingress, monitor or budget, and nothing is let in."""
    found = render(VARIANTS["cronjob"])
    kinds = {document["kind"] for document in found}
    assert kinds == {"ServiceAccount", "Secret", "ConfigMap", "NetworkPolicy", "Job", "CronJob", "Pod"}
    assert "ingress" not in of_kind(found, "NetworkPolicy")[0]["spec"]


def test_notes(helm: str, tmp_path: Path) -> None:
    """What Helm says at the end names commands that there are."""
    chart = tmp_path / "chart"
    shutil.copytree(CHART, chart)
    # Helm 3 shows notes only where there is a cluster.
    notes = """\
        kind: ConfigMap
        data:
          notes: |
            {{- include (print .Template.BasePath "/NOTES.txt") . | nindent 4 }}
        """
    (chart / "templates" / "notes.yaml").write_text(textwrap.dedent(notes), encoding="utf-8")
    options = ("--set=database.uri=crate://db:4200/", "--kube-version=1.33.0", "--show-only=templates/notes.yaml")
    (document,) = documents(call(helm, "template", "test", str(chart), *options))
    (line,) = (line for line in document["data"]["notes"].splitlines() if " exec " in line)
    assert parse_command(line.split(" -- cratedb-retention ")[1].split())[0] == "create-token"


@pytest.mark.parametrize(
    "mode",
    [pytest.param("service", marks=pytest.mark.long("make test runs these commands in the other mode")), "cronjob"],
)
def test_what_its_pods_run_works(mode: str, render: Render, duckdb_uri: str, tmp_path: Path) -> None:
    """Tables are created and policies applied, the CronJob runs what is due, and the test of the chart succeeds."""
    then = Clock(now=lambda: dt.datetime(2024, 1, 1, tzinfo=dt.UTC), sleep=lambda seconds: None, shared=True)
    with Retention(duckdb_uri, create=True, clock=then) as retention:
        retention.setup()  # with a policy whose slot is due
    found = render({"mode": mode, "database": {"uri": duckdb_uri}, "policies": POLICIES[:1]})
    pods = dict(pod_specs(found))
    written: dict[str, str] = {}
    for kind in ("Job", "CronJob", "Pod") if mode == "cronjob" else ("Job", "Pod"):
        (template,) = (template for name, template in pods.items() if name.startswith(f"{kind} "))
        pod = Pod(template, found, tmp_path / kind)
        for container in containers(template):
            if "command" not in container:
                done = pod.run(container)
                assert done.returncode == 0, done.stderr
                written[container["name"]] = done.stdout
    assert written["apply"].startswith("created events: delete events")
    if mode == "cronjob":
        assert json.loads(written["due"])["ok"] is True
    with Retention(duckdb_uri) as retention:
        assert {stored.policy.id for stored in retention.policies()} == {"events", "jobs-log"}
