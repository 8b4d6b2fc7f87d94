"""What only CrateDB has: users and privileges, repositories, shards and nodes."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from support.command import Command
from support.cratedb import TRUSTED, CrateDB

CUTOFF = "--cutoff-day=2024-07-01"
PASSWORD = "s3cr3t"


@pytest.fixture
def reader(crate: Command, cratedb: CrateDB) -> Iterator[Command]:
    """The command as a user who may read everything, and change nothing."""
    name = TRUSTED["user"]
    cratedb.sql(f"DROP USER IF EXISTS {name}")
    cratedb.sql(f"CREATE USER {name} WITH (password = '{PASSWORD}')")
    cratedb.sql(f"GRANT DQL TO {name}")
    yield Command(cratedb.uri.replace("crate://", f"crate://{name}:{PASSWORD}@"), crate.schema)
    cratedb.sql(f"DROP USER {name}")


def _delete(command: Command, schema: str, *more: str) -> None:
    table = (f"--table-schema={schema}", "--table-name=metrics")
    command.ok("create", "--strategy=delete", *table, "--retention-period=60d", *more)


@pytest.mark.parametrize("name", ["list", "setup", "run"])
def test_a_user_who_does_not_exist(cratedb: CrateDB, name: str) -> None:
    """Wrong users are told what is wrong, without their password."""
    command = Command(cratedb.uri.replace("crate://", f"crate://nobody:{PASSWORD}@"))
    message = command.refused(1, name)
    assert message.startswith("database crate://nobody:REDACTED@")
    assert message.endswith(": wrong user or password. Check user and password in the address")


def test_a_password(crate: Command, cratedb: CrateDB) -> None:
    """The right password is taken; a wrong one is refused, and not shown."""
    name = f"user_{uuid.uuid4().hex[:8]}"
    cratedb.sql(f"CREATE USER {name} WITH (password = '{PASSWORD}')")
    cratedb.sql(f"GRANT DQL TO {name}")
    right, wrong = (cratedb.uri.replace("crate://", f"crate://{name}:{password}@") for password in (PASSWORD, "wr0ng"))
    Command(right, crate.schema).ok("list")
    message = Command(wrong, crate.schema).refused(1, "list")
    cratedb.sql(f"DROP USER {name}")
    assert "wrong user or password" in message
    assert "wr0ng" not in message


@pytest.mark.slow("each command that reads is run on CrateDB")
def test_a_reader_can_look(reader: Command, crate: Command, crate_schema: str) -> None:
    """Who may only read can list, plan, check and look at status and journal; the address is shown without password."""
    _delete(crate, crate_schema)
    assert "REDACTED" in reader.ok("plan", CUTOFF)
    for args in (
        ["list"],
        ["plan", CUTOFF, "--sql"],
        ["check"],
        ["status"],
        ["jobs"],
        ["export"],
        ["run", "--dry-run"],
    ):
        assert PASSWORD not in reader.ok(*args)


@pytest.mark.slow("each command that writes is refused on CrateDB")
def test_a_reader_can_change_nothing(reader: Command, crate: Command, crate_schema: str, cratedb: CrateDB) -> None:
    """What needs a privilege that is missing says which one, and leaves policies and data as they were."""
    _delete(crate, crate_schema, "--id=p")
    before = crate.data("list")
    for args, privilege in (
        (["create", "--strategy=delete", "--table-name=x", "--retention-period=1"], "DML"),
        (["edit", "--id=p", "--disabled"], "DML"),
        (["rm", "--id=p"], "DML"),
        (["run", CUTOFF], "DML"),
        (["hold", "--table-name=metrics"], "DML"),
        (["setup", "--schema", f"{crate_schema}_other"], "DDL"),
    ):
        message = reader.refused(1, *args)
        assert f"Missing '{privilege}' privilege" in message
        assert f", on {crate_schema}" in message.replace('"', "")
        assert message.endswith("GRANT the missing privilege, or connect as another user")
        assert PASSWORD not in message
    assert crate.data("list") == before
    assert cratedb.value(f'SELECT count(*) FROM "{crate_schema}"."metrics"') == 180


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--partition-column=nope"], "partition_column: the table has no column 'nope'"),
        (["--partition-column=tenant"], "the table is not partitioned by 'tenant', but by month"),
        (["--where=nope=1"], "where: the table has no column 'nope'"),
        (["--strategy=snapshot", "--target-repository-name=nope"], "repository 'nope' does not exist; create it with"),
        (
            ["--strategy=reallocate", "--reallocation-attribute-name=storage", "--reallocation-attribute-value=arctic"],
            "no node has the attribute storage=arctic",
        ),
    ],
    ids=str,
)
def test_policies_that_do_not_fit(crate: Command, crate_schema: str, options: list[str], reason: str) -> None:
    """What can't be done on this table and cluster is a finding of the check, and a problem of plan and run."""
    _delete(crate, crate_schema, *options)
    checked = crate("check", "--format=json")
    assert checked.code == 3
    assert reason in checked.out
    assert reason in crate("plan", CUTOFF, "--format=json").out
    ran = crate("run", CUTOFF)
    assert ran.code == 1
    assert reason in ran.out
    assert crate.data("status")["policies"][0]["rows"] == 180


def test_a_restore_that_is_there_already(crate: Command, crate_schema: str, crate_repository: str) -> None:
    """On CrateDB too a partition that is there is left alone, again and again."""
    _delete(crate, crate_schema, "--strategy=snapshot", f"--target-repository-name={crate_repository}")
    crate.ok("run", CUTOFF, "--cutoff-day=2024-04-15")
    crate.ok("restore", "--all")
    for _ in range(2):
        again = crate("restore", "--all")
        assert again.code == 1
        assert "failed: " in again.out
        assert "Duplicate" not in again.out + again.err
    assert crate.data("status")["policies"][0]["rows"] == 180
