"""Waiting for a command: one look at the database for all the polls that wait in this process.

A thousand agents that wait cost one query every LOOK_SECONDS, not a thousand; nobody waits, nothing looks.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Final

LOOK_SECONDS: Final = 2.0

Look = Callable[[], Awaitable[frozenset[str]]]
"""Asks which servers have a command waiting."""


class CommandWatch:
    """Wakes those that wait when their server has a command. It takes nothing: that is the waiter's part."""

    def __init__(self, look: Look, every: float = LOOK_SECONDS) -> None:
        """Ask by `look`, every `every` seconds while somebody waits."""
        self._look = look
        self._every = every
        self._waiting: defaultdict[str, set[asyncio.Future[None]]] = defaultdict(set)
        self._looking: asyncio.Task[None] | None = None

    async def wait(self, server: str, seconds: float) -> bool:
        """Whether a command is there within `seconds`. Raises what a look raises: nobody waits in vain."""
        news = asyncio.get_running_loop().create_future()
        self._waiting[server].add(news)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_on())
        try:
            async with asyncio.timeout(seconds):
                await news
        except TimeoutError:
            return False
        finally:
            self._leave(server, news)
        return True

    def _leave(self, server: str, news: asyncio.Future[None]) -> None:
        self._waiting[server].discard(news)
        if not self._waiting[server]:
            del self._waiting[server]
        if not self._waiting and self._looking is not None:
            self._looking.cancel()
            self._looking = None

    async def _look_on(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            try:
                found = await self._look()
            except Exception as error:  # noqa: BLE001 - raised again in everyone who waits
                self._tell_all(error)
            else:
                self._wake(found)

    def _wake(self, servers: frozenset[str]) -> None:
        for server in servers & self._waiting.keys():
            for news in self._waiting[server]:
                if not news.done():
                    news.set_result(None)

    def _tell_all(self, error: Exception) -> None:
        for news in (one for waiting in self._waiting.values() for one in waiting):
            if not news.done():
                news.set_exception(error)
