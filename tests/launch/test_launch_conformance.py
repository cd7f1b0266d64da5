"""What `app.launch.target.Target` promises, held against each driver."""

import json
import random
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from app.contract.words import BootFailure, ImageFormat, InstanceState
from app.launch.boot.checks import CheckPlan, HttpCheck, ImagesCheck, LoginCheck
from app.launch.device.driver import DevicePlace, DeviceSettings, DeviceTarget
from app.launch.errors import InstanceDiffers, InstanceUnknown, LaunchError, SettingsWrong, VolumeUnproved
from app.launch.image.driver import ImageSettings, ImageTarget
from app.launch.image.folder import FolderPlace
from app.launch.libvirt.driver import LibvirtTarget
from app.launch.machine import DiskContent, LaunchOrder, MachineSpec, Volume
from app.launch.qemu.driver import QemuSettings, QemuTarget
from app.launch.target import Target
from app.store.errors import VolumeError
from tests.launch.buckets import Bucket, bucket_of
from tests.launch.conftest import end_all
from tests.launch.devices import loop_device
from tests.launch.domains import libvirt_target
from tests.launch.pools import Pool, pool_of
from tests.launch.replica import Replica, nothing

pytestmark = pytest.mark.slow

MIB = 1024 * 1024
MACHINE = MachineSpec(memory_mib=256, ports=(8080,))


@dataclass(frozen=True)
class Driver:
    """A driver under test."""

    target: Target
    again: Target
    """The same settings in another object: what another process has."""
    plan: CheckPlan
    state: InstanceState
    places: tuple[Path, ...]
    """Where instances lie."""

    def names(self) -> list[str]:
        """What there is of instances."""
        return [
            item.name
            for place in self.places
            if place.exists()
            for item in place.iterdir()
            if item.name != ".lock"
        ]

    def bytes_of(self, volume: Volume) -> bytes:
        """What is at the volume's place; a device may be larger."""
        with volume.path.open("rb") as file:
            return file.read(volume.size)

    def spoil(self, volume: Volume) -> None:
        """Write to the volume as a stranger does."""
        volume.path.chmod(0o600)
        with volume.path.open("r+b") as file:
            file.write(b"changed")


@dataclass(frozen=True)
class RbdDriver(Driver):
    """A driver whose volumes are snapshots of images."""

    pool: Pool

    def names(self) -> list[str]:
        return self.pool.published()

    def bytes_of(self, volume: Volume) -> bytes:
        assert self.pool.read(str(volume.path).split("@")[0]) == self.pool.read(volume.path)
        return self.pool.read(volume.path)

    def spoil(self, volume: Volume) -> None:
        self.pool.write(str(volume.path).split("@")[0], b"!")


@dataclass(frozen=True)
class BucketDriver(Driver):
    """A driver whose instances are objects."""

    bucket: Bucket

    def names(self) -> list[str]:
        begun = [key.removeprefix(f"{self.bucket.settings.prefix}/") for key in self.bucket.uploads()]
        return super().names() + sorted({name.partition("/")[0] for name in self.bucket.names() + begun})


DEVICE = pytest.param("device", marks=pytest.mark.root)
LIBVIRT = pytest.param("libvirt", marks=[pytest.mark.root, pytest.mark.service])

RBD = pytest.param("rbd", marks=pytest.mark.service)
BUCKET = pytest.param("bucket", marks=pytest.mark.service)


@pytest.fixture(params=["qemu", "image", "file", BUCKET, DEVICE, LIBVIRT, RBD])
def driver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Driver]:
    if request.param == "file":
        yield device_driver(tmp_path / "disk.raw", tmp_path / "work")
        return
    if request.param == "device":
        with loop_device(tmp_path / "device.img", 256 * MIB) as path:
            yield device_driver(path, tmp_path / "work")
        return
    if request.param == "rbd":
        yield rbd_driver(pool_of(request.getfixturevalue("ceph"), request.getfixturevalue("rbd_pool")))
        return
    if request.param == "image":
        place = FolderPlace(tmp_path / "images")
        settings = ImageSettings(place, tmp_path / "work", tuple(ImageFormat))
        plan = CheckPlan((ImagesCheck(),))
        yield Driver(
            ImageTarget(settings), ImageTarget(settings), plan, InstanceState.PUBLISHED, (place.path,)
        )
        return
    if request.param == "bucket":
        yield bucket_driver(bucket_of(request.getfixturevalue("bucket"), tmp_path))
        return
    plan = CheckPlan((LoginCheck(), HttpCheck(8080, body="4711")), seconds=180, settle_seconds=1)
    if request.param == "libvirt":
        with libvirt_target(request.getfixturevalue("libvirtd")) as domains:
            again, runs = LibvirtTarget(domains.settings), domains.settings.machines
            yield Driver(domains, again, plan, InstanceState.RUNNING, (runs,))
        return
    machines = QemuSettings(tmp_path / "node")
    target = QemuTarget(machines)
    yield Driver(target, QemuTarget(machines), plan, InstanceState.RUNNING, (machines.runs,))
    end_all(target)


def device_driver(path: Path, work: Path) -> Driver:
    settings = DeviceSettings((DevicePlace("dsk-1", path),), work)
    plan = CheckPlan((ImagesCheck(),))
    places = (settings.instances,)
    return Driver(DeviceTarget(settings), DeviceTarget(settings), plan, InstanceState.PUBLISHED, places)


def rbd_driver(pool: Pool) -> Driver:
    plan = CheckPlan((ImagesCheck(),))
    return RbdDriver(pool.target, pool.target, plan, InstanceState.PUBLISHED, (), pool)


def bucket_driver(bucket: Bucket) -> Driver:
    formats, plan = tuple(ImageFormat), CheckPlan((ImagesCheck(),))
    target, again = bucket.target(*formats), bucket.target(*formats)
    return BucketDriver(target, again, plan, InstanceState.PUBLISHED, (bucket.work / "images",), bucket)


@pytest.fixture
def content() -> bytes:
    """Some data, some holes; nothing that boots."""
    return random.Random(1).randbytes(MIB) + bytes(3 * MIB) + random.Random(2).randbytes(MIB // 2)


def order_of(*volumes: Volume, instance: str = "ins-1") -> LaunchOrder:
    return LaunchOrder(instance, MACHINE, volumes)


async def test_good_settings_have_no_blocker_and_a_plan_counts_bytes(
    driver: Driver, replica: Replica, content: bytes
) -> None:
    plan = await driver.target.plan(MACHINE, (replica.put(content),))
    assert plan.possible, plan.findings
    assert plan.target == driver.target.kind
    assert plan.bytes_needed > len(content)
    assert plan.bytes_free > 0


async def test_a_volume_is_the_disk_and_is_made_once(
    driver: Driver, replica: Replica, content: bytes
) -> None:
    disk = replica.put(content)
    volume = await driver.target.materialise(disk, replica.stream(disk))
    assert driver.bytes_of(volume) == content
    assert (volume.size, volume.root) == (len(content), disk.root.hex())
    assert await driver.again.materialise(disk, nothing()) == volume


async def test_a_stream_that_is_cut_off_leaves_no_volume(
    driver: Driver, replica: Replica, content: bytes
) -> None:
    disk = replica.put(content)

    async def cut() -> AsyncIterator[bytes]:
        async for piece in replica.stream(disk):
            yield piece
            return

    with pytest.raises(VolumeError):
        await driver.target.materialise(disk, cut())
    volume = await driver.again.materialise(disk, replica.stream(disk))
    assert driver.bytes_of(volume) == content


async def test_a_volume_that_was_changed_is_neither_kept_nor_launched(
    driver: Driver, replica: Replica, content: bytes
) -> None:
    disk = replica.put(content)
    volume = await driver.target.materialise(disk, replica.stream(disk))
    driver.spoil(volume)
    with pytest.raises(VolumeUnproved):
        await driver.target.launch(order_of(volume))
    with pytest.raises((VolumeUnproved, VolumeError)):
        await driver.target.materialise(disk, nothing())
    await driver.target.drop(volume)
    await driver.target.drop(volume)
    assert driver.bytes_of(await driver.target.materialise(disk, replica.stream(disk))) == content


def later(content: bytes) -> bytes:
    """The disk some time after: a piece is new, a piece is zero now, and it grew."""
    return content[: MIB // 2] + bytes(MIB // 2) + b"new" * 1000 + content[MIB + 3000 :] + bytes(MIB) + b"!"


async def test_a_volume_is_advanced_to_the_next_checkpoint_and_once(
    driver: Driver, replica: Replica, content: bytes
) -> None:
    volume = await replica.volume(driver.target, content)
    disk = replica.put(later(content), checkpoint="chk-2")
    advanced = await driver.target.advance(volume, disk, replica.delta(volume, disk))
    assert advanced == driver.target.volume(disk)
    assert driver.bytes_of(advanced) == later(content)
    assert await driver.again.advance(volume, disk, nothing()) == advanced
    await driver.target.verify(advanced, disk)
    assert await driver.target.launch(order_of(advanced))
    with pytest.raises(VolumeUnproved):
        await driver.target.launch(order_of(volume, instance="ins-2"))


async def test_a_volume_in_change_is_neither_disk_and_the_change_goes_on(
    driver: Driver, replica: Replica, content: bytes
) -> None:
    volume = await replica.volume(driver.target, content)
    disk = replica.put(later(content), checkpoint="chk-2")

    async def cut() -> AsyncIterator[bytes]:
        pieces = [piece async for piece in replica.delta(volume, disk)]
        for piece in pieces[:-2]:
            yield piece

    with pytest.raises(VolumeError):
        await driver.target.advance(volume, disk, cut())
    for each in (volume, driver.target.volume(disk)):
        with pytest.raises(VolumeUnproved):
            await driver.target.launch(order_of(each))
    other = replica.put(content * 2, checkpoint="chk-3")
    with pytest.raises(VolumeUnproved):
        await driver.target.advance(volume, other, replica.delta(volume, other))
    advanced = await driver.again.advance(volume, disk, replica.delta(volume, disk))
    assert driver.bytes_of(advanced) == later(content)


async def test_a_volume_that_was_never_verified_is_not_launched(driver: Driver, tmp_path: Path) -> None:
    path = tmp_path / "stranger.raw"
    path.write_bytes(bytes(MIB))
    with pytest.raises(VolumeUnproved):
        await driver.target.launch(order_of(Volume("chk-1", "dsk-1", path, MIB, "00")))
    assert driver.names() == []


async def test_launching_twice_is_one_instance_and_another_order_is_refused(
    driver: Driver, replica: Replica, content: bytes
) -> None:
    volume = await replica.volume(driver.target, content)
    first = await driver.target.launch(order_of(volume))
    assert first.state is driver.state
    assert await driver.again.launch(order_of(volume)) == first
    assert await driver.again.find("ins-1") == first
    with pytest.raises(InstanceDiffers):
        await driver.again.launch(replace(order_of(volume), machine=MachineSpec(memory_mib=300)))
    assert driver.names() == ["ins-1"]


async def test_terminating_leaves_nothing_and_may_be_repeated(
    driver: Driver, replica: Replica, content: bytes
) -> None:
    volume = await replica.volume(driver.target, content)
    await driver.target.launch(order_of(volume))
    assert await driver.again.terminate("ins-1")
    assert not await driver.target.terminate("ins-1")
    assert await driver.target.find("ins-1") is None
    assert driver.names() == []
    assert driver.bytes_of(volume) == content
    assert await driver.target.launch(order_of(volume))


async def test_what_was_never_launched_is_unknown(driver: Driver, tmp_path: Path) -> None:
    assert await driver.target.find("ins-none") is None
    assert not await driver.target.terminate("ins-none")
    with pytest.raises(InstanceUnknown):
        await driver.target.check("ins-none", driver.plan, tmp_path / "evidence")


@pytest.mark.parametrize("name", ["../x", "", ".hidden", "a/b", "a b"])
async def test_an_id_never_leaves_the_folder(driver: Driver, name: str) -> None:
    with pytest.raises(SettingsWrong):
        await driver.target.terminate(name)
    with pytest.raises(SettingsWrong):
        DiskContent("chk-1", name, MIB, bytes(32))


async def test_a_plan_that_asks_for_what_the_target_has_not_is_refused(
    driver: Driver, replica: Replica, content: bytes, tmp_path: Path
) -> None:
    await driver.target.launch(order_of(await replica.volume(driver.target, content)))
    wrong = CheckPlan((ImagesCheck(), HttpCheck(81)))
    with pytest.raises(LaunchError):
        await driver.target.check("ins-1", wrong, tmp_path / "evidence")


async def test_a_check_passes_and_its_proof_outlives_the_instance(
    driver: Driver, replica: Replica, tiny: bytes, tmp_path: Path
) -> None:
    volume = await replica.volume(driver.target, tiny)
    before = driver.bytes_of(volume)
    await driver.target.launch(order_of(volume))
    proof = await driver.again.check("ins-1", driver.plan, tmp_path / "evidence")
    assert proof.passed, proof
    assert [result.passed for result in proof.checks] == [True] * len(driver.plan.checks)
    await driver.target.terminate("ins-1")
    kept = json.loads((tmp_path / "evidence/proof.json").read_text())
    assert (kept["passed"], kept["instance"]) == (True, "ins-1")
    assert driver.bytes_of(volume) == before


async def test_broken_images_fail_by_name(
    images: ImageTarget, replica: Replica, content: bytes, tmp_path: Path
) -> None:
    found = await images.launch(order_of(await replica.volume(images, content)))
    with found.files[1].open("r+b") as file:
        file.seek(100_000)
        file.write(b"rot")
    proof = await images.check("ins-1", CheckPlan((ImagesCheck(),)), tmp_path / "evidence")
    assert (proof.passed, proof.reason) == (False, BootFailure.IMAGE_DIFFERS)
    assert found.files[1].name in proof.detail
