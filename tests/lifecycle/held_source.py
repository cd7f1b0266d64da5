"""The source's half of a cutover, spoken to the services directly; a log of when it was active."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from sqlalchemy import select, update

from app.contract.words import HoldPhase, HoldServices, ReplicationState, WorkState
from app.kit.ids import new_id
from app.migration.hold import reports
from app.migration.hold import service as holds
from app.migration.replication.tables import CheckpointRow, DiskRootRow
from app.migration.servers.enrolment import find_server
from app.migration.verification.tables import VerificationRow
from app.wire.hold import HeldRoot, HoldOrder, HoldReport
from tests.replication.agent_double import LEASE, AgentDouble

P = HoldPhase
PROOF = "ab" * 16


@dataclass
class HeldSource:
    """A source that does what is wanted of it. Its answers can be changed before it runs.

    `content` gives the disk at the final cut; `services` is what it says of its services while it holds them;
    `refuses` are phases that it does not get to, with the code that it gives for each.
    """

    agent: AgentDouble
    content: Callable[[], bytes]
    services: HoldServices = HoldServices.STOPPED
    refuses: dict[HoldPhase, str] = field(default_factory=dict)
    is_active: bool = True
    is_away: bool = False
    revision: int = 0
    cutover: str = ""
    said: HoldReport = HoldReport(0)  # noqa: RUF009  (frozen)
    history: list[str] = field(default_factory=list)
    on_release: Callable[[], None] = lambda: None

    @property
    def server(self) -> str:
        """The server's id."""
        return self.agent.server

    async def ready(self) -> None:
        """The agent is there, replication is continuous and frozen, and the replica was just verified."""
        database = self.agent.services.database
        async with database.begin() as uow:
            server = await find_server(uow, self.server)
            server.replication_state, server.lease_until = ReplicationState.CONTINUOUS, uow.now + 1000 * LEASE
            server.lifecycle_state = "READY_FOR_CUTOVER"
            uow.session.add(
                VerificationRow(
                    id=new_id("ver"),
                    server_id=self.server,
                    state=WorkState.SUCCEEDED,
                    requested_at=uow.now,
                    finished_at=uow.now,
                    verdict="SAME",
                )
            )
        await self.freeze_label()

    async def freeze_label(self) -> None:
        """The head counts as one instant of all disks."""
        async with self.agent.services.database.begin() as uow:
            head = (await find_server(uow, self.server)).head_checkpoint_id
            await uow.session.execute(
                update(CheckpointRow).where(CheckpointRow.id == head).values(label="frozen")
            )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The agent runs beside the test."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})
            if not task.cancelled():
                task.result()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(0.02)
            if self.is_away:
                continue
            async with self.agent.services.database.reading() as uow:
                order = await holds.ordered(uow, self.server)
            if order is not None and order.revision > self.revision:
                self.said = self.said if order.cutover == self.cutover else HoldReport(0)
                self.cutover, self.said = order.cutover, await self._obey(order)
                await self._report(order, self.said)
                self.revision = order.revision

    async def _obey(self, order: HoldOrder) -> HoldReport:
        phase = P(order.phase)
        self.history.append(phase.value)
        if phase in self.refuses:
            known = replace(self.said, revision=order.revision, services=self.services)
            return replace(known, code=self.refuses[phase], detail="not today")
        if phase is P.RELEASED:
            self.on_release()
            self.is_active = True
            proof = self.said.proof
            return HoldReport(order.revision, phase, HoldServices.STARTED, cause="ORDERED", proof=proof)
        self.is_active = self.services is not HoldServices.STOPPED
        if phase is P.FINAL:
            return await self._cut(order)
        reached = replace(self.said, revision=order.revision, phase=phase, services=self.services)
        return replace(reached, proof=PROOF) if phase is P.HELD else reached

    async def _cut(self, order: HoldOrder) -> HoldReport:
        made = await self.agent.replicate({"disk-a": self.content()})
        await self.freeze_label()
        async with self.agent.services.database.reading() as uow:
            query = select(DiskRootRow).where(DiskRootRow.checkpoint_id == made.checkpoint_id)
            roots = tuple(HeldRoot(row.disk_id, row.root.hex()) for row in await uow.session.scalars(query))
        return HoldReport(
            order.revision,
            P.FINAL,
            self.services,
            checkpoint_id=made.checkpoint_id,
            label="frozen",
            roots=roots,
        )

    async def _report(self, order: HoldOrder, said: HoldReport) -> None:
        async with self.agent.services.database.begin() as uow:
            await reports.report(uow, self.server, order.cutover, said)
