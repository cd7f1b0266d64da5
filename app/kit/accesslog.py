"""One log line for each request: method, path, status, duration. Probes and scrapes are quiet."""

import time
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.kit.logging import get_logger

QUIET_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})

_log = get_logger("go2cloud.access")


class AccessLogMiddleware:
    """Logs a request when its answer is complete, or broken off.

    Put it inside `RequestIdMiddleware`, so that the line carries the request's id. The query is left out:
    it may hold what does not belong into a log.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Wrap `app`."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and log how it went."""
        if scope["type"] != "http" or scope["path"] in QUIET_PATHS:
            await self.app(scope, receive, send)
            return
        status = HTTPStatus.INTERNAL_SERVER_ERROR.value
        start = time.perf_counter_ns()

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
            await send(message)

        try:
            await self.app(scope, receive, send_and_note)
        finally:
            _write(scope, status, time.perf_counter_ns() - start)


def _write(scope: Scope, status: int, nanoseconds: int) -> None:
    client = scope.get("client")
    fields = {
        "http.request.method": scope["method"],
        "url.path": scope["path"],
        "http.response.status_code": status,
        "event.duration": nanoseconds,
        "client.address": client[0] if client else None,
    }
    _log.info("http.request", **fields)
