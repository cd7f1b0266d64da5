"""Commands reach the agent that waits, once; and those that wait share one look at the database."""

import asyncio
import threading
import time
from collections.abc import Mapping

import pytest

from app.agent.gateway import commands
from app.agent.gateway.commands import CommandWatch, bring_forward
from app.client.call import Call, nothing
from app.kit.bus import Event, InProcessBus
from app.kit.clock import SystemClock
from app.kit.errors import Unavailable
from app.migration.servers.news import ORDERED
from app.wire.jsonform import encode
from app.wire.messages import Poll, Polled
from tests.gateway.hand_agent import Answer, HandAgent
from tests.gateway.service import Gateway

EVERY = 0.02


class Board:
    """Servers that have a command, and how often it was looked at."""

    def __init__(self) -> None:
        """Nothing is there, and nobody looked."""
        self.servers: set[str] = set()
        self.looks = 0
        self.failure: Exception | None = None

    async def look(self) -> Mapping[str, object]:
        """See `Look`."""
        self.looks += 1
        if self.failure is not None:
            raise self.failure
        return dict.fromkeys(self.servers, "sync")


async def test_a_command_wakes_the_server_it_is_for_and_no_other() -> None:
    board = Board()
    watch = CommandWatch(board.look, asyncio.Event(), EVERY)
    mine = asyncio.create_task(watch.wait("srv-1", 5))
    other = asyncio.create_task(watch.wait("srv-2", EVERY * 10))
    await asyncio.sleep(EVERY * 2)
    board.servers = {"srv-1", "srv-3"}
    assert await mine
    assert not await other


async def test_news_on_the_bus_bring_the_next_look_forward() -> None:
    board, bus, clock = Board(), InProcessBus(), SystemClock()
    watch = CommandWatch(board.look, asyncio.Event(), every=3600)
    hearing = asyncio.create_task(bring_forward(bus, lambda: watch))
    waiting = asyncio.create_task(watch.wait("srv-1", 60))
    await asyncio.sleep(EVERY)
    board.servers = {"srv-1"}
    await bus.publish(Event("server.updated", clock.now(), subject="srv-1"))
    await bus.publish(Event(ORDERED, clock.now(), subject="srv-1"))
    assert await waiting
    assert board.looks == 1
    hearing.cancel()
    await asyncio.wait({hearing})
    await bus.close()


async def test_a_thousand_that_wait_look_as_often_as_one() -> None:
    board = Board()
    watch = CommandWatch(board.look, asyncio.Event(), EVERY)
    waits = [watch.wait(f"srv-{number}", EVERY * 5.5) for number in range(1000)]
    assert not any(await asyncio.gather(*waits))
    assert 1 <= board.looks <= 10


async def test_nobody_waits_and_nobody_looks() -> None:
    board = Board()
    watch = CommandWatch(board.look, asyncio.Event(), EVERY)
    assert not await watch.wait("srv-1", EVERY * 1.5)
    looks = board.looks
    await asyncio.sleep(EVERY * 4)
    assert board.looks == looks
    board.servers = {"srv-1"}
    assert await watch.wait("srv-1", 5), "and it starts again"


async def test_two_polls_of_one_server_are_both_woken() -> None:
    board = Board()
    board.servers = {"srv-1"}
    watch = CommandWatch(board.look, asyncio.Event(), EVERY)
    assert all(await asyncio.gather(watch.wait("srv-1", 5), watch.wait("srv-1", 5)))


async def test_a_database_that_is_away_ends_the_wait_with_its_error() -> None:
    board = Board()
    board.failure = Unavailable("the database is away")
    watch = CommandWatch(board.look, asyncio.Event(), EVERY)
    results = await asyncio.gather(*(watch.wait(str(n), 5) for n in range(3)), return_exceptions=True)
    assert results == [board.failure] * 3
    board.failure, board.servers = None, {"srv-1"}
    assert await watch.wait("srv-1", 5)


async def test_a_service_that_stops_keeps_nobody_waiting() -> None:
    board, stopping = Board(), asyncio.Event()
    watch = CommandWatch(board.look, stopping, 60)
    waits = [asyncio.create_task(watch.wait(str(number), 60)) for number in range(3)]
    await asyncio.sleep(0)
    stopping.set()
    async with asyncio.timeout(5):
        assert not any(await asyncio.gather(*waits))
        assert not await watch.wait("late", 60)


async def test_a_wait_that_is_cancelled_is_forgotten() -> None:
    board = Board()
    watch = CommandWatch(board.look, asyncio.Event(), EVERY)
    waiting = asyncio.create_task(watch.wait("srv-1", 5))
    await asyncio.sleep(EVERY * 2)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    looks = board.looks
    await asyncio.sleep(EVERY * 4)
    assert board.looks == looks


def poll(agent: HandAgent, seconds: int) -> Answer:
    """A poll that waits."""
    return agent.caller.call("POST", "/poll", encode(Poll(agent.instance, "idle", seconds)))


def ask_for_sync(gateway: Gateway, agent: HandAgent) -> None:
    """What an operator does."""
    with gateway.client() as client:
        client.send(Call("POST", f"/servers/{agent.server}:sync", nothing))


def test_a_command_that_waits_is_handed_out_once_and_to_a_poll_that_waits(gateway: Gateway) -> None:
    agent = gateway.enrolled()
    ask_for_sync(gateway, agent)
    assert poll(agent, 0).good(Polled).command == "none", "a heartbeat during a pass takes nothing"
    started = time.monotonic()
    assert poll(agent, 30).good(Polled).command == "sync"
    assert time.monotonic() - started < 5
    assert poll(agent, 1).good(Polled).command == "none"


def test_a_command_reaches_a_poll_that_is_waiting_already(gateway: Gateway) -> None:
    agent = gateway.enrolled()
    asking = threading.Timer(0.3, ask_for_sync, (gateway, agent))
    asking.start()
    started = time.monotonic()
    assert poll(agent, 30).good(Polled).command == "sync"
    assert 0.3 <= time.monotonic() - started < 2 * commands.LOOK_SECONDS + 5
    asking.join()


def test_an_agent_that_hung_up_does_not_swallow_a_command(gateway: Gateway) -> None:
    agent = gateway.enrolled()
    connection = agent.caller.connect()
    connection.request(
        "POST", "/agent/v1/poll", encode(Poll(agent.instance, "idle", 30)), agent.caller.headers()
    )
    time.sleep(0.3)
    connection.close()
    ask_for_sync(gateway, agent)
    time.sleep(commands.LOOK_SECONDS + 0.5)
    assert poll(agent, 1).good(Polled).command == "sync"
