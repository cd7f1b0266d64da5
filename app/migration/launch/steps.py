"""The steps of the jobs `server.test` and `server.terminate-test`.

The machine is named by its test, and every step can be run again, by another process: see
`app.launch.target`. Undoing takes away whatever of the test is on the node, and no evidence.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

from app.contract.resources.launch import LaunchMachine
from app.contract.words import JobEventLevel
from app.launch.machine import LaunchOrder, Volume
from app.migration.launch import machines, tests
from app.migration.launch.building import Builder, builder_at, end_test, for_good
from app.migration.launch.conversion import converted, source_of
from app.migration.launch.evidence import collect, keep_conversion
from app.migration.launch.queries import Content, content_of, live_tests
from app.migration.launch.stopping import listening, whole
from app.migration.launch.tables import TestRow
from app.migration.launch.targets import evidence_folder
from app.migration.launch.tests import Chosen, Effect, Wanted
from app.migration.services import Services
from app.work.context import Context
from app.work.errors import StepFailed

CHOOSE: Final = "choose"
MATERIALISE: Final = "materialise"
CONVERT: Final = "convert"


@dataclass(frozen=True)
class Volumes:
    """What `materialise` made, in the order of the machine's disks."""

    volumes: tuple[Volume, ...]


@dataclass(frozen=True)
class Outcome:
    """What a test came to that passed."""

    test_id: str
    seconds: float
    detail: str


@dataclass(frozen=True)
class Known:
    """A test as its steps need it."""

    id: str
    checkpoint_id: str
    checkpoint_number: int
    target_id: str
    machine: LaunchMachine
    content: Content


@dataclass(frozen=True)
class TestSteps:
    """The steps, in a process with these services."""

    __test__ = False

    services: Services

    async def _builder(self, known: Known) -> Builder:
        return await builder_at(self.services, known.target_id)

    async def choose(self, context: Context) -> Chosen:
        """Choose the checkpoint and settle the machine; from now on the server is TESTING."""
        wanted, effect = context.input(Wanted), Effect(context.job_id, context.key, _server(context))
        caps = self.services.settings.launch
        chosen = await for_good(context.write(lambda uow: tests.choose(uow, effect, wanted, caps)))
        context.log(f"test {chosen.test_id} starts checkpoint {chosen.checkpoint_number}")
        for text in chosen.warnings:
            context.log(text, JobEventLevel.WARNING)
        return chosen

    async def unchoose(self, context: Context) -> None:
        """The test is over; the server is what it was before, unless the machine came to a verdict."""
        await context.write(lambda uow: tests.unchoose(uow, context.key))

    async def prepare(self, context: Context) -> None:
        """See that the node can do it, bind the job to it, and end the machine of an earlier test."""
        known = await self._known(context)
        await (await self._builder(known)).require_possible(context, known.machine, known.content)
        await context.pin()
        await context.write(lambda uow: tests.place(uow, known.id, context.node))
        for earlier in await self._live(context):
            if earlier.id != known.id:
                context.log(f"the machine of test {earlier.id} is terminated: a new test replaces it")
                await end_test(self.services, context, earlier)

    async def materialise(self, context: Context) -> Volumes:
        """Write the checkpoint's disks on this node, each verified by its root."""
        known = await self._known(context)
        return Volumes(await (await self._builder(known)).materialise(context, known.content))

    async def dematerialise(self, context: Context) -> None:
        """Remove the volumes, finished or not."""
        if context.has_result(CHOOSE):
            known = await self._known(context)
            await (await self._builder(known)).drop(known.content)

    async def convert(self, context: Context) -> None:
        """Make the disks boot in the machine, on its overlays, and keep the report."""
        known = await self._known(context)
        source = await context.write(lambda uow: source_of(uow, known.checkpoint_id, known.machine))
        order = self._order(context, known)
        target = (await self._builder(known)).target
        report = await for_good(converted(context, target, order, source, known.machine))
        await context.write(lambda uow: keep_conversion(uow, known.id, report))

    def _order(self, context: Context, known: Known) -> LaunchOrder:
        volumes = context.result(MATERIALISE, Volumes).volumes
        return LaunchOrder(known.id, machines.spec(known.machine), volumes)

    async def launch(self, context: Context) -> None:
        """Start the machine in its isolated network, or find it running."""
        known = await self._known(context)
        order = self._order(context, known)
        target = (await self._builder(known)).target
        instance = await for_good(whole(target.launch(order)))
        await context.write(lambda uow: tests.launched(uow, known.id, instance.forwards))
        ports = ", ".join(f"{each.guest} at 127.0.0.1:{each.host}" for each in instance.forwards) or "none"
        context.log(f"the machine runs on node {context.node} under {instance.accelerator}; ports: {ports}")

    async def unlaunch(self, context: Context) -> None:
        """End the machine; its evidence stays."""
        if context.has_result(CHOOSE):
            test = await self._test(context)
            await whole((await builder_at(self.services, test.target)).target.terminate(test.id))

    async def check(self, context: Context) -> None:
        """Watch the machine until there is a verdict, and keep what was seen."""
        known = await self._known(context)
        folder = evidence_folder(self.services.settings.launch, known.id)
        builder = await self._builder(known)
        plan = await builder.checks(known.machine)
        proof = await listening(context, builder.target.check(known.id, plan, folder))
        evidence = await asyncio.to_thread(collect, folder, proof)
        await context.write(lambda uow: tests.judged(uow, known.id, proof, evidence))
        for each in proof.checks:
            word = "passed" if each.passed else "did not pass"
            level = JobEventLevel.INFO if each.passed else JobEventLevel.WARNING
            context.log(f"check {each.name} {word}: {each.detail}", level)

    async def outcome(self, context: Context) -> Outcome:
        """Say what came of it. Raises StepFailed with the reason of a failed boot: then all is undone."""
        test = await self._test(context)
        proof = test.proof or {}
        detail = str(proof.get("detail", ""))
        if not test.passed:
            remedy = proof.get("remedy")
            raise StepFailed(
                f"checkpoint {test.checkpoint_number} did not boot: {detail}",
                code=str(proof.get("reason") or "CHECK_FAILED"),
                remedy=f"{remedy or 'look at the evidence'}; the evidence: go2cloud server screenshot",
            )
        return Outcome(test.id, float(str(proof.get("seconds", 0))), detail)

    async def terminate(self, context: Context) -> int:
        """End the test machines of the server that are on this node; how many tests that ended."""
        found = await self._live(context)
        for test in found:
            await end_test(self.services, context, test)
            context.log(f"test {test.id} is terminated")
        if not found:
            context.log("the server has no test machine")
        return len(found)

    async def _live(self, context: Context) -> list[TestRow]:
        async with self.services.database.reading() as uow:
            return await live_tests(uow, _server(context))

    async def _test(self, context: Context) -> TestRow:
        async with self.services.database.reading() as uow:
            return await tests.get_test(uow, context.result(CHOOSE, Chosen).test_id)

    async def _known(self, context: Context) -> Known:
        async with self.services.database.reading() as uow:
            test = await tests.get_test(uow, context.result(CHOOSE, Chosen).test_id)
            content = await content_of(uow, test.checkpoint_id)
        machine = LaunchMachine.model_validate(test.machine)
        return Known(test.id, test.checkpoint_id, test.checkpoint_number, test.target, machine, content)


def _server(context: Context) -> str:
    assert context.server_id is not None, "the job is of a server"
    return context.server_id
