"""
The API against its own description: whatever it is sent, it answers, as the description says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from cratedb_retention.service.http.access import Context
from cratedb_retention.service.http.app import make_app
from cratedb_retention.service.settings import HttpSettings
from support.databases import Database
from support.tiers import examples

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = examples(2, long=100)
SETTINGS = settings(
    max_examples=EXAMPLES,
    database=None,
    derandomize=True,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.slow("each route gets many requests")
def test_whatever_is_sent_is_answered(duck: Database) -> None:
    """For each route some requests, good and bad, as Schemathesis makes them: no server error, nothing undescribed."""
    duck.create("metrics", {"ts": "TIMESTAMP WITH TIME ZONE", "n": "TEXT"})
    duck.policy("delete", "metrics", "90d", id="p1", tags=["a"])
    app = make_app(
        Context(retention=duck.tool, authenticate=False, limits=HttpSettings(burst=10**9), metrics=lambda: b"")
    )
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", app)
    sent = 0
    for result in schema.get_all_operations():
        operation: Any = result.ok()  # type: ignore[union-attr]
        # A route without parameters has nothing that could be wrong.
        modes = [GenerationMode.POSITIVE] + ([GenerationMode.NEGATIVE] if has_parameters(operation) else [])

        def check(case: Any) -> None:
            nonlocal sent
            sent += 1
            case.call_and_validate(checks=CHECKS)

        for mode in modes:
            run: Callable[..., None] = SETTINGS(given(operation.as_strategy(generation_mode=mode))(check))  # type: ignore[no-untyped-call]
            run()
    assert sent > 15 * EXAMPLES


def has_parameters(operation: Any) -> bool:
    """Whether a request has a query or a body."""
    return bool(list(operation.query)) or bool(list(operation.body))
