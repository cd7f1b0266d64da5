"""Services on each engine with deliverers that run beside them, and receivers that listen."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from sqlalchemy import func, select

from app.contract.callbackwords import EventKind
from app.contract.paging import EVERYTHING
from app.contract.resources.subscription import Subscription, SubscriptionCreate
from app.kit.bus import Event, InProcessBus
from app.kit.clock import ManualClock
from app.kit.database import Database
from app.kit.settings import load_settings
from app.migration.callbacks import service
from app.migration.callbacks.delivering import MOST_AT_ONCE, Deliverer
from app.migration.callbacks.sending import Sender
from app.migration.callbacks.tables import OutboxRow
from app.migration.projects.service import ensure_default_project
from app.migration.services import Services
from tests.callbacks.receivers import Receiver

SECRET = "a-secret-of-the-two-of-us"
DEADLINE_SECONDS = 240.0
LOOPBACK = {"G2C_CALLBACKS__ALLOW": "127.0.0.0/8"}


@pytest.fixture
def timeout_seconds() -> str:
    """How long an answer is awaited. Where a receiver may be slow, a test has its own."""
    return "2"


@pytest.fixture
async def services(
    database: Database, clock: ManualClock, tmp_path: Path, timeout_seconds: str
) -> AsyncIterator[Services]:
    wanted = {"G2C_DATA_DIR": str(tmp_path), "HOME": str(tmp_path), **LOOPBACK}
    settings = load_settings(wanted | {"G2C_CALLBACKS__TIMEOUT_SECONDS": timeout_seconds})
    bus = InProcessBus()
    yield Services(settings, clock, database, bus, None)
    await bus.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver().listening() as receiver:
        yield receiver


@dataclass
class Rig:
    """Makes events and subscriptions, and lets processes deliver."""

    services: Services
    clock: ManualClock
    project: str
    stack: AsyncExitStack
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def subscribe(self, url: str, name: str = "hook", **given: object) -> Subscription:
        """A subscription of the default project."""
        wanted = SubscriptionCreate.model_validate({"name": name, "url": url, "secret": SECRET, **given})
        async with self.services.database.begin() as uow:
            return await service.create_subscription(uow, EVERYTHING, wanted)

    async def make(self, count: int, kind: EventKind = EventKind.LIFECYCLE) -> list[str]:
        """Units of work with one event each; the ids of the events."""
        made = []
        for number in range(count):
            async with self.services.database.begin() as uow:
                event = Event(kind, uow.now, self.project, f"srv-{number}", {"number": number})
                uow.news.append(event)
            made.append(event.id)
        return made

    async def deliver(
        self, services: Services | None = None, look_seconds: float = 0.05, most_at_once: int = MOST_AT_ONCE
    ) -> Deliverer:
        """Let a process deliver from now on."""
        of = services or self.services
        sender = await self.stack.enter_async_context(Sender(of.settings.callbacks, of.clock))
        deliverer = Deliverer(of, sender, look_seconds=look_seconds, most_at_once=most_at_once)
        task = asyncio.create_task(deliverer.run(self.stopping))

        async def stop() -> None:
            self.stopping.set()
            await task

        self.stack.push_async_callback(stop)
        return deliverer

    async def waiting(self) -> int:
        """How many events are in the outbox."""
        async with self.services.database.reading() as uow:
            return await uow.session.scalar(select(func.count()).select_from(OutboxRow)) or 0

    async def show(self, ref: str = "hook") -> Subscription:
        """A subscription as it stands."""
        async with self.services.database.reading() as uow:
            return await service.get_subscription(uow, EVERYTHING, ref)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds."""

        async def it_holds() -> bool:
            return holds()

        await self._until_true(it_holds)

    async def until_empty(self, but: int = 0) -> None:
        """Wait until everything is delivered, but for so many events."""

        async def is_drained() -> bool:
            return await self.waiting() == but

        await self._until_true(is_drained)

    async def until_failed(self, times: int = 1, ref: str = "hook") -> Subscription:
        """Wait until so many attempts have failed in a row."""

        async def has_failed() -> bool:
            return (await self.show(ref)).failures >= times

        await self._until_true(has_failed)
        return await self.show(ref)

    async def _until_true(self, holds: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not await holds():  # noqa: ASYNC110  (a database is looked at)
                await asyncio.sleep(0.02)


@pytest.fixture
async def rig(services: Services, clock: ManualClock) -> AsyncIterator[Rig]:
    async with services.database.begin() as uow:
        project = await ensure_default_project(uow)
    async with AsyncExitStack() as stack:
        yield Rig(services, clock, project.id, stack)


def strict(services: Services) -> Services:
    """The same services, which may not speak to this host."""
    callbacks = services.settings.callbacks.model_copy(update={"allow": ()})
    return replace(services, settings=replace(services.settings, callbacks=callbacks))
