"""Former names of states and outcomes in options, settings and output: they work for one version, and say so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cratedb_retention.execution.results import PlanAnswer
from support.command import Command

CUTOFF = "--cutoff-day=2024-07-01"


def test_options(command: Command) -> None:
    """A former value finds the same rows, with one line of warning; a value that is none is refused as ever."""
    command.ok("create", "--strategy=delete", "--retention-period=60d", "--table-name=missing")
    command("run", CUTOFF)
    found = command("jobs", "--outcome=problem", "--event=held", "--format=json")
    assert found.err.splitlines() == [
        "Warning: --outcome=problem is deprecated; use --outcome=needs-attention",
        "Warning: --event=held is deprecated; use --event=blocked",
    ]
    assert found.out == command.ok("jobs", "--outcome=needs-attention", "--event=blocked", "--format=json")
    assert "'problem' is not one of" in command("jobs", "--event=problem").err


def test_keys(command: Command) -> None:
    """What scripts read from JSON has its former names beside the present ones."""
    command.ok("create", "--strategy=delete", "--retention-period=60d", "--table-name=missing")
    command.ok("create", "--strategy=delete", "--retention-period=60d", "--table-name=metrics")
    plan = command.data("plan", CUTOFF)
    assert (plan["holds"], plan["kept"]) == (plan["blocked"], plan["up_to_date"])
    assert plan["blocked"][0]["problem"] is plan["blocked"][0]["needs_attention"] is True
    lines = command.data("status", CUTOFF)["policies"]
    assert [line["held"] for line in lines] == [line["blocked"] for line in lines]
    ran = json.loads(command("run", CUTOFF, "--format=json").out)
    assert (ran["held"], ran["problems"], ran["blocked"], ran["needs_attention"]) == (1, 1, 1, 1)
    described = PlanAnswer.model_json_schema(mode="serialization", by_alias=False)["properties"]
    assert {name for name, each in described.items() if each.get("deprecated")} == {"holds", "kept"}


def test_settings(command: Command, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A former name in a file or variable sets the present one."""
    file = tmp_path / "old.toml"
    file.write_text('[notify]\nheld_longer_than = "2d"\n')
    found = command(f"--config={file}", "config", "--format=json")
    assert f"{file}, line 2: notify.held_longer_than is deprecated; use notify.blocked_longer_than" in caplog.text
    assert '"notify.blocked_longer_than"' in found.out
    assert '"notify.held_longer_than"' not in found.out
