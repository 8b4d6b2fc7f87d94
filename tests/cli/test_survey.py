"""``check`` beyond mistakes, and ``suggest``: tables without a policy, older data, and policies that would fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.command import Command, Contents

DELETE = ("create", "--strategy=delete")


def test_tables_without_a_policy(command: Command) -> None:
    """`check` lists them with what is known of each; they are no findings, and a selection is not about them."""
    command.ok(*DELETE, "--table-name=metrics", "--retention-period=forever", "--id=p", "--tags=a")
    shown = command.ok("check")
    assert "Tables without a policy" in shown
    assert "main.metrics" not in shown
    assert "the table has no timestamp column" in shown
    assert "`cratedb-retention suggest` writes policies" in shown
    assert "size" not in shown, "DuckDB knows none"
    found = command.data("check")
    assert (found["findings"], found["notes"]) == ([], [])
    events, plain = found["ungoverned"]
    assert (events["table"], events["rows"], events["bytes"], events["code"]) == ("main.events", 180, None, None)
    assert (plain["table"], plain["rows"], plain["code"]) == ("main.plain", 0, "no-time-column")
    for option in ("--tags=a", "--policy=p", "--strategy=delete"):
        assert command.data("check", option)["ungoverned"] == []


def test_a_disabled_policy_governs_nothing(command: Command) -> None:
    """A table whose policies are disabled is listed with them, and with the growth of its partitions."""
    command.ok(*DELETE, "--table-name=metrics", "--retention-period=30d", "--id=off", "--disabled")
    assert "disabled: off" in command.ok("check")
    (metrics,) = [each for each in command.data("check")["ungoverned"] if each["table"] == "main.metrics"]
    assert (metrics["partitions"], metrics["partly"], metrics["disabled"]) == (6, False, ["off"])
    assert metrics["oldest"] == "2024-01-01T00:00:00+00:00"
    assert (metrics["rows_per_day"], metrics["bytes_per_day"]) == (0, None)


def test_policies_that_match_nothing(command: Command) -> None:
    """A filter that matches no row is a note, which does not change the exit code."""
    command.ok(*DELETE, "--table-name=events", "--retention-period=9y", "--where=tenant=nobody", "--id=p")
    assert "no data has tenant=nobody" in command.ok("check")
    (note,) = command.data("check")["notes"]
    assert (note["table"], note["policies"], note["code"]) == ("main.events", ["p"], "no-data-matches")


def test_older_data_is_a_finding(command: Command) -> None:
    """With `--older-than`, tables with older data are findings, each with what would fit, and the exit code is 3."""
    command.ok(*DELETE, "--table-name=metrics", "--retention-period=50y", "--id=long")
    command.ok("check", "--older-than=50y")
    outcome = command("check", "--older-than=30d", "--format=json")
    assert (outcome.code, outcome.err) == (3, "")
    events, metrics = json.loads(outcome.out)["findings"]
    assert (events["table"], events["policies"], events["code"]) == ("main.events", [], "older-ungoverned")
    assert events["message"].startswith("180 rows older than 30d; no policy removes all of it")
    assert (metrics["table"], metrics["policies"], metrics["code"]) == ("main.metrics", ["long"], "older-kept")
    assert metrics["message"].startswith("6 partitions, 180 rows older than 30d; delete after 50y (long) keeps it")
    assert "older than 30d" in command("check", "--older-than=30d").out
    assert [
        each["table"]
        for each in json.loads(command("check", "--older-than=30d", "--policy=long", "--format=json").out)["findings"]
    ] == ["main.metrics"]
    assert "duration 'soon'" in command.refused(2, "check", "--older-than=soon")


def test_policies_without_a_limit(command: Command) -> None:
    """Each policy that removes partitions without a limit is listed with one that fits, which then ends the matter."""
    command.ok(*DELETE, "--table-name=metrics", "--retention-period=50y", "--id=p", "--tags=a")
    command.ok(*DELETE, "--table-name=events", "--retention-period=50y", "--id=rows")
    assert command.data("check")["unlimited"] == [{"policy": "p", "partitions": 2}]
    assert command.data("check", "--policy=rows")["unlimited"] == []
    shown = command.ok("check")
    assert "Policies without a limit" in shown
    assert "partitions=2" in shown
    command.ok("edit-policy", "--id=p", "--expected-max=partitions=2")
    assert command.data("check")["unlimited"] == []
    assert "without a limit" not in command.ok("check")


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_suggestions_are_a_policy_file(command: Command, contents: Contents, tmp_path: Path, form: str) -> None:
    """What is suggested is applied as it is, does nothing, and is not suggested again."""
    before = contents()
    text = command.ok("suggest", f"--format={form}")
    assert contents() == before
    assert ("# main.metrics: 6 partitions, 180 rows" in text) is (form == "yaml")
    assert ("# main.plain: no suggestion: the table has no timestamp column" in text) is (form == "yaml")
    file = tmp_path / "policies"
    file.write_text(text)
    command.ok("apply", "-f", str(file))
    assert command.ok("apply", "-f", str(file)).count("unchanged") == 2
    assert {(each["table_name"], each["enabled"]) for each in command.data("list")} == {
        ("metrics", False),
        ("events", False),
    }
    command.ok("run")
    after = contents()
    assert {name: after[f"main.{name}"] for name in ("metrics", "events")} == {
        name: before[f"main.{name}"] for name in ("metrics", "events")
    }
    assert command.data("suggest") == {"policies": []}
    assert command.ok("suggest").endswith("policies: []\n")


def test_suggestions_keep_all_present_data(command: Command, tmp_path: Path) -> None:
    """Also if they are enabled, nothing that is there now is due; with a period of the user, it is."""
    file = tmp_path / "policies.yaml"
    file.write_text(command.ok("suggest", "--enabled"))
    command.ok("apply", "-f", str(file))
    assert [each["enabled"] for each in command.data("list") if "enabled" in each] == []
    assert command.data("plan")["tasks"] == []
    command.ok("delete-policy", f"--id={command.data('list')[0]['id']}")
    text = command.ok("suggest", "--retention-period=30d", "--enabled")
    assert "A run now would delete " in text
    file.write_text(text)
    command.ok("apply", "-f", str(file))
    assert command.data("plan")["tasks"]
    assert "duration 'soon'" in command.refused(2, "suggest", "--retention-period=soon")
    assert "keeps nothing" in command.refused(2, "suggest", "--retention-period=0d")
