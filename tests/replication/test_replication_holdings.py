"""What the store holds is measured: room, what was stored, and how much it stands for."""

import random

from prometheus_client import REGISTRY

from app.migration.replication.holdings import holdings, measure
from app.migration.services import Services
from app.wire.chunks import CHUNK_SIZE
from tests.replication.agent_double import AgentDouble

RANDOM = random.Random(12)
ONE, OTHER = RANDOM.randbytes(2 * CHUNK_SIZE), RANDOM.randbytes(CHUNK_SIZE)


async def test_an_empty_store_holds_nothing_and_has_room(services: Services) -> None:
    await measure(services)
    for kind in ("stored", "raw", "replicated"):
        assert REGISTRY.get_sample_value("go2cloud_held_bytes", {"kind": kind}) == 0
    free = REGISTRY.get_sample_value("go2cloud_store_free_bytes")
    size = REGISTRY.get_sample_value("go2cloud_store_size_bytes")
    assert free is not None
    assert size is not None
    assert 0 < free < size


async def test_what_two_disks_have_in_common_is_held_once(services: Services) -> None:
    agent = await AgentDouble.enrolled(services)
    await agent.replicate({"disk-a": ONE, "disk-b": ONE + OTHER})
    async with services.database.reading() as uow:
        held = await holdings(uow)
    assert held.replicated == 2 * len(ONE) + len(OTHER)
    assert held.raw == len(ONE) + len(OTHER)
    assert held.raw <= held.stored < 1.1 * held.raw


async def test_older_checkpoints_count_as_stored_and_not_as_replicated(services: Services) -> None:
    agent = await AgentDouble.enrolled(services)
    await agent.replicate({"disk-a": ONE})
    await agent.replicate({"disk-a": OTHER + ONE[len(OTHER) :]})
    async with services.database.reading() as uow:
        held = await holdings(uow)
    assert held.replicated == len(ONE)
    assert held.raw == len(ONE) + len(OTHER)
