"""One whole run of the store: open, put, commit, a second checkpoint, retention and collection, a third one.

The run stops at the first error, as an agent's session does. What is left is judged by the same process once
the fault is over; the session is repeated and must succeed; then the store is opened anew and judged again.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

from app.kit.clock import ManualClock
from app.migration.catalogue.service import get_checkpoint
from app.migration.replication.maintenance import collect_garbage
from app.migration.services import Services
from app.store.errors import StoreFull, StoreUnavailable
from app.store.folder import FileCalls
from app.wire.frames import encode_patches
from tests.faults.store.failing_calls import FailingCalls
from tests.faults.store.sample_disk import KEY, acknowledged, patches
from tests.faults.store.store_services import (
    Acknowledged,
    ClockedCalls,
    Places,
    exported,
    opened,
    prepared,
    violations,
)
from tests.replication.agent_double import AgentDouble

START = datetime(2026, 1, 2, tzinfo=UTC)
SHORT = timedelta(minutes=20)
LONG = timedelta(hours=8)
"""Long enough for retention to drop a checkpoint and for collection to delete what it condemned."""


NAMED: Final[tuple[type[Exception], ...]] = (StoreFull, StoreUnavailable)
"""The errors that a fault of the storage may come out as."""


@dataclass(frozen=True)
class Template:
    """A database with one enrolled server and no store yet, to be copied for each run."""

    places: Places
    server: str

    @classmethod
    async def make(cls, folder: Path) -> "Template":
        """Make it in `folder`."""
        places = Places(folder / "template" / "store", folder / "template" / "database" / "go2cloud.db")
        server = await prepared(places, START)
        shutil.rmtree(places.store)
        return cls(places, server)

    def copied(self, folder: Path) -> Places:
        """A copy of its own in `folder`."""
        shutil.copytree(self.places.database.parent, folder / "database")
        return Places(folder / "store", folder / "database" / "go2cloud.db")


class Faulty(Protocol):
    """What injects the fault into a run."""

    def heal(self) -> None:
        """Fail nothing more."""


@dataclass
class WholeRun:
    """A run and what it was promised; `calls` and `fault` are often one object."""

    places: Places
    server: str
    contents: Sequence[bytes]
    clock: ManualClock
    calls: FileCalls
    fault: Faulty
    named: tuple[type[Exception], ...] = NAMED
    acknowledged: list[Acknowledged] = field(default_factory=list)
    content: bytes = b""
    errors: list[Exception] = field(default_factory=list)
    found: list[str] = field(default_factory=list)

    async def go(self) -> None:
        """Run to the end or to the first error; then judge, repeat the session, open anew and judge again.

        `found` holds the violations. Errors without a name of their own come through.
        """
        try:
            async with opened(self.places, self.clock, self.calls) as services:
                await self._until_an_error(services)
                self.fault.heal()
                await self._judge(services, "in the same process", reads=False)
                await self._session(services, self.contents[-1])
        except self.named as error:
            self.errors.append(error)
            self.fault.heal()
        async with opened(self.places, self.clock, ClockedCalls(self.clock)) as services:
            if not self.acknowledged:
                await self._session(services, self.contents[-1])
            await self._judge(services, "opened anew", reads=True)

    async def _until_an_error(self, services: Services) -> None:
        try:
            await self._steps(services)
        except self.named as error:
            self.errors.append(error)

    async def _steps(self, services: Services) -> None:
        first, second, third = self.contents
        await self._session(services, first)
        self.clock.advance(SHORT)
        await self._session(services, second)
        self.clock.advance(LONG)
        await collect_garbage(services)
        self.clock.advance(LONG)
        await collect_garbage(services)
        await self._session(services, third)

    async def _session(self, services: Services, data: bytes) -> None:
        """A session. A commit without an answer is repeated, as an agent does, when the fault is over."""
        agent = AgentDouble(services, self.server)
        await agent.open({KEY: len(data)})
        small = list(patches(self.content, data)) if self.content else []
        if small:
            await agent.put(encode_patches(small))
        await agent.put_disk(data)
        message = agent.message({KEY: data})
        try:
            committed = await agent.send(message)
        except self.named as error:
            self.errors.append(error)
            self.fault.heal()
            committed = await agent.send(message)
        self.acknowledged.append(acknowledged(committed, self.clock.now()))
        self.content = data

    async def _judge(self, services: Services, when: str, *, reads: bool) -> None:
        """What was promised is there, nothing is harmed, the head can be exported."""
        found = await violations(services, self.server, self.acknowledged, reads=reads)
        if self.acknowledged and not found:
            found = await self._export_faults(services)
        self.found += [f"{when}: {text}" for text in found]

    async def _export_faults(self, services: Services) -> list[str]:
        """Export the head; the newest acknowledged content must come out, unless the head is newer still."""
        output = await exported(services, self.server, self.places.store.parent / "exported")
        async with services.database.reading() as uow:
            head = await get_checkpoint(uow, self.server, "latest")
        is_newest = head.number == self.acknowledged[-1].number
        if is_newest and output.read_bytes() != self.content:
            return ["the exported head is not what was committed"]
        return []


async def run_with(
    template: Template, folder: Path, fault: Callable[[ManualClock], FailingCalls], contents: Sequence[bytes]
) -> tuple[WholeRun, FailingCalls]:
    """A run on a copy of the template, whose calls fail as `fault` makes them; gone from the disk after."""
    clock = ManualClock(START)
    calls = fault(clock)
    run = WholeRun(template.copied(folder), template.server, contents, clock, calls, calls)
    try:
        await run.go()
    finally:
        shutil.rmtree(folder)
    return run, calls
