"""Answers that are longer than a request's transaction: bytes or lines made while they are sent.

The first piece is made before the answer begins, so that what can be known then (a damaged store, a wrong id)
still is a proper problem document and not a broken stream.
"""

from collections.abc import AsyncIterator
from typing import TypeVar

from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from app.contract.resources.checkpoint import VerifyFailed
from app.kit.errors import Go2CloudError
from app.kit.logging import get_logger

FRAMES = "application/vnd.go2cloud.frames"
LINES = "application/x-ndjson"

T = TypeVar("T")

_log = get_logger("go2cloud.streams")


async def frames_response(pieces: AsyncIterator[bytes]) -> StreamingResponse:
    """Frames of the wire protocol; an error after the first piece ends the stream without its END frame."""
    return StreamingResponse(await _begun(pieces), media_type=FRAMES)


async def lines_response(events: AsyncIterator[BaseModel]) -> StreamingResponse:
    """One JSON object a line; an error after the first line becomes a last line `{"event": "failed", …}`."""
    return StreamingResponse(_lines(await _begun(events)), media_type=LINES)


async def _lines(events: AsyncIterator[BaseModel]) -> AsyncIterator[bytes]:
    try:
        async for event in events:
            yield _line(event)
    except Go2CloudError as error:
        _log.warning("stream.failed", code=error.code, detail=error.detail)
        yield _line(VerifyFailed(code=error.code, detail=error.detail, remedy=error.remedy))


def _line(event: BaseModel) -> bytes:
    return event.model_dump_json(by_alias=True).encode() + b"\n"


async def _begun(items: AsyncIterator[T]) -> AsyncIterator[T]:
    """The same items, the first of which has been made already."""
    first = await anext(items, None)
    return _with(first, items)


async def _with(first: T | None, rest: AsyncIterator[T]) -> AsyncIterator[T]:
    if first is None:
        return
    yield first
    async for item in rest:
        yield item
