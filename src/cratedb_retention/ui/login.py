"""
Logging in with an access token, and out. Plain forms, that need no script.
"""

from __future__ import annotations

import html
from http import HTTPStatus
from typing import Annotated
from urllib.parse import unquote

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from cratedb_retention import __version__
from cratedb_retention.errors import RetentionError
from cratedb_retention.service.http.context import Context
from cratedb_retention.service.http.problems import Failed
from cratedb_retention.service.http.security import admit
from cratedb_retention.ui.entrance import COOKIE, LOGIN, LOGOUT, cookie_of
from cratedb_retention.ui.links import PREFIX
from cratedb_retention.ui.sessions import Sessions

Written = Annotated[str, Form(max_length=2000)]
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Log in · cratedb-retention</title>
<link rel="icon" href="{prefix}/static/favicon.svg">
<link rel="stylesheet" href="{prefix}/static/style.css?{version}">
</head>
<body class="login">
<main>
<h1>cratedb-retention</h1>
<form method="post" action="{login}">
{message}
<label for="token">Access token</label>
<input id="token" name="token" type="password" autocomplete="current-password" placeholder="crt_…" required autofocus
  spellcheck="false" {described}>
<input type="hidden" name="to" value="{to}">
<button type="submit">Log in</button>
</form>
<p>Whoever looks after this service makes tokens with <code>cratedb-retention create-token</code>.</p>
</main>
</body>
</html>
"""


def make_router(context: Context, sessions: Sessions) -> APIRouter:
    """The routes; they are not part of the HTTP API, and so not of its description."""
    router = APIRouter(include_in_schema=False)

    @router.get(LOGIN)
    def show(request: Request, to: str = PREFIX) -> Response:
        if not context.authenticate:
            return RedirectResponse(f"{PREFIX}/", HTTPStatus.SEE_OTHER)
        return _page(to)

    @router.post(LOGIN)
    def log_in(
        request: Request, token: Annotated[str, Form(max_length=200)] = "", to: Annotated[str, Form()] = ""
    ) -> Response:
        host = request.client.host if request.client else "unknown"
        try:
            admit(context, token.strip(), host)
        except Failed as failed:
            return _page(to, failed.error, failed.status)
        except RetentionError:
            silent = RetentionError("the database", "does not answer")
            return _page(to, silent, HTTPStatus.SERVICE_UNAVAILABLE)
        response = RedirectResponse(_local(to), HTTPStatus.SEE_OTHER)
        secure = request.url.scheme == "https"
        identifier = sessions.begin(token.strip())
        response.set_cookie(COOKIE, identifier, httponly=True, samesite="strict", secure=secure, path=PREFIX)
        return response

    @router.post(LOGOUT)
    def log_out(request: Request) -> Response:
        sessions.end(cookie_of(request.scope))
        response = RedirectResponse(LOGIN, HTTPStatus.SEE_OTHER)
        response.delete_cookie(COOKIE, path=PREFIX)
        return response

    return router


def _page(to: str, error: RetentionError | None = None, status: int = HTTPStatus.OK) -> Response:
    message = f'<p id="error" role="alert">{html.escape(_words(error))}</p>' if error else ""
    described = 'aria-describedby="error" aria-invalid="true"' if error else ""
    text = _PAGE.format(
        prefix=PREFIX,
        version=__version__,
        login=LOGIN,
        message=message,
        described=described,
        to=html.escape(_local(to)),
    )
    return HTMLResponse(text, status)


def _words(error: RetentionError) -> str:
    return f"{error.thing[0].upper()}{error.thing[1:]} {error.reason}."


def _local(to: str) -> str:
    """A page of ours; anything else could lead elsewhere."""
    plain = unquote(to)
    fine = plain.startswith(f"{PREFIX}/") and not plain.startswith((LOGIN, LOGOUT)) and ".." not in plain
    return to if fine and plain.isprintable() and "\\" not in plain else f"{PREFIX}/"
