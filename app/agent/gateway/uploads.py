"""Receiving the body of a put into the frames that it carries.

uvicorn hands a body on in pieces of at most 250 KB, each copied four times and each a turn of the event loop,
which then is what a full copy over a fast link waits for. Here the bytes of a put go from the socket to where
they stay: uvicorn's parser reads the head of the request, this reads the chunked body, and then the parser
learns that the message is over. A body that is not chunked, or whose head came in parts, goes uvicorn's way.
"""

import asyncio
import re
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from starlette.requests import ClientDisconnect
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.agent.gateway.chunkedbody import ChunkedBody, ChunkingError
from app.kit.errors import BadRequest, TooLarge
from app.wire.chunks import KIB
from app.wire.errors import WireError
from app.wire.frames import Frame, FrameReader

_EXTENSION: Final = "go2cloud.upload"
_PUT: Final = re.compile(rb"POST [^ ?]*/sessions/[^ ?/]+/put HTTP/1\.1\r\n")
_END_OF_HEAD: Final = b"\r\n\r\n"
_LAST_CHUNK: Final = b"0\r\n\r\n"

_SCRATCH_BYTES: Final = 64 * KIB
"""What has less than this before the next line is received together with it, and copied."""
_AHEAD: Final = 1
"""Frames that may wait to be taken before the sender has to."""


class Upload(asyncio.BufferedProtocol):
    """The body of one put. Nothing is read before `begin`; what comes after the answer is passed over."""

    def __init__(self, http: "UploadingHttp", begun: bytes) -> None:
        """`begun` is what came of the body together with its head."""
        self._http = http
        self._cycle = http.cycle
        self._begun = begun
        self._body = ChunkedBody()
        self._reader: FrameReader | None = None
        self._most = 0
        self._received = 0
        self._frames: deque[Frame] = deque()
        self._failure: Exception | None = None
        self._ready = asyncio.Event()
        self._scratch = memoryview(bytearray(_SCRATCH_BYTES))
        self._room = self._scratch
        http.flow.pause_reading()

    def begin(self, reader: FrameReader, most: int) -> None:
        """Read the body with the reader, up to `most` bytes."""
        self._reader, self._most = reader, most
        self._http.flow.resume_reading()
        self._receive(memoryview(b""))

    async def next(self, patience: float) -> Frame | None:
        """The next frame; None at the end of the body.

        Raises WireError, BadRequest BAD_FRAME, TooLarge, ClientDisconnect; TimeoutError when nothing came for
        `patience` seconds.
        """
        while not self._frames and self._failure is None and not self._body.ended:
            await self._wait(patience)
        if not self._frames:
            if self._failure is not None:
                raise self._failure
            return None
        frame = self._frames.popleft()
        if len(self._frames) < _AHEAD:
            self._http.flow.resume_reading()
        return frame

    async def _wait(self, patience: float) -> None:
        """Until there is something for `next` to say."""
        self._ready.clear()
        received = self._received
        try:
            async with asyncio.timeout(patience):
                await self._ready.wait()
        except TimeoutError:
            if self._received == received:
                raise

    def get_buffer(self, _sizehint: int) -> memoryview:
        """Where the next bytes go."""
        self._room = self._scratch
        if self._reader is not None and not self._reader.ended:
            room = self._reader.room()[: self._body.left]
            self._room = room if room.nbytes >= _SCRATCH_BYTES else self._scratch
        return self._room

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes have come."""
        if self._room is self._scratch:
            self._receive(self._scratch[:nbytes])
        else:
            self._receive_in_place(nbytes)

    def eof_received(self) -> None:
        """The sender ends early: the transport closes."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The sender is gone."""
        self._fail(ClientDisconnect())
        self._http.connection_lost(exc)

    def pause_writing(self) -> None:
        """The answer has to wait."""
        self._http.pause_writing()

    def resume_writing(self) -> None:
        """The answer need not wait any more."""
        self._http.resume_writing()

    def _receive(self, view: memoryview) -> None:
        """Take in bytes of all kinds, those that came with the head first."""
        if self._begun:
            view, self._begun = memoryview(self._begun + view), b""
        self._count(view.nbytes)
        try:
            while view.nbytes and not self._body.ended:
                view = self._take_data(view) if self._body.left else self._body.take_line(view)
        except ChunkingError as error:
            self._lose_track(error)
        if self._body.ended:
            self._hand_back(bytes(view))

    def _receive_in_place(self, count: int) -> None:
        """Take in data that are in the reader's room."""
        self._count(count)
        self._body.took(count)
        if self._reader is not None:
            self._add(self._reader.filled(count))

    def _count(self, count: int) -> None:
        self._received += count
        if self._reader is not None and self._received > self._most:
            self._fail(too_large(self._most))

    def _take_data(self, view: memoryview) -> memoryview:
        piece = view[: self._body.left]
        self._body.took(piece.nbytes)
        try:
            for frame in () if self._reader is None else self._reader.feed(piece):
                self._add(frame)
        except WireError as error:
            self._fail(error)
        return view[piece.nbytes :]

    def _add(self, frame: Frame | None) -> None:
        if self._cycle.response_complete:
            self._frames.clear()
        elif frame is not None:
            self._frames.append(frame)
            self._ready.set()
            if len(self._frames) >= _AHEAD:
                self._http.flow.pause_reading()

    def _fail(self, error: Exception) -> None:
        """Let `next` raise it after the frames that came before; what still comes is passed over."""
        self._failure = self._failure or error
        self._reader = None
        self._ready.set()

    def _lose_track(self, error: ChunkingError) -> None:
        """Nobody knows where this message ends: the connection serves no other one."""
        self._fail(BadRequest(str(error), code="BAD_FRAME"))
        self._http.flow.pause_reading()
        self._cycle.keep_alive = False
        if self._cycle.response_complete:
            self._http.transport.close()

    def _hand_back(self, rest: bytes) -> None:
        """Let uvicorn go on with the connection."""
        self._ready.set()
        self._http.transport.set_protocol(self._http)
        self._http.data_received(_LAST_CHUNK + rest)


class UploadingHttp(HttpToolsProtocol):
    """uvicorn's protocol, which leaves the chunked body of a put to an `Upload`."""

    def data_received(self, data: bytes) -> None:
        """Parse what came; of a put no more than the head."""
        head = self._head_of_put(data)
        super().data_received(data[:head] if head else data)
        if head and self._may_upload():
            upload = Upload(self, data[head:])
            self.scope["extensions"] = {_EXTENSION: {"body": upload}}
            self.transport.set_protocol(upload)
        elif head and data[head:]:
            super().data_received(data[head:])

    def _head_of_put(self, data: bytes) -> int:
        """The length of the head of a put that `data` begins with, 0 if it is none or not whole."""
        is_free = self.cycle is None or self.cycle.response_complete
        if not is_free or _PUT.match(data) is None:
            return 0
        return data.find(_END_OF_HEAD) + len(_END_OF_HEAD) if _END_OF_HEAD in data else 0

    def _may_upload(self) -> bool:
        codings = [value.lower() for name, value in self.headers if name == b"transfer-encoding"]
        return codings == [b"chunked"] and not self.expect_100_continue and not self.transport.is_closing()


def upload_of(scope: Mapping[str, Any]) -> Upload | None:
    """The body of this request, if it is to be read here; None where it comes by ASGI's `receive`."""
    found: Upload | None = scope.get("extensions", {}).get(_EXTENSION, {}).get("body")
    return found


def too_large(most: int) -> TooLarge:
    """A body is larger than the `most` bytes that its request may have."""
    return TooLarge(f"the body is larger than the {most} bytes that one request may have")
