"""Waiting for a command: one look at the database for all the polls that wait in this process.

A thousand agents that wait cost one query every LOOK_SECONDS, not a thousand; nobody waits, nothing looks.
When the service stops, all waits end at once: none of them may hold the others' drain up.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

LOOK_SECONDS: Final = 2.0

Look = Callable[[], Awaitable[frozenset[str]]]
"""Asks which servers have a command waiting."""


class CommandWatch:
    """Wakes those that wait when their server has a command. It takes nothing: that is the waiter's part."""

    def __init__(self, look: Look, stopping: asyncio.Event, every: float = LOOK_SECONDS) -> None:
        """Ask by `look`, every `every` seconds while somebody waits, until `stopping`."""
        self._look = look
        self._stopping = stopping
        self._every = every
        self._waiting: defaultdict[str, set[asyncio.Future[bool]]] = defaultdict(set)
        self._looking: asyncio.Task[None] | None = None

    async def wait(self, server: str, seconds: float) -> bool:
        """Whether a command is there within `seconds`. Raises what a look raises: nobody waits in vain."""
        if self._stopping.is_set():
            return False
        news: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[server].add(news)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_on())
        try:
            async with asyncio.timeout(seconds):
                return await news
        except TimeoutError:
            return False
        finally:
            self._leave(server, news)

    def _leave(self, server: str, news: asyncio.Future[bool]) -> None:
        self._waiting[server].discard(news)
        if not self._waiting[server]:
            del self._waiting[server]
        if not self._waiting and self._looking is not None:
            self._looking.cancel()
            self._looking = None

    async def _look_on(self) -> None:
        while not await self._stops():
            try:
                found = await self._look()
            except Exception as error:  # noqa: BLE001 - raised again in everyone who waits
                self._fail(error)
            else:
                self._tell(found & self._waiting.keys(), has_command=True)
        self._tell(self._waiting.keys(), has_command=False)

    async def _stops(self) -> bool:
        """Pause until the next look; whether the service stops meanwhile."""
        try:
            async with asyncio.timeout(self._every):
                return await self._stopping.wait()
        except TimeoutError:
            return False

    def _tell(self, servers: Iterable[str], *, has_command: bool) -> None:
        for news in self._pending(servers):
            news.set_result(has_command)

    def _fail(self, error: Exception) -> None:
        for news in self._pending(self._waiting.keys()):
            news.set_exception(error)

    def _pending(self, servers: Iterable[str]) -> list[asyncio.Future[bool]]:
        return [news for server in servers for news in self._waiting[server] if not news.done()]
