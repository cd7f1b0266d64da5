"""How requests come in from sockets: uploads of gigabytes with few copies and few turns of the event loop.

uvicorn's own protocol gets a new object of up to 256 KiB for each piece that arrives, and stops reading after
64 KiB that the application has not asked for. For an upload at full speed that is 1.1 CPU seconds a GiB;
with one buffer that stays in the processor's cache, and more unread bytes, 0.6 (`bench/`, loopback).
"""

import asyncio
import threading
from typing import Any, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

UNREAD_BYTES: Final = 512 * 1024
"""Of a body, that the application has not asked for yet: beyond it nothing is read from the socket."""


class _Room(threading.local):
    """What arrived last at an event loop, which has a thread of its own. It is parsed, and bodies are copied
    out of it, before anything else is received."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(128 * 1024))


_room: Final = _Room()


class _Http(HttpToolsProtocol):
    """HTTP/1.1 without WebSockets."""

    def on_body(self, body: bytes) -> None:
        """A piece of a request's body. A request that was answered already is of no further interest."""
        if self.cycle.response_complete:
            return
        self.cycle.body += body
        if len(self.cycle.body) > UNREAD_BYTES:
            self.flow.pause_reading()
        self.cycle.message_event.set()


class _Receiving(asyncio.BufferedProtocol):
    """One connection; all of an event loop share one buffer to receive into."""

    def __init__(self, **settings: Any) -> None:
        """With what uvicorn gives its protocols."""
        self._http = _Http(**settings)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self._http.connection_made(transport)  # type: ignore[arg-type]  # of a stream

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._http.connection_lost(exc)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  (asyncio's interface)
        """Where the next bytes go."""
        return _room.view

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes have arrived."""
        self._http.data_received(_room.view[:nbytes])  # type: ignore[arg-type]  # the parser takes any buffer

    def eof_received(self) -> None:
        """The client sends nothing more."""
        self._http.eof_received()

    def pause_writing(self) -> None:
        """The client does not read."""
        self._http.pause_writing()

    def resume_writing(self) -> None:
        """It does again."""
        self._http.resume_writing()


PROTOCOL: Final = cast("type[asyncio.Protocol]", _Receiving)
"""For `http` of uvicorn's configuration, with `ws` none. Its annotation knows no buffered protocols."""
