"""Other systems than the plainest one, each booted after its conversion: `make test-guests`."""

import base64
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from app.contract.words import BootFailure, Firmware
from app.launch.boot.checks import CheckPlan
from app.launch.conversion.appliance import ApplianceSettings, started
from app.launch.conversion.converting import convert
from app.launch.conversion.facts import CardAddressing
from app.launch.conversion.report import ConversionReport
from app.launch.machine import Nic
from app.launch.qemu.driver import QemuTarget
from tests.conversion.machines import PLAN, Server, server
from tests.guests.guest import MAC, Recipe, bios_btrfs, bios_ext4, two_disks_lvm, uefi_xfs

pytestmark = [pytest.mark.slow, pytest.mark.root, pytest.mark.guests, pytest.mark.timeout(1200)]

ETC = "system_u:object_r:etc_t:s0"
Guest = Callable[[Path], tuple[Path, ...]]


def dracut(folder: Path) -> tuple[Path, ...]:
    return (bios_ext4(folder / "dracut.raw", Recipe(dracut=True)),)


def btrfs(folder: Path) -> tuple[Path, ...]:
    return (bios_btrfs(folder / "btrfs.raw"),)


def lvm(folder: Path) -> tuple[Path, ...]:
    return two_disks_lvm(folder / "first.raw", folder / "second.raw")


def overlay(qemu: QemuTarget) -> Path:
    return qemu.settings.runs / "ins-after" / "overlay-0.qcow2"


def appliance(qemu: QemuTarget) -> ApplianceSettings:
    return ApplianceSettings(qemu.settings.appliance, "nobody")


async def again(qemu: QemuTarget, found: Server) -> ConversionReport:
    """A second conversion of the overlay."""
    return await convert((overlay(qemu),), found.facts, found.wishes, appliance(qemu))


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
    assert (await again(qemu, found)).changes == ()
    proof = await found.boot(qemu, "ins-after", tmp_path / "after")
    assert proof.passed, proof


async def test_a_second_conversion_changes_nothing_and_what_is_new_has_a_label(
    qemu: QemuTarget, tmp_path: Path
) -> None:
    labels = {"etc/systemd/network": ETC}
    recipe = Recipe(files={"etc/selinux/config": "SELINUX=enforcing\n"}, labels=labels)
    found = server(qemu, bios_ext4(tmp_path / "labelled.raw", recipe))
    report = await found.convert(qemu, "ins-after")
    assert report.changes
    second = await again(qemu, found)
    assert (second.changes, second.warnings) == ((), ())
    with started((overlay(qemu),), appliance(qemu), []) as guest:
        guest.call("mount_ro", "/dev/sda1", "/")
        (label,) = guest.call("lgetxattrs", "/etc/systemd/network/05-go2cloud-ens192.link")
        assert base64.b64decode(label["attrval"]["bytes"]).decode() == ETC
        assert not guest.call("exists", "/.autorelabel")


async def test_it_is_reached_at_the_address_that_was_asked_for(qemu: QemuTarget, tmp_path: Path) -> None:
    found = server(qemu, bios_ext4(tmp_path / "moved.raw"))
    card = CardAddressing("ens192", MAC, ("10.9.0.5/24",), ("10.9.0.1",))
    nic = Nic(MAC, "10.9.0.5/24", "10.9.0.1")
    machine = replace(found.order("ins-after").machine, nics=(nic,))
    order = replace(found.order("ins-after"), machine=machine)
    report = await qemu.convert(order, found.facts, replace(found.wishes, addressing=(card,)))
    assert "/etc/network/interfaces" in {change.path for change in report.changes}
    await qemu.launch(order)
    proof = await qemu.check("ins-after", PLAN, tmp_path / "after")
    assert proof.passed, proof
