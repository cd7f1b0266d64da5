"""Who needs a checkpoint, one by one: it is kept until the last of them lets go."""

from datetime import timedelta

import pytest

from app.kit.database import UnitOfWork
from app.kit.ids import new_id
from app.migration.cutover import cutovers
from app.migration.cutover.tables import CutoverRow
from app.migration.hold.rows import new_row
from app.migration.launch import tests as launching
from app.migration.publish.tables import PublishingRow
from app.migration.replication.errors import CheckpointNotFound
from app.migration.replication.tables import CheckpointRow
from app.migration.retention.checkpoints import keep, let_go
from app.migration.services import Services
from tests.replication.agent_double import AgentDouble
from tests.retention.conftest import a_test, job

CONTENT = {"disk-a": b"x" * 65536}
NOW = timedelta(0)


async def kept(services: Services, checkpoint: str) -> bool:
    async with services.database.reading() as uow:
        return (await uow.session.get_one(CheckpointRow, checkpoint)).kept


@pytest.fixture
async def checkpoint(services: Services, agent: AgentDouble) -> str:
    """A checkpoint that is kept; its id."""
    made = (await agent.replicate(CONTENT)).checkpoint_id
    async with services.database.begin() as uow:
        await keep(uow, made)
    return made


async def a_cutover(uow: UnitOfWork, agent: AgentDouble, state: str, **members: str) -> CutoverRow:
    row = CutoverRow(
        id=new_id("cut"),
        server_id=agent.server,
        job_id=await job(uow, NOW, state="RUNNING"),
        effect=new_id("eff"),
        state=state,
        target="qemu",
        machine={},
        forwards=[],
        passed_over=[],
        phases=[],
        ledger=[],
        created_at=uow.now,
        **members,
    )
    uow.session.add(row)
    await uow.session.flush()
    return row


async def test_a_checkpoint_that_is_gone_cannot_be_kept(services: Services) -> None:
    async with services.database.begin() as uow:
        with pytest.raises(CheckpointNotFound, match="dropped by retention"):
            await keep(uow, "chk-none")


async def test_what_nobody_needs_is_let_go_and_what_is_gone_is_no_matter(
    services: Services, checkpoint: str
) -> None:
    async with services.database.begin() as uow:
        await let_go(uow, checkpoint, None, "chk-none", checkpoint)
    assert not await kept(services, checkpoint)


NEEDS = [
    ("test", "PREPARING", True),
    ("test", "RUNNING", True),
    ("test", "TERMINATED", False),
    *((end, state, True) for end in ("base", "final") for state in ("PREPARING", "STOPPING", "LAUNCHED")),
    *((end, state, True) for end in ("base", "final") for state in ("SUCCEEDED", "REVERTING")),
    *(("final", state, True) for state in ("REVERTED", "FINALIZED")),
    *(("base", state, False) for state in ("REVERTED", "FINALIZED", "UNDONE")),
    ("final", "UNDONE", False),
    ("hold", "stands", True),
    ("hold", "over", False),
    ("publication", "", True),
]


@pytest.mark.parametrize(("who", "state", "stays"), NEEDS)
async def test_it_is_kept_as_long_as_somebody_needs_it(
    services: Services, agent: AgentDouble, checkpoint: str, who: str, state: str, stays: bool
) -> None:
    async with services.database.begin() as uow:
        await needs(uow, agent, checkpoint, who, state)
    async with services.database.begin() as uow:
        await let_go(uow, checkpoint)
    assert await kept(services, checkpoint) is stays


async def needs(uow: UnitOfWork, agent: AgentDouble, checkpoint: str, who: str, state: str) -> None:
    """Somebody needs the checkpoint, or did."""
    if who == "test":
        await a_test(uow, agent, checkpoint, NOW, passed=None, state=state)
    elif who == "base":
        await a_cutover(uow, agent, state, base_checkpoint_id=checkpoint)
    elif who == "final":
        await a_cutover(uow, agent, state, checkpoint_id=checkpoint)
    elif who == "publication":
        uow.session.add(PublishingRow(job_id=await job(uow, NOW, state="RUNNING"), checkpoint_id=checkpoint))
    else:
        await a_hold(uow, agent, checkpoint, "cut-1", stands=state == "stands")


async def a_hold(
    uow: UnitOfWork, agent: AgentDouble, checkpoint: str, cutover: str, *, stands: bool = False
) -> None:
    """A hold that has this final checkpoint."""
    row = await new_row(uow, agent.server, cutover, "FINAL", 60)  # type: ignore[arg-type]  # a word
    row.checkpoint_id, row.standing_for = checkpoint, row.standing_for if stands else None
    uow.session.add(row)
    await uow.session.flush()


async def test_a_test_that_ends_without_a_verdict_leaves_a_cutover_its_checkpoint(
    services: Services, agent: AgentDouble, checkpoint: str
) -> None:
    async with services.database.begin() as uow:
        test = await a_test(uow, agent, checkpoint, NOW, passed=None, state="PREPARING")
        cutover = await a_cutover(uow, agent, "PREPARING", base_checkpoint_id=checkpoint)
    async with services.database.begin() as uow:
        await launching.unchoose(uow, test.effect)
    assert await kept(services, checkpoint), "the cutover needs it"
    async with services.database.begin() as uow:
        await cutovers.unchoose(uow, cutover.effect)
    assert not await kept(services, checkpoint)


async def test_a_cutover_that_is_undone_leaves_a_test_its_checkpoint(
    services: Services, agent: AgentDouble, checkpoint: str
) -> None:
    async with services.database.begin() as uow:
        test = await a_test(uow, agent, checkpoint, NOW, passed=None, state="RUNNING")
        cutover = await a_cutover(uow, agent, "STOPPING", checkpoint_id=checkpoint)
    async with services.database.begin() as uow:
        await cutovers.unchoose(uow, cutover.effect)
    assert await kept(services, checkpoint), "the test needs it"
    async with services.database.begin() as uow:
        await launching.unchoose(uow, test.effect)
    assert not await kept(services, checkpoint)


@pytest.mark.parametrize("is_reverted", [True, False])
async def test_a_final_checkpoint_that_only_the_hold_knows_goes_with_its_cutover(
    services: Services, agent: AgentDouble, checkpoint: str, is_reverted: bool
) -> None:
    """It was made, and the cutover was cancelled before it wrote that down."""
    async with services.database.begin() as uow:
        cutover = await a_cutover(uow, agent, "REVERTING" if is_reverted else "STOPPING")
        await a_hold(uow, agent, checkpoint, cutover.id)
    async with services.database.begin() as uow:
        await (cutovers.reverted(uow, cutover.id) if is_reverted else cutovers.unchoose(uow, cutover.effect))
    assert not await kept(services, checkpoint)
