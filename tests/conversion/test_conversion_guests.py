"""Other systems than the plainest one, each booted after its conversion: `make test-guests`."""

from collections.abc import Callable
from pathlib import Path

import pytest

from app.contract.words import BootFailure, Firmware
from app.launch.boot.checks import CheckPlan
from app.launch.qemu.driver import QemuTarget
from tests.conversion.machines import server
from tests.guests.guest import Recipe, bios_btrfs, bios_ext4, two_disks_lvm, uefi_xfs

pytestmark = [pytest.mark.slow, pytest.mark.root, pytest.mark.guests, pytest.mark.timeout(1200)]

Guest = Callable[[Path], tuple[Path, ...]]


def dracut(folder: Path) -> tuple[Path, ...]:
    return (bios_ext4(folder / "dracut.raw", Recipe(dracut=True)),)


def btrfs(folder: Path) -> tuple[Path, ...]:
    return (bios_btrfs(folder / "btrfs.raw"),)


def lvm(folder: Path) -> tuple[Path, ...]:
    return two_disks_lvm(folder / "first.raw", folder / "second.raw")


@pytest.mark.parametrize("guest", [dracut, btrfs, lvm])
async def test_it_boots_after_its_conversion(qemu: QemuTarget, tmp_path: Path, guest: Guest) -> None:
    found = server(qemu, *guest(tmp_path))
    report = await found.convert(qemu, "ins-after")
    assert report.changes
    assert report.warnings == ()
    proof = await found.boot(qemu, "ins-after", tmp_path / "after")
    assert proof.passed, proof


async def test_uefi_without_its_variables_boots_after_its_conversion_and_not_before(
    qemu: QemuTarget, tmp_path: Path
) -> None:
    found = server(qemu, uefi_xfs(tmp_path / "uefi.raw"), firmware=Firmware.UEFI)
    failed = await found.boot(qemu, "ins-before", tmp_path / "before", CheckPlan(seconds=60))
    assert (failed.passed, failed.reason) == (False, BootFailure.NO_BOOTABLE_DEVICE), failed
    await qemu.terminate("ins-before")
    report = await found.convert(qemu, "ins-after")
    assert "/boot/efi/EFI/BOOT/BOOTX64.EFI" in {change.path for change in report.changes}
    proof = await found.boot(qemu, "ins-after", tmp_path / "after")
    assert proof.passed, proof
