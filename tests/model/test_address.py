"""Database addresses: what is accepted, what is refused, and that no password is ever shown."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.address import DatabaseAddress, redact

read = DatabaseAddress.from_string


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("crate://localhost:4200/", "crate://localhost:4200/"),
        (" crate://localhost ", "crate://localhost"),
        ("CRATE://localhost:4200", "crate://localhost:4200"),
        ("crate://u:p@h:4200/?schema=x", "crate://u:p@h:4200/?schema=x"),
        ("crate://[::1]:4200/", "crate://[::1]:4200/"),
        ("http://localhost:4200", "crate://localhost:4200/"),
        ("https://u:p@h:4200", "crate://u:p@h:4200/?sslmode=verify-full"),
        ("https://h:4200/?schema=x", "crate://h:4200/?schema=x&sslmode=verify-full"),
        ("https://h/?sslmode=disable", "crate://h/?sslmode=verify-full"),
        ("duckdb:///file.duckdb", "duckdb:///file.duckdb"),
        ("duckdb:////data/file.duckdb", "duckdb:////data/file.duckdb"),
        ("DuckDB:///File.duckdb", "duckdb:///File.duckdb"),
        ("duckdb:///a@b.duckdb", "duckdb:///a@b.duckdb"),
        ("crate://u:p@ss@h/", "crate://u:p%40ss@h/"),
    ],
)
def test_accepted(text: str, uri: str) -> None:
    """HTTP means CrateDB, HTTPS means CrateDB with TLS that is verified; a raw @ in a password is encoded."""
    assert read(text).dburi == uri


@pytest.mark.parametrize(
    ("text", "dialect"), [("http://h", "crate"), ("duckdb:///f", "duckdb"), ("DUCKDB:///f", "duckdb")]
)
def test_dialect(text: str, dialect: str) -> None:
    """The dialect follows from the scheme, in any case of letters."""
    assert read(text).dialect == dialect


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no scheme"),
        ("  ", "no scheme"),
        ("/var/lib/file.duckdb", "no scheme"),
        ("localhost:4200", "scheme 'localhost' is not supported"),
        ("mysql://h/", "scheme 'mysql' is not supported"),
        ("postgresql://h:5432/", "PostgreSQL's protocol is not supported. Use CrateDB's HTTP endpoint: crate://"),
        ("postgres://h/", "PostgreSQL's protocol is not supported"),
        ("postgresql+psycopg://h/", "PostgreSQL's protocol is not supported"),
        ("duckdb://", "in memory"),
        ("duckdb:///", "in memory"),
        ("duckdb:///:memory:", "in memory"),
        ("duckdb:///:memory:name", "in memory"),
        ("duckdb:///?access_mode=READ_ONLY", "in memory"),
        ("duckdb://file.duckdb", "three slashes"),
        ("crate://", "no host"),
        ("crate:///", "no host"),
        ("https://", "no host"),
        ("crate://h:port/", "malformed host or port"),
        ("crate://h:99999/", "malformed host or port"),
        ("crate://h:-1/", "malformed host or port"),
        ("crate://[::1/", "malformed host or port"),
    ],
)
def test_refused(text: str, message: str) -> None:
    """What can't be an address of a supported database is refused in words that help."""
    with pytest.raises(InvalidInput) as caught:
        read(text)
    assert message in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("crate://u:hunter2@h:4200/", "crate://u:REDACTED@h:4200/"),
        ("crate://:hunter2@h/", "crate://:REDACTED@h/"),
        ("crate://u@h/", "crate://u@h/"),
        ("https://u:hunter2@h/", "crate://u:REDACTED@h/?sslmode=verify-full"),
        ("crate://h/?password=hunter2&schema=x", "crate://h/?password=REDACTED&schema=x"),
        ("crate://h/?PassWord=hunter2", "crate://h/?PassWord=REDACTED"),
        ("crate://h/?jwt_token=hunter2", "crate://h/?jwt_token=REDACTED"),
        ("crate://h/?token=hunter2", "crate://h/?token=REDACTED"),
        ("duckdb:///f.db?motherduck_token=hunter2", "duckdb:///f.db?motherduck_token=REDACTED"),
        ("duckdb:///f.duckdb", "duckdb:///f.duckdb"),
        ("duckdb:////data/f.duckdb", "duckdb:////data/f.duckdb"),
    ],
)
def test_safe(text: str, safe: str) -> None:
    """Printing an address shows neither passwords nor tokens, and changes nothing else."""
    address = read(text)
    assert address.safe == str(address) == safe
    assert "hunter2" not in repr(address) + f"{address}"


HOSTILE = ["pa/ss", "12/34", "p?q", "1?q", "p#q", "1#q", "p/q@r", "[x", "a/b:c@d"]


@pytest.mark.parametrize("password", HOSTILE)
def test_hostile_password_refused_without_a_word_of_it(password: str) -> None:
    """A password that splits an address in the wrong place is refused, and the message does not quote it."""
    with pytest.raises(InvalidInput) as caught:
        read(f"crate://user:{password}@host:4200/")
    assert "percent-encoded" in str(caught.value)
    for part in password.replace("/", " ").replace("?", " ").replace("#", " ").replace("@", " ").split():
        assert f"'{part}'" not in str(caught.value)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=20))
def test_any_encoded_password_arrives_and_hides(password: str) -> None:
    """Whatever the password: percent-encoded it reaches the driver as it is, and is not in what is printed."""
    address = read(f"crate://user:{quote(password, safe='')}@host:4200/")
    assert sa.make_url(address.dburi).password == password
    assert address.safe == "crate://user:REDACTED@host:4200/"


@given(st.text(st.characters(categories=("L", "N", "P", "S"), exclude_characters="/?#[]%\\"), min_size=1, max_size=20))
def test_raw_password_hides(password: str) -> None:
    """A password written as it is, with @ and :, hides as well, and the host is the right one."""
    try:
        address = read(f"crate://user:{password}@host:4200/")
    except InvalidInput:
        return
    assert address.safe == "crate://user:REDACTED@host:4200/"
    assert urlsplit(address.dburi).hostname == sa.make_url(address.dburi).host == "host"
    assert sa.make_url(address.dburi).password == password


def test_empty_address_refused() -> None:
    """There is no address without text, however it is made."""
    with pytest.raises(InvalidInput, match="empty"):
        DatabaseAddress("")


def test_texts_hide_passwords_with_any_sign() -> None:
    """In a text as well, a password ends at the last @ of the word."""
    said = redact("can't reach crate://u:hun@ter2:x@h:4200/, nor crate://v:se:cr@t@g/ of yesterday")
    assert said == "can't reach crate://u:REDACTED@h:4200/, nor crate://v:REDACTED@g/ of yesterday"
