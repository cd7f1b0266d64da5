"""What a browser sends, as a stream that ends in an error as soon as it is too much."""

from collections.abc import AsyncIterator

from fastapi import Request

from app.kit.errors import TooLarge


def body_of(request: Request, most: int) -> AsyncIterator[bytes] | None:
    """The body as it arrives, None where there is none; raises TooLarge beyond `most` bytes."""
    announced = request.headers.get("content-length")
    if announced is None and "transfer-encoding" not in request.headers:
        return None
    if announced is not None and int(announced) > most:
        raise _too_large(most)
    return _counted(request, most)


async def _counted(request: Request, most: int) -> AsyncIterator[bytes]:
    seen = 0
    async for piece in request.stream():
        seen += len(piece)
        if seen > most:
            raise _too_large(most)
        yield piece


def _too_large(most: int) -> TooLarge:
    return TooLarge(
        f"the body has more than {most} bytes", remedy="send less, or raise LIMITS.REQUEST_BODY_BYTES"
    )
