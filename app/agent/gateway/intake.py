"""Reading an agent's request: its version, its credential, and a body of bounded size."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Annotated, Final, TypeVar, cast

from fastapi import Depends, Path, Request

from app.agent.gateway.uploads import Upload, too_large, upload_of
from app.kit.errors import BadRequest, TooLarge, Unauthenticated
from app.migration.access.agents import agent_of
from app.migration.services import Services
from app.wire import jsonform, version
from app.wire.chunks import KIB
from app.wire.errors import WireError
from app.wire.frames import Frame, FrameReader

T = TypeVar("T")
STALL_SECONDS = 60
"""How long a body may stand still; a connection that was cut without a word is given up then."""

PARSED_INLINE_BYTES: Final = 256 * KIB
"""A larger message is parsed in a thread: 64 MiB of JSON take seconds, and others wait for the loop."""

Name = Annotated[str, Path(pattern="^[!-~]{1,32}$")]
"""An id in a path, within what the database's id columns hold: any other is refused and never asked for."""


async def _services(request: Request) -> Services:
    return cast("Services", request.app.state.services)


Serving = Annotated[Services, Depends(_services)]
"""The services of this process."""


async def wire_version(request: Request) -> None:
    """Every request names the protocol's version. Raises BadRequest UNSUPPORTED_PROTOCOL_VERSION."""
    with wire_errors():
        version.require_supported(request.headers.get(version.HEADER))


async def _agent(request: Request, services: Serving) -> str:
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secret:
        raise Unauthenticated(
            "the request carries no agent credential", remedy="enrol the agent with: go2cloud-agent enroll"
        )
    async with services.database.reading() as uow:
        return await agent_of(uow, secret)


Agent = Annotated[str, Depends(_agent)]
"""The id of the server whose agent sent the request: all that it may touch."""


@contextmanager
def wire_errors() -> Iterator[None]:
    """Turn what the wire refuses into a problem with the same code."""
    try:
        yield
    except WireError as error:
        raise BadRequest(str(error), code=error.code) from error


async def pieces(request: Request, most: int) -> AsyncIterator[bytes]:
    """The body as it arrives. Raises TooLarge beyond `most` bytes, BadRequest STALLED when nothing comes."""
    stream = aiter(request.stream())
    received = 0
    while (piece := await _next(stream)) is not None:
        received += len(piece)
        if received > most:
            raise too_large(most)
        yield piece


async def _next(stream: AsyncIterator[bytes]) -> bytes | None:
    with _stalls():
        async with asyncio.timeout(STALL_SECONDS):
            return await anext(stream, None)


async def frames(request: Request, reader: FrameReader, most: int) -> AsyncIterator[Frame]:
    """The frames of a put as they arrive.

    Raises WireError, ClientDisconnect, BadRequest STALLED when nothing comes, TooLarge beyond `most` bytes.
    """
    upload = upload_of(request.scope)
    if upload is None:
        async for piece in pieces(request, most):
            for frame in reader.feed(piece):
                yield frame
    else:
        upload.begin(reader, most)
        while (received := await _next_frame(upload)) is not None:
            yield received
    reader.finish()


async def _next_frame(upload: Upload) -> Frame | None:
    with _stalls():
        return await upload.next(STALL_SECONDS)


@contextmanager
def _stalls() -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise BadRequest(
            f"nothing was received for {STALL_SECONDS} seconds", code="STALLED", remedy="send it again"
        ) from error


async def body(request: Request, most: int) -> bytes:
    """The whole body, bounded before anything is allocated for it. Raises TooLarge, BadRequest."""
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and (len(declared) > len(str(most)) or int(declared) > most):
        raise TooLarge(f"the body is larger than the {most} bytes that this request may have")
    return b"".join([piece async for piece in pieces(request, most)])


async def message(request: Request, kind: type[T], most: int) -> T:
    """The body as a message of the wire. Raises TooLarge, BadRequest BAD_MESSAGE."""
    data = await body(request, most)
    with wire_errors():
        if len(data) > PARSED_INLINE_BYTES:
            return await asyncio.to_thread(jsonform.decode, kind, data)
        return jsonform.decode(kind, data)
