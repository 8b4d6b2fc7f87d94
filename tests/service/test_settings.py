"""Settings: an option beats the environment, which beats the file, which beats the default; secrets are never shown."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click
import pytest

from cratedb_retention.cli import main
from cratedb_retention.cli.main import _configure, cli
from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.duration import parse_duration
from cratedb_retention.service import settings
from cratedb_retention.service.settings import (
    MASKED,
    SECRETS,
    HttpSettings,
    Settings,
    listening,
    load,
    names,
    shown_settings,
    variable,
)
from support.command import Command

FILE = """\
[database]
uri = "crate://u:hunter2@host:4200/"

[http]
listen = "0.0.0.0:8080"
hosts = ["retention.example"]
burst = 7

[notify]
webhook_secret = "hunter2"
channels = ["slack://hunter2/a", "mailto://u:hunter2@host"]
blocked_longer_than = "2d"
command = ["/bin/notify", "--to=ops", "crate://u:hunter2@host:4200/"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration file."""
    path = tmp_path / "retention.toml"
    path.write_text(FILE)
    return path


def test_each_setting_has_one_value_and_a_source(file: Path) -> None:
    """For each setting: the option wins over the environment, that over the file, that over the default."""
    environment = {"CRATEDB_RETENTION_HTTP_BURST": "8", "CRATEDB_RETENTION_HTTP_RATE": "3"}
    loaded = load(environment, str(file), {"http.burst": 9, "http.rate": None})
    http = loaded.settings.http
    assert (http.burst, http.rate, http.listen, http.max_body) == (9, 3.0, "0.0.0.0:8080", 1024 * 1024)
    assert loaded.sources["http.burst"] == "option"
    assert loaded.sources["http.rate"] == "environment, CRATEDB_RETENTION_HTTP_RATE"
    assert loaded.sources["http.listen"] == f"{file}, line 5"
    assert "http.max_body" not in loaded.sources
    assert load(environment, str(file)).settings.http.burst == 8
    assert load({}, str(file)).settings.http.burst == 7


def test_former_names(file: Path) -> None:
    """A setting by its former name is the present one, with a warning; it beats what has less weight."""
    key = "CRATEDB_RETENTION_NOTIFY_HELD_LONGER_THAN"
    loaded = load({key: "3d"}, str(file))
    assert loaded.settings.notify.blocked_longer_than == parse_duration("3d")
    assert loaded.sources["notify.blocked_longer_than"] == f"environment, {key}"
    (warning,) = loaded.former
    assert warning.endswith("notify.held_longer_than is deprecated; use notify.blocked_longer_than")


def test_files_of_windows(tmp_path: Path) -> None:
    """A byte order mark at the beginning and lines that end as on Windows do no harm, in the file or in a secret."""
    path, secret = tmp_path / "retention.toml", tmp_path / "uri"
    path.write_bytes(FILE.replace("\n", "\r\n").encode("utf-8-sig"))
    secret.write_bytes("crate://u:hunter3@host:4200/\r\n".encode("utf-8-sig"))
    loaded = load({"CRATEDB_URI_FILE": str(secret)}, str(path))
    assert loaded.settings.http.burst == 7
    assert loaded.settings.database.uri == "crate://u:hunter3@host:4200/"


VALUES = {
    "bool": "true",
    "int": "3000",
    "float": "7",
    "Switch": "on",
    "LogLevel": "info",
    "LogFormat": "json",
}


@pytest.mark.parametrize("name", names())
def test_each_setting_can_be_given_everywhere(name: str, tmp_path: Path) -> None:
    """Whatever can be set can be set by a variable, and by a file."""
    section, _, key = name.partition(".")
    field = Settings.model_fields[section].annotation.model_fields["schema_" if key == "schema" else key]  # type: ignore[union-attr]
    text = VALUES.get(getattr(field.annotation, "__name__", ""), "4" if "float" in str(field.annotation) else "3d")
    text = "30" if name in ("service.workers", "http.queries") else text
    found = load({variable(name): text}, None)
    assert found.sources[name] == f"environment, {variable(name)}"
    path = tmp_path / "c.toml"
    path.write_text(f"[{section}]\n{key} = {json.dumps(text if 'tuple' not in str(field.annotation) else [text])}\n")
    assert load({}, str(path)).settings == found.settings


def test_places(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An option names the file, else the environment, else it is where such files are."""
    home = tmp_path / "home"
    place = home / ".config" / "cratedb-retention" / "config.toml"
    place.parent.mkdir(parents=True)
    place.write_text("[http]\nburst = 1\n")
    assert load({"HOME": str(home)}, None).file == place
    assert load({"HOME": str(home), "CRATEDB_RETENTION_CONFIG": str(file)}, None).settings.http.burst == 7
    assert load({"CRATEDB_RETENTION_CONFIG": "nowhere"}, str(file)).file == file
    monkeypatch.setattr(Path, "is_file", lambda path: "nowhere" not in path.parts)
    monkeypatch.setattr(settings, "_from_file", lambda path: {})
    for environment, found in (
        ({"XDG_CONFIG_HOME": "/x", "HOME": "/h"}, "/x/cratedb-retention"),
        ({"HOME": "/h"}, "/h/.config/cratedb-retention"),
        ({"HOME": "/nowhere"}, "/etc/cratedb-retention"),
    ):
        assert load(environment, None).file == Path(found, "config.toml")


def test_secrets_can_come_from_files(file: Path, tmp_path: Path) -> None:
    """A secret in a file of its own, named by the environment or the file; of the usual order nothing changes."""
    secret = tmp_path / "secret"
    secret.write_text("crate://u:fromfile@host:4200/\n")
    loaded = load({"CRATEDB_URI_FILE": str(secret)}, str(file))
    assert loaded.settings.database.uri == "crate://u:fromfile@host:4200/"
    assert loaded.sources["database.uri"] == f"file {secret} (environment, CRATEDB_URI_FILE)"
    file.write_text(f'[notify]\nwebhook_secret_file = "{secret}"\n')
    assert load({}, str(file)).settings.notify.webhook_secret == "crate://u:fromfile@host:4200/"
    secret.write_text("slack://a/b\nmailto://u:p@host\n")
    found = load({"CRATEDB_RETENTION_NOTIFY_CHANNELS_FILE": str(secret)}, None).settings.notify
    assert found.channels == ("slack://a/b", "mailto://u:p@host")
    file.write_text(f'[notify]\nwebhook_secret = "x"\nwebhook_secret_file = "{secret}"\n')
    with pytest.raises(InvalidInput, match=r"webhook_secret is given as well\. Omit one of them"):
        load({}, str(file))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[http]\nlisten = \n", "not valid TOML: Invalid value (at line 2, column 10)"),
        ("[http]\n\nlissten = 'x'\n", "line 3, http.lissten: unknown setting. Did you mean http.listen?"),
        ("[htp]\nlisten = 'x'\n", "line 1, htp: unknown section. Did you mean http?"),
        ("listen = 'x'\n", "line 1, listen: unknown section. Sections are"),
        ("[http]\n# a\nburst = 0\n", "line 3, http.burst: must be greater than or equal to 1"),
        ("[http]\nhosts = 3\n", "line 2, http.hosts: must be a valid tuple"),
        ("[log]\nlevel = 'loud'\n", "line 2, log.level: must be 'debug', 'info', 'warning' or 'error'"),
        ("[notify]\nblocked_longer_than = 'soon'\n", "line 2, notify.blocked_longer_than: duration 'soon'"),
        ("[notify]\nwebhook_secret_file = '/nowhere'\n", "/nowhere: No such file or directory. Name a readable file"),
        ("[database]\nuri = 'x'\n[http]\nuri = 'y'\n", "line 4, http.uri: unknown setting"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    """What is wrong with a file is told with its name, the line, the setting and what to do."""
    path = tmp_path / "bad.toml"
    path.write_text(text)
    message = Command(None).refused(2, "--config", str(path), "config")
    assert str(path) in message
    assert said in message


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("service.interval", "0.09"),
        ("service.workers", "0"),
        ("service.workers", "65"),
        ("service.patience", "-1"),
        ("http.max_body", "1023"),
        ("http.rate", "0"),
        ("http.burst", "0"),
        ("notify.timeout", "0"),
        ("notify.interval", "0"),
    ],
)
def test_values_beyond_the_limits(name: str, text: str) -> None:
    """Numbers with which nothing would run or answer are refused."""
    with pytest.raises(InvalidInput, match=f"{name}: must be "):
        load({variable(name): text}, None)


def test_lists_and_empty_values() -> None:
    """Names may have spaces between them; an empty duration is none."""
    found = load({"CRATEDB_RETENTION_HTTP_HOSTS": "a, b", "CRATEDB_RETENTION_NOTIFY_BLOCKED_LONGER_THAN": ""}, None)
    assert found.settings.http.hosts == ("a", "b")
    assert found.settings.notify.blocked_longer_than is None


def test_a_bad_variable_is_one_line() -> None:
    """A variable that is misspelt, or has a value that is none."""
    for key, value, said in (
        ("CRATEDB_RETENTION_HTTP_LISSTEN", "x", "Did you mean CRATEDB_RETENTION_HTTP_LISTEN?"),
        ("CRATEDB_RETENTION_HTTP_BURST", "x", "environment, CRATEDB_RETENTION_HTTP_BURST, http.burst: must be a valid"),
        ("CRATEDB_RETENTION_CONFIG", "/nowhere.toml", "/nowhere.toml: No such file"),
    ):
        with patch.dict("os.environ", {key: value}):
            assert said in Command(None).refused(2, "config")


def test_config_shows_values_and_masks_secrets(file: Path) -> None:
    """`config` shows each setting with its source, and no secret in any form."""
    command = Command(None)
    for form in ("table", "json", "yaml"):
        shown = command.ok("--config", str(file), "--log-level=info", "config", "--schema=other", f"--format={form}")
        assert "hunter2" not in shown
        assert "0.0.0.0:8080" in shown
    rows: Any = json.loads(
        command.ok("--config", str(file), "--log-level=info", "config", "--schema=other", "--format=json")
    )
    found = {row["name"]: (row["value"], row["source"]) for row in rows["settings"]}
    assert sorted(found) == sorted(names())
    assert found["database.uri"] == ("crate://u:REDACTED@host:4200/", f"{file}, line 2")
    assert found["database.schema"] == ("other", "option")
    assert found["log.level"] == ("info", "option")
    assert found["notify.webhook_secret"] == ("********", f"{file}, line 10")
    assert found["notify.channels"] == ("********", f"{file}, line 11")
    assert found["http.max_body"] == (1048576, "default")
    assert set(found) >= SECRETS
    invalid = load({"CRATEDB_URI": "mysql://u:hunter2@host"}, None).settings
    assert dict(shown_settings(invalid))["database.uri"] == MASKED


def test_commands_take_what_is_set(file: Path, duckdb_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command finds its database by the file, unless a variable or an argument names another one."""
    file.write_text(f'[database]\nuri = "{duckdb_uri}"\nschema = "mine"\n')
    assert "created mine.retention_policy" in Command(None).ok("--config", str(file), "setup")
    assert Command(None).data("--config", str(file), "list-policies")[0]["table_schema"] == "mine"
    assert "yours.retention_policy: does not exist" in Command(None, "yours").refused(1, "--config", str(file), "list")
    assert "theirs.retention_policy" in Command(None, "yours").refused(
        1, "--config", str(file), "list", "--schema=theirs"
    )
    assert "does not exist" in Command("duckdb:///nowhere.duckdb").refused(2, "--config", str(file), "list")
    secret = file.with_name("uri")
    secret.write_text(duckdb_uri)
    monkeypatch.setenv("CRATEDB_URI_FILE", str(secret))
    assert Command(None, "mine").data("list")[0]["table_schema"] == "mine"


def test_when_settings_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of the machine or of the user is noticed; without one, and without variables, none is loaded."""
    monkeypatch.setenv("XDG_CONFIG_HOME", "/x")
    found = []
    for folder in ("/etc", "/x", "/y"):
        monkeypatch.setattr(os.path, "exists", lambda path, at=folder: path == f"{at}/cratedb-retention/config.toml")
        context = click.Context(cli)
        _configure(context, None, {}, sql=False)
        found.append(context.obj is not None)
    assert found == [True, True, False]


@pytest.mark.parametrize(
    ("options", "level", "sql"),
    [
        ([], None, False),
        (["--verbose"], "info", True),
        (["--verbose", "--log-level=error"], "error", True),
        (["--debug", "--log-level=error"], "debug", True),
    ],
)
def test_levels_of_the_log(options: list[str], level: str | None, sql: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A level that is named beats what `--verbose` stands for; both options add the statements."""
    told: list[tuple[Any, bool]] = []
    monkeypatch.setattr(main, "_configure", lambda ctx, config, log, sql: told.append((log["log.level"], sql)))
    Command(None)(*options, "export", "--json-schema")
    assert told == [(level, sql)]


@pytest.mark.parametrize(
    ("http", "authenticate"),
    [
        ({"listen": "127.0.0.1:8080"}, False),
        ({"listen": "localhost:8080"}, False),
        ({"listen": "[::1]:8080"}, False),
        ({"listen": "127.0.0.1:8080", "tokens": "on"}, True),
        ({"listen": "0.0.0.0:8080"}, True),
        ({"listen": ":8080"}, True),
        ({"listen": "10.0.0.1:8080"}, True),
        ({"listen": "retention.example:8080"}, True),
        ({"listen": "LocalHost:8080"}, False),
        ({"listen": "0.0.0.0:8080", "open_to_all": True}, True),
        ({"listen": "0.0.0.0:8080", "tokens": "off", "open_to_all": True}, False),
    ],
)
def test_who_needs_a_token(http: dict[str, Any], authenticate: bool) -> None:
    """Beyond this machine tokens are needed; without them only if it is said twice. Here, our own names are known."""
    found = listening(HttpSettings(**http))
    assert found is not None
    assert found.authenticate is authenticate
    local = found.host.lower() in ("127.0.0.1", "localhost", "::1")
    assert bool(found.hosts) is local


@pytest.mark.parametrize("listen", ["0.0.0.0:8080", "[::]:8080", ":8080", "host:8080"])
def test_open_to_all_by_mistake_is_refused(listen: str) -> None:
    """Tokens off on an address that others reach is refused unless it is said twice."""
    with pytest.raises(InvalidInput, match="any caller could delete data"):
        listening(HttpSettings(listen=listen, tokens="off"))
    assert listening(HttpSettings()) is None
    for address in ("8080", "127.0.0.1:65536", "127.0.0.1:"):
        with pytest.raises(InvalidInput, match="not an address and a port"):
            listening(HttpSettings(listen=address))
