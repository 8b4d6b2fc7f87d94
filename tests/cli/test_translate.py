"""The command `translate`: another tool's files in, a policy file out, warnings beside it, no database."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cratedb_retention.model.policies.file import parse_policies
from support.command import Command

NOWHERE = Command(None)
SCHEMAS = "[carbon]\npattern = ^carbon\\.\nretentions = 60:90d\n"


@pytest.fixture
def schemas(tmp_path: Path) -> str:
    """A file of Graphite."""
    path = tmp_path / "storage-schemas.conf"
    path.write_text(SCHEMAS, encoding="utf-8")
    return str(path)


def test_a_file(schemas: str) -> None:
    """The policy file is written, and says where it comes from."""
    out = NOWHERE.ok("translate", "--from=graphite", schemas, "--table-schema=metrics")
    assert out.startswith(f"# Translated by cratedb-retention from {schemas} of graphite.\n")
    (policy,) = parse_policies(out, "out")
    assert policy.target == "metrics.carbon_*"


def test_the_standard_input() -> None:
    """A dash reads the standard input."""
    done = NOWHERE.process(
        "translate", "--from=rrdtool", "-", "--table-name=power", stdin="--step 300 RRA:MAX:0.5:1:288"
    )
    (policy,) = parse_policies(done.out, "out")
    assert (policy.table_name, str(policy.retention_period), done.code, done.err) == ("power", "1d", 0, "")


def test_apply_reads_it(command: Command, schemas: str, tmp_path: Path) -> None:
    """What is written can be applied."""
    path = tmp_path / "policies.yaml"
    path.write_text(NOWHERE.ok("translate", "--from=graphite", schemas), encoding="utf-8")
    assert "created" in command.ok("apply", "-f", str(path))


def test_warnings_stand_beside_it(tmp_path: Path) -> None:
    """What differs is told on stderr too, for those who redirect the file; control signs are visible."""
    path = tmp_path / "storage-schemas.conf"
    path.write_text("[a\x1b]\npattern = ^a\\d$\nretentions = 1m:1d\n", encoding="utf-8")
    outcome = NOWHERE("translate", "--from=graphite", str(path))
    assert outcome.code == 0
    assert outcome.err.startswith("Warning: section [a\\x1b]: the pattern ")
    assert "\n# WARNING: section [a\\x1b]: the pattern " in outcome.out


def test_aggregation(schemas: str, tmp_path: Path) -> None:
    """The second file is read; that it is bad is told with its name."""
    path = tmp_path / "storage-aggregation.conf"
    path.write_text("nonsense", encoding="utf-8")
    line = NOWHERE.refused(2, "translate", "--from=graphite", schemas, "--aggregation", str(path))
    assert line.startswith(f"{path}, line 1: a setting before the first section")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--from=graphite", "no.conf"], "no.conf: can't be read (No such file or directory)"),
        (["--from=graphite", "."], ".: can't be read (Is a directory)"),
        (["no.conf"], "Missing option '--from'"),
        (["--from=ganglia", "no.conf"], "Invalid value for '--from'"),
        (["--from=graphite", "no.conf", "--step=5m"], "--step: not supported for graphite"),
        (["--from=rrdtool", "no.rrd", "--section=a"], "--section: not supported for rrdtool"),
        (["--from=rrdtool", "no.rrd", "--aggregation=a"], "--aggregation: not supported for rrdtool"),
    ],
)
def test_wrong_usage(arguments: list[str], complaint: str) -> None:
    """One line says what is wrong."""
    assert complaint in NOWHERE.refused(2, "translate", *arguments)


def test_a_database_of_rrdtool(tmp_path: Path) -> None:
    """Who gives the RRD itself is told what to give."""
    path = tmp_path / "power.rrd"
    path.write_bytes(b"RRD\x000003\x00\xff\xfe")
    assert "rrdtool info FILE" in NOWHERE.refused(2, "translate", "--from=rrdtool", str(path))


def test_no_driver_is_loaded(schemas: str) -> None:
    """It needs neither a database nor its driver."""
    program = (
        f"import sys\nfrom cratedb_retention.cli.main import main\nsys.argv = ['x', 'translate', '--from=graphite', "
        f"{schemas!r}]\ntry:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('loaded:', *(name for name in ('crate', 'duckdb', 'sqlalchemy') if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded:"
