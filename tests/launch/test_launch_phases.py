"""What a serial line says, line by line and cut anywhere."""

import pytest

from app.contract.words import BootFailure, BootPhase
from app.launch.boot.phases import MOST_KERNELS, SerialReader, readable

GOOD = (
    b"\x1bc\x1b[?7l\x1b[2J\x1b[0mSeaBIOS (version 1.16.2-debian-1.16.2-1)\r\nBooting from Hard Disk...\r\n"
    b"GRUB loading...\r\n\x1b[0;30;47mWelcome to GRUB!\x1b[01;01H\x1b[0m\r\n"
    b"[    0.000000] Linux version 6.1.0-56-cloud-amd64 (debian-kernel@lists.debian.org)\r\n"
    b"[    1.645010] Run /init as init process\r\n\r\nDebian GNU/Linux 12 web-1 ttyS0\r\n\r\nweb-1 login: "
)
UEFI = b'BdsDxe: loading Boot0001 "UEFI Misc Device" from PciRoot(0x0)/Pci(0x2,0x0)\r\n'


def read(data: bytes, step: int) -> SerialReader:
    reader = SerialReader()
    for number, at in enumerate(range(0, len(data), step)):
        reader.feed(data[at : at + step], float(number))
    return reader


@pytest.mark.parametrize("step", [1, 7, 64, 4096])
def test_the_phases_of_a_good_boot_are_seen_in_order_however_it_is_cut(step: int) -> None:
    reader = read(GOOD, step)
    assert list(reader.phases) == list(BootPhase)
    assert list(reader.phases.values()) == sorted(reader.phases.values())
    assert reader.failure is None
    assert reader.kernels == 1


def test_a_uefi_firmware_is_seen() -> None:
    assert BootPhase.FIRMWARE in read(UEFI, 16).phases


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("No bootable device.\r\n", BootFailure.NO_BOOTABLE_DEVICE),
        ("BdsDxe: No bootable option or device was found.\r\n", BootFailure.NO_BOOTABLE_DEVICE),
        ("\r\nUEFI Interactive Shell v2.2\r\n", BootFailure.NO_BOOTABLE_DEVICE),
        ("error: no such partition.\r\ngrub rescue> ", BootFailure.BOOTLOADER_FAILED),
        ("[    2.1] Kernel panic - not syncing: VFS: Unable to mount root fs\r\n", BootFailure.KERNEL_PANIC),
        ("ALERT!  UUID=1 does not exist.\r\n(initramfs) ", BootFailure.INITRAMFS_SHELL),
        ('Generating "/run/initramfs/rdsosreport.txt"\r\n', BootFailure.INITRAMFS_SHELL),
        ("dracut:/# ", BootFailure.INITRAMFS_SHELL),
        ("You are in emergency mode. After logging in, type\r\n", BootFailure.EMERGENCY_MODE),
        ("Give root password for maintenance\r\n", BootFailure.EMERGENCY_MODE),
        (
            "[    0.000000] Linux version 6.1\r\n" * MOST_KERNELS,
            BootFailure.REBOOT_LOOP,
        ),
    ],
)
@pytest.mark.parametrize("step", [5, 4096])
def test_a_failure_is_known_by_what_it_says(text: str, reason: BootFailure, step: int) -> None:
    failure = read(text.encode(), step).failure
    assert failure is not None
    assert failure.reason is reason
    assert failure.words


@pytest.mark.parametrize(
    "text",
    [
        "Last login: Mon Nov 23 on tty1\r\n",
        "systemd[1]: Reached target emergency.target - Emergency Mode.\r\n",
        "panic=0 was given\r\nBooting from Hard Disk...\r\n",
        "[    1.0] Linux agpgart interface v0.103\r\n",
    ],
)
def test_what_only_looks_like_it_is_neither_login_nor_failure(text: str) -> None:
    reader = read(text.encode(), 4096)
    assert reader.failure is None
    assert BootPhase.LOGIN not in reader.phases


def test_control_codes_and_bytes_that_are_no_text_do_no_harm() -> None:
    noise = bytes(range(256)) * 64
    assert read(noise, 100).failure is None
    assert readable(b"\x1b[2J\x1b[01;01Hhello\r\n\xff") == "hello\n\ufffd"


def test_a_failures_words_are_short_however_long_the_guests_line_is() -> None:
    failure = read(b"Kernel panic - not syncing: " + b"A" * 1_000_000, 4_000_000).failure
    assert failure is not None
    assert len(failure.words) < 1000
