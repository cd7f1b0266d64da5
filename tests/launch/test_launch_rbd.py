"""Images in a real Ceph: nothing of a stranger is touched, no doubt is passed over, one writer only."""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.contract.words import FindingSeverity
from app.launch.errors import CephRefused, CephUnreachable, ImageForeign, LaunchError
from app.launch.machine import DiskContent, LaunchOrder, MachineSpec
from app.launch.rbd.command import RbdCommand
from app.launch.rbd.image import RbdImage
from app.launch.rbd.pipes import ImportDiff
from app.launch.rbd.settings import RbdSettings
from app.launch.target import Standing
from app.store.errors import VolumeBusy, VolumeDiffers, VolumeError
from tests.launch.mortal import Killed, Mortal
from tests.launch.pools import Pool, pool_of, with_settings
from tests.launch.replica import Replica, nothing
from tests.services.ceph_cluster import Ceph
from tests.services.processes import required_binary

pytestmark = [pytest.mark.service, pytest.mark.slow]

MIB = 1024 * 1024
FIRST = b"first" * 100_000 + bytes(MIB)
CONTENTS = [
    FIRST,
    FIRST[:300_000] + bytes(100_000) + FIRST[400_000:] + b"grown" * 1000,
    b"third" * 50_000 + FIRST[250_000:],
]


@pytest.fixture
def pool(ceph: Ceph, rbd_pool: str) -> Pool:
    return pool_of(ceph, rbd_pool)


def disks(replica: Replica) -> list[DiskContent]:
    return [replica.put(each, checkpoint=f"chk-{number}") for number, each in enumerate(CONTENTS, start=1)]


def image_of(pool: Pool) -> str:
    return pool.settings.spec(pool.settings.kept("dsk-1"))


async def bring(pool: Pool, replica: Replica, disk: DiskContent) -> None:
    """What the job does, without a job."""
    target = pool.target
    held = await target.standing(disk.disk)
    if held.standing is Standing.CHANGING and held.held is not None and held.wanted is not None:
        volume = target.volume(held.held)
        await target.advance(volume, held.wanted, replica.delta(volume, held.wanted))
        held = await target.standing(disk.disk)
    if held.standing is Standing.PROVED and held.held is not None:
        if held.held.checkpoint != disk.checkpoint:
            volume = target.volume(held.held)
            await target.advance(volume, disk, replica.delta(volume, disk))
    else:
        await target.materialise(disk, replica.stream(disk))


async def test_an_image_grows_and_shrinks_with_its_disk_and_keeps_the_newest_snapshots(
    pool: Pool, replica: Replica
) -> None:
    pool = with_settings(pool, keep=2)
    for disk in disks(replica):
        await bring(pool, replica, disk)
    image = image_of(pool)
    assert pool.snapshots(pool.settings.kept("dsk-1")) == ["chk-2", "chk-3"]
    assert [pool.read(f"{image}@chk-2"), pool.read(f"{image}@chk-3")] == CONTENTS[1:]
    assert pool.read(image) == CONTENTS[2]
    information = pool.listed("info", image)
    assert (information["size"], "exclusive-lock" in information["features"]) == (len(CONTENTS[2]), True)


async def test_a_kill_at_any_effect_of_a_change_leaves_what_the_same_call_goes_on_with(
    pool: Pool, replica: Replica
) -> None:
    first, second, third = disks(replica)
    await bring(pool, replica, first)
    for last, disk in ((1, second), (3, third), (4, second)):
        with pytest.MonkeyPatch.context() as patch:
            mortal = Mortal(last)
            mortal.watch(patch, RbdImage, "write")
            mortal.watch(patch, ImportDiff, "flush")
            with pytest.raises(Killed):
                await bring(pool, replica, disk)
        held = await pool.target.standing("dsk-1")
        assert held.standing in (Standing.PROVED, Standing.CHANGING)
        await bring(pool, replica, disk)
        assert pool.read(image_of(pool)) == CONTENTS[int(disk.checkpoint[-1]) - 1]


async def test_a_writer_of_a_node_that_was_given_up_is_cut_off_by_the_next_one(
    pool: Pool, replica: Replica
) -> None:
    first, second, _ = disks(replica)
    await bring(pool, replica, first)
    released, target = asyncio.Event(), pool.target
    volume = target.volume(first)

    async def paused() -> AsyncIterator[bytes]:
        pieces = [piece async for piece in replica.delta(volume, second)]
        for piece in pieces[:-1]:
            yield piece
        await released.wait()
        yield pieces[-1]

    old = asyncio.create_task(target.advance(volume, second, paused()))
    async with asyncio.timeout(60):
        while not await asyncio.to_thread(pool.listed, "lock", "ls", image_of(pool)):
            assert not old.done(), old
            await asyncio.sleep(0.2)
    await pool.target.advance(volume, second, replica.delta(volume, second))
    released.set()
    with pytest.raises((VolumeError, LaunchError)):
        await old
    assert (await pool.target.standing("dsk-1")).standing is Standing.PROVED
    assert pool.read(image_of(pool)) == CONTENTS[1]


async def test_what_another_writer_slips_into_a_change_is_seen_and_the_disk_is_written_anew(
    pool: Pool, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, _ = disks(replica)
    await bring(pool, replica, first)
    flush = ImportDiff.flush

    def disturbed(work: ImportDiff) -> None:
        pool.write(image_of(pool), b"!", at=900_000)
        flush(work)

    with monkeypatch.context() as patch:
        patch.setattr(ImportDiff, "flush", disturbed)
        with pytest.raises(VolumeDiffers):
            await bring(pool, replica, second)
    assert (await pool.target.standing("dsk-1")).standing is Standing.WORTHLESS
    await bring(pool, replica, second)
    assert pool.read(image_of(pool)) == CONTENTS[1]


async def test_an_image_that_somebody_wrote_to_is_in_doubt_and_read(pool: Pool, replica: Replica) -> None:
    disk = disks(replica)[0]
    await bring(pool, replica, disk)
    pool.write(image_of(pool), b"!", at=900_000)
    held = await pool.target.standing("dsk-1")
    assert (held.standing, held.held) == (Standing.UNSURE, disk)
    with pytest.raises(VolumeDiffers, match="was written to"):
        await pool.target.verify(pool.target.volume(disk), disk)


async def test_an_image_that_is_open_is_not_written(pool: Pool, replica: Replica) -> None:
    first, second, _ = disks(replica)
    await bring(pool, replica, first)
    with opened(pool):
        volume = pool.target.volume(first)
        for work in (
            pool.target.advance(volume, second, nothing()),
            pool.target.materialise(second, nothing()),
            pool.target.drop(volume),
        ):
            with pytest.raises(VolumeBusy, match="is open at 127"):
                await work


@contextmanager
def opened(pool: Pool) -> Iterator[None]:
    """The image open in another program, as a machine has it."""
    place = f"rbd:{image_of(pool)}:conf={pool.ceph.conf}"
    program = required_binary("qemu-io", "qemu-utils qemu-block-extra")
    command = [program, "-f", "raw", place]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as user:
        try:
            deadline = time.monotonic() + 60
            while not pool.listed("status", image_of(pool))["watchers"]:
                assert time.monotonic() < deadline, "qemu-io does not open the image"
                time.sleep(0.2)
            yield
        finally:
            user.kill()


async def test_a_strangers_image_and_another_targets_are_neither_written_nor_removed(
    pool: Pool, replica: Replica
) -> None:
    disk, image = disks(replica)[0], image_of(pool)
    pool.rbd("create", image, "--size", "1M")
    plan = await pool.target.plan(MachineSpec(), (disk,))
    assert "IMAGE_FOREIGN" in [each.code for each in plan.findings]
    with pytest.raises(ImageForeign):
        await pool.target.materialise(disk, nothing())
    await pool.target.drop(pool.target.volume(disk))
    assert pool.read(image) == bytes(MIB)
    pool.rbd("rm", image)
    await bring(pool, replica, disk)
    other = with_settings(pool, owner="tgt-2")
    with pytest.raises(ImageForeign):
        await other.target.materialise(disk, nothing())
    await other.target.drop(other.target.volume(disk))
    assert pool.read(image) == CONTENTS[0]


async def test_dropping_the_last_snapshot_takes_the_image(pool: Pool, replica: Replica) -> None:
    first, second, _ = disks(replica)
    for disk in (first, second):
        await bring(pool, replica, disk)
    await pool.target.drop(pool.target.volume(second))
    assert pool.snapshots(pool.settings.kept("dsk-1")) == ["chk-1"]
    assert (await pool.target.standing("dsk-1")).standing is Standing.WORTHLESS
    await pool.target.drop(pool.target.volume(first))
    assert pool.images() == []


async def test_a_published_image_that_was_cut_off_is_finished_by_the_same_call(
    pool: Pool, replica: Replica
) -> None:
    volume = await replica.volume(pool.target, FIRST)
    order = LaunchOrder("web-1-1-abc", MachineSpec(nics=()), (volume,))
    for last in (1, 3):
        with pytest.MonkeyPatch.context() as patch:
            mortal = Mortal(last)
            mortal.watch(patch, RbdImage, "write")
            with pytest.raises(Killed):
                await pool.target.launch(order)
        assert await pool.target.find(order.instance) is None
    found = await pool.target.launch(order)
    assert [pool.read(path) for path in found.files] == [FIRST]
    assert len(pool.images()) == 2


async def codes(pool: Pool) -> list[tuple[FindingSeverity, str]]:
    return [(each.severity, each.code) for each in await pool.target.validate()]


async def test_what_is_missing_is_named(pool: Pool, tmp_path: Path) -> None:
    assert await codes(pool) == [(FindingSeverity.OK, "POOL_USABLE")]
    assert pool.images() == []
    for changes in (
        {"pool": "none"},
        {"namespace": "none"},
        {"client": "nobody"},
        {"conf": tmp_path / "none.conf"},
    ):
        found = await with_settings(pool, **changes).target.validate()
        assert [each.code for each in found] == ["CEPH_REFUSED"], (changes, found)
        assert found[0].remedy


async def test_a_client_without_rights_is_told_which_it_needs(pool: Pool) -> None:
    name = f"client.{pool.settings.prefix}x"
    key = pool.ceph.run("ceph", "auth", "get-or-create", name, "mon", "profile rbd")
    with (pool.ceph.folder / "keyring").open("a") as keyring:
        keyring.write(key)
    command = RbdCommand(with_settings(pool, client=name.removeprefix("client.")).settings)
    with pytest.raises(CephRefused, match="not permitted") as refused:
        command.run("ls", pool.settings.pool)
    assert f"profile rbd pool={pool.settings.pool}" in (refused.value.remedy or "")


async def test_a_cluster_that_does_not_answer_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "ceph.conf").write_text(
        "[global]\nmon_host = 127.0.0.1:1\nkey = x\nauth_client_required = none\n"
    )
    settings = RbdSettings("images", "tgt-1", conf=tmp_path / "ceph.conf")
    with pytest.raises(CephUnreachable, match="connect"):
        await asyncio.to_thread(RbdCommand(settings, connect_seconds=2).run, "ls", "images")
