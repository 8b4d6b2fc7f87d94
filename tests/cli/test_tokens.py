"""``create-token``, ``list-tokens``, ``revoke-token``."""

from __future__ import annotations

from pathlib import Path

import duckdb

from support.command import Command


def test_tokens(command: Command, path: Path) -> None:
    """The text is shown once, and a list never has it; what is revoked or has expired is listed only with --all."""
    text = command.ok("create-token", "--name=ops", "--role=admin", "--expires=2999-01-01").strip()
    assert text.startswith("crt_")
    made = command.data("create-token", "--name=acme", "--role=viewer", "--tags=acme,not:cold", "--tags=x",
                        "--expires=2999-01-01")  # fmt: skip
    assert made["token"].startswith(f"crt_{made['id']}_")
    assert (made["role"], made["tags"]) == ("viewer", ["acme,not:cold", "x"])
    assert made["expires_at"] == "2999-01-01T00:00:00+00:00"
    listed = command.ok("list-tokens", "--format=json") + command.ok("list-tokens")
    assert "acme+not:cold" in listed
    assert text not in listed
    assert made["token"] not in listed
    assert command.ok("revoke-token", "ops").endswith("(ops)\n")
    assert [token["name"] for token in command.data("list-tokens")] == ["acme"]
    assert [token["name"] for token in command.data("list-tokens", "--all")] == ["ops", "acme"]
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "UPDATE ext.access_token SET expires_at = TIMESTAMP '2020-01-01' WHERE expires_at IS NOT NULL"
        )
    assert command.data("list-tokens") == []
    words = command.ok("list-tokens", "--all").split()
    assert [word for word in words if word in ("revoked", "expired", "ops", "acme")] == [
        "ops",
        "revoked",
        "acme",
        "expired",
    ]


def test_what_is_refused(command: Command) -> None:
    """A role, a limit and a name are looked at; nothing is stored."""
    assert "viewer, operator, editor, admin" in command.refused(2, "create-token", "--name=x", "--role=x")
    assert "has no required tag" in command.refused(2, "create-token", "--name=x", "--role=viewer", "--tags=not:b")
    assert "cannot be limited" in command.refused(2, "create-token", "--name=x", "--role=admin", "--tags=b")
    assert "an empty tag" in command.refused(2, "create-token", "--name=x", "--role=viewer", "--tags=")
    assert "is not in force" in command.refused(1, "revoke-token", "x")
    assert command.ok("list-tokens") == "no access tokens; create one with `cratedb-retention create-token`\n"
