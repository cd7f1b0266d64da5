"""The bus: the same promises in one process and over Redis."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import structlog
from prometheus_client import REGISTRY
from redis import Redis

from app.kit.bus import Bus, Delivery, Event, Gap, InProcessBus, Item
from app.kit.redisbus import BATCH, STREAM, RedisBus, make_bus
from app.kit.settings import RedisSettings
from tests.services.redis_server import PASSWORD, RedisServer

CAPACITY = 100


@pytest.fixture(params=["process", pytest.param("redis", marks=pytest.mark.service)])
async def bus(request: pytest.FixtureRequest) -> AsyncIterator[Bus]:
    """An empty bus of each kind that remembers at least `CAPACITY` events."""
    if request.param == "process":
        made: Bus = InProcessBus(CAPACITY)
    else:
        made = RedisBus(request.getfixturevalue("redis_settings"), capacity=CAPACITY)
    yield made
    await made.close()


def _event(number: int) -> Event:
    return Event("server.updated", datetime.now(UTC), "prj-1", f"srv-{number}", {"number": number})


async def _next(items: AsyncIterator[Item], count: int) -> list[Item]:
    async with asyncio.timeout(15):
        return [await anext(items) for _ in range(count)]


async def _listen(bus: Bus) -> tuple[AsyncIterator[Item], str]:
    """A subscription that is known to listen, and its position."""
    items = bus.subscribe()
    first = asyncio.create_task(_next(items, 1))
    while not first.done():
        await bus.publish(_event(-1))
        await asyncio.sleep(0.05)
    await bus.publish(_event(-2))
    while True:
        (item,) = await _next(items, 1)
        assert isinstance(item, Delivery)
        if item.event.data["number"] == -2:
            return items, item.position


def _numbers(items: list[Item]) -> list[object]:
    return [item.event.data["number"] if isinstance(item, Delivery) else "gap" for item in items]


async def _publish(bus: Bus, numbers: range) -> None:
    for number in numbers:
        await bus.publish(_event(number))


async def test_a_reader_gets_what_is_published_in_order_and_unchanged(bus: Bus) -> None:
    items, _position = await _listen(bus)
    sent = [_event(number) for number in range(3)]
    for event in sent:
        await bus.publish(event)
    assert [item.event for item in await _next(items, 3) if isinstance(item, Delivery)] == sent


async def test_a_reader_that_comes_back_misses_nothing(bus: Bus) -> None:
    _items, position = await _listen(bus)
    await _publish(bus, range(3))
    (first, *_others) = await _next(bus.subscribe(position), 3)
    assert isinstance(first, Delivery)
    assert _numbers(await _next(bus.subscribe(first.position), 2)) == [1, 2]


async def test_every_reader_gets_every_event(bus: Bus) -> None:
    _items, position = await _listen(bus)
    await _publish(bus, range(50))
    got = await asyncio.gather(*(_next(bus.subscribe(position), 50) for _ in range(3)))
    assert [_numbers(each) for each in got] == [list(range(50))] * 3


async def test_a_position_that_is_forgotten_is_a_gap_and_reading_goes_on(bus: Bus) -> None:
    _items, position = await _listen(bus)
    await _publish(bus, range(CAPACITY * 5))
    items = bus.subscribe(position)
    assert await _next(items, 1) == [Gap()]
    following = asyncio.create_task(_next(items, 1))
    while not following.done():
        await bus.publish(_event(7777))
        await asyncio.sleep(0.05)
    assert _numbers(following.result()) == [7777]


@pytest.mark.parametrize("position", ["", "nonsense", "0123456789ab-5", "99999999999999-0"])
async def test_a_position_of_another_bus_is_a_gap(bus: Bus, position: str) -> None:
    assert await _next(bus.subscribe(position), 1) == [Gap()]


async def test_a_reader_that_is_too_slow_in_one_process_is_told(bus: Bus) -> None:
    if isinstance(bus, RedisBus):
        bus = InProcessBus(CAPACITY)
    items = bus.subscribe()
    waiting = asyncio.create_task(_next(items, 1))
    await asyncio.sleep(0)
    for number in range(CAPACITY + 1):
        await bus.publish(_event(number))
    assert await waiting == [Gap()]


async def test_closing_ends_the_subscriptions() -> None:
    bus = InProcessBus()

    async def read_all() -> list[Item]:
        return [item async for item in bus.subscribe()]

    reading = asyncio.create_task(read_all())
    await asyncio.sleep(0)
    await bus.close()
    async with asyncio.timeout(5):
        assert await reading == []


def test_an_event_survives_its_text() -> None:
    event = _event(5)
    assert Event.decode(event.encode()) == event


async def test_without_redis_the_bus_is_in_the_process() -> None:
    assert isinstance(make_bus(RedisSettings()), InProcessBus)


@pytest.mark.service
async def test_a_long_backlog_arrives_completely(redis_settings: RedisSettings) -> None:
    bus = RedisBus(redis_settings)
    await bus.publish(_event(-2))
    with Redis(port=redis_settings.port, password=PASSWORD, decode_responses=True) as client:
        position = str(client.xrange(STREAM)[0][0])
    count = BATCH * 2 + 7
    for number in range(count):
        await bus.publish(_event(number))
    assert _numbers(await _next(bus.subscribe(position), count)) == list(range(count))
    await bus.close()


@pytest.mark.service
async def test_an_entry_that_cannot_be_read_is_a_gap(redis_settings: RedisSettings) -> None:
    bus = RedisBus(redis_settings)
    await bus.publish(_event(0))
    with Redis(port=redis_settings.port, password=PASSWORD, decode_responses=True) as client:
        position = str(client.xrange(STREAM)[0][0])
        client.xadd(STREAM, {"event": "{"})
    await bus.publish(_event(1))
    assert _numbers(await _next(bus.subscribe(position), 2)) == ["gap", 1]
    await bus.close()


@pytest.mark.service
async def test_without_redis_nothing_fails_and_everything_recovers(
    redis_server: RedisServer, redis_settings: RedisSettings
) -> None:
    """Redis is killed under a reader and a publisher, and comes back empty."""
    bus = RedisBus(redis_settings)
    items, _position = await _listen(bus)
    lost = _unpublished()
    with structlog.testing.capture_logs() as logs:
        redis_server.service.kill()
        for number in range(20):
            async with asyncio.timeout(5):
                await bus.publish(_event(number))
        assert _unpublished() == lost + 20
        redis_server.service.start()
        following = asyncio.create_task(_until_gone_and_back(items))
        while not following.done():
            await bus.publish(_event(7777))
            await asyncio.sleep(0.1)
    assert following.result() == [True, 7777]
    events = [(log["event"], log["action"]) for log in logs]
    assert events.count(("bus.lost", "publish")) == events.count(("bus.recovered", "publish")) == 1
    await bus.close()


async def _until_gone_and_back(items: AsyncIterator[Item]) -> list[object]:
    """Read on over what is left: whether a gap came, and the first event after it."""
    gone = False
    async with asyncio.timeout(30):
        async for item in items:
            if isinstance(item, Gap):
                gone = True
            elif gone:
                return [gone, item.event.data["number"]]
    return [gone, None]


def _unpublished() -> float:
    return REGISTRY.get_sample_value("go2cloud_bus_unpublished_total") or 0.0
