"""The outbox is bounded: what cannot be delivered is given up in the end, and said to be."""

import asyncio
from datetime import timedelta

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import update

from app.contract.paging import EVERYTHING
from app.contract.resources.subscription import SubscriptionUpdate
from app.kit.bus import Bus, Delivery, Event
from app.migration.callbacks import service
from app.migration.callbacks.sweeping import sweep_once
from app.migration.callbacks.tables import OutboxRow, SubscriptionRow
from tests.callbacks.conftest import Rig
from tests.callbacks.receivers import Receiver

NOWHERE = "http://127.0.0.1:9/hook"


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_what_is_too_old_is_dropped_and_said_to_be(rig: Rig) -> None:
    subscription = await rig.subscribe(NOWHERE)
    await rig.make(3)
    rig.clock.advance(timedelta(hours=71))
    await rig.make(1)
    rig.clock.advance(timedelta(hours=1, seconds=1))
    before = value("go2cloud_callback_dropped_total", reason="too_old")
    told = asyncio.create_task(first_of(rig.services.bus, "callback.dropped"))
    await asyncio.sleep(0)
    await sweep_once(rig.services)
    assert await rig.waiting() == 1
    assert (await rig.show()).dropped == 3
    assert value("go2cloud_callback_dropped_total", reason="too_old") == before + 3
    event = await asyncio.wait_for(told, 30)
    assert (event.subject, event.data) == (subscription.id, {"events": 3, "reason": "too_old"})


async def first_of(bus: Bus, kind: str) -> Event:
    async for item in bus.subscribe():
        if isinstance(item, Delivery) and item.event.type == kind:
            return item.event
    raise AssertionError("the bus was closed")


async def test_of_too_many_the_oldest_are_dropped(rig: Rig, receiver: Receiver) -> None:
    await rig.subscribe(receiver.url)
    made = await rig.make(10)
    await sweep_once(rig.services, most_waiting=4)
    await rig.deliver()
    await rig.until_empty()
    assert receiver.ids == made[6:]


async def test_what_is_nobodys_is_swept_away(rig: Rig) -> None:
    """As an event that was written down while its subscription was being deleted."""
    await rig.subscribe(NOWHERE)
    await rig.make(2)
    async with rig.services.database.begin() as uow:
        await uow.session.execute(update(OutboxRow).values(subscription_id="sub-gone"))
    await sweep_once(rig.services)
    assert await rig.waiting() == 0


async def test_deleting_a_subscription_takes_what_waits_with_it(rig: Rig) -> None:
    made = await rig.subscribe(NOWHERE)
    await rig.make(2)
    async with rig.services.database.begin() as uow:
        was = await service.delete_subscription(uow, EVERYTHING, "hook", made.version)
    assert was.waiting == 2
    assert await rig.waiting() == 0


async def test_disabling_a_subscription_takes_what_waits_with_it(rig: Rig) -> None:
    """Else it would be counted as late, and in the end as given up."""
    made = await rig.subscribe(NOWHERE)
    await rig.make(2)
    async with rig.services.database.begin() as uow:
        off = SubscriptionUpdate(enabled=False)
        await service.update_subscription(uow, EVERYTHING, "hook", made.version, off)
    assert await rig.waiting() == 0


async def test_what_was_written_while_its_subscription_was_disabled_is_nobodys(rig: Rig) -> None:
    await rig.subscribe(NOWHERE)
    await rig.make(2)
    async with rig.services.database.begin() as uow:
        await uow.session.execute(update(SubscriptionRow).values(enabled=False))
    rig.clock.advance(timedelta(hours=100))
    before = value("go2cloud_callback_dropped_total", reason="too_old")
    await sweep_once(rig.services)
    assert await rig.waiting() == 0
    assert value("go2cloud_callback_dropped_total", reason="too_old") == before


async def test_two_processes_drop_a_surplus_once(rig: Rig) -> None:
    await rig.subscribe(NOWHERE)
    await rig.make(10)
    await asyncio.gather(*(sweep_once(rig.services, most_waiting=4) for _ in range(4)))
    assert await rig.waiting() == 4
    assert (await rig.show()).dropped == 6


async def test_depth_age_and_failures_are_measured(rig: Rig) -> None:
    await rig.subscribe(NOWHERE)
    await rig.make(3)
    rig.clock.advance(timedelta(seconds=90))
    await rig.deliver()
    await rig.until_failed()
    await sweep_once(rig.services)
    assert value("go2cloud_outbox_events", subscriber="webhook") == 3
    assert value("go2cloud_outbox_oldest_seconds", subscriber="webhook") == pytest.approx(90)
    assert value("go2cloud_callback_failing_subscriptions", subscriber="webhook") == 1
    assert value("go2cloud_callback_failures_in_a_row", subscriber="webhook") == 1
    assert value("go2cloud_outbox_events", subscriber="platform") == 0
