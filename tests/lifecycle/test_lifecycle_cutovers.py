"""Cutovers as jobs, on each database and with real machines: to the end, undone, reverted, finalized."""

from pathlib import Path

import pytest
from sqlalchemy import select, update

from app.contract.cutoverwords import CutoverPhase, CutoverState
from app.contract.paging import EVERYTHING, PageRequest
from app.contract.resources.cutover import Cutover, CutoverOrder
from app.contract.resources.target import Target, TargetCreate, TargetUpdate
from app.contract.words import (
    HoldPhase,
    HoldServices,
    InstancePurpose,
    LifecycleState,
    ReplicationGoal,
    WorkState,
)
from app.kit.errors import Go2CloudError
from app.launch.errors import InstanceRetired
from app.launch.machine import LaunchOrder, MachineSpec, Volume
from app.migration.cutover import evidence, orders, reversing, service
from app.migration.cutover.errors import (
    CutoverNotSucceeded,
    HeadDegraded,
    NotFrozen,
    ReplicationUnhealthy,
)
from app.migration.follow.uses import update_target
from app.migration.hold.tables import HoldRow
from app.migration.replication.tables import CheckpointRow, DiskRootRow
from app.migration.servers.enrolment import enroll, find_server
from app.migration.servers.errors import LifecycleNotAllowed
from app.migration.targets.errors import TargetInUse, TargetNotFound
from app.migration.targets.opening import target_for
from app.migration.targets.service import create_target
from app.wire.messages import Enroll, Inventory
from app.work.errors import JobStands, JobSuperseded
from app.work.tables import JobEventRow, JobRow
from tests.launch.boot_sector import dead_disk, talking_disk
from tests.lifecycle.conftest import Rig
from tests.lifecycle.held_source import HeldSource
from tests.replication.agent_double import LEASE, AgentDouble

pytestmark = pytest.mark.slow

ON_SQLITE = pytest.mark.parametrize("database_settings", ["sqlite"], indirect=True)
"""Where the database makes no difference, one of them is enough."""
FINAL = talking_disk("\r\nthe last words\r\nfinal login: ")


async def held(rig: Rig, content: bytes = FINAL, first: bytes | None = None) -> HeldSource:
    """A server that is ready for its cutover, with what its disk holds at the end."""
    agent = await rig.server(first or talking_disk())
    source = HeldSource(agent, lambda: content)
    await source.ready()
    return source


async def order(rig: Rig, server: str, **members: object) -> str:
    wanted = CutoverOrder.model_validate(members)
    async with rig.services.database.begin() as uow:
        return await orders.order_cutover(rig.services, uow, EVERYTHING, server, wanted, "ann")


async def cut_over(rig: Rig, server: str, state: WorkState, **members: object) -> JobRow:
    return await rig.engine.ended(await order(rig, server, **members), state)


async def cutovers(rig: Rig, server: str) -> tuple[Cutover, ...]:
    async with rig.services.database.reading() as uow:
        return (await service.list_cutovers(uow, server, PageRequest())).items


async def lifecycle(rig: Rig, server: str) -> LifecycleState:
    return LifecycleState((await rig.row(server)).lifecycle_state)


async def finalize(rig: Rig, server: str) -> str:
    async with rig.services.database.begin() as uow:
        return await orders.finalize(rig.services, uow, EVERYTHING, server, "ann")


async def test_a_server_is_cut_over_finalized_disconnected_and_archived(rig: Rig) -> None:
    source = await held(rig)
    rig.work()
    async with source.running():
        await cut_over(rig, source.server, WorkState.SUCCEEDED)
        (made,) = await cutovers(rig, source.server)
        assert (made.state, made.passed, made.source_active) == (CutoverState.SUCCEEDED, True, False)
        assert [each.phase for each in made.phases] == list(CutoverPhase)
        assert all(each.finished_at for each in made.phases)
        assert made.downtime_seconds is not None
        assert (made.checkpoint_number, made.checkpoint_id) == (
            2,
            (await rig.row(source.server)).head_checkpoint_id,
        )
        assert "screenshot" in made.evidence
        async with rig.services.database.reading() as uow:
            assert b"the last words" in await evidence.get_evidence(uow, made.id, "serial")
        runs, volumes = rig.on_node()
        assert (runs, len(volumes)) == ([made.id], 1)
        assert source.history == ["QUIESCED", "FINAL", "HELD"]
        assert not source.is_active
        async with rig.services.database.reading() as uow:
            assert await uow.session.scalar(select(HoldRow.renewed_at)), "its job said that it went on"
        assert await lifecycle(rig, source.server) is LifecycleState.CUTTING_OVER
        with pytest.raises(LifecycleNotAllowed):
            await order(rig, source.server)
        await at_rest(rig, source.server)
        await rig.engine.ended(await finalize(rig, source.server), WorkState.SUCCEEDED)
    (made,) = await cutovers(rig, source.server)
    assert made.state is CutoverState.FINALIZED
    assert {each.kind.value for each in made.ledger} == {"left", "removed", "kept"}
    row = await rig.row(source.server)
    assert (row.lifecycle_state, row.goal) == (LifecycleState.CUTOVER, ReplicationGoal.STOP)
    assert rig.on_node()[0] == [made.id]
    assert source.history == ["QUIESCED", "FINAL", "HELD"]
    for _ in range(2):
        async with rig.services.database.begin() as uow:
            server = await orders.archive(rig.services, uow, EVERYTHING, source.server)
            assert server.archived
    async with rig.services.database.begin() as uow:
        await orders.disconnect(rig.services, uow, EVERYTHING, source.server, "ann")
    assert await lifecycle(rig, source.server) is LifecycleState.DISCONNECTED


@ON_SQLITE
@pytest.mark.parametrize(
    ("told", "code", "said"),
    [("STARTED", "SOURCE_REBOOTED", "it may be active"), ("STOPPED", "SOURCE_REBOOTED", "held")],
)
async def test_a_ledger_says_of_a_source_that_was_rebooted_how_it_is_left(
    rig: Rig, told: str, code: str, said: str
) -> None:
    source = await held(rig)
    rig.work()
    async with source.running():
        await cut_over(rig, source.server, WorkState.SUCCEEDED)
    async with rig.services.database.begin() as uow:
        await uow.session.execute(update(HoldRow).values(services=told, code=code, detail="ran a while"))
    await at_rest(rig, source.server)
    await rig.engine.ended(await finalize(rig, source.server), WorkState.SUCCEEDED)
    (left,) = [each for each in (await cutovers(rig, source.server))[0].ledger if each.what == "the source"]
    assert left.detail == f"{said}: its services are {told}; {code} ran a while"


async def at_rest(rig: Rig, server: str) -> None:
    """The agent says that it rests, as it does when the goal is STOP."""
    async with rig.services.database.begin() as uow:
        (await find_server(uow, server)).replication_state = "STOPPED"


async def replicating_back(rig: Rig, server: str) -> str:
    """The launched machine replicates; the id of what it is at the service."""
    async with rig.services.database.begin() as uow:
        _, token = await reversing.order_reverse(rig.services, uow, EVERYTHING, server)
        assert token.secret is not None
        made = await enroll(uow, Enroll(token.secret, "inside", "1.0", Inventory("web-1")), LEASE)
    await AgentDouble(rig.services, made.server_id, "inside").replicate({"disk-a": FINAL})
    return made.server_id


async def told(rig: Rig, job: str) -> list[str]:
    async with rig.services.database.reading() as uow:
        return list(await uow.session.scalars(select(JobEventRow.text).where(JobEventRow.job_id == job)))


@ON_SQLITE
async def test_a_revert_ends_the_machine_before_the_source_runs_again(rig: Rig) -> None:
    source = await held(rig)
    source.on_release = lambda: seen.append(rig.on_node())
    seen: list[tuple[list[str], list[str]]] = []
    rig.work()
    async with source.running():
        job = await cut_over(rig, source.server, WorkState.SUCCEEDED)
        back = await replicating_back(rig, source.server)
        source.is_away = True
        revert = await rig.revert(source.server)
        await rig.engine.until(revert, lambda row: row.step == 2)
        assert rig.on_node() == ([], [])
        assert await lifecycle(rig, source.server) is LifecycleState.CUTTING_OVER
        source.is_away = False
        await rig.engine.ended(revert, WorkState.SUCCEEDED)
        assert seen == [([], [])]
        assert source.is_active
        (made,) = await cutovers(rig, source.server)
        assert (made.state, made.forwards) == (CutoverState.REVERTED, ())
        assert await lifecycle(rig, source.server) is LifecycleState.READY_FOR_CUTOVER
        assert (await rig.row(back)).lifecycle_state == "DISCONNECTED"
        assert any("only in the checkpoints of web-1-reverse" in text for text in await told(rig, revert))
        with pytest.raises(Go2CloudError):
            await rig.engine.retry(job.id)
        await late_launch(rig, made.id)


@ON_SQLITE
async def test_a_target_is_not_led_away_from_a_machine_that_a_revert_has_to_end(
    rig: Rig, tmp_path: Path
) -> None:
    async def moved(folder: str, version: int) -> Target:
        changes = TargetUpdate.model_validate({"name": f"lab-{version}", "settings": {"folder": folder}})
        async with rig.services.database.begin() as uow:
            return await update_target(uow, EVERYTHING, lab.id, version, changes)

    wanted = TargetCreate.model_validate(
        {"name": "lab", "kind": "qemu", "settings": {"folder": str(tmp_path / "lab")}}
    )
    source = await held(rig)
    async with rig.services.database.begin() as uow:
        lab = await create_target(uow, EVERYTHING, wanted)
    rig.work()
    async with source.running():
        await cut_over(rig, source.server, WorkState.SUCCEEDED, target="lab")
        (made,) = await cutovers(rig, source.server)
        assert (tmp_path / "lab/runs" / made.id).is_dir()
        with pytest.raises(TargetInUse):
            await moved(str(tmp_path / "elsewhere"), 1)
        same = await moved(str(tmp_path / "lab"), 1)
        assert same.version == 2, "a name may change at any time"
        await rig.engine.ended(await rig.revert(source.server), WorkState.SUCCEEDED)
        assert source.is_active
        assert not (tmp_path / "lab/runs" / made.id).is_dir(), "both sides would be active"
    assert (await moved(str(tmp_path / "elsewhere"), 2)).version == 3


REFUSALS = [
    (HoldPhase.QUIESCED, "HOOK_FAILED"),
    (HoldPhase.FINAL, "FINAL_NOT_FROZEN"),
    (HoldPhase.HELD, "ORDER_UNKNOWN"),
]


@ON_SQLITE
@pytest.mark.parametrize(("phase", "code"), REFUSALS)
async def test_a_source_that_cannot_go_on_gets_its_services_back(
    rig: Rig, phase: HoldPhase, code: str
) -> None:
    source = await held(rig)
    source.refuses = {phase: code}
    rig.work()
    async with source.running():
        job = await cut_over(rig, source.server, WorkState.FAILED)
    assert job.code == code
    assert source.is_active
    assert source.history[-1] == "RELEASED"
    assert rig.on_node() == ([], [])
    (made,) = await cutovers(rig, source.server)
    assert made.state is CutoverState.UNDONE
    assert await lifecycle(rig, source.server) is LifecycleState.READY_FOR_CUTOVER
    async with rig.services.database.reading() as uow:
        base = await uow.session.get_one(CheckpointRow, made.base_checkpoint_id)
        assert not base.kept


@ON_SQLITE
async def test_a_source_without_a_hook_is_cut_over_only_where_that_is_allowed(rig: Rig) -> None:
    source = await held(rig)
    source.services = HoldServices.NO_HOOK
    rig.work()
    async with source.running():
        job = await cut_over(rig, source.server, WorkState.FAILED)
    assert (job.code, "--allow-active-source" in str(job.remedy)) == ("SOURCE_ACTIVE", True)


@ON_SQLITE
async def test_a_cancelled_cutover_leaves_everything_as_it_was(rig: Rig) -> None:
    source = await held(rig)
    rig.work()
    job = await order(rig, source.server)
    await rig.engine.until(job, lambda row: row.step == 4)
    with pytest.raises(JobStands):
        await rig.revert(source.server)
    await rig.engine.cancel(job)
    async with source.running():
        await rig.engine.ended(job, WorkState.CANCELLED)
    (made,) = await cutovers(rig, source.server)
    assert made.state is CutoverState.UNDONE
    assert source.is_active
    assert rig.on_node() == ([], [])
    assert await lifecycle(rig, source.server) is LifecycleState.READY_FOR_CUTOVER


@ON_SQLITE
async def test_a_machine_that_does_not_come_up_stays_until_an_operator_decides(rig: Rig) -> None:
    source = await held(rig, dead_disk())
    source.services = HoldServices.NO_HOOK
    rig.work()
    async with source.running():
        job = await cut_over(rig, source.server, WorkState.FAILED, allowActiveSource=True)
        assert job.code == "NO_BOOTABLE_DEVICE"
        assert any("still active" in text for text in await rig.engine.texts(job.id))
        (made,) = await cutovers(rig, source.server)
        assert made.source_active
        assert (made.state, made.passed, made.downtime_seconds) == (CutoverState.LAUNCHED, False, None)
        assert "screenshot" in made.evidence
        assert await lifecycle(rig, source.server) is LifecycleState.CUTTING_OVER
        with pytest.raises(CutoverNotSucceeded):
            await finalize(rig, source.server)
        with pytest.raises(Go2CloudError):
            await rig.engine.cancel(job.id)
        await rig.engine.retry(job.id)
        await rig.engine.ended(job.id, WorkState.FAILED)
        assert rig.on_node()[0] == [made.id]
        await rig.engine.ended(await rig.revert(source.server), WorkState.SUCCEEDED)
        with pytest.raises(JobSuperseded):
            await rig.engine.retry(job.id)
    assert source.history[-1] == "RELEASED"
    assert rig.on_node() == ([], [])


async def test_what_cannot_be_cut_over_is_refused_plainly(rig: Rig) -> None:
    bare = await AgentDouble.enrolled(rig.services, "bare")
    with pytest.raises(LifecycleNotAllowed):
        await order(rig, bare.server)
    source = await held(rig)
    with pytest.raises(TargetNotFound):
        await order(rig, source.server, target="moon")
    async with rig.services.database.begin() as uow:
        (await find_server(uow, source.server)).goal = ReplicationGoal.PAUSE
    with pytest.raises(ReplicationUnhealthy):
        await order(rig, source.server)
    async with rig.services.database.begin() as uow:
        server = await find_server(uow, source.server)
        server.goal = ReplicationGoal.RUN
        head = await uow.session.get_one(CheckpointRow, server.head_checkpoint_id)
        head.label = "quiet"
    with pytest.raises(NotFrozen):
        await order(rig, source.server, override="never mind")
    await source.freeze_label()
    await degrade(rig, source.server)
    with pytest.raises(HeadDegraded):
        await order(rig, source.server)
    await order(rig, source.server, override="the disk is scratch space")


async def degrade(rig: Rig, server: str) -> None:
    """The source could not read a part of its disk."""
    async with rig.services.database.begin() as uow:
        head = (await find_server(uow, server)).head_checkpoint_id
        same = update(DiskRootRow).where(DiskRootRow.checkpoint_id == head)
        await uow.session.execute(same.values(unreadable=[[0, 4096]]))


async def late_launch(rig: Rig, cutover: str) -> None:
    """What a process does that was stopped right before it took the target's lock, and wakes up now."""
    target = target_for(rig.services, None, InstancePurpose.CUTOVER)
    volume = Volume("chk-1", "dsk-1", rig.machines / "none.raw", 1 << 20, "00" * 32)
    with pytest.raises(InstanceRetired):
        await target.launch(LaunchOrder(cutover, MachineSpec(), (volume,), InstancePurpose.CUTOVER))
    assert rig.on_node() == ([], [])
