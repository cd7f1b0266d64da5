"""Waiting for news: one look at the database for all the polls that wait in this process.

News is whatever an agent would be told otherwise than it was told last: a command, a goal, an interval.

A thousand agents that wait cost one query every LOOK_SECONDS, not a thousand; nobody waits, nothing looks.
An event on the bus that says so brings the next look forward; one that is lost costs LOOK_SECONDS.
When the service stops, all waits end at once: none of them may hold the others' drain up.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from app.kit.bus import Bus, Gap
from app.migration.servers.news import ORDERED

LOOK_SECONDS: Final = 2.0

Look = Callable[[], Awaitable[Mapping[str, object]]]
"""Asks what the agent of each server would be told now; a server that is not there has no news."""


@dataclass(frozen=True, eq=False)
class _Waiter:
    """A poll that waits, and what its agent was told last."""

    told: object
    news: asyncio.Future[bool]


class CommandWatch:
    """Wakes those that wait when their server has news. It takes nothing: that is the waiter's part."""

    def __init__(self, look: Look, stopping: asyncio.Event, every: float = LOOK_SECONDS) -> None:
        """Ask by `look`, every `every` seconds while somebody waits, until `stopping`."""
        self._look = look
        self._stopping = stopping
        self._every = every
        self._waiting: defaultdict[str, set[_Waiter]] = defaultdict(set)
        self._looking: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()

    def hurry(self) -> None:
        """Look as soon as possible."""
        self._hurry.set()

    async def wait(self, server: str, seconds: float, told: object = None) -> bool:
        """Whether the agent would be told something else than `told` within `seconds`.

        Raises what a look raises: nobody waits in vain.
        """
        if self._stopping.is_set():
            return False
        waiter = _Waiter(told, asyncio.get_running_loop().create_future())
        self._waiting[server].add(waiter)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_on())
        try:
            async with asyncio.timeout(seconds):
                return await waiter.news
        except TimeoutError:
            return False
        finally:
            self._leave(server, waiter)

    def _leave(self, server: str, waiter: _Waiter) -> None:
        self._waiting[server].discard(waiter)
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
                self._tell(found)
        for waiter in self._pending():
            waiter.news.set_result(False)

    async def _stops(self) -> bool:
        """Pause until the next look; whether the service stops meanwhile."""
        waits = [asyncio.create_task(each.wait()) for each in (self._stopping, self._hurry)]
        try:
            await asyncio.wait(waits, timeout=self._every, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
        self._hurry.clear()
        return self._stopping.is_set()

    def _tell(self, found: Mapping[str, object]) -> None:
        for server in found.keys() & self._waiting.keys():
            for waiter in self._waiting[server]:
                if found[server] != waiter.told and not waiter.news.done():
                    waiter.news.set_result(True)

    def _fail(self, error: Exception) -> None:
        for waiter in self._pending():
            waiter.news.set_exception(error)

    def _pending(self) -> list[_Waiter]:
        every = (waiter for waiters in self._waiting.values() for waiter in waiters)
        return [waiter for waiter in every if not waiter.news.done()]


async def bring_forward(bus: Bus, watch: Callable[[], CommandWatch | None]) -> None:
    """Let the watch of this process, once there is one, look at once when an agent has new orders."""
    async for item in bus.subscribe():
        found = watch()
        if found is not None and (isinstance(item, Gap) or item.event.type == ORDERED):
            found.hurry()
