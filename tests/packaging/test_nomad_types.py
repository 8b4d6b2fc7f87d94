"""The jobs for Nomad and the pack for Nomad Pack fit the types of Nomad's API, and do what the program understands."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cratedb_retention import Retention, __version__, parse_policies
from cratedb_retention.service.settings import load
from support.deploying import PROGRAM, parse_command
from support.markdown import ROOT
from support.tools import build_once, call, require_tool

pytestmark = [
    pytest.mark.long("compiles for 40 s; make test checks commands and settings of the jobs by their text"),
    pytest.mark.timeout(900),
]
READER = Path(__file__).parent / "nomadspec"
JOBS = sorted((ROOT / "deploy" / "nomad").glob("*.nomad.hcl"))
PACK = ROOT / "deploy" / "nomad-pack" / "cratedb_retention"
POLICIES = """\
policies:
- {id: events, strategy: delete, table_name: "ev${ents}", retention_period: 30d, where: {a: '{{ x }}'}}
"""
Job = dict[str, Any]
Read = Callable[..., Any]
FULL = (
    "job_name=retention",
    "region=eu",
    "namespace=data",
    'datacenters=["dc1", "dc2"]',
    "image=registry.example.com/retention",
    "tag=1.2.3",
    "replicas=3",
    "patience=50",
    "service_provider=consul",
    'service_tags=["traefik.enable=true"]',
    'settings={CRATEDB_EXT_SCHEMA = "retention", CRATEDB_RETENTION_SERVICE_WORKERS = "4"}',
    f"policies={POLICIES}",
    "prune=true",
    "webhook=true",
)


@pytest.fixture(scope="module")
def read() -> Read:
    """Reads a job or a pack with variables, by the types of Nomad's API, for which a Go program is compiled once."""
    go = require_tool("go")
    sources = [file.read_text(encoding="utf-8") for file in sorted(READER.iterdir())]
    program = build_once(
        "nomadspec",
        [call(go, "version"), *sources],
        lambda path: call(go, "build", "-C", str(READER), "-buildvcs=false", "-o", str(path), "."),
    )
    return lambda kind, path, *variables: json.loads(call(str(program), kind, str(path), *variables))


def tasks(job: Job) -> Iterator[Job]:
    """The tasks of a job, in the order in which they are started."""
    (group,) = job["group"]
    yield from sorted(group["task"], key=lambda task: "lifecycle" not in task)


def place(task: Job, root: Path, secrets: dict[str, str]) -> dict[str, str]:
    """
    Write the templates of a task into directories, and give the variables that name these.

    :param secrets: What the Nomad variable of the job holds.
    """
    for template in task["template"]:
        target = root / template["destination"]
        target.parent.mkdir(parents=True, exist_ok=True)
        found = re.fullmatch(
            r'\{\{ with nomadVar "nomad/jobs/[\w-]+" \}\}\{\{ \.(\w+) \}\}\{\{ end \}\}', template["data"]
        )
        target.write_text(secrets[found[1]] if found else template["data"], encoding="utf-8")
    return {"${NOMAD_SECRETS_DIR}": str(root / "secrets"), "${NOMAD_TASK_DIR}": str(root / "local")}


def here(text: str, places: dict[str, str]) -> str:
    """A text with the directories of the test."""
    for name, path in places.items():
        text = text.replace(name, path)
    return text


def check(job: Job, image: str, root: Path) -> list[str]:
    """A job has few rights, and commands and settings that the program knows; returns the commands."""
    names = []
    for task in tasks(job):
        (config,), (environment,) = task["config"], task["env"]
        assert (task["driver"], task["user"], task["kill_signal"]) == ("docker", "10001:10001", "SIGINT")
        assert config["image"] == image
        assert config["readonly_rootfs"] is True
        assert config["cap_drop"] == ["all"]
        assert config["security_opt"] == ["no-new-privileges"]
        assert [mount["target"] for mount in config["mount"]] == ["/tmp"]
        for template in task["template"]:
            if "nomadVar" in template["data"]:
                assert f'"nomad/jobs/{job["id"]}"' in template["data"]
                assert (template["perms"], template["uid"], template["gid"]) == ("0400", 10001, 10001)
                assert template["destination"].startswith("secrets/")
        secrets = {"uri": "crate://db:4200/", "webhook": "https://hooks.example.com/", "webhook_secret": "s"}
        places = place(task, root / task["name"], secrets)
        loaded = load({name: here(value, places) for name, value in environment.items()}, None)
        assert loaded.settings.database.uri == "crate://db:4200/"
        name, options = parse_command([here(argument, places) for argument in config["args"]])
        if name == "serve":
            assert int(task["kill_timeout"].removesuffix("s")) >= options["patience"] + 10
        names.append(name)
    return names


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.name)
def test_jobs(path: Path, read: Read, tmp_path: Path) -> None:
    """Each job fits Nomad's API, has few rights, and commands and settings that the program knows."""
    job = read("job", path, "image=retention:x", 'datacenters=["dc1"]')
    assert job["datacenters"] == ["dc1"]
    assert job["id"] == path.name.removesuffix(".nomad.hcl")
    names = check(job, "retention:x", tmp_path)
    assert (
        names
        == {"": ["setup", "serve"], "-due": ["run"], "-setup": ["setup", "apply"]}[
            job["id"].removeprefix("cratedb-retention")
        ]
    )
    assert check(read("job", path), f"cratedb-retention:{__version__}", tmp_path) == names


def test_mistakes_are_found(read: Read, tmp_path: Path) -> None:
    """The reader refuses blocks and attributes that Nomad does not have, values of another type, unknown variables."""
    text = JOBS[-1].read_text(encoding="utf-8")
    assert "kill_timeout" in text
    for old, new, complaint in (
        ("kill_timeout", "kill_time", "has no attribute kill_time"),
        ("resources {", "resource {", "has no block resource"),
        ("var.replicas", '"many"', "a number is required"),
        ("var.replicas", "var.replica", "replica"),
        ('"30s"', '"30 seconds"', "unknown unit"),
    ):
        (tmp_path / "job.nomad.hcl").write_text(text.replace(old, new), encoding="utf-8")
        with pytest.raises(AssertionError, match=complaint):
            read("job", tmp_path / "job.nomad.hcl")
    with pytest.raises(AssertionError, match="there is no variable x"):
        read("job", JOBS[0], "x=1")


@pytest.mark.parametrize("mode", ["service", "periodic"])
def test_pack(mode: str, read: Read, tmp_path: Path) -> None:
    """The pack makes two jobs that fit Nomad's API, have few rights, and commands and settings the program knows."""
    found = read("pack", PACK, f"mode={mode}")
    names = check(found["cratedb_retention.nomad.tpl"], f"cratedb-retention:{__version__}", tmp_path)
    assert names == (["setup", "serve"] if mode == "service" else ["run"])
    names = check(found["setup.nomad.tpl"], f"cratedb-retention:{__version__}", tmp_path)
    assert names == ["setup", "apply"]


@pytest.mark.parametrize("mode", ["service", "periodic"])
def test_variables_of_the_pack(mode: str, read: Read, tmp_path: Path) -> None:
    """Each variable arrives; a policy file as it is, whatever signs are in it."""
    found = read("pack", PACK, *FULL, f"mode={mode}", "cron=0 * * * *")
    job, setup = found["cratedb_retention.nomad.tpl"], found["setup.nomad.tpl"]
    assert (job["id"], setup["id"]) == ("retention", "retention-setup")
    for each in (job, setup):
        assert (each["region"], each["namespace"], each["datacenters"]) == ("eu", "data", ["dc1", "dc2"])
        check(each, "registry.example.com/retention:1.2.3", tmp_path)
        for task in tasks(each):
            assert task["env"][0]["CRATEDB_EXT_SCHEMA"] == "retention"
            assert "CRATEDB_RETENTION_NOTIFY_WEBHOOK_SECRET_FILE" in task["env"][0]
    if mode == "service":
        assert job["group"][0]["count"] == 3
        assert job["group"][0]["service"][0]["provider"] == "consul"
        assert job["group"][0]["service"][0]["tags"] == ["traefik.enable=true"]
        assert job["group"][0]["task"][1]["kill_timeout"] == "60s"
    else:
        assert job["periodic"][0]["crons"] == ["0 * * * *"]
    (apply,) = (task for task in tasks(setup) if task["name"] == "apply")
    (file,) = (each for each in apply["template"] if each["destination"] == "local/policies.yaml")
    assert file["data"] == POLICIES
    assert parse_command([*apply["config"][0]["args"][:1], "--file=-", *apply["config"][0]["args"][2:]])[1]["prune"]


def test_output_of_the_pack(read: Read) -> None:
    """What the pack says at the end names the jobs, and a command that there is."""
    text = read("pack", PACK, "job_name=retention")["outputs.tpl"]
    assert "nomad var put nomad/jobs/retention-setup uri=" in text
    (line,) = (line for line in text.splitlines() if "alloc exec" in line)
    assert parse_command(line.split(" cratedb-retention ")[-1].split())[0] == "create-token"
    assert "alloc exec" not in read("pack", PACK, "mode=periodic")["outputs.tpl"]


def test_a_wrong_mode_is_refused(read: Read) -> None:
    """There is no third mode."""
    with pytest.raises(AssertionError, match="mode is service or periodic"):
        read("pack", PACK, "mode=system")


def test_what_the_jobs_run_works(read: Read, duckdb_uri: str, tmp_path: Path) -> None:
    """One job creates the tables and applies the policies, the other runs what is due."""
    text = "policies: [{id: events, strategy: delete, table_name: events, retention_period: 30d, schedule: '@hourly'}]"
    assert parse_policies(text, "p")
    setup = read("job", ROOT / "deploy" / "nomad" / "cratedb-retention-setup.nomad.hcl", f"policies={text}")
    due = read("job", ROOT / "deploy" / "nomad" / "cratedb-retention-due.nomad.hcl")
    for task in (*tasks(setup), *tasks(due)):
        places = place(task, tmp_path / task["name"], {"uri": duckdb_uri})
        environment = {name: here(value, places) for name, value in task["env"][0].items()}
        command = [str(PROGRAM), *(here(argument, places) for argument in task["config"][0]["args"])]
        environment |= {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    with Retention(duckdb_uri) as retention:
        assert "events" in [stored.policy.id for stored in retention.policies()]
