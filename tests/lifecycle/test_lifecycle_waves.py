"""Twenty real machines in a wave: tested in order, four at once, judged, marked, terminated."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack

import pytest
from sqlalchemy import func, select, update

from app.contract.paging import EVERYTHING
from app.contract.resources.launch import ReadyMark
from app.contract.resources.wave import ApplicationCreate, Run, ServerOfApplication, WaveCreate
from app.contract.wavewords import RunServerState, WaveOperation
from app.contract.words import HoldPhase, LifecycleState, ReplicationState, WorkState
from app.kit.database import UnitOfWork
from app.migration.servers.service import find_in_scope
from app.migration.servers.tables import ServerRow
from app.migration.waves import applications, reports, runs, subjects, waves
from app.migration.waves.kinds import wave_kinds
from app.migration.waves.operations import Wish
from app.work.tables import JobSlotRow
from tests.launch.boot_sector import dead_disk, talking_disk
from tests.lifecycle.conftest import Rig
from tests.lifecycle.held_source import HeldSource
from tests.replication.agent_double import AgentDouble

pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("database_settings", ["sqlite"], indirect=True),
]
S = RunServerState
DEADLINE_SECONDS = 240.0
TIERS = {"db": 4, "web": 10, "mail": 6}


async def make_wave(rig: Rig, broken: set[str], tiers: Mapping[str, int] = TIERS) -> None:
    """Three applications; the web comes after the databases."""
    for kind in wave_kinds(rig.services):
        rig.services.kinds.add(kind)
    for tier, count in tiers.items():
        names = [f"{tier}-{number}" for number in range(count)]
        for name in names:
            await rig.server(dead_disk() if name in broken else talking_disk(), name)
        body = ApplicationCreate(
            name=tier,
            servers=tuple(ServerOfApplication(server=name) for name in names),
            after=("db",) if tier == "web" else (),
        )
        async with rig.services.database.begin() as uow:
            await applications.create_application(uow, EVERYTHING, body)
    async with rig.services.database.begin() as uow:
        await waves.create_wave(uow, EVERYTHING, WaveCreate(name="one", applications=tuple(TIERS)))


async def order(rig: Rig, operation: WaveOperation) -> str:
    async def work(uow: UnitOfWork) -> str:
        subject = await subjects.wave_subject(uow, EVERYTHING, "one")
        return await runs.order_run(rig.services, uow, subject, operation, Wish("ann"))

    return await rig.services.database.run(work)


async def summary(rig: Rig) -> Run:
    async with rig.services.database.reading() as uow:
        return await reports.get_run(uow, await subjects.wave_subject(uow, EVERYTHING, "one"), "latest")


async def most_at_once(rig: Rig, job: str) -> int:
    """Wait for the end of a run; how many of its servers' jobs were seen to run at once."""
    counted = select(func.count()).where(JobSlotRow.key.startswith("wave:"))
    most, deadline = 0, time.monotonic() + DEADLINE_SECONDS
    while (await rig.engine.row(job)).finished_at is None:
        async with rig.services.database.reading() as uow:
            most = max(most, await uow.session.scalar(counted) or 0)
        assert time.monotonic() < deadline, await rig.engine.texts(job)
        await asyncio.sleep(0.05)
    return most


async def test_twenty_machines_are_tested_four_at_once_and_one_that_is_broken_stops_no_other(
    rig: Rig,
) -> None:
    await make_wave(rig, broken={"mail-3"})
    job = await order(rig, WaveOperation.TEST)
    rig.work()
    assert await most_at_once(rig, job) == 4
    row = await rig.engine.row(job)
    assert (row.state, row.code) == (WorkState.FAILED, "SERVERS_FAILED"), row.detail
    run = await summary(rig)
    assert {each.state: each.servers for each in run.counts} == {S.SUCCEEDED: 19, S.FAILED: 1}
    (failed,) = [each for each in run.servers if each.state is S.FAILED]
    assert (failed.server.name, failed.code) == ("mail-3", "NO_BOOTABLE_DEVICE")
    assert "boot loader is the first one" in str(failed.remedy)
    assert len(rig.on_node()[0]) == 19
    events = await rig.engine.texts(job)
    first_web = next(at for at, text in enumerate(events) if text.startswith("web-"))
    assert all(events.index(f"db-{number} is SUCCEEDED") < first_web for number in range(4))

    async with rig.services.database.begin() as uow:
        subject = await subjects.wave_subject(uow, EVERYTHING, "one")
        marks = await runs.mark_all_ready(rig.services, uow, subject, ReadyMark())
    (refused,) = [mark for mark in marks if mark.refusal is not None]
    assert (refused.server.name, refused.refusal and refused.refusal.code) == ("mail-3", "TEST_NOT_PASSED")
    assert (await rig.row(marks[0].server.id)).lifecycle_state == LifecycleState.READY_FOR_CUTOVER

    ended = await order(rig, WaveOperation.TERMINATE_TEST)
    await most_at_once(rig, ended)
    run = await summary(rig)
    assert run.state is WorkState.SUCCEEDED
    assert {each.state: each.servers for each in run.counts} == {S.SUCCEEDED: 19, S.UNCHANGED: 1}
    assert rig.on_node() == ([], [])


async def test_a_wave_is_cut_over_in_order_reverted_backwards_and_finalized(rig: Rig) -> None:
    """The data's source is cut over before the shop's; mail's does not stop its services at first."""
    sources = await held_wave(rig)
    sources["mail-0"].refuses = {HoldPhase.QUIESCED: "HOOK_FAILED"}
    rig.work()
    async with AsyncExitStack() as stack:
        for source in sources.values():
            await stack.enter_async_context(source.running())
        job = await order(rig, WaveOperation.CUTOVER)
        assert await most_at_once(rig, job) >= 1
        states = {each.server.name: each.state for each in (await summary(rig)).servers}
        assert states == {"db-0": S.SUCCEEDED, "mail-0": S.FAILED, "web-0": S.SUCCEEDED}
        events = await rig.engine.texts(job)
        assert events.index("db-0 is SUCCEEDED") < events.index("web-0 is RUNNING")
        assert (sources["mail-0"].is_active, sources["web-0"].is_active) == (True, False)

        reverted = await order(rig, WaveOperation.REVERT)
        await most_at_once(rig, reverted)
        run = await summary(rig)
        assert (run.state, run.servers[0].server.name) == (WorkState.SUCCEEDED, "web-0"), run.detail
        assert {each.server.name: each.state for each in run.servers} == {
            "web-0": S.SUCCEEDED,
            "db-0": S.SUCCEEDED,
            "mail-0": S.UNCHANGED,
        }
        assert all(source.is_active for source in sources.values())
        assert rig.on_node() == ([], [])

        sources["mail-0"].refuses = {}
        again = await order(rig, WaveOperation.CUTOVER)
        await most_at_once(rig, again)
        assert (await summary(rig)).state is WorkState.SUCCEEDED, (await summary(rig)).detail
        repeated = await order(rig, WaveOperation.CUTOVER)
        await most_at_once(rig, repeated)
        assert {each.state for each in (await summary(rig)).servers} == {S.UNCHANGED}
        async with rig.services.database.begin() as uow:  # as agents say when they hear that it ends
            await uow.session.execute(update(ServerRow).values(replication_state=ReplicationState.STOPPED))
        finalized = await order(rig, WaveOperation.FINALIZE)
        await most_at_once(rig, finalized)
        assert (await summary(rig)).state is WorkState.SUCCEEDED, (await summary(rig)).detail
        for source in sources.values():
            assert (await rig.row(source.server)).lifecycle_state == LifecycleState.CUTOVER


async def held_wave(rig: Rig) -> dict[str, HeldSource]:
    """Three servers that are ready for their cutover; the web comes after the database."""
    await make_wave(rig, broken=set(), tiers=dict.fromkeys(TIERS, 1))
    found = {}
    for name in ("db-0", "web-0", "mail-0"):
        async with rig.services.database.reading() as uow:
            server = await find_in_scope(uow, EVERYTHING, name)
        source = HeldSource(AgentDouble(rig.services, server.id), lambda: talking_disk("final login: "))
        await source.ready()
        found[name] = source
    return found
