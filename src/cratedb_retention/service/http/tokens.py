"""``/tokens``: who may do what."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter

from cratedb_retention.execution.plain import token_data
from cratedb_retention.model.tags import parse_tag_filter
from cratedb_retention.service.http.json_body import JsonRoute
from cratedb_retention.service.http.problems import problems
from cratedb_retention.service.http.schemas import NewToken, Token, TokenRequest
from cratedb_retention.service.http.security import Admin

router = APIRouter(tags=["tokens"], route_class=JsonRoute)


@router.get("/tokens", responses=problems())
def list_tokens(who: Admin) -> list[Token]:
    """All access tokens, without their secrets."""
    return [Token(**token_data(token)) for token in who.tokens()]


@router.post("/tokens", status_code=HTTPStatus.CREATED, responses=problems())
def create_token(who: Admin, wanted: TokenRequest) -> NewToken:
    """Create an access token. Its text is in this answer, and can't be had a second time."""
    limit = parse_tag_filter(wanted.tags)
    token, text = who.create_token(wanted.name, wanted.role, limit, wanted.expires_at)
    return NewToken(**token_data(token), token=text)


@router.delete("/tokens/{token_id}", responses=problems(404))
def revoke_token(who: Admin, token_id: str) -> Token:
    """End an access token, at once."""
    return Token(**token_data(who.revoke_token(token_id)))
