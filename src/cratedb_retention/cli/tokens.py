"""
Access tokens as plain values, for ``create-token`` and ``list-tokens``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cratedb_retention.store.tokens import AccessToken


def token_data(token: AccessToken) -> dict[str, Any]:
    """A token without its secret."""
    data: dict[str, Any] = {
        "id": token.id,
        "name": token.name,
        "role": str(token.role),
        "tags": list(token.limit.texts),
        "created_at": token.created_at.isoformat(),
        "created_by": token.created_by,
    }
    if token.expires_at:
        data["expires_at"] = token.expires_at.isoformat()
    if token.revoked_at:
        data |= {"revoked_at": token.revoked_at.isoformat(), "revoked_by": token.revoked_by}
    return data
