"""``create-policy``, ``edit-policy``, ``list-policies``, ``delete-policy``: what is written is what is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest

from support.command import Command

MINIMAL = ("--strategy=delete", "--table-name=metrics", "--retention-period=90d")


def _create(command: Command, *args: str) -> dict[str, Any]:
    """Create a policy, and return it as it is listed."""
    out = command.ok("create-policy", *args)
    identifier = out.removeprefix("created policy ").partition(":")[0]
    (policy,) = command.data("list-policies", f"--policy={identifier}")
    return dict(policy)


def test_exit_codes(command: Command) -> None:
    """A strategy that DuckDB does not have is wrong input; a version that is not the present one is a conflict."""
    moves = ("--reallocation-attribute-name=storage", "--reallocation-attribute-value=cold")
    assert "DuckDB has no nodes" in command.refused(2, "create", "--strategy=reallocate", *MINIMAL[1:], *moves)
    command.ok("create", *MINIMAL, "--id=mine")
    command.ok("edit", "--id=mine", "--description=x")
    for dry_run in ((), ("--dry-run",)):
        refused = command.refused(1, "edit", "--id=mine", "--if-version=1", "--disabled", *dry_run)
        assert "changed it in the meantime" in refused
    command.ok("edit", "--id=mine", "--if-version=2", "--disabled", "--dry-run")


def test_a_name(command: Command) -> None:
    """A policy may have a name, which lists show if any has one; it can be changed and unset."""
    command.ok("create", *MINIMAL, "--id=mine", "--name=Old metrics")
    assert "Old metrics" in command.ok("list")
    command.ok("edit", "--id=mine", "--name=Older")
    assert command.data("list")[0]["name"] == "Older"
    command.ok("edit", "--id=mine", "--clear=name")
    assert "name" not in command.data("list")[0] and "name" not in command.ok("list").split()


def test_cascade_that_can_not_be(command: Command) -> None:
    """What is in the way of a cascade is said when its policy is created, which is stored nevertheless."""
    more = ("--table-name=metrics", "--retention-period=30d", "--levels=1d:forever", "--metrics=nothing", "--id=mine")
    outcome = command("create", "--strategy=downsample", *more)
    assert outcome.out.startswith("created policy mine")
    assert "Warning: main.metrics needs attention: metrics: the table has no column 'nothing'" in outcome.err
    assert outcome.code == 0


def test_levels_to_be_created(command: Command) -> None:
    """`check-policies` shows how a table is rolled up, and which of its levels do not exist yet."""
    more = ("--table-name=metrics", "--retention-period=30d", "--levels=1d:2y,1mo:forever", "--exclude=tenant")
    command.ok("create", "--strategy=downsample", *more)
    assert command.ok("check").count(", to be created") == 2
    command.ok("run")
    shown = command("check").out
    assert "to be created" not in shown
    for text in (
        "value: min, max, sum",
        "tenant, month",
        "metrics_1d: for 2y, partitioned by month",
        "metrics_1mo: forever",
    ):
        assert f" {text}" in shown


def test_damaged_row(command: Command, path: Path) -> None:
    """A row that is no valid policy is listed in every format, explained where it is edited, and can be deleted."""
    command.ok("create-policy", *MINIMAL, "--id=good")
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "INSERT INTO ext.retention_policy (strategy, table_name, retention_period, id, version)"
            " VALUES ('delete', 'metrics', 'soon', 'bad', 1)"
        )
    assert "policy bad is damaged: attribute retention_period" in command.ok("list-policies")
    rows = {row["id"]: row for row in command.data("list-policies")}
    assert rows["bad"]["retention_period"] == "soon"
    assert "retention_period" in rows["bad"]["damaged"]
    assert "damaged" not in rows["good"]
    assert "Delete it" in command.refused(2, "edit-policy", "--id=bad", "--retention-period=3d")
    assert command.ok("delete-policy", "--id=bad").startswith("deleted policy bad: an invalid row for ")
    assert [row["id"] for row in command.data("list-policies")] == ["good"]


@pytest.mark.parametrize("name", ["create-policy", "create", "add", "add-policy"])
def test_every_name_creates(command: Command, name: str) -> None:
    """All names that people know create a policy."""
    out = command.ok(name, *MINIMAL)
    assert out.splitlines()[0].endswith(": delete metrics after 90d")
    assert len(command.data("list")) == 1


@pytest.mark.parametrize("state", ["--enabled", "--disabled"])
def test_a_dry_run_of_creating(command: Command, state: str) -> None:
    """The policy, what the next run would do with it, and contradictions are shown, and nothing is stored."""
    command.ok("create-policy", *MINIMAL, "--id=kept", "--where=tenant=acme")
    out = command.ok("create-policy", *MINIMAL[:2], "--retention-period=1d", "--id=new", state, "--dry-run")
    assert "would create policy: delete metrics after 1d" in out
    assert "- strategy: delete\n  table_name: metrics\n  retention_period: 1d\n" in out
    assert ("The policy is disabled" in out) == (state == "--disabled")
    assert "drop" in out and "Due" in out
    assert "Contradiction: main.metrics: delete after 1d (this policy) removes the data before delete after 90d" in out
    assert [policy["id"] for policy in command.data("list-policies")] == ["kept"]
    assert "already has the strategy delete there" in command.refused(
        1, "create-policy", *MINIMAL, "--where=tenant=acme", "--dry-run"
    )


def test_a_dry_run_of_editing(command: Command) -> None:
    """What a stored policy would become and do is shown, and it stays what it is."""
    command.ok("create-policy", *MINIMAL, "--id=mine", "--disabled")
    before = command.data("list-policies")
    out = command.ok("edit-policy", "--id=mine", "--enabled", "--retention-period=1d", "--dry-run")
    assert "would change policy mine: delete metrics after 1d" in out
    assert "drop" in out and "The policy is disabled" not in out
    assert command.data("list-policies") == before


def test_what_only_another_strategy_has_a_use_for(command: Command) -> None:
    """An option of another strategy is refused; with another strategy a policy loses what only the former one needs."""
    refused = command.refused(2, "create-policy", *MINIMAL, "--levels=1h:1y,1d:forever")
    assert "attribute levels: does not apply to delete" in refused
    assert "0d keeps nothing" in command.refused(2, "create-policy", *MINIMAL[:2], "--retention-period=0")
    command.ok("create-policy", *MINIMAL, "--id=mine", "--tags=a")
    for option in ("--target-repository-name=r", "--late=drop", "--dimensions=a"):
        assert "does not apply to" in command.refused(2, "edit-policy", "--id=mine", option)
    command.ok("edit-policy", "--id=mine", "--strategy=snapshot", "--target-repository-name=r")
    command.ok("edit-policy", "--id=mine", "--strategy=delete")
    (policy,) = command.data("list-policies")
    assert (policy["strategy"], policy["tags"], "target_repository_name" in policy) == ("delete", ["a"], False)


def test_null_and_the_text(command: Command) -> None:
    """NULL is NULL, and the text NULL stands in quotes; all else is what is written."""
    values = {"NULL": None, "'NULL'": "NULL", '"NULL"': "NULL", "''NULL''": "'NULL'", "null": "null", "'a'": "'a'"}
    for number, (written, value) in enumerate(values.items()):
        policy = _create(command, *MINIMAL[:2], f"--retention-period={number + 1}d", f"--where=tenant={written}",
            f"--time-column=t{number}", "--strategy=delete", f"--table-schema=s{number}")  # fmt: skip
        assert policy["where"] == {"tenant": value}


def test_the_options_of_cratedb_toolkit(command: Command) -> None:
    """The options that its users know are stored as they were given; a plain number means days."""
    policy = _create(
        command, "--strategy=SnapShot", "--table-schema=main", "--table-name=metrics", "--partition-column=month",
        "--retention-period=1", "--target-repository-name=export_cold", "--tags=a,b",
    )  # fmt: skip
    assert {key: policy[key] for key in policy if key not in ("id", "version")} == {
        "strategy": "snapshot",
        "table_schema": "main",
        "table_name": "metrics",
        "partition_column": "month",
        "retention_period": "1d",
        "cutoff_by": "day",
        "target_repository_name": "export_cold",
        "tags": ["a", "b"],
    }


def test_reallocation_options(crate: Command, crate_schema: str) -> None:
    """On CrateDB a policy that moves data stores the attribute of the nodes it moves to."""
    policy = _create(
        crate, "--strategy=reallocate", f"--table-schema={crate_schema}", "--table-name=metrics",
        "--retention-period=30d", "--reallocation-attribute-name=storage", "--reallocation-attribute-value=cold",
    )  # fmt: skip
    assert policy["reallocation_attribute_name"] == "storage"
    assert policy["reallocation_attribute_value"] == "cold"
    assert "storage=cold" in crate.ok("list")


def test_a_schedule_is_listed_with_its_time_zone(command: Command) -> None:
    """Half past three is another instant in New York."""
    _create(command, *MINIMAL, "--schedule=30 3 * * *", "--time-zone=America/New_York")
    assert "30 3 * * * America/New_York" in " ".join(command.terminal(200, "list-policies").split())


def test_everything_else_that_a_policy_can_say(command: Command) -> None:
    """Filters, limits, time zone, time column, description, identifier and the switch are stored."""
    policy = _create(
        command, "--strategy=delete", "--table-name=events", "--retention-period=1 year, 2 months", "--id=mine",
        "--where", "tenant=acme", "--where", "kind=NULL", "--expected-max", "rows=1000", "--expected-max",
        "percent=2.5", "--time-zone=Europe/Vienna", "--time-column=ts", "--time-unit=MS",
        "--description=for a while", "--disabled",
    )  # fmt: skip
    assert policy["id"] == "mine"
    assert policy["retention_period"] == "1y2mo"
    assert policy["where"] == {"tenant": "acme", "kind": None}
    assert policy["expected_max"] == {"rows": 1000, "percent": 2.5}
    assert policy["time_zone"] == "Europe/Vienna"
    assert (policy["time_column"], policy["time_unit"]) == ("ts", "ms")
    assert policy["description"] == "for a while"
    assert policy["enabled"] is False


def test_the_database_is_the_last_argument_or_in_the_environment(command: Command) -> None:
    """An address on the command line is used where the environment has none."""
    assert command.uri is not None
    nowhere = Command(None)
    nowhere.ok("create-policy", *MINIMAL, command.uri)
    assert len(nowhere.data("list", command.uri)) == 1
    assert "CRATEDB_URI" in nowhere.refused(2, "list")


def test_the_schema_is_an_option_or_in_the_environment(bare: Command) -> None:
    """``--schema`` and CRATEDB_EXT_SCHEMA mean the same, and schemas are apart."""
    bare.ok("setup", "--no-journal-policy", "--schema=mine")
    bare.ok("create-policy", "--schema=mine", *MINIMAL)
    assert len(Command(bare.uri, "mine").data("list")) == 1
    bare.ok("setup", "--no-journal-policy")
    assert bare.ok("list") == "no policies; create one with `cratedb-retention create-policy`\n"


@pytest.mark.parametrize("name", ["edit-policy", "edit"])
def test_editing_changes_what_is_named_and_leaves_the_rest(command: Command, name: str) -> None:
    """An edit changes one attribute, counts the version up, and the beginning of the identifier is enough."""
    before = _create(command, *MINIMAL, "--tags=a", "--description=old")
    command.ok(name, f"--id={before['id'][:8]}", "--retention-period=3 months", "--clear=description")
    (after,) = command.data("list")
    assert after == {key: value for key, value in before.items() if key != "description"} | {
        "retention_period": "3mo",
        "version": 2,
    }


def test_disabling_and_enabling(command: Command) -> None:
    """A policy that is disabled is not obeyed by a plan; enabling brings it back."""
    policy = _create(command, *MINIMAL)
    command.ok("edit", f"--identifier={policy['id']}", "--disabled")
    assert command.data("plan", "--cutoff-day=2024-07-01")["tasks"] == []
    command.ok("edit", f"--identifier={policy['id']}", "--enabled", "--if-version=2")
    assert len(command.data("plan", "--cutoff-day=2024-07-01")["tasks"]) == 1


@pytest.mark.parametrize("name", ["list-policies", "list"])
def test_listing_by_strategy_and_identifier(command: Command, name: str) -> None:
    """The list can be narrowed to a strategy, in any case, and to one policy."""
    first = _create(command, *MINIMAL)
    _create(
        command, "--strategy=snapshot", "--table-name=metrics", "--retention-period=1y", "--target-repository-name=r"
    )
    assert len(command.data(name)) == 2
    assert [p["strategy"] for p in command.data(name, "--strategy=DELETE")] == ["delete"]
    assert [p["id"] for p in command.data(name, f"--policy={first['id'][:10]}")] == [first["id"]]


@pytest.mark.parametrize("name", ["delete-policy", "del", "rm"])
def test_deleting_takes_one_policy_and_no_data(command: Command, name: str) -> None:
    """A deleted policy is gone, the others and the data stay, and the journal keeps what it said."""
    policy, other = _create(command, *MINIMAL), _create(command, *MINIMAL, "--where=tenant=acme")
    assert command.ok(name, f"--id={policy['id']}").startswith(f"deleted policy {policy['id']}: delete metrics")
    assert [p["id"] for p in command.data("list")] == [other["id"]]
    (entry, *_) = command.data("jobs", f"--policy={policy['id']}")
    assert entry["event"] == "policy-deleted"
    assert '"retention_period": "90d"' in entry["before"]
