"""Wrong input: one line that says what is wrong and what to do, exit code 2, and nothing changed."""

from __future__ import annotations

import pytest

from support.command import Command, Contents, FilledBy

CREATE = ("create-policy", "--strategy=delete", "--table-name=x", "--retention-period=1d")
REQUIRED = "--table-name, --retention-period missing"
CASES: list[tuple[tuple[str, ...], str]] = [
    (
        (*CREATE, "--strategy=reallocate", "--reallocation-attribute-name=a", "--reallocation-attribute-value=b"),
        "strategy reallocate: DuckDB has no nodes to move data between. Use CrateDB",
    ),
    # Commands and options that there are not.
    (("lst",), "No such command 'lst'. Did you mean 'list'? Try `cratedb-retention --help`."),
    (("list-policy",), "Did you mean 'list-policies'?"),
    (("xyzzy",), "No such command 'xyzzy'. Try `cratedb-retention --help`."),
    (("--versoin",), "No such option '--versoin'"),
    (("run", "--dry"), "Did you mean '--dry-run'?"),
    (("run", "--tagz=a"), "No such option '--tagz'. Did you mean '--tags'?"),
    (
        ("list", "duckdb:///a", "more"),
        "unexpected extra argument (more). Try `cratedb-retention list-policies --help`.",
    ),
    (("list", "--format=xml"), "'xml' is not one of 'table', 'json', 'yaml'"),
    # Choosing policies.
    (("plan", "--strategy=remove"), "strategy 'remove': unknown. Use one of: delete, reallocate, snapshot"),
    (("plan", "--strategy="), "'--strategy': must not be empty"),
    (("run", "--policy="), "'--policy': must not be empty"),
    (("run", "--policy=  "), "'--policy': must not be empty"),
    (("list", "--schema="), "'--schema': must not be empty"),
    (("list", "--wait=-1"), "'--wait': -1.0 is not in the range x>=0"),
    # Instants.
    (("plan", "--cutoff=yesterday"), "instant 'yesterday': not an ISO 8601 date and time. Write it like 2024-"),
    (("plan", "--cutoff-day=2024-02-30"), "day '2024-02-30': not an ISO 8601 date. Write it like 2024-06-01"),
    (("run", "--cutoff-day="), "'--cutoff-day': must not be empty"),
    (("run", "--cutoff="), "'--cutoff': must not be empty"),
    (
        ("run", "--cutoff-day=2024-01-01", "--cutoff=2024-01-01"),
        "--cutoff and --cutoff-day: cannot be combined. Omit one of them",
    ),
    (("run", "--cutoff-day=2999-01-01"), "is in the future, so data would expire too early"),
    (("plan", "--cutoff=2999-01-01T00:00Z"), "add --allow-future-cutoff"),
    (("jobs", "--since=then"), "instant 'then': not an ISO 8601"),
    (("jobs", "--until=-x"), "duration 'x': not a duration"),
    (("jobs", "--limit=0"), "'--limit': 0 is not in the range"),
    (("jobs", "--outcome=good"), "'good' is not one of"),
    # A new policy.
    (("create",), "--strategy, --table-name, --retention-period missing. --help shows examples"),
    (("create", "--strategy=delete"), REQUIRED),
    ((*CREATE[:3], "--retention-period=1x"), "duration '1x': not a duration. Write it like 90d, 36h, 3 months"),
    ((*CREATE[:3], "--retention-period=-1"), "duration '-1': not a duration"),
    ((*CREATE[:3], "--retention-period=1.5d"), "duration '1.5d': not a duration"),
    ((*CREATE[:3], "--retention-period=99999 years"), "longer than 9999 years. Write forever"),
    ((*CREATE, "--strategy=remove"), "strategy 'remove': unknown"),
    ((*CREATE, "--strategy=snapshot"), "snapshot needs target_repository_name"),
    ((*CREATE, "--strategy=reallocate"), "reallocate needs reallocation_attribute_name and"),
    ((*CREATE, "--table-name="), "'--table-name': must not be empty"),
    ((*CREATE, "--id="), "'--identifier' / '--id': must not be empty"),
    ((*CREATE, "--time-zone=Mars/Olympus"), "time zone 'Mars/Olympus': unknown. Write an IANA name"),
    ((*CREATE, "--tags="), "a tag must be text without commas, and not empty"),
    ((*CREATE, "--tags=a,,b"), "a tag must be text without commas, and not empty"),
    ((*CREATE, "--where=tenant"), "--where 'tenant': not of the form KEY=VALUE. Write it like tenant=acme"),
    ((*CREATE, "--where==acme"), "not of the form KEY=VALUE"),
    ((*CREATE, "--where=a=1", "--where=a=2"), "--where a: given twice"),
    ((*CREATE, "--expected-max=rows"), "--expected-max 'rows': not of the form KEY=VALUE. Write it like rows=1000"),
    ((*CREATE, "--expected-max=rows=many"), "attribute expected_max.rows: must be a whole number"),
    ((*CREATE, "--expected-max=rows=1.5"), "expected_max.rows: must be a whole number"),
    ((*CREATE, "--expected-max=rows=-1"), "expected_max.rows: must be greater than or equal to 0"),
    ((*CREATE, "--expected-max=percent=101"), "expected_max.percent: must be less than or equal to 100"),
    ((*CREATE, "--expected-max=rows=nan"), "attribute expected_max.rows: must be a whole number"),
    ((*CREATE, "--expected-max=row=1"), "expected_max.row: unknown. Did you mean rows?"),
    ((*CREATE, "--expected-max=zzz=1"), "unknown. Available: partitions, rows, percent"),
    # Changing and deleting policies.
    (("edit",), "Missing option '--identifier' / '--id'"),
    (("edit", "--id=p1"), "nothing to change. Give the attributes to change, see --help"),
    (("edit", "--id=", "--disabled"), "must not be empty"),
    (("edit", "--id=p1", "--clear=descripton"), "--clear descripton: unknown. Did you mean description?"),
    (("edit", "--id=p1", "--clear=strategy"), "--clear strategy: required, cannot be unset"),
    (("edit", "--id=p1", "--clear=table-name"), "--clear table_name: required, cannot be unset"),
    (("edit", "--id=p1", "--clear=id"), "--clear id: required, cannot be unset"),
    (("edit", "--id=p1", "--strategy=snapshot"), "snapshot needs target_repository_name"),
    (("edit", "--id=p1", "--retention-period=soon"), "duration 'soon': not a duration"),
    (("edit", "--id=p1", "--if-version=one", "--disabled"), "'one' is not a valid integer"),
    (("rm",), "requires either --id or --tags"),
    (("rm", "--id=p1", "--tags=a"), "requires either --id or --tags"),
    (("rm", "--id="), "must not be empty"),
    # Archive and holds.
    (("restore",), "nothing is selected. Give --name, --table-name, --from, --to, or --all"),
    (("restore", "--name="), "'--name': must not be empty"),
    (("restore", "--from=then"), "instant 'then': not an ISO 8601"),
    (("restore", "--all", "--into=a.b.c"), "--into 'a.b.c': not of the form SCHEMA.TABLE"),
    (("restore", "--all", "--into=a."), "--into 'a.': not of the form SCHEMA.TABLE"),
    (("restore", "--all", "--into="), "'--into': must not be empty"),
    (("list-snapshots", "--to=then"), "instant 'then': not an ISO 8601"),
    (("release",), "Missing argument 'HOLD_ID'"),
    (("release", ""), "must not be empty"),
    (("hold",), "Missing option '--table-name'"),
    (("hold", "--table-name="), "must not be empty"),
    (("hold", "--table-name=x", "--from=2024-02-01", "--to=2024-01-01"), "it ends before it begins"),
    (("hold", "--table-name=x", "--from=2024-02-01", "--to=2024-02-01"), "it ends before it begins"),
    (("hold", "--table-name=x", "--from=then"), "instant 'then': not an ISO 8601"),
    (("hold", "--table-name=x", "--where=tenant"), "--where 'tenant': not of the form KEY=VALUE"),
    (("hold", "--table-name=x", "--from="), "must not be empty"),
    # Files.
    (("apply",), "Missing option '-f' / '--file'"),
    (("apply", "-f", "missing.yaml"), "'missing.yaml': No such file or directory. Try"),
    (("apply", "-f", "/"), "'/': Is a directory. Try"),
    (("export", "--format=table"), "'table' is not one of 'yaml', 'json'"),
]
# What is well said, but not there, or not possible: exit code 1.
ABSENT: list[tuple[tuple[str, ...], str]] = [
    (("list", "--policy=nope"), "policy nope: does not exist. `cratedb-retention list-policies` lists them"),
    (("run", "--policy=nope"), "policy nope: does not exist"),
    (("edit", "--id=nope", "--disabled"), "policy nope: does not exist"),
    (("edit", "--id=p1", "--disabled", "--if-version=7"), "policy p1: it has no version 7, only 1. Read it again"),
    (("rm", "--id=nope"), "policy nope: does not exist"),
    (("rm", "--id=p"), "policy p: does not exist. Write the whole identifier; `cratedb-retention list-policies`"),
    (("edit", "--id=p", "--disabled"), "policy p: does not exist. Write the whole identifier"),
    (
        (*CREATE[:2], "--table-name=metrics", "--retention-period=1d"),
        "policy p1 already has the strategy delete there, after 60d",
    ),
    ((*CREATE, "--id=p1"), "policy p1: the identifier is taken. Choose another one"),
    (("restore", "--all"), "snapshots: none matches. `cratedb-retention list-snapshots` lists all"),
    (("restore", "--name=nope", "--dry-run"), "snapshots: none matches"),
    (("release", "nope"), "hold nope: is not in force. `cratedb-retention list-holds` lists them"),
    (("list", "--schema=nope"), "nope.retention_policy: does not exist. Run `cratedb-retention setup` first"),
]


def fill(command: Command) -> None:
    """Two policies whose identifiers begin alike, and a hold."""
    command.ok("create", "--strategy=delete", "--table-name=metrics", "--retention-period=60d", "--id=p1")
    command.ok("create", "--strategy=delete", "--table-name=events", "--retention-period=60d", "--id=p2", "--tags=a")
    command.ok("hold", "--table-name=plain")


@pytest.fixture
def stocked(filled_by: FilledBy) -> Command:
    """The command on such a database."""
    return filled_by(fill)


@pytest.mark.parametrize(
    ("args", "message"), CASES, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_wrong_input(stocked: Command, contents: Contents, args: tuple[str, ...], message: str) -> None:
    """What can't be meant ends with 2, in one line that names the option or attribute."""
    before = contents()
    assert message in stocked.refused(2, *args)
    assert contents() == before


@pytest.mark.parametrize(
    ("args", "message"), ABSENT, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_absent_or_impossible(stocked: Command, contents: Contents, args: tuple[str, ...], message: str) -> None:
    """What is not there, or can't be done here, ends with 1, in one line that names it."""
    before = contents()
    assert message in stocked.refused(1, *args)
    assert contents() == before


def test_bytes_that_are_no_text(command: Command, contents: Contents) -> None:
    """An argument in another encoding is refused rather than stored."""
    before = contents()
    outcome = command.process("create", "--strategy=delete", "--retention-period=1d", "--table-name=\udcff")
    assert outcome.code == 2
    assert outcome.err.startswith("Error: ")
    assert "please report it" not in outcome.err
    assert contents() == before


@pytest.mark.parametrize(
    "args", [["list"], ["plan"], ["run"], ["status"], ["check"], ["jobs"], ["list-holds"], list(CREATE)]
)
def test_not_set_up_yet(bare: Command, contents: Contents, args: list[str]) -> None:
    """Before ``setup``, each command says that it is missing."""
    before = contents()
    assert "Run `cratedb-retention setup` first" in bare.refused(1, *args)
    assert contents() == before
