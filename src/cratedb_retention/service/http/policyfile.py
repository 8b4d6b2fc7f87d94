"""``/policy-file``: policies as code."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Body, Query, Response

from cratedb_retention.errors import InvalidInput
from cratedb_retention.execution.plain import change_data
from cratedb_retention.model.policyfile import dump_policies, parse_policies
from cratedb_retention.service.http.choosing import Chosen, ChosenTags
from cratedb_retention.service.http.problems import Failed, problems
from cratedb_retention.service.http.schemas import Changed
from cratedb_retention.service.http.security import Editor, Viewer

router = APIRouter(tags=["policies"])
YAML = "application/yaml"
_LIST = {"type": "array", "items": {"$ref": "#/components/schemas/Policy"}}
_FILE = {YAML: {"schema": {"type": "object", "properties": {"policies": _LIST}, "required": ["policies"]}}}


@router.get(
    "/policy-file",
    response_class=Response,
    responses={200: {"description": "A policy file.", "content": _FILE}, **problems()},
)
def export_policies(who: Viewer, chosen: Chosen) -> Response:
    """The policies as a file that `apply` reads."""
    found, _ = who.policies(chosen)
    return Response(dump_policies(item.policy for item in found), media_type=YAML)


@router.post(
    "/policy-file",
    responses=problems(409, 415),
    openapi_extra={"requestBody": {"required": True, "content": _FILE}},
)
def apply_policies(
    who: Editor,
    tags: ChosenTags,
    file: Annotated[bytes, Body(media_type=YAML, description="YAML (or JSON) as `export` writes it.")],
    prune: Annotated[bool, Query(description="Delete policies that the file lacks; `tags` limits that.")] = False,
    dry_run: Annotated[bool, Query(description="Only tell what would change.")] = False,
) -> list[Changed]:
    """Make the policies what a file says."""
    try:
        text = file.decode()
    except UnicodeDecodeError:
        error = InvalidInput("the file", "not UTF-8 text", "save it as UTF-8")
        raise Failed(HTTPStatus.UNPROCESSABLE_ENTITY, error) from None
    changes = who.apply(parse_policies(text, "the file"), prune, tags, dry_run)
    return [Changed.model_validate(change_data(change)) for change in changes]
