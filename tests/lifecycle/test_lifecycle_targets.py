"""Targets at work on each database: images are published, devices follow, tests run where they are set to."""

import hashlib
import random
from pathlib import Path

import pytest
from sqlalchemy import select

from app.contract.paging import EVERYTHING
from app.contract.resources.target import Follow, PublishOrder, Target, TargetCreate, TargetValidation
from app.contract.words import ImageFormat, TestState, WorkState
from app.migration.follow import service as follows
from app.migration.follow.due import order_due
from app.migration.follow.uses import delete_target
from app.migration.projects.service import ensure_default_project
from app.migration.publish.orders import order_publishing
from app.migration.servers.tables import DiskRow
from app.migration.targets import service
from app.migration.targets.errors import TargetInUse, TargetUnfit
from app.store.errors import ObjectMissing
from app.store.objects import ObjectStore
from app.wire.tree import RootNode
from app.work.tables import JobEventRow, JobRow
from tests.launch.boot_sector import talking_disk
from tests.lifecycle.conftest import SMALL, Rig
from tests.replication.agent_double import root_of
from tests.services.libvirt_daemon import LibvirtDaemon

KIB = 1024
FIRST = random.Random(1).randbytes(200 * KIB) + bytes(400 * KIB) + random.Random(2).randbytes(100 * KIB)
SECOND = random.Random(3).randbytes(70 * KIB) + FIRST[70 * KIB : 600 * KIB] + bytes(100 * KIB)


async def created(rig: Rig, name: str, kind: str, **settings: object) -> Target:
    wanted = TargetCreate.model_validate({"name": name, "kind": kind, "settings": settings})
    async with rig.services.database.begin() as uow:
        await ensure_default_project(uow)
        return await service.create_target(uow, EVERYTHING, wanted)


async def disk_of(rig: Rig, server: str) -> str:
    async with rig.services.database.reading() as uow:
        found = await uow.session.scalar(select(DiskRow.id).where(DiskRow.server_id == server))
    assert found is not None
    return found


async def published(rig: Rig, server: str, state: WorkState, **wanted: object) -> JobRow:
    order = PublishOrder.model_validate({"target": "images"} | wanted)
    async with rig.services.database.begin() as uow:
        job = await order_publishing(rig.services, uow, EVERYTHING, server, order, "ann")
    return await rig.engine.ended(job, state)


async def followed(rig: Rig, server: str) -> Follow:
    async with rig.services.database.reading() as uow:
        return await follows.get_follow(uow, EVERYTHING, server)


async def follow(rig: Rig, server: str, target: str) -> Follow:
    async with rig.services.database.begin() as uow:
        return await follows.follow(uow, EVERYTHING, server, target)


async def brought(rig: Rig, server: str, state: WorkState = WorkState.SUCCEEDED) -> JobRow:
    """Order what is due for the one server that there is, and wait for it."""
    assert await order_due(rig.services) == 1
    job = (await followed(rig, server)).job_id
    assert job is not None
    return await rig.engine.ended(job, state)


async def refusal(rig: Rig, target: Target) -> str:
    with pytest.raises(TargetInUse) as refused:
        async with rig.services.database.begin() as uow:
            await delete_target(uow, EVERYTHING, target.id, target.version)
    return refused.value.detail


async def delete(rig: Rig, target: Target) -> None:
    async with rig.services.database.begin() as uow:
        await delete_target(uow, EVERYTHING, target.id, target.version)


@pytest.mark.slow
async def test_a_checkpoint_is_published_with_sums_and_a_manifest_and_no_volume_stays(
    rig: Rig, tmp_path: Path
) -> None:
    await created(rig, "images", "image", folder=str(tmp_path / "images"))
    agent = await rig.server(FIRST)
    await agent.replicate({"disk-a": SECOND})
    rig.work()
    job = await published(rig, agent.server, WorkState.SUCCEEDED, checkpoint="1", formats=["raw", "vmdk"])
    disk = await disk_of(rig, agent.server)
    assert isinstance(job.result, dict)
    folder = Path(str(job.result["folder"]))
    assert folder.parent == tmp_path / "images"
    assert folder.name.startswith("web-1-1-")
    assert job.result["files"] == [f"{disk}.raw", f"{disk}.vmdk"]
    assert_published(folder, disk)
    assert not list(rig.machines.rglob("*.raw"))


def assert_published(folder: Path, disk: str) -> None:
    assert (folder / f"{disk}.raw").read_bytes() == FIRST
    sums = dict(line.split("  ")[::-1] for line in (folder / "SHA256SUMS").read_text().splitlines())
    assert sums[f"{disk}.raw"] == hashlib.sha256(FIRST).hexdigest()
    assert (folder / "manifest.json").exists()
    assert {item.suffix.strip(".") for item in folder.iterdir()} >= {ImageFormat.RAW, ImageFormat.VMDK}


async def test_images_that_cannot_be_made_leave_nothing_and_say_why(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    await created(rig, "images", "image", folder=str(tmp_path / "file/images"))
    agent = await rig.server(FIRST)
    rig.work()
    job = await published(rig, agent.server, WorkState.FAILED)
    assert job.code == "TARGET_NOT_READY"
    assert "cannot be used" in (job.detail or "")
    assert not list(rig.machines.rglob("*.raw"))


async def test_a_device_follows_each_checkpoint_and_many_commits_are_one_job(
    rig: Rig, tmp_path: Path
) -> None:
    agent, path = await rig.server(FIRST), tmp_path / "device.raw"
    disk = await disk_of(rig, agent.server)
    target = await created(rig, "copies", "device", node="node", devices=[{"disk": disk, "path": str(path)}])
    rig.work()
    assert (await follow(rig, agent.server, "copies")).behind == 1
    await brought(rig, agent.server)
    assert read(path) == FIRST
    assert (await followed(rig, agent.server)).checkpoint_number == 1
    assert await order_due(rig.services) == 0

    await agent.replicate({"disk-a": SECOND[: 300 * KIB] + FIRST[300 * KIB :]})
    await agent.replicate({"disk-a": SECOND})
    job = await brought(rig, agent.server)
    assert job.result == {"checkpoint_number": 3}
    assert "by what differs" in await events(rig, job.id)
    assert read(path) == SECOND
    assert "which it follows" in await refusal(rig, target)
    async with rig.services.database.begin() as uow:
        await follows.unfollow(uow, EVERYTHING, agent.server)
    await delete(rig, target)


def read(path: Path) -> bytes:
    return path.read_bytes()


async def events(rig: Rig, job: str) -> str:
    async with rig.services.database.reading() as uow:
        found = await uow.session.scalars(select(JobEventRow.text).where(JobEventRow.job_id == job))
        return "\n".join(found)


async def test_a_device_that_somebody_wrote_to_is_written_anew(rig: Rig, tmp_path: Path) -> None:
    agent, path = await rig.server(FIRST), tmp_path / "device.raw"
    disk = await disk_of(rig, agent.server)
    await created(rig, "copies", "device", node="node", devices=[{"disk": disk, "path": str(path)}])
    rig.work()
    await follow(rig, agent.server, "copies")
    await brought(rig, agent.server)
    spoil(path)
    await agent.replicate({"disk-a": SECOND})
    job = await brought(rig, agent.server)
    assert "written anew" in await events(rig, job.id)
    assert read(path) == SECOND


def spoil(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(500 * KIB)
        file.write(b"stranger")


async def test_without_the_older_checkpoint_the_whole_disk_is_written(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, path = await rig.server(FIRST), tmp_path / "device.raw"
    disk = await disk_of(rig, agent.server)
    await created(rig, "copies", "device", node="node", devices=[{"disk": disk, "path": str(path)}])
    rig.work()
    await follow(rig, agent.server, "copies")
    await brought(rig, agent.server)
    await agent.replicate({"disk-a": SECOND})
    read_root = ObjectStore.read_root

    def lost(store: ObjectStore, name: bytes) -> RootNode:
        if name == root_of(FIRST).hash:
            raise ObjectMissing("the checkpoint was dropped")
        return read_root(store, name)

    monkeypatch.setattr(ObjectStore, "read_root", lost)
    job = await brought(rig, agent.server)
    assert "written from its start" in await events(rig, job.id)
    assert read(path) == SECOND


async def test_a_strangers_device_fails_by_its_name_and_only_the_next_checkpoint_is_tried(
    rig: Rig, tmp_path: Path
) -> None:
    agent, path = await rig.server(FIRST), tmp_path / "device.raw"
    path.write_bytes(b"payroll" * 1000)
    disk = await disk_of(rig, agent.server)
    await created(rig, "copies", "device", node="node", devices=[{"disk": disk, "path": str(path)}])
    rig.work()
    await follow(rig, agent.server, "copies")
    job = await brought(rig, agent.server, WorkState.FAILED)
    assert job.code == "DEVICE_HOLDS_DATA"
    assert read(path) == b"payroll" * 1000
    assert await order_due(rig.services) == 0
    await agent.replicate({"disk-a": SECOND})
    await brought(rig, agent.server, WorkState.FAILED)


@pytest.mark.slow
async def test_a_test_runs_at_the_target_of_the_launch_settings_which_is_then_in_use(
    rig: Rig, tmp_path: Path
) -> None:
    target = await created(rig, "lab", "qemu", folder=str(tmp_path / "lab"))
    agent = await rig.server(talking_disk())
    await rig.set(agent.server, SMALL.model_copy(update={"target": "lab"}))
    assert "launch settings of server web-1" in await refusal(rig, target)
    rig.work()
    await rig.tested(agent.server, WorkState.SUCCEEDED)
    (test,) = await rig.tests(agent.server)
    assert (test.state, test.target) == (TestState.RUNNING, target.id)
    assert (tmp_path / "lab/runs" / test.id).is_dir()
    assert rig.on_node() == ([], [])
    await rig.set(agent.server, SMALL)
    assert f"test {test.id}" in await refusal(rig, target)
    await rig.engine.ended(await rig.terminate(agent.server), WorkState.SUCCEEDED)
    assert not list((tmp_path / "lab").rglob("*.raw"))
    await delete(rig, target)


@pytest.mark.root
@pytest.mark.service
@pytest.mark.slow
async def test_a_test_at_a_libvirt_is_a_domain_that_goes_with_it(rig: Rig, libvirtd: LibvirtDaemon) -> None:
    folder = libvirtd.folder / "lab"
    place = {"node": "node", "uri": libvirtd.uri, "folder": str(folder), "accelerator": "tcg"}
    target = await created(rig, "kvm1", "libvirt", **place)
    agent = await rig.server(talking_disk())
    await rig.set(agent.server, SMALL.model_copy(update={"target": "kvm1"}))
    rig.work()
    await rig.tested(agent.server, WorkState.SUCCEEDED)
    (test,) = await rig.tests(agent.server)
    assert (test.state, test.target) == (TestState.RUNNING, target.id)
    assert libvirtd.virsh("list", "--name").split() == [f"go2cloud-{test.id}"]
    await rig.engine.ended(await rig.terminate(agent.server), WorkState.SUCCEEDED)
    assert libvirtd.virsh("list", "--all", "--name").split() == []
    assert not list(folder.rglob("*.raw"))


async def test_a_target_that_makes_something_else_is_refused(rig: Rig, tmp_path: Path) -> None:
    await created(rig, "images", "image", folder=str(tmp_path / "images"))
    agent = await rig.server(FIRST)
    with pytest.raises(TargetUnfit):
        await rig.set(agent.server, SMALL.model_copy(update={"target": "images"}))
    with pytest.raises(TargetUnfit):
        await follow(rig, agent.server, "images")


async def test_a_node_says_what_stands_in_the_way_of_a_target(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "device.raw").write_bytes(b"payroll" * 1000)
    devices = [{"disk": "dsk-1", "path": str(tmp_path / "device.raw")}]
    target = await created(rig, "copies", "device", node="node", devices=devices)
    rig.work()
    async with rig.services.database.begin() as uow:
        job = await service.order_validation(
            rig.services, uow, EVERYTHING, target.name, TargetValidation(), "ann"
        )
    result = (await rig.engine.ended(job, WorkState.SUCCEEDED)).result
    assert isinstance(result, dict)
    assert (result["node"], result["possible"]) == ("node", False)
    assert "DEVICE_HOLDS_DATA" in str(result["findings"])
