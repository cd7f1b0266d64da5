"""Turns of the writers of one process.

SQLite lets one connection write at a time and makes the others poll for it. Inside a process an asyncio
lock hands the right to write on in the order of asking, which is fair and needs no polling.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Protocol

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


def make_turns(settings: DatabaseSettings) -> Turns:
    """What suits the engine of `settings`."""
    return OneAtATime() if settings.engine is Engine.SQLITE else AllAtOnce()
