"""Ports of 127.0.0.1 that lead to a machine on a real network, for as long as it is checked.

A test machine's ports are forwarded by QEMU. One that takes the source's place is reached at its own address,
which the order says or libvirt knows; so its checks are the same as a test's, and nothing listens afterwards.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from app.launch.machine import Forward

CONNECT_SECONDS: Final = 5
LATELY_SECONDS: Final = 15
_PIECE: Final = 65536


@dataclass
class Relay:
    """Forwards of some ports, while it is entered."""

    address: Callable[[], Awaitable[str | None]]
    """Where the machine is; None where that is not known yet."""
    ports: Sequence[int]
    forwards: tuple[Forward, ...] = ()
    _servers: list[asyncio.Server] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _accepted: dict[int, float] = field(default_factory=dict)

    async def __aenter__(self) -> Self:
        for port in self.ports:
            server = await asyncio.start_server(self._serving(port), "127.0.0.1", 0)
            self._servers.append(server)
            self.forwards = (*self.forwards, Forward(port, server.sockets[0].getsockname()[1]))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def accepted(self, port: int) -> bool:
        """Whether the machine accepted a connection to that port of its own a moment ago."""
        return time.monotonic() - self._accepted.get(port, float("-inf")) < LATELY_SECONDS

    def _serving(self, port: int) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
        def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(self._serve(port, reader, writer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return serve

    async def _serve(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Connect to the machine and carry both ways; what cannot be reached ends the connection."""
        async with _closed(writer):
            address = await self.address()
            if address is None:
                return
            try:
                there = await asyncio.wait_for(asyncio.open_connection(address, port), CONNECT_SECONDS)
            except OSError:  # the machine is not there yet, or nobody listens: the caller sees the end
                return
            async with _closed(there[1]):
                self._accepted[port] = time.monotonic()
                await asyncio.gather(_carry(reader, there[1]), _carry(there[0], writer))


@contextlib.asynccontextmanager
async def _closed(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    """Close it at the end, and wait until it is."""
    try:
        yield
    finally:
        writer.close()
        with contextlib.suppress(OSError):  # the other side's reset is an end as well
            await writer.wait_closed()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):  # a reset ends this direction; the other one sees it by itself
        while piece := await reader.read(_PIECE):
            writer.write(piece)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
