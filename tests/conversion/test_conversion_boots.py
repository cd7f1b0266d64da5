"""A Debian that was installed on VMware: it does not boot at virtio, and does after its conversion."""

from pathlib import Path

import pytest

from app.contract.words import BootFailure
from app.launch.boot.checks import CheckPlan
from app.launch.qemu.driver import QemuTarget
from tests.conversion.machines import server
from tests.guests.guest import bios_ext4
from tests.launch.replica import digest

pytestmark = [pytest.mark.slow, pytest.mark.root, pytest.mark.guests, pytest.mark.timeout(900)]


async def test_an_initrd_without_virtio_boots_after_its_conversion_and_not_before(
    qemu: QemuTarget, tmp_path: Path
) -> None:
    disk = bios_ext4(tmp_path / "vmware.raw")
    found = server(qemu, disk)
    before = digest(found.volumes[0].path)

    failed = await found.boot(qemu, "ins-before", tmp_path / "before", CheckPlan(seconds=400))
    assert (failed.passed, failed.reason) == (False, BootFailure.INITRAMFS_SHELL), failed
    await qemu.terminate("ins-before")

    report = await found.convert(qemu, "ins-after")
    assert report.found is not None
    assert report.found.system.startswith("Debian")
    changed = {change.path for change in report.changes}
    assert {"/etc/fstab", "/boot/grub/grub.cfg", "/etc/systemd/network/05-go2cloud-ens192.link"} < changed
    assert report.warnings == ()
    assert await found.convert(qemu, "ins-after") == report, "repeating gives the first report"

    proof = await found.boot(qemu, "ins-after", tmp_path / "after")
    assert proof.passed, proof
    assert digest(found.volumes[0].path) == before, "the volume stays as it is"
