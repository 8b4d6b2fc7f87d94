"""
The options of ``create-policy`` and ``edit-policy``, made from the attributes of a policy, so that both have the same
names and the same words.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import click

from cratedb_retention.cli.options import TEXT, one_of
from cratedb_retention.errors import InvalidInput
from cratedb_retention.model.catalog import TimeUnit
from cratedb_retention.model.pairs import read_pairs
from cratedb_retention.model.policy import CutoffBy, Deletions, Freeze, Late, Policy, Strategy, Undated, Verify
from cratedb_retention.model.schedule import Misfire

F = TypeVar("F", bound=Callable[..., Any])
_OWN_OPTION = {"id", "enabled"}
_MAY_BE_EMPTY = {"description", "tags", "where", "expected_max", "aggregates"}
_PAIRS = {"where": "COLUMN=VALUE", "expected_max": "LIMIT=N", "aggregates": "METRIC=A,B"}
_SHORT = {
    "target_repository_name": "REPOSITORY",
    "retention_period": "DURATION",
    "cutoff_by": "|".join(CutoffBy),
    "time_zone": "ZONE",
    "tags": "A,B",
    "levels": "INTERVAL:DURATION,...",
    "dimensions": "COLUMN,...",
    "metrics": "COLUMN,...",
    "exclude": "COLUMN,...",
    "counters": "METRIC,...",
    "late": "|".join(Late),
    "deletions": "|".join(Deletions),
    "undated": "|".join(Undated),
    "freeze": "|".join(Freeze),
    "verify": "|".join(Verify),
    "time_unit": "|".join(TimeUnit),
    "schedule": "CRON",
    "misfire": "|".join(Misfire),
    "misfire_grace": "DURATION",
    "jitter": "DURATION",
}
_VALUES: Mapping[str, Iterable[str]] = {
    "strategy": Strategy,
    "cutoff_by": CutoffBy,
    "verify": Verify,
    "misfire": Misfire,
    "late": Late,
    "deletions": Deletions,
    "undated": Undated,
    "freeze": Freeze,
    "time_unit": TimeUnit,
}


def policy_options(function: F) -> F:
    """Add an option for each attribute."""
    function = click.option("--enabled/--disabled", default=None, help="Whether runs obey the policy.")(function)
    for name, field in reversed(Policy.model_fields.items()):
        if name not in _OWN_OPTION:
            function = click.option(
                f"--{name.replace('_', '-')}",
                name,
                type=None if name in _MAY_BE_EMPTY else TEXT,
                multiple=name in (*_PAIRS, "tags"),
                metavar=_PAIRS.get(name) or _SHORT.get(name) or "TEXT",
                shell_complete=one_of(*_VALUES[name]) if name in _VALUES else None,
                help=(field.description or "").replace("`", ""),
            )(function)
    return function


def read_attributes(values: Mapping[str, Any]) -> dict[str, Any]:
    """
    The attributes that were given as options, as plain values.

    :raises InvalidInput: if a pair is not of the form KEY=VALUE.
    """
    given = {key: value for key, value in values.items() if value is not None and value != ()}
    if "tags" in given:
        given["tags"] = [tag for text in given["tags"] for tag in text.split(",")]
    if "where" in given:
        given["where"] = read_pairs("--where", given["where"])
    if "aggregates" in given:
        pairs = read_pairs("--aggregates", given["aggregates"], "temperature=min,max")
        given["aggregates"] = {metric: names or "" for metric, names in pairs.items()}
    if "expected_max" in given:
        given["expected_max"] = {
            k: _number(k, v) for k, v in read_pairs("--expected-max", given["expected_max"], "rows=1000").items()
        }
    return given


def refuse_missing(given: Mapping[str, Any]) -> None:
    """
    Name the options that a new policy lacks, all at once.

    :raises InvalidInput: if there are any.
    """
    required = [name for name, field in Policy.model_fields.items() if field.is_required()]
    missing = [f"--{name.replace('_', '-')}" for name in required if name not in given]
    if missing:
        raise InvalidInput("create-policy", f"{', '.join(missing)} missing", "--help shows examples")


def read_cleared(names: Iterable[str]) -> dict[str, None]:
    """
    The attributes that are to be cleared.

    :raises InvalidInput: if there is no such attribute, or a policy needs it.
    """
    cleared = [name.strip().replace("-", "_") for name in names]
    optional = [name for name, field in Policy.model_fields.items() if not field.is_required() and name != "id"]
    for name in cleared:
        if name not in optional:
            close = difflib.get_close_matches(name, optional, n=1)
            reason = "a policy needs it" if name in Policy.model_fields else "unknown"
            remedy = f"did you mean {close[0]}?" if close else f"these can be cleared: {', '.join(optional)}"
            raise InvalidInput(f"--clear {name}", reason, remedy)
    return dict.fromkeys(cleared)


def _number(key: str, value: str | None) -> float:
    try:
        number = float(value or "")
    except ValueError:
        raise InvalidInput(f"--expected-max {key}", f"{value!r} is no number") from None
    return int(number) if number.is_integer() else number
