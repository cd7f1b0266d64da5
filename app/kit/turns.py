"""Turns within one process: of the writers, and of those who do the same thing.

SQLite lets one connection write at a time and makes the others poll for it. Inside a process an asyncio
lock hands the right to write on in the order of asking, which is fair and needs no polling.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Protocol
from weakref import WeakValueDictionary

from app.kit.settings import DatabaseSettings, Engine


class NestedUnit(RuntimeError):
    """A task opened a writing unit inside its own: it would wait for itself for ever."""


class Turns(Protocol):
    """Hands out the right to write."""

    def take(self) -> AbstractAsyncContextManager[None]:
        """The right to write, for as long as the block lasts."""


class OneAtATime:
    """One writer at a time, in the order of asking."""

    def __init__(self) -> None:
        """Nobody writes yet."""
        self._lock = asyncio.Lock()
        self._owner: asyncio.Task[object] | None = None

    @asynccontextmanager
    async def take(self) -> AsyncIterator[None]:
        """Wait for the turn. Raises NestedUnit when this very task has it already."""
        task = asyncio.current_task()
        if task is not None and task is self._owner:
            raise NestedUnit("this task already has a writing unit of work open: pass that unit on")
        async with self._lock:
            self._owner = task
            try:
                yield
            finally:
                self._owner = None


class AllAtOnce:
    """Any number of writers: the database server orders them."""

    def take(self) -> AbstractAsyncContextManager[None]:
        """No waiting."""
        return nullcontext()


class TurnsByName:
    """One at a time for each name; names that nobody uses are forgotten."""

    def __init__(self) -> None:
        """Nobody has a turn."""
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def of(self, name: str) -> asyncio.Lock:
        """The turn of this name, to be used at once: ``async with turns.of(name): …``."""
        lock = self._locks.get(name)
        if lock is None:
            lock = self._locks[name] = asyncio.Lock()
        return lock


def make_turns(settings: DatabaseSettings) -> Turns:
    """What suits the engine of `settings`."""
    return OneAtATime() if settings.engine is Engine.SQLITE else AllAtOnce()
