"""Preflights of agents: their reports, and a sink and a source to measure the way by.

Sink and source keep nothing: no buffer, no hash, no database beyond the credential. Both end by themselves
after MEASURE_SECONDS or at their size, and each process serves one of them to a server at a time.
"""

import os
import time
from collections.abc import AsyncIterator
from functools import cache
from typing import Annotated, Final, cast

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect

from app.agent.gateway.answers import BYTES, HEADERS, answer, raw
from app.agent.gateway.intake import Agent, Serving, message, pieces
from app.kit.errors import TooManyRequests
from app.migration.preflight import service as preflights
from app.wire.chunks import KIB, MIB
from app.wire.preflight import Preflight, SinkResult

router = APIRouter()

PREFLIGHT_BYTES: Final = MIB
SINK_BYTES: Final = 64 * MIB
SOURCE_BYTES: Final = 64 * MIB
MEASURE_SECONDS: Final = 5
_FORGOTTEN_SECONDS: Final = 3 * MEASURE_SECONDS
"""A turn that was not given back, since its client never took the answer, ends by itself then."""
_PIECE: Final = 256 * KIB
_SALT: Final = 4 * MIB
"""Random bytes that are sent over and over: more than a proxy's compression looks back."""


class Measuring:
    """The servers that measure now."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def begin(self, server: str) -> None:
        """Take the server's turn. Raises TooManyRequests MEASUREMENT_RUNNING."""
        now = time.monotonic()
        if self._until.get(server, now) > now:
            raise TooManyRequests(
                "this server measures its bandwidth already",
                code="MEASUREMENT_RUNNING",
                remedy="wait until that is over",
                retryAfter=MEASURE_SECONDS,
            )
        self._until[server] = now + _FORGOTTEN_SECONDS

    def end(self, server: str) -> None:
        """Give the turn back."""
        self._until.pop(server, None)


async def _measuring(request: Request) -> Measuring:
    """The one of this process."""
    state = request.app.state
    if not hasattr(state, "measuring"):
        state.measuring = Measuring()
    return cast("Measuring", state.measuring)


Turns = Annotated[Measuring, Depends(_measuring)]


@router.post("/preflights")
async def deliver(request: Request, services: Serving, server: Agent) -> Response:
    """Take a report in."""
    report = await message(request, Preflight, PREFLIGHT_BYTES)
    await services.database.run(lambda uow: preflights.accept(uow, server, report))
    return Response(status_code=204, headers=HEADERS)


@router.post("/preflight/sink")
async def sink(request: Request, server: Agent, turns: Turns) -> Response:
    """Throw away what comes, and say how much came in what time."""
    turns.begin(server)
    try:
        return answer(await _swallow(request))
    except ClientDisconnect:
        return Response(status_code=400)
    finally:
        turns.end(server)


async def _swallow(request: Request) -> SinkResult:
    """Count the body. The time begins with its first piece: until then it is that of the way there."""
    received, began = 0, 0.0
    last = began
    async for piece in pieces(request, SINK_BYTES):
        last = time.monotonic()
        began = began or last
        received += len(piece)
        if last - began > MEASURE_SECONDS:
            break
    return SinkResult(received, round((last - began) * 1_000_000))


@router.get("/preflight/source")
async def source(
    server: Agent, turns: Turns, count: Annotated[int, Query(ge=0, le=SOURCE_BYTES, alias="bytes")]
) -> Response:
    """Bytes that cannot be compressed, as many as asked for or as fit in the time; none at once."""
    if count == 0:
        return raw(b"")
    turns.begin(server)
    return StreamingResponse(_pour(server, turns, count), media_type=BYTES, headers=HEADERS)


async def _pour(server: str, turns: Measuring, count: int) -> AsyncIterator[bytes]:
    end = time.monotonic() + MEASURE_SECONDS
    try:
        for at in range(0, count, _PIECE):
            if time.monotonic() > end:
                return
            yield _salt()[at % _SALT : at % _SALT + min(_PIECE, count - at)]
    finally:
        turns.end(server)


@cache
def _salt() -> bytes:
    return os.urandom(_SALT)
