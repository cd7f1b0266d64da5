"""Waking whoever waits for news in this process: nobody does yet, it is there for live events to come."""

import asyncio

from prometheus_client import Counter

WAKES = Counter("go2cloud_platform_wakes_total", "Callbacks of the API that the platform took.")


class Wakes:
    """A bell: `wait` returns at the next `wake` after it was called."""

    def __init__(self) -> None:
        """Nobody waits."""
        self._next = asyncio.Event()

    def wake(self) -> None:
        """Let all who wait go on."""
        WAKES.inc()
        self._next.set()
        self._next = asyncio.Event()

    async def wait(self) -> None:
        """Until the next wake."""
        await self._next.wait()
