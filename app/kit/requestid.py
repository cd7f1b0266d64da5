"""The request id: one name for a request in the client's log, in ours, and in a problem document.

A client may bring one in ``X-Request-Id``; anything unsuitable is replaced by a new one. It is sent back
in the same header, stands in ``scope["state"]["request_id"]`` and on every log line of the request
(``http.request.id``).
"""

import re

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.kit.ids import new_id

HEADER = "X-Request-Id"
LOG_FIELD = "http.request.id"
_SUITABLE = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


class RequestIdMiddleware:
    """Gives each HTTP request and web socket its id."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap `app`."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Name the request, then pass it on."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        name = _suitable(Headers(scope=scope).get(HEADER)) or new_id("req")
        scope.setdefault("state", {})["request_id"] = name
        structlog.contextvars.bind_contextvars(**{LOG_FIELD: name})

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = name
            await send(message)

        await self.app(scope, receive, send_with_id)


def request_id(connection: HTTPConnection) -> str | None:
    """The id of a request, or None outside of `RequestIdMiddleware`."""
    name = connection.scope.get("state", {}).get("request_id")
    return name if isinstance(name, str) else None


def _suitable(name: str | None) -> str | None:
    return name if name is not None and _SUITABLE.fullmatch(name) else None
