"""An attribute of a policy is added as the page on the architecture says: by one field; everything else follows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cratedb_retention
from cratedb_retention.store.setup import STEPS

PACKAGE = Path(cratedb_retention.__file__).parent
PAGE = Path(__file__).parents[2] / "docs" / "architecture.md"
BEFORE = "    enabled: Annotated["
FIELD = """    dry_run_only: Annotated[
        bool,
        Attribute(
            text="Whether runs only show what they would do.", group=Group.TABLES, strategies=(Strategy.DELETE,)
        ),
    ] = False
"""
BEFORE_STEP = ")\n"
STEP = f"""    Step(
        version={STEPS[-1].version + 1},
        name="what a run may do",
        columns={{POLICY: ("dry_run_only",)}},
    ),
"""
# What a contributor and a user see of it, in a process of its own that imports the changed copy.
SEEN = """
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from fastapi.testclient import TestClient

from cratedb_retention import Retention, make_policy
from cratedb_retention.cli.policies.editing import create_policy, edit_policy
from cratedb_retention.cli.policies.commands import export
from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.policies.file import dump_policies, parse_policies
from cratedb_retention.model.policies.form import FIELDS, hint_of, is_shown, to_attributes, to_values
from cratedb_retention.service.http.app import make_app
from cratedb_retention.service.http.access import Context

RULE = {"table_name": "metrics", "retention_period": "30d"}
uri = f"duckdb:///{Path.cwd() / 'metrics.duckdb'}"
with Retention(uri, create=True) as retention:
    retention.setup()

def run(command, *arguments):
    outcome = CliRunner().invoke(command, [*arguments, uri], catch_exceptions=False)
    assert outcome.exit_code == 0, outcome.output
    return outcome.output

# A flag of the commands, in the database, and in a file.
options = ["--strategy=delete", "--table-name=metrics", "--retention-period=30d", "--id=p1"]
run(create_policy, *options, "--dry-run-only")
assert "--dry-run-only / --no-dry-run-only" in run(create_policy, "--help")
(policy,) = parse_policies(run(export, "--policy=p1"), "file")
assert policy.dry_run_only is True
assert "dry_run_only: true" in dump_policies([policy])
run(edit_policy, "--id=p1", "--no-dry-run-only")
assert "dry_run_only" not in run(export, "--policy=p1")

# A field of the form, in its group, for its strategy.
field = FIELDS["dry_run_only"]
values = to_values(None) | RULE
assert (field.called, field.group, hint_of(field)) == ("Dry run only", "Which data", field.text.replace("`", ""))
assert values["dry_run_only"] is False
assert is_shown(field, values) and not is_shown(field, values | {"strategy": "snapshot"})
assert make_policy(**to_attributes(values | {"dry_run_only": True})).dry_run_only is True

# The JSON schema.
schema = json.loads(run(export, "--json-schema"))["$defs"]["Policy"]["properties"]["dry_run_only"]
assert (schema["type"], schema["default"]) == ("boolean", False)
assert schema["description"] == "`delete`: whether runs only show what they would do."

# Another strategy has no use for it.
with pytest.raises(InvalidInput, match="dry_run_only: does not apply to snapshot; remove it, or use delete"):
    make_policy(strategy="snapshot", target_repository_name="vault", dry_run_only=True, **RULE)

# The HTTP API, and its description.
with Retention(uri) as retention, TestClient(make_app(Context(retention=retention, authenticate=False))) as http:
    logs = {**RULE, "table_name": "logs", "strategy": "delete", "dry_run_only": True}
    made = http.post("/api/v1/policies", json=logs)
    assert (made.status_code, made.json()["dry_run_only"]) == (201, True), made.text
    assert http.patch("/api/v1/policies/p1", json={"dry_run_only": True}, headers={"If-Match": "*"}).is_success
    assert http.get("/api/v1/policies/p1").json()["dry_run_only"] is True
    described = http.get("/api/v1/openapi.json").json()["components"]["schemas"]["Policy"]["properties"]
    assert described["dry_run_only"]["type"] == "boolean"
print("seen")
"""


def test_an_attribute_is_one_field(tmp_path: Path) -> None:
    """
    A field, and a step for existing tables, make an option, a flag as a flag, a form's field, a column, an attribute of
    files, of their schema and of the HTTP API; and other strategies refuse it.
    """
    steps = PAGE.read_text().partition("- *An attribute of a policy*")[2].partition("\n- *")[0]
    places = re.findall(r"`([\w/]+\.py)`", steps)
    assert places == ["model/policies/policy.py", "store/setup.py"]
    changed = tmp_path / "src" / PACKAGE.name
    shutil.copytree(PACKAGE, changed, ignore=shutil.ignore_patterns("__pycache__"))
    for place, before, added in zip(places, (BEFORE, BEFORE_STEP), (FIELD, STEP), strict=True):
        head, present, tail = (changed / place).read_text().rpartition(before)
        assert present
        (changed / place).write_text(head + added + present + tail)
    with cratedb_retention.Retention(f"duckdb:///{tmp_path / 'metrics.duckdb'}", create=True) as retention:
        retention.setup()
    environment = {**os.environ, "PYTHONPATH": str(changed.parent)}
    done = subprocess.run(
        [sys.executable, "-c", SEEN], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("seen\n", 0), done.stderr
