"""`/bff/v1/…`: the REST API for a browser. The cookie becomes a bearer header; the rest passes as it is.

Both ways are streams: neither a body nor an answer is held whole. Headers that belong to one connection
(RFC 9110 section 7.6.1) stay on it; the cookie, and whatever claims to be a credential, never goes on. A path
that walks upwards is refused, so that nothing but /api/v1 can be reached.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from urllib.parse import unquote

import httpx2
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import StreamingResponse

from app.kit.errors import BadGateway, BadRequest
from app.kit.logging import get_logger
from app.platform import cookie
from app.platform.bodies import body_of
from app.platform.guard import own_origin
from app.platform.upstream import ANSWER_SECONDS, ApiUnreachable, Platform, Upstream

FRONT = "/bff/v1/"
BACK = "/api/v1/"
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
OURS = frozenset(
    {"host", "cookie", "authorization", "forwarded", "x-forwarded-for", "x-requested-with", "expect"}
)
NOT_BACK = frozenset({"set-cookie", "server", "date"})

router = APIRouter(dependencies=[Depends(own_origin)], include_in_schema=False)
_log = get_logger("go2cloud.proxy")


@router.api_route(FRONT + "{path:path}", methods=METHODS)
async def pass_on(request: Request, upstream: Upstream) -> Response:
    """Send a request on to the API and its answer back."""
    secret = cookie.session_of(request)
    outgoing = upstream.http.build_request(
        request.method,
        _target(request),
        headers=_headers(request, secret),
        content=body_of(request, upstream.body_bytes),
    )
    answer = await _sent(upstream, outgoing)
    response = StreamingResponse(_pieces(answer), answer.status_code)
    response.raw_headers = [
        (name.encode("latin-1"), (_here(value, upstream) if name == "location" else value).encode("latin-1"))
        for name, value in _kept(answer.headers.multi_items(), HOP_BY_HOP | NOT_BACK)
    ]
    if answer.status_code == httpx2.codes.UNAUTHORIZED:
        cookie.take_back(response)
    return response


def _target(request: Request) -> httpx2.URL:
    """The same path below the API, undecoded, so that an encoded slash stays one."""
    raw: bytes = request.scope["raw_path"]
    path = raw.decode("latin-1").partition("?")[0]
    if not {".", ".."}.isdisjoint(unquote(path).split("/")):
        raise BadRequest(f"the path {path!r} walks upwards", code="PATH_REFUSED")
    query = request.scope["query_string"]
    below = BACK + path[path.index(FRONT) + len(FRONT) :]
    return httpx2.URL(below + (f"?{query.decode('latin-1')}" if query else ""))


def _here(location: str, upstream: Platform) -> str:
    """A place at the API as the browser reaches it."""
    path = location.removeprefix(upstream.api_url)
    return FRONT + path.removeprefix(BACK) if path.startswith(BACK) else location


def _headers(request: Request, secret: str) -> list[tuple[str, str]]:
    kept = [*_kept(request.headers.items(), HOP_BY_HOP | OURS), ("authorization", f"Bearer {secret}")]
    if "accept-encoding" not in request.headers:
        kept.append(("accept-encoding", "identity"))
    if request.client is not None:
        kept.append(("x-forwarded-for", request.client.host))
    return kept


def _kept(headers: Iterable[tuple[str, str]], dropped: frozenset[str]) -> Iterable[tuple[str, str]]:
    """The headers without those of this connection: the known ones and those that Connection names."""
    every = [(name.lower(), value) for name, value in headers]
    named = {
        part.strip().lower() for name, value in every if name == "connection" for part in value.split(",")
    }
    return [(name, value) for name, value in every if name not in dropped | named]


async def _sent(upstream: Platform, outgoing: httpx2.Request) -> httpx2.Response:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await upstream.http.send(outgoing, stream=True)
    except (TimeoutError, httpx2.TimeoutException) as error:
        raise BadGateway(
            f"the migration API did not answer within {ANSWER_SECONDS:g} seconds", code="API_TIMEOUT"
        ) from error
    except httpx2.TransportError as error:
        raise ApiUnreachable(upstream.api_url) from error


async def _pieces(answer: httpx2.Response) -> AsyncIterator[bytes]:
    try:
        async for piece in answer.aiter_raw():
            yield piece
    except httpx2.TransportError:
        _log.warning("answer.broke_off", url=str(answer.request.url))
        raise
    finally:
        await answer.aclose()
