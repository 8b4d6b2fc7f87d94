"""What is shipped for Prometheus and Grafana: well formed, and about metrics that there are."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from cratedb_retention.model.former import METRICS
from cratedb_retention.service.metrics import PREFIX, RetentionCollector
from support.databases import Database
from support.missing import NO_PROMTOOL

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
ALERTS, DASHBOARD = DEPLOY / "prometheus" / "alerts.yml", DEPLOY / "grafana" / "dashboard.json"
NAME = re.compile(r"\b(cratedb_retention_\w+)")


def rules() -> list[dict[str, Any]]:
    """All alert rules."""
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def expressions(node: Any) -> Iterator[str]:
    """All queries of a dashboard."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("expr", "query") and isinstance(value, str):
                yield value
            yield from expressions(value)
    elif isinstance(node, list):
        for value in node:
            yield from expressions(value)


def test_alerts_are_well_formed() -> None:
    """Each rule has what Prometheus wants, and says what is wrong and what to do."""
    found = rules()
    assert len({rule["alert"] for rule in found}) == len(found) > 5
    for rule in found:
        assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
        assert re.fullmatch(r"\d+[mhd]", rule["for"])
        assert rule["labels"]["severity"] in ("info", "warning", "critical")
        assert set(rule["annotations"]) == {"summary", "description"}
        assert rule["expr"].count("(") == rule["expr"].count(")")


def test_prometheus_takes_the_alerts() -> None:
    """Prometheus's own tool says so, where it is installed."""
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip(NO_PROMTOOL)
    done = subprocess.run([tool, "check", "rules", str(ALERTS)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_asked_is_there(duck: Database) -> None:
    """Alerts and dashboard ask for metrics that there are, with labels that they have; and each is shown somewhere."""
    duck.policy("delete", "t", "1d", id="p")
    families = list(text_string_to_metric_families(RetentionCollector(duck.tool).text().decode()))
    there = {family.name for family in families}
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    asked = [*(rule["expr"] for rule in rules()), *expressions(dashboard)]
    named = {name for text in asked for name in NAME.findall(text)}
    assert named <= there
    assert there - named <= {"cratedb_retention_policies_not_shown", *(PREFIX + former for former in METRICS)}
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    labels = {label for text in asked for label in re.findall(r"[{,]\s*(\w+)\s*=", text)}
    assert labels <= {"policy", "job"}
