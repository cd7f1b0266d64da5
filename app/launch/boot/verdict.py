"""What an operator reads when a boot failed: the reason as a sentence, and what to do."""

from collections.abc import Mapping
from typing import Final

from app.contract.words import BootFailure

REMEDIES: Final[Mapping[BootFailure, str]] = {
    BootFailure.NO_BOOTABLE_DEVICE: (
        "compare the firmware (BIOS or UEFI) with the source's, and see that the disk with the boot "
        "loader is the first one; a UEFI disk needs EFI/BOOT/BOOTX64.EFI or a boot entry"
    ),
    BootFailure.BOOTLOADER_FAILED: (
        "the boot loader does not find its files: are all disks of the source replicated, in their order?"
    ),
    BootFailure.KERNEL_PANIC: (
        "read the serial log above the panic: usually the root filesystem was not found, for want "
        "of a driver in the initramfs or because of a device name; try another disk bus"
    ),
    BootFailure.INITRAMFS_SHELL: (
        "the initramfs does not find the root filesystem: it lacks the driver of the disk bus, or "
        "root= names a device; let the conversion add drivers, or try the bus sata"
    ),
    BootFailure.EMERGENCY_MODE: (
        "a filesystem of /etc/fstab was not found or could not be repaired: read the serial log; "
        "see that all disks are replicated and that fstab names UUIDs"
    ),
    BootFailure.REBOOT_LOOP: "the guest restarts again and again: read the serial log before each restart",
    BootFailure.MACHINE_ENDED: "the guest powered off, or the hypervisor ended: see serial.log",
    BootFailure.ACCELERATOR_FAILED: "KVM does not work here and is not used any more: launch again",
    BootFailure.NODE_STORAGE_FULL: (
        "the machine waits for room to write: free space in the target's folder, terminate and launch again"
    ),
    BootFailure.NO_SIGN_OF_LIFE: (
        "nothing on the serial line and nothing on the screen: check the firmware setting, and give "
        "the guest more time or memory"
    ),
    BootFailure.NO_LOGIN: (
        "look at the screenshot; without console=ttyS0 on the kernel's command line a login prompt "
        "is only there: check a port instead of the login prompt"
    ),
    BootFailure.CHECK_FAILED: (
        "the machine runs and its service does not answer as expected: is it enabled at boot, and "
        "does it listen on other than the source's address? Give static addresses in the network "
        "card's settings"
    ),
    BootFailure.IMAGE_DIFFERS: "the storage returns other bytes than were written: publish elsewhere",
}
