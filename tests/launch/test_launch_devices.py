"""Devices that are written in place: no stranger's data is lost, no doubt passed over, one writer only."""

import itertools
import secrets
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.contract.words import FindingSeverity
from app.launch.device import place
from app.launch.device.driver import DevicePlace, DeviceSettings, DeviceTarget
from app.launch.device.note import Notes
from app.launch.errors import DeviceHoldsData, SettingsWrong, VolumeUnproved
from app.launch.machine import DiskContent, LaunchOrder, MachineSpec
from app.launch.target import Standing
from app.store.errors import VolumeBusy, VolumeDiffers, VolumeError, VolumeTooSmall, VolumeUnusable
from app.store.volume import VolumeWriter
from app.store.volumechange import VolumeChange
from app.store.volumefile import open_in_place
from tests.launch.devices import loop_device
from tests.launch.mortal import Killed, Mortal
from tests.launch.replica import Replica, nothing

MIB = 1024 * 1024
CONTENT = secrets.token_bytes(MIB) + bytes(2 * MIB) + secrets.token_bytes(MIB)
LATER = CONTENT[:MIB] + secrets.token_bytes(MIB) + bytes(2 * MIB)


def target_at(path: Path, work: Path, *, overwrite: bool = False) -> DeviceTarget:
    return DeviceTarget(DeviceSettings((DevicePlace("dsk-1", path, overwrite),), work))


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Path]:
    with loop_device(tmp_path / "device.img", 16 * MIB) as path:
        yield path


@pytest.fixture(params=["file", pytest.param("device", marks=pytest.mark.root)])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    if request.param == "file":
        (tmp_path / "disk.raw").write_bytes(bytes(16 * MIB))
        yield tmp_path / "disk.raw"
        return
    with loop_device(tmp_path / "device.img", 16 * MIB) as found:
        yield found


def run(*command: str) -> None:
    subprocess.run(command, check=True)


def write(path: Path, content: bytes, at: int = 0) -> None:
    with path.open("r+b", buffering=0) as file:
        file.seek(at)
        file.write(content)
    run("sync", str(path))


def read(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        return file.read(size)


async def codes_of(target: DeviceTarget) -> list[tuple[FindingSeverity, str]]:
    return [(finding.severity, finding.code) for finding in await target.validate()]


@pytest.mark.parametrize(
    ("command", "named"),
    [
        (["mkfs.ext4", "-q", "-F", "-L", "payroll"], "ext4 filesystem or volume, payroll"),
        (["sh", "-c", 'echo "label: gpt" | sfdisk -q "$0"'], "partition table"),
        (["sh", "-c", 'printf here | dd of="$0" seek=5000000 bs=1 conv=notrunc status=none'], None),
    ],
)
async def test_a_strangers_data_is_named_and_not_written_over_unless_that_is_asked_for(
    path: Path, tmp_path: Path, replica: Replica, command: list[str], named: str | None
) -> None:
    run(*command, str(path))
    before, target, disk = read(path, 16 * MIB), target_at(path, tmp_path / "work"), replica.put(CONTENT)
    if named is None:
        write(path, b"here", 16 * MIB - 4)
        before, named = read(path, 16 * MIB), "unknown kind"
    with pytest.raises(DeviceHoldsData, match=named):
        await target.materialise(disk, nothing())
    assert await codes_of(target) == [(FindingSeverity.BLOCKER, "DEVICE_HOLDS_DATA")]
    assert read(path, 16 * MIB) == before
    forced = target_at(path, tmp_path / "work", overwrite=True)
    await forced.materialise(disk, replica.stream(disk))
    assert read(path, len(CONTENT)) == CONTENT
    later = replica.put(LATER, checkpoint="chk-2")
    await target.materialise(later, replica.stream(later))
    assert read(path, len(LATER)) == LATER


@pytest.mark.root
async def test_a_mounted_device_is_refused(device: Path, tmp_path: Path, replica: Replica) -> None:
    run("mkfs.ext4", "-q", str(device))
    (tmp_path / "mnt").mkdir()
    run("mount", str(device), str(tmp_path / "mnt"))
    try:
        target = target_at(device, tmp_path / "work", overwrite=True)
        assert await codes_of(target) == [(FindingSeverity.BLOCKER, "VOLUME_BUSY")]
        with pytest.raises(VolumeBusy, match=str(device)):
            await target.materialise(replica.put(CONTENT), nothing())
    finally:
        run("umount", str(tmp_path / "mnt"))


@pytest.mark.root
async def test_a_file_below_a_loop_device_and_a_device_too_small_are_refused(
    device: Path, tmp_path: Path, replica: Replica
) -> None:
    with pytest.raises(VolumeBusy, match=str(device)):
        await target_at(tmp_path / "device.img", tmp_path / "work").materialise(
            replica.put(CONTENT), nothing()
        )
    large = replica.put(bytes(17 * MIB))
    target = target_at(device, tmp_path / "work")
    with pytest.raises(VolumeTooSmall):
        await target.materialise(large, nothing())
    plan = await target.plan(MachineSpec(), (large,))
    assert [finding.code for finding in plan.findings] == ["VOLUME_TOO_SMALL"]


async def test_a_device_that_another_process_writes_is_refused(
    path: Path, tmp_path: Path, replica: Replica
) -> None:
    first = open_in_place(path, MIB)
    try:
        with pytest.raises(VolumeBusy):
            await target_at(path, tmp_path / "work").materialise(replica.put(CONTENT), nothing())
    finally:
        first.close()


async def test_what_somebody_else_wrote_is_seen_and_never_advanced(
    path: Path, tmp_path: Path, replica: Replica
) -> None:
    target, disk = target_at(path, tmp_path / "work"), replica.put(CONTENT)
    volume = await target.materialise(disk, replica.stream(disk))
    assert (await target.standing("dsk-1")).standing is Standing.PROVED
    write(path, b"stranger", 3 * MIB)
    assert (await target.standing("dsk-1")).standing is Standing.UNSURE
    with pytest.raises(VolumeUnproved):
        await target.advance(volume, replica.put(LATER, checkpoint="chk-2"), nothing())
    with pytest.raises(VolumeUnproved):
        await target.launch(LaunchOrder("ins-1", MachineSpec(), (volume,)))
    with pytest.raises(VolumeDiffers):
        await target.verify(volume, disk)
    await target.drop(volume)
    assert (await target.standing("dsk-1")).standing is Standing.WORTHLESS
    assert read(await materialised(target, disk, replica), len(CONTENT)) == CONTENT


async def materialised(target: DeviceTarget, disk: DiskContent, replica: Replica) -> Path:
    return (await target.materialise(disk, replica.stream(disk))).path


async def test_after_the_node_was_started_anew_reading_all_of_it_settles_the_doubt(
    path: Path, tmp_path: Path, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, disk = target_at(path, tmp_path / "work"), replica.put(CONTENT)
    volume = await target.materialise(disk, replica.stream(disk))
    monkeypatch.setattr(place, "boot_id", lambda: "another")
    found = await target.standing("dsk-1")
    if str(path).startswith("/dev"):
        assert found.standing is Standing.UNSURE
    await target.verify(volume, disk)
    assert (await target.standing("dsk-1")).standing is Standing.PROVED


async def test_a_cut_change_is_seen_and_goes_on_in_another_process(
    path: Path, tmp_path: Path, replica: Replica
) -> None:
    target, disk = target_at(path, tmp_path / "work"), replica.put(CONTENT)
    volume, later = await target.materialise(disk, replica.stream(disk)), replica.put(LATER, checkpoint="c2")

    async def cut() -> AsyncIterator[bytes]:
        pieces = [piece async for piece in replica.delta(volume, later)]
        yield b"".join(pieces[:-1])

    with pytest.raises(VolumeError):
        await target.advance(volume, later, cut())
    found = await target_at(path, tmp_path / "work").standing("dsk-1")
    assert found.standing is Standing.CHANGING
    assert (found.held, found.wanted) == (disk, later)
    await target.advance(volume, later, replica.delta(volume, later))
    assert read(path, len(LATER)) == LATER


async def test_what_was_handed_over_is_left_alone_until_it_is_terminated(
    path: Path, tmp_path: Path, replica: Replica
) -> None:
    target, disk = target_at(path, tmp_path / "work"), replica.put(CONTENT)
    volume, later = await target.materialise(disk, replica.stream(disk)), replica.put(LATER, checkpoint="c2")
    found = await target.launch(LaunchOrder("ins-1", MachineSpec(), (volume,)))
    assert found.files == (path,)
    for work in (target.advance(volume, later, nothing()), target.materialise(later, nothing())):
        with pytest.raises(VolumeBusy, match="ins-1"):
            await work
    with pytest.raises(VolumeBusy, match="ins-1"):
        await target.drop(volume)
    await target.terminate("ins-1")
    await target.advance(volume, later, replica.delta(volume, later))


@pytest.mark.root
async def test_zeros_are_really_written_where_a_device_holds_something_else(
    device: Path, tmp_path: Path, replica: Replica
) -> None:
    write(device, b"\xff" * 16 * MIB)
    disk = replica.put(bytes(8 * MIB))
    await target_at(device, tmp_path / "work", overwrite=True).materialise(disk, replica.stream(disk))
    assert read(device, 16 * MIB) == bytes(8 * MIB) + b"\xff" * 8 * MIB


async def test_settings_that_cannot_be_are_refused(tmp_path: Path, replica: Replica) -> None:
    one = DevicePlace("dsk-1", tmp_path / "a")
    for places in ((), (one, one), (one, replace(one, disk="dsk-2"))):
        with pytest.raises(SettingsWrong):
            DeviceSettings(places, tmp_path)
    target = target_at(tmp_path / "a", tmp_path / "work")
    with pytest.raises(SettingsWrong, match="dsk-9"):
        await target.materialise(replica.put(CONTENT, "dsk-9"), nothing())
    with pytest.raises(VolumeUnusable, match="there is no device"):
        await target_at(Path("/dev/nothing"), tmp_path / "w").materialise(replica.put(CONTENT), nothing())


async def until(replica: Replica, target: DeviceTarget, disk: DiskContent, last: int) -> bool:
    """Bring the device to the disk, but die at the effect `last`; whether the end was reached."""
    with pytest.MonkeyPatch.context() as patch:
        mortal = Mortal(last)
        for place_, name in (
            (Notes, "write"),
            (VolumeWriter, "feed"),
            (VolumeWriter, "finish"),
            (VolumeChange, "feed"),
            (VolumeChange, "finish"),
        ):
            mortal.watch(patch, place_, name)
        try:
            await bring(replica, target, disk)
        except Killed:
            return False
    return True


async def bring(replica: Replica, target: DeviceTarget, disk: DiskContent) -> None:
    """What the job does, without a job."""
    held = await target.standing(disk.disk)
    if held.standing is Standing.CHANGING and held.held is not None and held.wanted is not None:
        volume = target.volume(held.held)
        await target.advance(volume, held.wanted, replica.delta(volume, held.wanted))
        held = await target.standing(disk.disk)
    if held.standing is Standing.PROVED and held.held is not None:
        volume = target.volume(held.held)
        await target.advance(volume, disk, replica.delta(volume, disk))
    else:
        await target.materialise(disk, replica.stream(disk))


async def test_a_kill_at_any_effect_leaves_a_device_that_is_right_or_counts_for_nothing(
    path: Path, tmp_path: Path, replica: Replica
) -> None:
    contents = {"chk-1": CONTENT, "chk-2": LATER}
    disks = [replica.put(content, checkpoint=name) for name, content in contents.items()]
    target, over = target_at(path, tmp_path / "work"), [False]
    for last in itertools.count():
        over = []
        for disk in disks:
            over.append(await until(replica, target, disk, last))
            held = await target_at(path, tmp_path / "work").standing("dsk-1")
            if held.standing is Standing.PROVED and held.held is not None:
                assert read(path, held.held.size) == contents[held.held.checkpoint]
            await bring(replica, target, disk)
            assert read(path, disk.size) == contents[disk.checkpoint]
        if all(over):
            break
    assert last > 5
