"""Processes that die or pause in the midst of a delivery: nothing is lost, and little is said twice."""

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from app.kit.bus import InProcessBus
from app.migration.callbacks import claims
from app.migration.callbacks.errors import Fenced
from app.migration.services import Services
from tests.callbacks.conftest import Rig
from tests.callbacks.receivers import Delivery, Receiver
from tests.work.killing import PausingDatabase


def another(rig: Rig) -> tuple[Services, PausingDatabase]:
    """The services of another process on the same database, which can be paused."""
    database = PausingDatabase.of(rig.services.database)
    return replace(rig.services, database=database, bus=InProcessBus()), database


async def test_a_paused_process_is_succeeded_and_writes_nothing_when_it_goes_on(
    rig: Rig, receiver: Receiver
) -> None:
    services, paused = another(rig)
    loop = asyncio.get_running_loop()

    def pause_once(delivery: Delivery) -> int:
        if len(receiver.deliveries) == 3:
            loop.call_soon_threadsafe(paused.going.clear)
        return 200

    receiver.answer = pause_once
    await rig.subscribe(receiver.url)
    made = await rig.make(10)
    await rig.deliver(services)
    await rig.until(lambda: len(receiver.ids) >= 3 and not paused.going.is_set())
    await rig.deliver()
    await rig.until_empty()
    paused.going.set()
    made += await rig.make(5)
    await rig.until_empty()
    told = Counter(receiver.ids)
    assert told.keys() == set(made)
    assert sum(told.values()) - len(made) <= 1, "only what was on its way is said twice"
    firsts = list(dict.fromkeys(receiver.ids))
    assert firsts == made


async def test_nothing_is_written_under_a_claim_that_is_lost(rig: Rig) -> None:
    await rig.subscribe("http://127.0.0.1:9/hook")
    await rig.make(1)
    database = rig.services.database
    async with database.reading() as uow:
        (wanted,) = await claims.candidates(uow)
    async with database.begin() as uow:
        first = await claims.claim(uow, wanted, "one")
        assert await claims.claim(uow, wanted, "two") is None, "as it stood when it was looked at, or not"
    async with database.reading() as uow:
        (seen,) = await claims.candidates(uow)
    async with database.begin() as uow:
        second = await claims.claim(uow, seen, "two")
    assert first is not None
    assert second is not None
    async with database.reading() as uow:
        assert await claims.next_of(uow, first, rig.services.settings) is None
        assert await claims.next_of(uow, second, rig.services.settings) is not None
    with pytest.raises(Fenced):
        await database.run(lambda uow: claims.renew(uow, first))
    await database.run(lambda uow: claims.release(uow, first))
    await database.run(lambda uow: claims.renew(uow, second))


async def test_a_process_that_stops_lets_go_at_once(rig: Rig, receiver: Receiver) -> None:
    """So that the next one does not wait for a lease."""
    await rig.subscribe(receiver.url)
    made = await rig.make(3)
    await rig.deliver()
    await rig.until(lambda: bool(receiver.ids))
    await rig.stack.aclose()
    rig.stopping.clear()
    async with rig.services.database.reading() as uow:
        assert all(not each.holder for each in await claims.candidates(uow))
    await rig.deliver()
    await rig.until_empty()
    assert receiver.ids == made
