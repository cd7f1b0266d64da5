"""A change of a server's lifecycle is told on the bus: once it is committed, and only then."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from app.contract.words import LifecycleState, ServerOperation
from app.kit.bus import Delivery, Item
from app.kit.database import UnitOfWork
from app.migration.servers.enrolment import find_server
from app.migration.servers.lifecycle import LIFECYCLE_EVENT, change, take_back
from app.migration.services import Services
from tests.replication.agent_double import AgentDouble


async def next_change(news: AsyncIterator[Item], server: str) -> tuple[object, object]:
    """State before and after, of the next change that is told."""
    async for item in news:
        assert isinstance(item, Delivery)
        if item.event.type == LIFECYCLE_EVENT:
            assert item.event.subject == server
            assert item.event.project is not None
            return item.event.data["before"], item.event.data["state"]
    raise AssertionError("the bus was closed")


async def _changed_and_refused(uow: UnitOfWork, server: str) -> None:
    await change(uow, await find_server(uow, server), ServerOperation.TEST)
    raise RuntimeError("rolled back")


async def test_each_change_is_told_when_it_is_committed_and_no_other(services: Services) -> None:
    agent = await AgentDouble.enrolled(services, "web-1")
    news = services.bus.subscribe()
    first = asyncio.ensure_future(next_change(news, agent.server))
    await asyncio.sleep(0)
    await agent.replicate({"disk-a": b"x" * 65536})
    assert await first == ("NOT_READY", "READY_FOR_TEST")
    await agent.replicate({"disk-a": b"y" * 65536})

    with pytest.raises(RuntimeError, match="rolled back"):
        await services.database.run(lambda uow: _changed_and_refused(uow, agent.server))
    async with services.database.begin() as uow:
        await change(uow, await find_server(uow, agent.server), ServerOperation.TEST)
    assert await next_change(news, agent.server) == ("READY_FOR_TEST", "TESTING")
    async with services.database.begin() as uow:
        await change(uow, await find_server(uow, agent.server), ServerOperation.TEST)
        server = await find_server(uow, agent.server)
        await take_back(uow, server, ServerOperation.TEST, LifecycleState.READY_FOR_TEST)
    assert await next_change(news, agent.server) == ("TESTING", "READY_FOR_TEST")
