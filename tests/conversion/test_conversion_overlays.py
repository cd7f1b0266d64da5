"""A conversion is whole or not at all, and one that cannot be done says why."""

import asyncio
import re
from pathlib import Path

import pytest

from app.launch.conversion import appliance
from app.launch.errors import ConversionFailed, InstanceDiffers, ToolMissing
from app.launch.qemu.driver import QemuTarget
from tests.conversion.machines import Server, server
from tests.guests.guest import blank, run

pytestmark = [pytest.mark.slow, pytest.mark.root, pytest.mark.timeout(600)]

MIB = 1 << 20


@pytest.fixture
def data_disk(qemu: QemuTarget, tmp_path: Path) -> Server:
    """A disk with a filesystem and no system."""
    disk = tmp_path / "data.raw"
    blank(disk, 16 * MIB)
    run("mke2fs", "-q", "-F", str(disk))
    return server(qemu, disk)


def appliances() -> list[str]:
    """Command lines of appliances that are still there."""
    lines = (path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists())
    return [line.decode(errors="replace") for line in lines if re.search(rb"go2cloud-conversion-", line)]


async def test_disks_without_a_system_are_left_alone_and_that_is_said(
    qemu: QemuTarget, data_disk: Server
) -> None:
    report = await data_disk.convert(qemu, "ins-1")
    assert report.changes == ()
    assert "no Linux system" in report.warnings[0]
    assert await data_disk.convert(qemu, "ins-1") == report
    await qemu.launch(data_disk.order("ins-1"))
    assert await data_disk.convert(qemu, "ins-1") == report, "also when the machine runs"


async def test_a_cancelled_conversion_leaves_no_appliance_and_no_overlay(
    qemu: QemuTarget, data_disk: Server
) -> None:
    task = asyncio.create_task(data_disk.convert(qemu, "ins-1"))
    folder = qemu.settings.runs / "ins-1"
    while not (folder / "converting").exists():  # noqa: ASYNC110  (a file tells)
        await asyncio.sleep(0.05)
    await asyncio.sleep(2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not folder.exists()
    for _ in range(100):
        if not appliances():
            break
        await asyncio.sleep(0.1)
    assert appliances() == []
    assert (await data_disk.convert(qemu, "ins-1")).changes == ()


async def test_half_a_conversion_of_a_killed_process_is_begun_anew(
    qemu: QemuTarget, data_disk: Server
) -> None:
    (overlay,) = await qemu.prepare(data_disk.order("ins-1"))
    (overlay.parent / "converting").write_text("somebody who is dead")
    overlay.write_bytes(b"half of an overlay")
    assert (await data_disk.convert(qemu, "ins-1")).found is not None
    assert not (overlay.parent / "converting").exists()


async def test_a_machine_that_started_as_it_is_is_not_converted_under_its_feet(
    qemu: QemuTarget, data_disk: Server
) -> None:
    await qemu.launch(data_disk.order("ins-1"))
    with pytest.raises(InstanceDiffers, match="started without a conversion"):
        await data_disk.convert(qemu, "ins-1")


async def test_an_appliance_that_does_not_start_fails_with_its_words_and_discards_the_overlays(
    qemu: QemuTarget, data_disk: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appliance, "MEMORY_MIB", 1 << 30)
    with pytest.raises(ConversionFailed, match="does not start"):
        await data_disk.convert(qemu, "ins-1")
    assert not (qemu.settings.runs / "ins-1").exists()


async def test_a_node_without_libguestfs_is_named_before_anything_is_made(
    qemu: QemuTarget, data_disk: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appliance, "PYTHON", "/nowhere/python3")
    with pytest.raises(ToolMissing) as failure:
        await data_disk.convert(qemu, "ins-1")
    assert "python3-guestfs" in str(failure.value.remedy)
    assert not (qemu.settings.runs / "ins-1").exists()
