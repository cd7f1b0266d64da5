"""A volume on its way from one checkpoint to another: killed anywhere, it is one of the two or nothing."""

import itertools
import os
import secrets
from pathlib import Path

import pytest

from app.launch import changing
from app.launch.errors import VolumeUnproved
from app.launch.locking import shared
from app.launch.machine import DiskContent, LaunchOrder, MachineSpec, Volume
from app.launch.qemu.driver import QemuTarget
from app.launch.volumenote import VolumeProof, proof_of, require_proved
from app.launch.volumes import VolumeFolder
from app.store.errors import VolumeBusy, VolumeDiffers
from app.store.volumechange import VolumeChange
from tests.launch.mortal import Killed, Mortal
from tests.launch.replica import Replica, nothing

KIB = 1024
BEFORE = secrets.token_bytes(300 * KIB)
AFTER = BEFORE[: 64 * KIB] + bytes(64 * KIB) + secrets.token_bytes(300 * KIB)


async def advanced_until(
    replica: Replica, folder: VolumeFolder, volume: Volume, disk: DiskContent, last: int
) -> bool:
    """Advance, but die at the effect `last`; whether the end was reached."""
    with pytest.MonkeyPatch.context() as patch:
        mortal = Mortal(last)
        for name in ("write_json", "sync", "note_volume", "remove_if_empty"):
            mortal.watch(patch, changing, name)
        for place, name in ((Path, "rename"), (Path, "unlink"), (VolumeChange, "feed")):
            mortal.watch(patch, place, name)
        mortal.watch(patch, VolumeChange, "finish")
        try:
            await folder.advance(volume, disk, replica.delta(volume, disk))
        except Killed:
            return False
    return True


def counts(volume: Volume) -> bool:
    try:
        require_proved(volume)
    except VolumeUnproved:
        return False
    return True


def files_in(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


async def test_a_kill_at_any_effect_leaves_a_volume_that_is_right_or_counts_for_nothing(
    tmp_path: Path,
) -> None:
    replica = Replica.in_folder(tmp_path / "store")
    first, second = replica.put(BEFORE), replica.put(AFTER, checkpoint="chk-2")
    for last in itertools.count():
        folder = VolumeFolder(tmp_path / str(last))
        volume = await folder.materialise(first, replica.stream(first))
        over = await advanced_until(replica, folder, volume, second, last)
        for each, content in ((volume, BEFORE), (folder.named(second), AFTER)):
            assert not counts(each) or each.path.read_bytes() == content
        assert (
            await folder.advance(volume, second, replica.delta(volume, second))
        ).path.read_bytes() == AFTER
        assert not counts(volume)
        assert files_in(folder.folder) == ["chk-2/dsk-1.json", "chk-2/dsk-1.raw"]
        if over:
            break
    assert last > 20


async def test_what_a_kill_left_is_dropped_by_the_old_volume_and_the_new(tmp_path: Path) -> None:
    replica = Replica.in_folder(tmp_path / "store")
    first, second = replica.put(BEFORE), replica.put(AFTER, checkpoint="chk-2")
    for last in itertools.count():
        folder = VolumeFolder(tmp_path / str(last))
        volume = await folder.materialise(first, replica.stream(first))
        over = await advanced_until(replica, folder, volume, second, last)
        for each in (volume, folder.named(second)):
            await folder.drop(each)
        assert list(folder.folder.iterdir()) == []
        if over:
            break


async def test_a_volume_that_was_advanced_says_so_until_all_its_bytes_were_read(tmp_path: Path) -> None:
    replica, folder = Replica.in_folder(tmp_path / "store"), VolumeFolder(tmp_path / "volumes")
    first, second = replica.put(BEFORE), replica.put(AFTER, checkpoint="chk-2")
    volume = await folder.materialise(first, replica.stream(first))
    assert proof_of(volume) is VolumeProof.OWN_BYTES
    volume = await folder.advance(volume, second, replica.delta(volume, second))
    assert proof_of(volume) is VolumeProof.CHANGES
    await folder.verify(volume, second)
    assert proof_of(volume) is VolumeProof.OWN_BYTES


async def test_bytes_that_rotted_below_an_advanced_volume_are_found_by_reading_all(tmp_path: Path) -> None:
    replica, folder = Replica.in_folder(tmp_path / "store"), VolumeFolder(tmp_path / "volumes")
    first, second = replica.put(BEFORE), replica.put(AFTER, checkpoint="chk-2")
    volume = await folder.materialise(first, replica.stream(first))
    volume = await folder.advance(volume, second, replica.delta(volume, second))
    rot(volume.path)
    with pytest.raises(VolumeDiffers):
        await folder.verify(volume, second)


def rot(path: Path) -> None:
    """Other bytes, of which the filesystem knows nothing."""
    status = path.stat()
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.write(b"rot")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


async def test_a_volume_that_is_read_is_not_changed_and_stays_what_it_is(tmp_path: Path) -> None:
    replica, folder = Replica.in_folder(tmp_path / "store"), VolumeFolder(tmp_path / "volumes")
    first, second = replica.put(BEFORE), replica.put(AFTER, checkpoint="chk-2")
    volume = await folder.materialise(first, replica.stream(first))
    with shared(volume.path), pytest.raises(VolumeBusy):
        await folder.advance(volume, second, nothing())
    require_proved(volume)


@pytest.mark.slow
async def test_a_volume_is_not_changed_below_a_machine_and_is_free_when_that_ended(
    qemu: QemuTarget, replica: Replica
) -> None:
    volume = await replica.volume(qemu, BEFORE)
    second = replica.put(AFTER, checkpoint="chk-2")
    await qemu.launch(LaunchOrder("ins-1", MachineSpec(memory_mib=64), (volume,)))
    with pytest.raises(VolumeBusy):
        await qemu.advance(volume, second, nothing())
    await qemu.terminate("ins-1")
    assert (await qemu.advance(volume, second, replica.delta(volume, second))).path.read_bytes() == AFTER
