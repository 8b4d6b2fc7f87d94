"""``/policies``, ``/tags`` and ``/policy-file``: what is kept for how long."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Query, Response

from cratedb_retention.errors import Conflict, InvalidInput
from cratedb_retention.execution.results import Changed, Policies, StoredPolicy, policy_result
from cratedb_retention.model.policy import Policy
from cratedb_retention.model.policyfile import dump_policies, parse_policies
from cratedb_retention.service.http.problems import Failed, problems
from cratedb_retention.service.http.requests import Chosen, ChosenTags, JsonRoute, Limit, Offset
from cratedb_retention.service.http.security import Editor, Viewer
from cratedb_retention.store.policies import StoredPolicy as Stored

router = APIRouter(tags=["policies"], route_class=JsonRoute)
IfMatch = Annotated[str | None, Header(description='The ETag that the change is based on, as `"3"`; `*`: any.')]
_ETAG = re.compile(r'(?:W/)?"(\d{1,9})"', re.ASCII)
_WITH_ETAG = {"headers": {"ETag": {"description": "The policy's version.", "schema": {"type": "string"}}}}


@router.get("/policies", responses=problems())
def list_policies(who: Viewer, chosen: Chosen, limit: Limit = 100, offset: Offset = 0) -> Policies:
    """The policies, by table; on the first page also rows that are no valid policies."""
    found, damaged = who.policies(chosen)
    return Policies(
        policies=[policy_result(item) for item in found[offset : offset + limit]],
        damaged=[] if offset else [_damaged(row.to_dict()) for row in damaged[:limit]],
        total=len(found),
    )


def _damaged(row: dict[str, Any]) -> Any:
    return {key: value.isoformat() if hasattr(value, "isoformat") else value for key, value in row.items()}


@router.post("/policies", status_code=HTTPStatus.CREATED, responses={201: _WITH_ETAG, **problems(409)})
def create_policy(who: Editor, policy: Policy, response: Response) -> StoredPolicy:
    """Create a policy."""
    created = Stored(who.create(policy), 1)
    return _answer(created, response)


@router.get("/policies/{policy_id:path}", responses={200: _WITH_ETAG, **problems(404)})
def get_policy(who: Viewer, policy_id: str, response: Response) -> StoredPolicy:
    """One policy; its ETag is what a change of it names."""
    return _answer(who.policy(policy_id), response)


@router.patch("/policies/{policy_id:path}", responses={200: _WITH_ETAG, **problems(404, 409, 412, 428)})
def change_policy(
    who: Editor,
    policy_id: str,
    changes: Annotated[dict[str, Any], Body(description="New values of attributes; null clears one.")],
    response: Response,
    if_match: IfMatch = None,
) -> StoredPolicy:
    """Change attributes of a policy. If somebody else changed it since, nothing happens, and the answer is 412."""
    version = _version(if_match)
    try:
        return _answer(who.change(policy_id, changes, version), response)
    except Conflict as error:
        raise _outdated(error, version) from None


@router.delete("/policies/{policy_id:path}", status_code=HTTPStatus.NO_CONTENT, responses=problems(404, 409, 412, 428))
def delete_policy(who: Editor, policy_id: str, if_match: IfMatch = None) -> None:
    """Delete a policy; data is not touched."""
    version = _version(if_match)
    try:
        who.delete(policy_id, version)
    except Conflict as error:
        raise _outdated(error, version) from None


@router.get("/tags", responses=problems())
def list_tags(who: Viewer) -> list[str]:
    """All tags in use."""
    return who.tags()


def _answer(stored: Stored, response: Response) -> StoredPolicy:
    response.headers["ETag"] = f'"{stored.version}"'
    return policy_result(stored)


def _version(if_match: str | None) -> int | None:
    """
    The version that a change is based on; None: the present one, whichever it is.

    :raises Failed: if it is not said, or not said rightly.
    """
    if if_match is None:
        error = InvalidInput("If-Match", "missing", "send the ETag that the change is based on, or *")
        raise Failed(HTTPStatus.PRECONDITION_REQUIRED, error)
    if if_match.strip() == "*":
        return None
    found = _ETAG.fullmatch(if_match.strip())
    if found is None:
        error = InvalidInput("If-Match", "not an ETag of a policy", 'write it like "3"')
        raise Failed(HTTPStatus.PRECONDITION_FAILED, error)
    return int(found[1])


def _outdated(error: Conflict, version: int | None) -> Exception:
    return error if version is None else Failed(HTTPStatus.PRECONDITION_FAILED, error)


files = APIRouter(tags=["policies"])
YAML = "application/yaml"
_LIST = {"type": "array", "items": {"$ref": "#/components/schemas/Policy"}}
_FILE = {YAML: {"schema": {"type": "object", "properties": {"policies": _LIST}, "required": ["policies"]}}}


@files.get(
    "/policy-file",
    response_class=Response,
    responses={200: {"description": "A policy file.", "content": _FILE}, **problems()},
)
def export_policies(who: Viewer, chosen: Chosen) -> Response:
    """The policies as a file that `apply` reads."""
    found, _ = who.policies(chosen)
    return Response(dump_policies(item.policy for item in found), media_type=YAML)


@files.post(
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
    return [Changed.of(change) for change in changes]
