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
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainValidator

from cratedb_retention.errors import InvalidInput
from cratedb_retention.execution.archive import RestoreRequest
from cratedb_retention.execution.preparing import Selection
from cratedb_retention.model.access import Role
from cratedb_retention.model.audit import Event, Outcome
from cratedb_retention.model.catalog import TableName
from cratedb_retention.model.strategies import parse_strategy
from cratedb_retention.model.tags import TagFilter, parse_tag_filter
from cratedb_retention.model.time import parse_instant
from cratedb_retention.model.values import ValueField
from cratedb_retention.store.audit import JournalFilter

PREFIX = "/api/v1"
_TAGS = "Only policies with these tags: `a,b` both, repeated either, `not:c` those without c."
_SNAPSHOT_TAGS = "Only snapshots of policies that had these tags then"
ShortText = Annotated[str, Query(min_length=1, max_length=255)]
Texts = Annotated[list[ShortText] | None, Query(max_length=100)]
Tags = Annotated[Texts, Query(description=_TAGS)]
Limit = Annotated[int, Query(ge=1, le=1000, description="At most so many.")]
Offset = Annotated[int, Query(ge=0, le=100_000, description="So many of the first are left out.")]
_Instant = Annotated[str, Field(min_length=1, max_length=64, description="An instant as ISO 8601.")]
Moment = Annotated[dt.datetime, PlainValidator(parse_instant, json_schema_input_type=_Instant)]


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


Chosen = Annotated[Selection, Depends(read_selection)]
ChosenTags = Annotated[TagFilter, Depends(read_tags)]


class JournalQuery(BaseModel):
    """Which rows of the audit log are meant."""

    table_name: ShortText | None = Query(None, description="Only this table.")
    policy_id: ShortText | None = Query(None, description="Only policies whose identifier begins so.")
    run_id: ShortText | None = Query(None, description="Only runs whose identifier begins so.")
    outcome: Outcome | None = None
    event: Event | None = None
    since: Moment | None = Query(None, description="Only from this instant on.")
    until: Moment | None = Query(None, description="Only before this instant.")
    limit: Limit = 50
    offset: Offset = 0
    tags: Tags = None

    def read(self) -> JournalFilter:
        """The same for the library."""
        return JournalFilter(**{**dict(self), "tags": read_tags(self.tags)})


class _Snapshots(BaseModel):
    """Which snapshots are meant, and where they go."""

    def read(self) -> RestoreRequest:
        """The same for the library, unless only half of a table's name is there."""
        said = dict(self)
        schema, name, chosen = said.get("into_schema"), said.get("into_name"), said.get("chosen")
        if (schema is None) is not (name is None):
            raise InvalidInput("into_schema, into_name", "one of them is missing", "give both, or neither")
        return RestoreRequest(
            **{key: said[key] for key in ("name", "table_schema", "table_name", "repository", "start", "end")},
            into=TableName(schema, name) if schema and name else None,
            tags=read_tags(said["tags"]),
            chosen=frozenset((key.repository, key.name) for key in chosen) if chosen else None,
        )


class SnapshotsQuery(_Snapshots):
    """Which snapshots are meant, in a query."""

    name: ShortText | None = Query(None, description="A snapshot's name, or six characters of its beginning.")
    table_schema: ShortText | None = Query(None, description="Name or pattern.")
    table_name: ShortText | None = Query(None, description="Name or pattern.")
    repository: ShortText | None = Query(None, description="Only those in this repository.")
    start: Moment | None = Query(None, description="Only what reaches beyond this instant.")
    end: Moment | None = Query(None, description="Only what begins before this instant.")
    tags: Texts = Query(None, description=f"{_SNAPSHOT_TAGS}: `a,b` both, repeated either, `not:c` without.")


class SnapshotsListed(SnapshotsQuery):
    """Which snapshots are listed."""

    limit: Limit = 100
    offset: Offset = 0


class SnapshotsPreviewed(SnapshotsQuery):
    """Which snapshots would be restored, and where to."""

    into_schema: ShortText | None = Query(None, description="Restore beside, into a table of this schema.")
    into_name: ShortText | None = Query(None, description="The name of that table.")


class WrittenNumber(float):
    """A number that remembers how it was written."""

    _text: str

    def __new__(cls, text: str) -> WrittenNumber:
        """From its text."""
        number = super().__new__(cls, text)
        number._text = text
        return number

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
        [], max_length=100, description="Only policies with these tags: `a,b` both, several either, `not:c` without."
    )
    policy: Text | None = Field(None, description="Only the policy with this identifier.")


class TablesWanted(_Request):
    """Which tables are meant."""

    table_name: Text = Field(description="Name or pattern.")
    table_schema: Text | None = Field(None, description="Name or pattern; empty: the database's default one.")


class HoldRequest(TablesWanted):
    """What must stay."""

    where: dict[Text, ValueField] = Field({}, description="Only data with these values.")
    start: AwareDatetime | None = Field(None, description="Only data from this instant on.")
    end: AwareDatetime | None = Field(None, description="Only data before this instant.")
    reason: str = Field("", max_length=1000, pattern=r"^[^\x00]*$", description="For people.")


class SnapshotKey(_Request):
    """Names a snapshot."""

    repository: Text
    name: Text


class SnapshotsWanted(_Request, _Snapshots):
    """Which snapshots are meant; each attribute that is set must fit, and one must be set."""

    name: Text | None = Field(None, description="A snapshot's name, or six characters of its beginning.")
    table_schema: Text | None = Field(None, description="Name or pattern.")
    table_name: Text | None = Field(None, description="Name or pattern.")
    repository: Text | None = Field(None, description="Only those in this repository.")
    start: AwareDatetime | None = Field(None, description="Only what reaches beyond this instant.")
    end: AwareDatetime | None = Field(None, description="Only what begins before this instant.")
    tags: list[Text] | None = Field(None, min_length=1, max_length=100, description=f"{_SNAPSHOT_TAGS}.")
    chosen: list[SnapshotKey] | None = Field(None, min_length=1, max_length=1000, description="Only these.")

    def read(self) -> RestoreRequest:
        """The same for the library, unless nothing is chosen, which would be all."""
        if not self.model_dump(exclude_none=True, exclude={"into_schema", "into_name"}):
            raise InvalidInput("snapshots", "nothing is chosen", "give table_name, or another attribute")
        return super().read()


class RestoreWanted(SnapshotsWanted):
    """What is brought back, and where to: into its own table, or one beside it."""

    into_schema: Text | None = Field(None, description="Restore beside, into a table of this schema.")
    into_name: Text | None = Field(None, description="The name of that table.")


class TokenRequest(_Request):
    """A new access token."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$", description="For people; the audit log names it.")
    role: Role
    tags: list[Text] = Field([], max_length=100, description="Limit it to policies with these tags.")
    expires_at: AwareDatetime | None = Field(None, description="When it ends; empty: never.")
