"""A commit makes a checkpoint exactly when all that it refers to is there, durable and the server's own."""

import asyncio
import random
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from app.contract.resources.checkpoint import VerifyResult
from app.kit.errors import Go2CloudError
from app.kit.turns import TurnsByName
from app.migration.catalogue.service import get_checkpoint
from app.migration.replication.errors import (
    BaseMismatch,
    Fenced,
    MissingChunks,
    MissingLeaves,
    RootMismatch,
    SourceTimeWentBack,
)
from app.migration.replication.service import export_stream, verify_stream
from app.migration.services import Services
from app.store.checkpointfile import CheckpointName
from app.wire.chunks import CHUNK_SIZE
from app.wire.frames import encode_chunks, encode_leaves
from tests.replication.agent_double import AgentDouble, chunk_records, leaves_of, root_of


def disk_bytes(seed: int, chunks: int = 6) -> bytes:
    """A disk of real and zero chunks and a short last one."""
    source = random.Random(seed)
    parts = [source.randbytes(CHUNK_SIZE) if at % 3 else bytes(CHUNK_SIZE) for at in range(chunks)]
    return b"".join(parts) + source.randbytes(12_288)


async def test_the_first_checkpoint_has_the_root_of_the_disk(services: Services) -> None:
    agent = await AgentDouble.enrolled(services)
    data = disk_bytes(1)
    committed = await agent.replicate({"disk-a": data})
    assert committed.number == 1
    assert committed.disks[0].root == root_of(data).hash.hex()


async def test_the_head_does_not_go_back_in_the_sources_time(services: Services) -> None:
    """Not by a microsecond; an agent whose clock was set back states the time that the session told it."""
    agent = await AgentDouble.enrolled(services)
    old, new = disk_bytes(1), disk_bytes(2)
    assert (await agent.open({"disk-a": len(old)})).head_time == ""
    await agent.replicate({"disk-a": old})
    opened = await agent.open({"disk-a": len(new)})
    assert opened.head_time
    await agent.put_disk(new)
    message = agent.message({"disk-a": new})
    before = datetime.fromisoformat(opened.head_time) - timedelta(microseconds=1)
    with pytest.raises(SourceTimeWentBack, match="the commit shows the source at") as caught:
        await agent.send(replace(message, source_time=before.isoformat()))
    assert caught.value.extra["headTime"] == opened.head_time
    async with services.database.reading() as uow:
        assert (await get_checkpoint(uow, agent.server, "latest")).number == 1
    assert (await agent.send(replace(message, source_time=opened.head_time))).number == 2


async def test_a_repeated_commit_answers_with_the_same_checkpoint(services: Services) -> None:
    agent = await AgentDouble.enrolled(services)
    data = disk_bytes(1)
    first = await agent.replicate({"disk-a": data})
    assert await agent.commit({"disk-a": data}) == first


async def test_a_commit_that_is_repeated_while_it_is_under_way_is_one(services: Services) -> None:
    agent = await AgentDouble.enrolled(services)
    data = disk_bytes(1)
    await agent.open({"disk-a": len(data)})
    await agent.put_disk(data)
    answers = await asyncio.gather(*(agent.commit({"disk-a": data}) for _ in range(3)))
    assert len(set(answers)) == 1


async def test_rival_commits_of_one_session_in_two_gateways_are_one(services: Services) -> None:
    agent = await AgentDouble.enrolled(services)
    data = disk_bytes(1)
    await agent.open({"disk-a": len(data)})
    await agent.put_disk(data)
    other = replace(agent, services=replace(services, commits=TurnsByName()))
    answers = await asyncio.gather(agent.commit({"disk-a": data}), other.commit({"disk-a": data}))
    assert len(set(answers)) == 1


async def test_a_checkpoint_is_acknowledged_only_with_its_marker(services: Services) -> None:
    agent = await AgentDouble.enrolled(services)
    data = disk_bytes(1)
    done = await agent.replicate({"disk-a": data})
    name = CheckpointName(agent.server, done.number, done.checkpoint_id)
    services.store.unconfirm_checkpoint(name)
    assert await agent.commit({"disk-a": data}) == done
    assert services.store.has_marker(name)


async def test_two_disks_are_committed_together(services: Services) -> None:
    agent = await AgentDouble.enrolled(services)
    contents = {"disk-a": disk_bytes(1), "disk-b": disk_bytes(2)}
    committed = await agent.replicate(contents)
    assert {disk.root for disk in committed.disks} == {root_of(data).hash.hex() for data in contents.values()}


async def test_a_session_can_commit_again_on_its_own_checkpoint(services: Services) -> None:
    agent = await AgentDouble.enrolled(services)
    first, second = disk_bytes(1), disk_bytes(2)
    done = await agent.replicate({"disk-a": first})
    await agent.put_disk(second)
    message = agent.message({"disk-a": second})
    disks = tuple(replace(disk, base_root=root_of(first).hash.hex()) for disk in message.disks)
    again = await agent.send(replace(message, base=done.checkpoint_id, disks=disks))
    assert again.number == 2


async def test_an_older_generation_is_fenced_and_changes_nothing(services: Services) -> None:
    zombie = await AgentDouble.enrolled(services)
    old = disk_bytes(1)
    await zombie.open({"disk-a": len(old)})
    await zombie.put_disk(old)
    heir = AgentDouble(services, zombie.server)
    await heir.replicate({"disk-a": disk_bytes(2)})
    with pytest.raises(Fenced):
        await zombie.commit({"disk-a": old})
    async with services.database.reading() as uow:
        head = await get_checkpoint(uow, zombie.server, "latest")
    assert head.disks[0].root == root_of(disk_bytes(2)).hash.hex()


async def test_chunks_that_were_never_put_are_named(services: Services) -> None:
    agent = await AgentDouble.enrolled(services)
    data = disk_bytes(1)
    await agent.open({"disk-a": len(data)})
    records = chunk_records(data)
    await agent.put(encode_chunks(records[1:]), encode_leaves(leaves_of(data)))
    with pytest.raises(MissingChunks) as refusal:
        await agent.commit({"disk-a": data})
    assert refusal.value.extra["ids"] == [records[0].id.hex()]


async def test_leaves_that_were_never_put_are_refused(services: Services) -> None:
    agent = await AgentDouble.enrolled(services)
    data = disk_bytes(1)
    await agent.open({"disk-a": len(data)})
    await agent.put(encode_chunks(chunk_records(data)))
    with pytest.raises(MissingLeaves):
        await agent.commit({"disk-a": data})


async def test_a_root_that_the_leaves_do_not_give_is_refused(services: Services) -> None:
    agent = await AgentDouble.enrolled(services)
    data = disk_bytes(1)
    await agent.open({"disk-a": len(data)})
    await agent.put_disk(data)
    message = agent.message({"disk-a": data})
    with pytest.raises(RootMismatch):
        await agent.send(replace(message, disks=(replace(message.disks[0], root="ab" * 32),)))


async def test_a_commit_on_another_base_is_refused(services: Services) -> None:
    agent = await AgentDouble.enrolled(services)
    data = disk_bytes(1)
    await agent.replicate({"disk-a": data})
    with pytest.raises(BaseMismatch):
        await agent.send(replace(agent.message({"disk-a": data}), base="chk-of-nobody"))


async def test_a_bare_id_of_another_server_is_no_possession(services: Services) -> None:
    data = disk_bytes(1)
    await (await AgentDouble.enrolled(services, "web-1")).replicate({"disk-a": data})
    thief = await AgentDouble.enrolled(services, "web-2")
    await thief.open({"disk-a": len(data)})
    await thief.put(encode_leaves(leaves_of(data)))
    with pytest.raises(MissingChunks):
        await thief.commit({"disk-a": data})


async def test_a_refused_commit_leaves_the_last_checkpoint_exportable(services: Services) -> None:
    agent = await AgentDouble.enrolled(services)
    data = disk_bytes(1)
    await agent.replicate({"disk-a": data})
    await agent.open({"disk-a": len(data)})
    with pytest.raises(Go2CloudError):
        await agent.commit({"disk-a": disk_bytes(2)})
    async with services.database.reading() as uow:
        head = await get_checkpoint(uow, agent.server, "latest")
    assert head.number == 1
    assert [piece async for piece in export_stream(services, head, head.disks[0])]
    *_, result = [event async for event in verify_stream(services, head)]
    assert isinstance(result, VerifyResult)
    assert result.agrees
