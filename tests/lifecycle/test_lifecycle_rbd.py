"""A Ceph pool at work as a target: a server's checkpoints follow into it, and are published there."""

import json
import subprocess

import pytest

from app.contract.paging import EVERYTHING
from app.contract.resources.target import PublishOrder
from app.contract.words import WorkState
from app.migration.publish.orders import order_publishing
from app.migration.targets.errors import TargetUnfit
from app.work.tables import JobRow
from tests.lifecycle.conftest import Rig
from tests.lifecycle.test_lifecycle_targets import FIRST, SECOND, brought, created, disk_of, events, follow
from tests.services.ceph_cluster import PACKAGES, Ceph
from tests.services.processes import required_binary

pytestmark = [pytest.mark.service, pytest.mark.slow]


def exported(ceph: Ceph, spec: str) -> bytes:
    command = [required_binary("rbd", PACKAGES), "-c", str(ceph.conf), "export", spec, "-"]
    return subprocess.run(command, check=True, capture_output=True).stdout


async def ordered(rig: Rig, server: str, **wanted: object) -> str:
    order = PublishOrder.model_validate({"target": "ceph"} | wanted)
    async with rig.services.database.begin() as uow:
        return await order_publishing(rig.services, uow, EVERYTHING, server, order, "ann")


async def test_checkpoints_follow_into_a_pool_and_one_is_published_beside(
    rig: Rig, ceph: Ceph, rbd_pool: str
) -> None:
    agent = await rig.server(FIRST)
    disk, prefix = await disk_of(rig, agent.server), f"{agent.server}-"
    await created(rig, "ceph", "rbd", pool=rbd_pool, prefix=prefix, conf=str(ceph.conf))
    rig.work()
    await follow(rig, agent.server, "ceph")
    await brought(rig, agent.server)
    image = f"{rbd_pool}/{prefix}{disk}"
    assert exported(ceph, image) == FIRST
    await agent.replicate({"disk-a": SECOND})
    assert "by what differs" in await events(rig, (await brought(rig, agent.server)).id)
    assert exported(ceph, image) == SECOND

    with pytest.raises(TargetUnfit):
        await ordered(rig, agent.server, formats=["raw"])
    job = await rig.engine.ended(await ordered(rig, agent.server, checkpoint="1"), WorkState.SUCCEEDED)
    assert_published(ceph, rbd_pool, job, f"{prefix}{disk}")
    assert exported(ceph, image) == SECOND


def assert_published(ceph: Ceph, pool: str, job: JobRow, kept: str) -> None:
    assert isinstance(job.result, dict)
    files = job.result["files"]
    assert isinstance(files, list)
    assert exported(ceph, f"{pool}/{files[0]}") == FIRST
    prefix = kept.partition("dsk")[0]
    images = json.loads(ceph.run("rbd", "ls", pool, "--format", "json"))
    assert sorted(each for each in images if each.startswith(prefix)) == sorted([kept, str(files[0])])
