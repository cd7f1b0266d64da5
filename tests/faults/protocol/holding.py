"""The real services, held at the model's coarse await points and let go one point at a time.

Held are: every unit of work that writes (TX), every object that is put into the store (PUT), and garbage
collection's listing of rows (SCAN). Between two of them an operation runs by itself and alone, so that its
schedule is the model's, whatever threads and connections do underneath.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

from app.kit.clock import Clock
from app.kit.database import Database, UnitOfWork
from app.migration.replication.collection import DatabaseGarbageIndex
from app.store.backend import ObjectInfo, Usage
from app.store.errors import ObjectMissing
from app.store.index import CheckpointInfo, NodeInfo, PackInfo
from app.wire.buffers import Buffer
from tests.faults.protocol.words import PUT, SCAN, TX


class Held:
    """One running operation; `point` is where it is held, None once it has ended."""

    def __init__(self) -> None:
        self.point: str | None = None
        self._loop = asyncio.get_running_loop()
        self._go: asyncio.Future[None] | None = None
        self._changed = asyncio.Event()
        self._task: asyncio.Task[object] | None = None

    async def start(self, work: Coroutine[Any, Any, object]) -> None:
        """Run the operation up to its first point, or to its end."""
        token = _operation.set(self)
        self._task = asyncio.create_task(self._run(work))
        _operation.reset(token)
        await self._changed.wait()

    async def _run(self, work: Coroutine[Any, Any, object]) -> object:
        try:
            return await work
        finally:
            self.point = None
            self._changed.set()

    async def wait(self, point: str) -> None:
        """Called by the operation: stay here until let go."""
        self._go = self._loop.create_future()
        self.point = point
        self._changed.set()
        await self._go

    def wait_in_thread(self, point: str) -> None:
        """The same, from a thread of the operation."""
        asyncio.run_coroutine_threadsafe(self.wait(point), self._loop).result()

    async def go_on(self) -> None:
        """Let it go on up to its next point, or to its end."""
        assert self._go is not None
        self._changed.clear()
        self._go.set_result(None)
        await self._changed.wait()

    async def result(self) -> object:
        """What the ended operation returned; raises what it raised."""
        assert self._task is not None
        return await self._task

    async def kill(self) -> None:
        """The process died: the operation is no more, and did nothing of what it was held before."""
        assert self._task is not None
        self._task.cancel()
        if self._go is not None:
            self._go.cancel()
        await asyncio.wait([self._task])


_operation: ContextVar[Held | None] = ContextVar("operation", default=None)


async def _hold(point: str) -> None:
    held = _operation.get()
    if held is not None:
        await held.wait(point)


class HeldDatabase(Database):
    """The database, held before each unit that writes."""

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[UnitOfWork]:
        """See `Database.begin`."""
        await _hold(TX)
        async with super().begin() as unit:
            yield unit


class HeldIndex(DatabaseGarbageIndex):
    """Garbage collection's index, held before each listing."""

    async def checkpoints(self) -> AsyncIterator[CheckpointInfo]:
        """See `ContentIndex`."""
        await _hold(SCAN["checkpoints"])
        async for item in super().checkpoints():
            yield item

    async def packs(self) -> AsyncIterator[PackInfo]:
        """See `ContentIndex`."""
        await _hold(SCAN["packs"])
        async for item in super().packs():
            yield item

    async def nodes(self) -> AsyncIterator[NodeInfo]:
        """See `ContentIndex`."""
        await _hold(SCAN["nodes"])
        async for item in super().nodes():
            yield item


class HeldBackend:
    """A store in memory whose objects have the age of the test's clock, held before each put."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._objects: dict[str, tuple[bytes, ObjectInfo]] = {}

    def put(self, name: str, parts: Sequence[Buffer], *, reserved: bool = False) -> None:
        """See `Backend`."""
        held = _operation.get()
        if held is not None:
            held.wait_in_thread(PUT[_kind(name)])
        data = b"".join(parts)
        self._objects[name] = data, ObjectInfo(name, len(data), self._clock.now())

    def get(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """See `Backend`."""
        data = self._found(name)[0]
        return data[offset:] if length is None else data[offset : offset + length]

    def get_ranges(self, name: str, ranges: Sequence[tuple[int, int]]) -> Iterator[bytes]:
        """See `Backend`."""
        return iter([self.get(name, *each) for each in ranges])

    def info(self, name: str) -> ObjectInfo:
        """See `Backend`."""
        return self._found(name)[1]

    def _found(self, name: str) -> tuple[bytes, ObjectInfo]:
        try:
            return self._objects[name]
        except KeyError as error:
            raise ObjectMissing(f"{name} is not in the store", object=name) from error

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See `Backend`."""
        return iter([info for name, (_, info) in list(self._objects.items()) if name.startswith(prefix)])

    def delete(self, name: str, *, durable: bool = False) -> None:
        """See `Backend`."""
        self._objects.pop(name, None)

    def usage(self) -> Usage:
        """See `Backend`."""
        return Usage(1 << 40, 1 << 40)


def _kind(name: str) -> str:
    """What an object of the store is, by its name."""
    folder = name.partition("/")[0]
    if folder == "checkpoints":
        return "marker" if name.endswith(".committed") else "file"
    return {"packs": "pack", "leaves": "leaf", "roots": "root"}[folder]
