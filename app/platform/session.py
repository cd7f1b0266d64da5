"""Logging in and out of the dashboard: the API's session becomes a cookie, and its secret never a body."""

from dataclasses import replace

from fastapi import APIRouter, Depends, Request, Response, status
from pydantic import ValidationError

from app.client import access
from app.client.errors import ApiProblem, NotAuthenticated, Unreachable
from app.contract.resources.access import Login
from app.contract.resources.base import Resource, UtcTime
from app.kit.errors import BadGateway, Go2CloudError, Invalid, TooManyRequests, Unauthenticated
from app.platform import cookie
from app.platform.bodies import body_of
from app.platform.guard import own_origin
from app.platform.upstream import ApiUnreachable, Platform, Upstream

LOGIN_BYTES = 4096

router = APIRouter(dependencies=[Depends(own_origin)], include_in_schema=False)


class LoggedIn(Resource):
    """Who is logged in now, and until when."""

    user: str
    expires_at: UtcTime


@router.post("/bff/session", status_code=status.HTTP_201_CREATED)
async def log_in(request: Request, response: Response, upstream: Upstream) -> LoggedIn:
    """Open a session and give the browser its cookie; the body is that of POST /api/v1/sessions."""
    body = await _login(request, upstream)
    call = access.log_in(body.user, body.password)
    try:
        session = await upstream.client.send(replace(call, headers=_on_behalf_of(request)))
    except ApiProblem as problem:
        raise _as_told(problem) from problem
    except Unreachable as error:
        raise ApiUnreachable(upstream.api_url) from error
    cookie.give(request, response, session.token, session.expires_at, always_secure=upstream.secure_cookie)
    return LoggedIn(user=session.user, expires_at=session.expires_at)


@router.delete("/bff/session", status_code=status.HTTP_204_NO_CONTENT)
async def log_out(request: Request, upstream: Upstream) -> Response:
    """Close the session and take the cookie back; a session that is gone already is fine."""
    response = Response(status_code=status.HTTP_204_NO_CONTENT)
    cookie.take_back(response)
    bearer = {"Authorization": f"Bearer {cookie.session_of(request)}"}
    try:
        await upstream.client.send(replace(access.log_out(), headers=bearer))
    except NotAuthenticated:
        return response
    except Unreachable as error:
        raise ApiUnreachable(upstream.api_url) from error
    return response


async def _login(request: Request, upstream: Platform) -> Login:
    stream = body_of(request, min(upstream.body_bytes, LOGIN_BYTES))
    text = b"" if stream is None else b"".join([piece async for piece in stream])
    try:
        return Login.model_validate_json(text)
    except ValidationError as error:
        named = "; ".join(
            f"{'.'.join(map(str, each['loc'])) or 'body'}: {each['msg']}"
            for each in error.errors(include_input=False, include_url=False)
        )
        raise Invalid(named, remedy="send user and password as JSON") from None


def _on_behalf_of(request: Request) -> dict[str, str]:
    """The browser's address, so that the API counts attempts per address and not per platform."""
    return {"X-Forwarded-For": request.client.host} if request.client else {}


def _as_told(problem: ApiProblem) -> Go2CloudError:
    kinds: dict[int, type[Go2CloudError]] = {401: Unauthenticated, 429: TooManyRequests}
    kind = kinds.get(problem.status, BadGateway)
    return kind(problem.detail, code=problem.code, remedy=problem.remedy, **problem.problem.extra)
