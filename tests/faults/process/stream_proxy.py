"""A TCP proxy that does to a stream what networks and bad middle boxes do, from a seed, until it is healed.

It stands between the agent and the service, or between the service and its database. Pieces of at most
64 KiB go through `Plague.strike`, which says what becomes of each. A plague strikes once in `every` bytes on
average; after `heal` everything passes, but a connection that was made half open stays so, as in the field.
"""

import asyncio
import random
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

T = TypeVar("T")
PIECE = 64 * 1024


class Harm(StrEnum):
    """What can be done to a stream."""

    NONE = "none"
    CUT = "cut"
    """The connection is reset."""
    HALF_OPEN = "half-open"
    """Nothing passes any more, in both directions, and nobody is told."""
    CAP = "cap"
    """The bandwidth is small."""
    DELAY = "delay"
    """Each piece is late."""
    FLIP = "flip"
    """One bit of a byte is another."""
    TRUNCATE = "truncate"
    """The rest of a piece is lost, then the stream ends."""
    LOSE = "lose"
    """Some bytes are lost, and the stream goes on."""
    DUPLICATE = "duplicate"
    """A piece comes twice."""
    REORDER = "reorder"
    """A piece comes after the one behind it."""


LOSSLESS = frozenset({Harm.NONE, Harm.CAP, Harm.DELAY})
"""Harms after which every connection still carries what was sent, if slowly."""


@dataclass(frozen=True)
class Plague:
    """A harm and how much of it: once in `every` bytes; `rate` in bytes a second; `late` in seconds."""

    harm: Harm = Harm.NONE
    every: int = 4 << 20
    rate: int = 4 << 20
    late: float = 0.02


HEALTH = Plague()


@dataclass(eq=False)
class Stream:
    """One connection through the proxy."""

    near: asyncio.StreamWriter
    far: asyncio.StreamWriter
    is_dead: bool = False
    held: dict[int, bytes] = field(default_factory=dict)

    def abort(self) -> None:
        """Reset both sides."""
        for writer in (self.near, self.far):
            writer.transport.abort()

    def close(self) -> None:
        """Close both sides when what was written to them is out."""
        for writer in (self.near, self.far):
            writer.close()


Watcher = Callable[["Stream", bytes, bool], Coroutine[Any, Any, bool]]
"""(stream, piece, whether it goes to the server) → whether the piece may pass."""


class StreamProxy:
    """Listens on a port of the loopback address and forwards to another one; its loop runs in a thread."""

    def __init__(self, target: int, seed: int, watcher: Watcher | None = None) -> None:
        """Forward to the port `target`."""
        self.target = target
        self.port = 0
        self.strikes = 0
        self.carried = 0
        self._plague = HEALTH
        self._rng = random.Random(seed)
        self._watcher = watcher
        self._streams: set[Stream] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """Where clients of an HTTP service go."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen."""
        self._thread.start()
        self._server = self._call(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        """Close everything; harmless when it was never started."""
        if self._server is None:
            return
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def inflict(self, plague: Plague) -> None:
        """From now on."""
        self._plague = plague

    def heal(self) -> None:
        """Everything passes again; what is half open stays so."""
        self._plague = HEALTH

    def retarget(self, port: int) -> None:
        """New connections go to another port, the old ones are reset."""
        self.target = port
        self.cut_all()

    def cut_all(self) -> None:
        """Reset all connections."""
        self._call(self._cut_all())

    def next_target(self) -> int:
        """Where the next connection goes."""
        return self.target

    async def _cut_all(self) -> None:
        for stream in self._streams:
            stream.abort()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _end(self) -> None:
        assert self._server is not None
        self._server.close()
        for stream in self._streams:
            stream.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._carry(reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()  # the proxy ends; asyncio would call it a failure of this callback
        finally:
            self._tasks.discard(task)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.next_target())
        except OSError:
            writer.transport.abort()
            return
        stream = Stream(writer, far_writer)
        self._streams.add(stream)
        try:
            await asyncio.gather(
                self._pump(stream, reader, far_writer, to_server=True),
                self._pump(stream, far_reader, writer, to_server=False),
            )
        except EOFError:
            stream.close()
        except OSError:
            stream.abort()
        else:
            stream.close()
        finally:
            self._streams.discard(stream)

    async def _pump(
        self, stream: Stream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, to_server: bool
    ) -> None:
        while piece := await reader.read(PIECE):
            if self._watcher and not await self._watcher(stream, piece, to_server):
                return
            self.carried += len(piece)
            for part in await self._harmed(stream, piece, to_server):
                writer.write(part)
            await writer.drain()
            if stream.is_dead:
                await asyncio.Event().wait()  # nothing is taken any more, not even the end
        if writer.can_write_eof():
            writer.write_eof()

    async def _harmed(self, stream: Stream, piece: bytes, to_server: bool) -> list[bytes]:
        """What is passed on in place of a piece. Raises OSError to reset the stream, EOFError to end it."""
        plague = self._plague
        before = stream.held.pop(to_server, b"")
        if plague.harm is Harm.CAP:
            await asyncio.sleep(len(piece) / plague.rate)
        elif plague.harm is Harm.DELAY:
            await asyncio.sleep(self._rng.uniform(0, 2 * plague.late))
        if before or plague.harm in LOSSLESS or self._rng.random() >= len(piece) / plague.every:
            return [piece, before]
        self.strikes += 1
        return self._strike(plague.harm, stream, piece, to_server)

    def _strike(self, harm: Harm, stream: Stream, piece: bytes, to_server: bool) -> list[bytes]:
        at = self._rng.randrange(len(piece))
        match harm:
            case Harm.FLIP:
                return [piece[:at], bytes([piece[at] ^ 1 << self._rng.randrange(8)]), piece[at + 1 :]]
            case Harm.DUPLICATE:
                return [piece, piece]
            case Harm.LOSE:
                return [piece[:at], piece[at + self._rng.randrange(1, 2000) :]]
            case Harm.REORDER:
                stream.held[to_server] = piece
                return []
            case Harm.HALF_OPEN:
                stream.is_dead = True
                return []
            case Harm.TRUNCATE:
                (stream.far if to_server else stream.near).write(piece[:at])
                raise EOFError
        raise ConnectionError("the connection is cut")


@contextmanager
def stream_proxy(target: int, seed: int, watcher: Watcher | None = None) -> Iterator[StreamProxy]:
    """A proxy that listens as long as the block lasts."""
    proxy = StreamProxy(target, seed, watcher)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
