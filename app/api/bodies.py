"""Bodies are read whole before a unit of work begins: bounded in size, and in the time that they may take.

Otherwise a client that sends its body slowly would hold a transaction open, and with SQLite everybody else's
writes with it; and one that sends without end would fill the memory.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, cast

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.types import Message

from app.kit.errors import Go2CloudError, TooLarge
from app.kit.transaction import TransactionalRoute
from app.migration.services import Services

BODY_SECONDS = 30.0

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class BodyTooSlow(Go2CloudError):
    """The body did not arrive in time."""

    status: ClassVar[int] = 408
    code = "BODY_TOO_SLOW"
    title: ClassVar[str] = "Request timeout"


class UnitRoute(TransactionalRoute):
    """A route whose handler runs in one unit of work, begun when the body is there."""

    def get_route_handler(self) -> Handler:
        """The handler, given a request whose body is read."""
        return _after_body(super().get_route_handler())


class PlainRoute(APIRoute):
    """A route that opens its own units."""

    def get_route_handler(self) -> Handler:
        """The handler, given a request whose body is read."""
        return _after_body(super().get_route_handler())


def _after_body(handle: Handler) -> Handler:
    async def handle_read(request: Request) -> Response:
        return await handle(await _read(request))

    return handle_read


async def _read(request: Request) -> Request:
    """The same request with its body kept; raises TooLarge as soon as it is, and BodyTooSlow."""
    most = int(cast(Services, request.app.state.services).now.limits.request_body_bytes)
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > most:
        raise _too_large(most)
    bounded = Request(request.scope, _Counted(request, most).receive)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            await bounded.body()
    except TimeoutError as error:
        raise BodyTooSlow(
            f"the body did not arrive within {BODY_SECONDS:g} seconds", remedy="send the request again"
        ) from error
    return bounded


class _Counted:
    """Receives for a request, and counts."""

    def __init__(self, request: Request, most: int) -> None:
        self._receive = request.receive
        self._left = most
        self._most = most

    async def receive(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise _too_large(self._most)
        return message


def _too_large(most: int) -> TooLarge:
    return TooLarge(
        f"the body has more than {most} bytes", remedy="send less, or raise LIMITS.REQUEST_BODY_BYTES"
    )
