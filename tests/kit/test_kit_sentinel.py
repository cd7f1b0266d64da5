"""The bus over a Redis whose master fails over."""

import asyncio
from datetime import UTC, datetime

import pytest

from app.kit.bus import Delivery, Event
from app.kit.redisbus import RedisBus
from tests.services.redis_sentinels import Sentinels

pytestmark = pytest.mark.service
SECONDS = 60


def _event(text: str) -> Event:
    return Event("server.updated", datetime.now(UTC), "prj-1", "srv-1", {"text": text})


async def _arrives(bus: RedisBus, reader: RedisBus, text: str) -> None:
    """Publish until a reader that began before has it: what is published while nobody is there is lost."""
    seen = asyncio.Event()

    async def read() -> None:
        async for item in reader.subscribe():
            if isinstance(item, Delivery) and item.event.data["text"] == text:
                seen.set()
                return

    async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as group:
        group.create_task(read())
        while not seen.is_set():
            await bus.publish(_event(text))
            await asyncio.sleep(0.1)


async def test_events_go_on_after_the_master_was_killed(redis_sentinels: Sentinels) -> None:
    bus, reader = RedisBus(redis_sentinels.settings()), RedisBus(redis_sentinels.settings())
    try:
        await _arrives(bus, reader, "before")
        before = redis_sentinels.master()
        redis_sentinels.kill_master()
        await _arrives(bus, reader, "after")
        assert redis_sentinels.master() != before
    finally:
        await bus.close()
        await reader.close()
