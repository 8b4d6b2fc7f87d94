"""Log-in and log-out: by an access token, or at a provider of OpenID Connect, to which the browser goes meanwhile."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated
from urllib.parse import unquote

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from cratedb_retention.errors import Forbidden, RetentionError
from cratedb_retention.model.words import capitalized
from cratedb_retention.service.http.access import Context, begin_session, begin_session_of, end_session, host_of
from cratedb_retention.service.http.oidc import Provider, load_attempt
from cratedb_retention.service.http.problems import Failed
from cratedb_retention.ui.access import AWAY, COOKIE, respond
from cratedb_retention.ui.links import LOGIN, LOGOUT, PREFIX, address
from cratedb_retention.ui.web import layout
from cratedb_retention.ui.web.html import Child, el

# Of a log-in at the provider of OpenID Connect: the routes, and the cookie with its attempt, and for how many seconds.
_PROVIDER, _CALLBACK = f"{LOGIN}/provider", f"{LOGIN}/callback"
_ATTEMPT, _ATTEMPTED = "cratedb_retention_login", 600


def make_router(context: Context) -> APIRouter:
    """
    The routes of log-in and log-out, and of what runs now; they are not part of the HTTP API, and so not of its
    description.
    """
    router = APIRouter(include_in_schema=False)

    @router.get(LOGIN)
    def show(request: Request, to: str = PREFIX) -> Response:
        if not context.authenticate:
            return RedirectResponse(f"{PREFIX}/", HTTPStatus.SEE_OTHER)
        return _login(request, to, context.provider)

    @router.post(LOGIN)
    def log_in(
        request: Request, token: Annotated[str, Form(max_length=200)] = "", to: Annotated[str, Form()] = ""
    ) -> Response:
        try:
            name = begin_session(context, token.strip(), host_of(request))
        except Failed as failed:
            return _login(request, to, context.provider, failed)
        except RetentionError:
            return _login(request, to, context.provider, Failed(HTTPStatus.SERVICE_UNAVAILABLE, *AWAY))
        response = RedirectResponse(_local(to), HTTPStatus.SEE_OTHER)
        _keep(request, response, name)
        return response

    if context.provider:
        _add_provider(router, context, context.provider)

    @router.get(layout.RUNNING)
    def running(request: Request) -> Response:
        return respond(request, lambda guest, scoped: layout.answer(request, layout.running(guest.running)))

    @router.post(LOGOUT)
    def log_out(request: Request) -> Response:
        end_session(context, request.cookies.get(COOKIE, ""))
        response = RedirectResponse(LOGIN, HTTPStatus.SEE_OTHER)
        response.delete_cookie(COOKIE, path=PREFIX)
        return response

    return router


def _keep(request: Request, response: Response, session: str) -> None:
    """Let a browser keep the name of its session."""
    secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, session, httponly=True, samesite="strict", secure=secure, path=PREFIX)


def _add_provider(router: APIRouter, context: Context, provider: Provider) -> None:
    """Add the routes of a log-in at a provider of OpenID Connect, to which the browser goes between the two."""

    @router.get(_PROVIDER)
    def begin(request: Request, to: str = PREFIX) -> Response:
        try:
            context.buckets.take(f"address {host_of(request)}")
            address, attempt = provider.begin(_back(request), _local(to))
        except RetentionError as error:
            return _login(request, to, provider, error)
        response = RedirectResponse(address, HTTPStatus.SEE_OTHER)
        secure = request.url.scheme == "https"
        response.set_cookie(  # Not strict, since the provider leads back.
            _ATTEMPT, attempt.dumped(), _ATTEMPTED, path=LOGIN, secure=secure, httponly=True, samesite="lax"
        )
        return response

    @router.get(_CALLBACK)
    def finish(request: Request) -> Response:
        attempt = load_attempt(request.cookies.get(_ATTEMPT, ""))
        to = _local(attempt.to if attempt else "")
        try:
            context.buckets.take(f"address {host_of(request)}")
            if attempt is None:
                raise Forbidden("this log-in", "was not begun by this browser, or too long ago", "begin it again")
            identity = provider.finish(attempt, _back(request), request.query_params)
            name = begin_session_of(context, identity, host_of(request))
        except RetentionError as error:
            response = _login(request, to, provider, error)
        else:
            # Not a redirect: after one from another site, browsers would not send the session's cookie.
            content = el("div", el("p", "You are logged in. ", el("a", "Continue", href=to)), class_="card login")
            response = layout.page(request, "Log in", content, headers={"Refresh": f"0; url={to}"})
            _keep(request, response, name)
        response.delete_cookie(_ATTEMPT, path=LOGIN)
        return response


def _back(request: Request) -> str:
    return str(request.url.replace(path=_CALLBACK, query="", fragment=""))


def _login(request: Request, to: str, provider: Provider | None, error: RetentionError | None = None) -> Response:
    error_id = "error" if error else None
    said = f"{capitalized(error.thing)} {error.reason}." if error else ""
    at_provider = address(_PROVIDER.removeprefix(PREFIX), {"to": _local(to)})
    field = el(
        "input",
        id="token",
        name="token",
        type="password",
        autocomplete="current-password",
        placeholder="crt_…",
        required=True,
        autofocus=not provider,
        spellcheck="false",
        aria_describedby=error_id,
        aria_invalid="true" if error and error.http_status == HTTPStatus.UNAUTHORIZED else None,
    )
    form: list[Child] = [
        el("label", "Access token", for_="token"),
        field,
        el("input", type="hidden", name="to", value=_local(to)),
        el("button", "Log in", type="submit", class_=None if provider else "primary"),
    ]
    about = el("p", "Ask your administrator for a token (", el("code", "cratedb-retention create-token"), ").")
    content = el(
        "div",
        el("h1", layout.mark(), "cratedb-retention"),
        el("p", said, id=error_id, role="alert") if error else None,
        el("a", "Log in with your organization", href=at_provider, class_="button primary") if provider else None,
        el("form", *form, method="post", action=LOGIN),
        about,
        class_="card login",
    )
    return layout.page(request, "Log in", content, status=error.http_status if error else HTTPStatus.OK)


def _local(to: str) -> str:
    """A page of ours; anything else could lead elsewhere."""
    plain = unquote(to)
    fine = plain.startswith(f"{PREFIX}/") and not plain.startswith((LOGIN, LOGOUT)) and ".." not in plain
    return to if fine and plain.isprintable() and "\\" not in plain else f"{PREFIX}/"
