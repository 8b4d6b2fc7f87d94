"""
What requests say: parameters that several routes share, and bodies, which are JSON with numbers as they are written and
no name twice.

``1.50`` is kept as such, since the column that it is compared with may be text. Of two equal names JSON says nothing;
taking the last one could mean the wrong retention period.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Coroutine, Iterable
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from cratedb_retention.execution.archive import RestoreRequest
from cratedb_retention.execution.preparing import Selection
from cratedb_retention.model.access import Role
from cratedb_retention.model.strategies import parse_strategy
from cratedb_retention.model.tags import TagFilter, parse_tag_filter
from cratedb_retention.model.time import parse_instant
from cratedb_retention.model.values import ValueField

_TAGS = "Only policies with these tags: `a,b` both, repeated either, `not:c` those without c."
_SNAPSHOT_TAGS = "Only snapshots of policies that had these tags then: `a,b` both, repeated either, `not:c` without."
ShortText = Annotated[str, Query(min_length=1, max_length=255)]
Tags = Annotated[list[ShortText] | None, Query(description=_TAGS, max_length=100)]
Limit = Annotated[int, Query(ge=1, le=1000, description="At most so many.")]
Offset = Annotated[int, Query(ge=0, le=100_000, description="So many of the first are left out.")]
Moment = Annotated[str, Query(min_length=1, max_length=64, description="An instant as ISO 8601.")]


def read_tags(tags: Tags = None) -> TagFilter:
    """The filter by tags."""
    return parse_tag_filter(tags or ())


def read_selection(
    tags: Tags = None,
    strategy: Annotated[ShortText | None, Query(description="Only policies of this strategy.")] = None,
    policy: Annotated[ShortText | None, Query(description="Only the policy with this identifier.")] = None,
) -> Selection:
    """Which policies are meant."""
    return Selection(strategy=parse_strategy(strategy) if strategy else None, tags=read_tags(tags), policy_id=policy)


def read_cutoff(
    cutoff: Annotated[Moment | None, Query(description="Take this instant for now; not one of the future.")] = None,
) -> dt.datetime | None:
    """The instant that is taken for now."""
    return parse_instant(cutoff) if cutoff else None


def read_snapshots(
    name: Annotated[
        ShortText | None, Query(description="A snapshot's name, or six characters of its beginning.")
    ] = None,
    table_schema: Annotated[ShortText | None, Query(description="Name or pattern.")] = None,
    table_name: Annotated[ShortText | None, Query(description="Name or pattern.")] = None,
    repository: Annotated[ShortText | None, Query(description="Only those in this repository.")] = None,
    start: Annotated[Moment | None, Query(description="Only what reaches beyond this instant.")] = None,
    end: Annotated[Moment | None, Query(description="Only what begins before this instant.")] = None,
    tags: Annotated[list[ShortText] | None, Query(description=_SNAPSHOT_TAGS, max_length=100)] = None,
) -> RestoreRequest:
    """Which snapshots are meant."""
    first, last = (parse_instant(text) if text else None for text in (start, end))
    return RestoreRequest(
        name=name,
        table_schema=table_schema,
        table_name=table_name,
        start=first,
        end=last,
        repository=repository,
        tags=parse_tag_filter(tags or ()),
    )


Chosen = Annotated[Selection, Depends(read_selection)]
ChosenTags = Annotated[TagFilter, Depends(read_tags)]
ChosenSnapshots = Annotated[RestoreRequest, Depends(read_snapshots)]
Cutoff = Annotated[dt.datetime | None, Depends(read_cutoff)]


class WrittenNumber(float):
    """A number that remembers how it was written."""

    def __new__(cls, text: str) -> WrittenNumber:
        """From its text."""
        number = super().__new__(cls, text)
        number._text = text
        return number

    _text: str

    def __str__(self) -> str:
        return self._text


class _JsonRequest(Request):
    async def json(self) -> Any:
        return json.loads(await self.body(), parse_float=WrittenNumber, object_pairs_hook=_unique)


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, f"attribute {name} is written twice")
        found[name] = value
    return found


class JsonRoute(APIRoute):
    """A route that reads such bodies."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of the route, with its request read so."""
        handle = super().get_route_handler()

        async def read(request: Request) -> Response:
            return await handle(_JsonRequest(request.scope, request.receive))

        return read


Text = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00]+$")]


class _Request(BaseModel):
    """Nothing unknown is let pass: a misspelt attribute would mean its default."""

    model_config = ConfigDict(extra="forbid")


class RunRequest(_Request):
    """Which policies a run is about; each attribute that is set must fit."""

    strategy: Text | None = Field(None, description="Only policies of this strategy.")
    tags: list[Text] = Field(
        default_factory=list,
        max_length=100,
        description="Only policies with these tags: `a,b` both, several either, `not:c` without.",
    )
    policy: Text | None = Field(None, description="Only the policy with this identifier.")


class HoldRequest(_Request):
    """What must stay."""

    table_name: Text = Field(description="Name or pattern.")
    table_schema: Text | None = Field(None, description="Name or pattern; empty: the database's default one.")
    where: dict[Text, ValueField] = Field(default_factory=dict, description="Only data with these values.")
    start: AwareDatetime | None = Field(None, description="Only data from this instant on.")
    end: AwareDatetime | None = Field(None, description="Only data before this instant.")
    reason: str = Field("", max_length=1000, pattern=r"^[^\x00]*$", description="For people.")


class SnapshotKey(_Request):
    """Names a snapshot."""

    repository: Text
    name: Text


class SnapshotsWanted(_Request):
    """Which snapshots are meant; each attribute that is set must fit, and one must be set."""

    name: Text | None = Field(None, description="A snapshot's name, or six characters of its beginning.")
    table_schema: Text | None = Field(None, description="Name or pattern.")
    table_name: Text | None = Field(None, description="Name or pattern.")
    repository: Text | None = Field(None, description="Only those in this repository.")
    start: AwareDatetime | None = Field(None, description="Only what reaches beyond this instant.")
    end: AwareDatetime | None = Field(None, description="Only what begins before this instant.")
    tags: list[Text] | None = Field(
        None, min_length=1, max_length=100, description="Only snapshots of policies that had these tags then."
    )
    chosen: list[SnapshotKey] | None = Field(None, min_length=1, max_length=1000, description="Only these.")


class RestoreWanted(SnapshotsWanted):
    """What is brought back, and where to: into its own table, or one beside it."""

    into_schema: Text | None = Field(None, description="Restore beside, into a table of this schema.")
    into_name: Text | None = Field(None, description="The name of that table.")


class TablesWanted(_Request):
    """Which tables are meant."""

    table_name: Text = Field(description="Name or pattern.")
    table_schema: Text | None = Field(None, description="Name or pattern; empty: the database's default one.")


class TokenRequest(_Request):
    """A new access token."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$", description="For people; the audit log names it.")
    role: Role
    tags: list[Text] = Field(default_factory=list, max_length=100, description="Limit it to policies with these tags.")
    expires_at: AwareDatetime | None = Field(None, description="When it ends; empty: never.")
