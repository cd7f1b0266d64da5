"""The steps of the job `server.cutover`; `kinds` has their order.

The machine is named by its cutover, and every step can be run again, by another process. The source's
services are given back by undoing `stop`, which is undone after everything that could have made a machine.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from app.contract.cutoverwords import CutoverPhase
from app.contract.resources.launch import LaunchMachine
from app.contract.words import HoldPhase, InstancePurpose, InstanceState, JobEventLevel
from app.launch.machine import LaunchOrder, Volume
from app.migration.cutover import cutovers, evidence, source
from app.migration.cutover.cutovers import Chosen, Effect, Wanted
from app.migration.cutover.queries import get_cutover
from app.migration.cutover.source import server_of
from app.migration.cutover.tables import CutoverRow
from app.migration.cutover.verifying import proved
from app.migration.hold import service as holds
from app.migration.hold.states import Hold
from app.migration.launch import machines
from app.migration.launch.building import Builder, builder_at, end_test, for_good
from app.migration.launch.conversion import converted, source_of
from app.migration.launch.evidence import collect
from app.migration.launch.queries import Content, content_of, live_tests
from app.migration.launch.stopping import listening, whole
from app.migration.launch.targets import evidence_folder
from app.migration.services import Services
from app.work.context import Context
from app.work.errors import StepFailed

if TYPE_CHECKING:
    from app.launch.target import Target

CHOOSE: Final = "choose"
PRECOPY: Final = "precopy"
CUT: Final = "cut"
APPLY: Final = "apply"

_HOLDING: Final = frozenset(
    (*(CutoverPhase.STOP, CutoverPhase.CUT, CutoverPhase.APPLY), CutoverPhase.CONVERT, CutoverPhase.KEEP)
)
"""Phases in which the source is to go on keeping its services stopped."""
_STILL_ACTIVE: Final = (
    "the source is still active: nothing stopped its services, so what they write from now on is lost; "
    "stop them yourself"
)


@dataclass(frozen=True)
class Volumes:
    """What was written to the target, in the order of the machine's disks."""

    volumes: tuple[Volume, ...]


@dataclass(frozen=True)
class Cut:
    """The final checkpoint."""

    checkpoint_id: str
    number: int


@dataclass(frozen=True)
class Outcome:
    """What a cutover came to that succeeded."""

    cutover_id: str
    checkpoint_number: int
    source_active: bool
    downtime_seconds: float


@dataclass(frozen=True)
class Known:
    """A cutover as its steps need it."""

    row: CutoverRow
    machine: LaunchMachine

    @property
    def id(self) -> str:
        """The id of the cutover and of its machine."""
        return self.row.id


def chosen_id(context: Context) -> str:
    """The id of the cutover that the job made."""
    return context.result(CHOOSE, Chosen).cutover_id


@dataclass(frozen=True)
class CutoverSteps:
    """The steps, in a process with these services."""

    services: Services

    async def _builder(self, known: Known) -> Builder:
        return await builder_at(self.services, known.row.target, InstancePurpose.CUTOVER)

    async def choose(self, context: Context) -> Chosen:
        """Look whether the replica is good enough and settle the machine; the server is CUTTING_OVER then."""
        wanted, effect = context.input(Wanted), Effect(context.job_id, context.key, server_of(context))
        caps = self.services.settings.launch
        chosen = await for_good(context.write(lambda uow: cutovers.choose(uow, effect, wanted, caps)))
        context.log(f"cutover {chosen.cutover_id} begins; checkpoint {chosen.base_number} is written first")
        for code in chosen.passed_over:
            context.log(f"{code} is passed over: {wanted.override}", JobEventLevel.WARNING)
        return chosen

    async def unchoose(self, context: Context) -> None:
        """The cutover is over; the source runs as ever, and the server is READY_FOR_CUTOVER."""
        await context.write(lambda uow: cutovers.unchoose(uow, context.key))

    async def verify(self, context: Context) -> str:
        """Have the running source compared with its replica (v2); the id of the verification."""
        cutover_id = chosen_id(context)
        async with self._timed(context, CutoverPhase.VERIFY):
            proof = await proved(self.services, context, context.input(Wanted).override)
        await context.write(
            lambda uow: cutovers.verified(uow, cutover_id, proof.verification_id, proof.passed_over)
        )
        return proof.verification_id

    async def prepare(self, context: Context) -> None:
        """See that the node can do it, bind the job to it, and end the server's test machine."""
        known = await self._known(context)
        content = await self._content(known.row.base_checkpoint_id)
        await (await self._builder(known)).require_possible(context, known.machine, content)
        await context.pin()
        await context.write(lambda uow: cutovers.place(uow, known.id, context.node))
        async with self.services.database.reading() as uow:
            earlier = await live_tests(uow, server_of(context))
        for test in earlier:
            context.log(f"the machine of test {test.id} is terminated: the cutover follows it")
            await end_test(self.services, context, test)

    async def precopy(self, context: Context) -> Volumes:
        """Write the head's disks while the source runs, so that only what changed is left for the cut."""
        known = await self._known(context)
        content = await self._content(known.row.base_checkpoint_id)
        async with self._timed(context, CutoverPhase.PRECOPY):
            return Volumes(await (await self._builder(known)).materialise(context, content))

    async def drop_base(self, context: Context) -> None:
        """Remove the volumes of the head, finished or not."""
        if context.has_result(CHOOSE):
            known = await self._known(context)
            await (await self._builder(known)).drop(await self._content(known.row.base_checkpoint_id))

    async def stop(self, context: Context) -> None:
        """Have the source's services stopped by the owner's hooks."""
        known, server = await self._known(context), server_of(context)
        seconds = self.services.settings.cutover.stop_seconds
        await for_good(context.write(lambda uow: cutovers.stopping(uow, known.id)))
        async with self._timed(context, CutoverPhase.STOP):
            await for_good(context.write(lambda uow: holds.quiesce(uow, server, known.id, seconds)))
            hold = await source.reached(self.services, context, known.id, HoldPhase.QUIESCED)
        await self._judge_source(context, known, hold)

    async def _judge_source(self, context: Context, known: Known, hold: Hold) -> None:
        """Keep whether services of the source may run; the order has to allow it."""
        is_active = hold.is_source_active
        await context.write(lambda uow: cutovers.stopped(uow, known.id, source_active=is_active))
        source.require_inactive(hold, allow_active=known.row.allow_active_source)
        if is_active:
            context.log(_STILL_ACTIVE, JobEventLevel.WARNING)

    async def release(self, context: Context) -> None:
        """The source gets its services back, and this waits until it has them."""
        if context.has_result(CHOOSE):
            await source.given_back(self.services, context, chosen_id(context))

    async def cut(self, context: Context) -> Cut:
        """Have the last changes brought over: the final checkpoint, whose roots both sides derived (v3)."""
        cutover_id, server = chosen_id(context), server_of(context)
        async with self._timed(context, CutoverPhase.CUT):
            await for_good(context.write(lambda uow: holds.finish(uow, server, cutover_id)))
            hold = await source.reached(self.services, context, cutover_id, HoldPhase.FINAL)
        final = hold.checkpoint_id or ""
        row = await for_good(context.write(lambda uow: cutovers.cut(uow, cutover_id, final)))
        context.log(
            f"checkpoint {row.number} is the final one; the source stood still {hold.frozen_ms or 0} ms"
        )
        return Cut(row.id, row.number)

    async def apply(self, context: Context) -> Volumes:
        """Bring the target's disks to the final checkpoint, each of its root (v4)."""
        known, final = await self._known(context), context.result(CUT, Cut)
        async with self._timed(context, CutoverPhase.APPLY):
            base = await self._content(known.row.base_checkpoint_id)
            content = await self._content(final.checkpoint_id)
            return Volumes(await (await self._builder(known)).advance(context, base, content))

    async def drop_final(self, context: Context) -> None:
        """Remove the volumes of the final checkpoint, finished or not."""
        if context.has_result(CUT):
            builder = await self._builder(await self._known(context))
            await builder.drop(await self._content(context.result(CUT, Cut).checkpoint_id))

    async def convert(self, context: Context) -> None:
        """Make the disks boot in the machine, and keep the report; nothing runs yet."""
        known, order = await self._known(context), await self._order(context)
        final = context.result(CUT, Cut).checkpoint_id
        async with self.services.database.reading() as uow:
            wanted = await for_good(source_of(uow, final, known.machine))
        async with self._timed(context, CutoverPhase.CONVERT):
            target = (await self._builder(known)).target
            report = await for_good(converted(context, target, order, wanted, known.machine))
        await context.write(lambda uow: evidence.keep_conversion(uow, known.id, report))

    async def unconvert(self, context: Context) -> None:
        """Remove what was made of the machine."""
        if context.has_result(CHOOSE):
            known = await self._known(context)
            await whole((await self._builder(known)).target.terminate(known.id))

    async def keep(self, context: Context) -> None:
        """Have the source keep its services stopped until it is told otherwise, whatever happens."""
        known, server = await self._known(context), server_of(context)
        async with self._timed(context, CutoverPhase.KEEP):
            await for_good(context.write(lambda uow: holds.keep(uow, server, known.id)))
            hold = await source.reached(self.services, context, known.id, HoldPhase.HELD)
        source.require_undisturbed(hold)
        await self._judge_source(context, known, hold)

    async def launch(self, context: Context) -> None:
        """Start the machine, or find it running. From here on only an operator takes the cutover back."""
        order = await self._order(context)
        async with self._timed(context, CutoverPhase.LAUNCH):
            source.require_undisturbed(await self._hold(context))
            await self._start(context, (await self._builder(await self._known(context))).target, order)

    async def _start(self, context: Context, target: "Target", order: LaunchOrder) -> None:
        """Start the machine, once it is sure that the source is held and the cutover stands."""
        source.require_held(await self._hold(context))
        await for_good(context.write(lambda uow: cutovers.launching(uow, order.instance)))
        instance = await for_good(whole(target.launch(order)))
        await context.write(lambda uow: cutovers.launched(uow, order.instance, instance.forwards))
        ports = ", ".join(f"{each.guest} at 127.0.0.1:{each.host}" for each in instance.forwards) or "none"
        context.log(f"the machine runs on node {context.node} under {instance.accelerator}; ports: {ports}")

    async def _hold(self, context: Context) -> Hold:
        return await for_good(source.standing(self.services, context, chosen_id(context)))

    async def check(self, context: Context) -> None:
        """Watch the machine until there is a verdict. A machine that ended is started again first.

        Raises StepFailed with the reason of a failed boot: the server stays CUTTING_OVER.
        """
        known, order = await self._known(context), await self._order(context)
        builder = await self._builder(known)
        found = await builder.target.find(known.id)
        if found is None or found.state is not InstanceState.RUNNING:
            await self._start(context, builder.target, order)
        folder = evidence_folder(self.services.settings.launch, known.id)
        plan = await builder.checks(known.machine)
        await context.write(lambda uow: cutovers.phase_begins(uow, known.id, CutoverPhase.CHECK))
        proof = await listening(context, builder.target.check(known.id, plan, folder))
        seen = await asyncio.to_thread(collect, folder, proof)
        await context.write(lambda uow: cutovers.judged(uow, known.id, proof))
        await context.write(lambda uow: evidence.keep(uow, known.id, seen))
        for each in proof.checks:
            word = "passed" if each.passed else "did not pass"
            level = JobEventLevel.INFO if each.passed else JobEventLevel.WARNING
            context.log(f"check {each.name} {word}: {each.detail}", level)
        if not proof.passed:
            raise StepFailed(
                f"the machine did not come up: {proof.detail}",
                code=str(proof.reason or "CHECK_FAILED"),
                remedy=f"{proof.remedy or 'look at the evidence'}; then retry the job, or take it back: "
                "go2cloud server revert",
            )

    async def prove(self, context: Context) -> None:
        """Recompute the disks' roots from all of their bytes, beside the machine: it costs no downtime."""
        builder = await self._builder(await self._known(context))
        await builder.verify(context, await self._content(context.result(CUT, Cut).checkpoint_id))

    async def outcome(self, context: Context) -> Outcome:
        """The cutover succeeded; it can be finalized, or reverted."""
        row = await context.write(lambda uow: cutovers.succeeded(uow, chosen_id(context)))
        seconds = cutovers.downtime(row) or 0.0
        if row.source_active:
            context.log(_STILL_ACTIVE, JobEventLevel.WARNING)
        return Outcome(row.id, row.checkpoint_number or 0, bool(row.source_active), seconds)

    @asynccontextmanager
    async def _timed(self, context: Context, phase: CutoverPhase) -> AsyncIterator[None]:
        cutover_id = chosen_id(context)
        await context.write(lambda uow: cutovers.phase_begins(uow, cutover_id, phase))
        going_on = source.going_on(self.services, context, cutover_id)
        async with going_on if phase in _HOLDING else nullcontext():
            yield
        await context.write(lambda uow: cutovers.phase_ends(uow, cutover_id, phase))

    async def _order(self, context: Context) -> LaunchOrder:
        known = await self._known(context)
        volumes = context.result(APPLY, Volumes).volumes
        return LaunchOrder(known.id, machines.spec(known.machine), volumes, InstancePurpose.CUTOVER)

    async def _content(self, checkpoint_id: str | None) -> Content:
        async with self.services.database.reading() as uow:
            return await for_good(content_of(uow, checkpoint_id or ""))

    async def _known(self, context: Context) -> Known:
        async with self.services.database.reading() as uow:
            row = await get_cutover(uow, chosen_id(context))
        return Known(row, LaunchMachine.model_validate(row.machine))
